//! `sae repack`, `unpack`, `verify` and `info` on one another's files.

mod common;

use std::path::Path;

use common::{Folder, open};
use hdf5::types::VarLenUnicode;
use ndarray::{Array2, Array3};

fn values(path: &Path, dataset: &str) -> Vec<f32> {
    open(path).dataset(dataset).unwrap().read_raw().unwrap()
}

#[test]
fn a_repacked_file_keeps_its_bound_and_is_smaller() {
    let folder = Folder::new();
    folder.synth("in.h5", 50);
    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "1e-2"]).expect(0);
    let report = folder.sae(&["verify", "in.h5", "out.h5", "--json"]).expect(0).json();
    assert_eq!(report["ok"], true);
    assert_eq!(report["bound"], 1e-2);
    assert!(report["max_abs_err"].as_f64().unwrap() <= 1e-2);
    assert!(report["ratio"].as_f64().unwrap() > 4.0, "{report}");
    assert_eq!(report["datasets"][0]["path"], "/frames");
    assert_eq!(folder.names(), ["in.h5", "out.h5"]);
}

#[test]
fn relative_bounds_become_absolute_ones_of_the_whole_dataset() {
    let folder = Folder::new();
    folder.write("in.h5", |file| {
        let ramp = Array2::from_shape_fn((40, 30), |(row, col)| (row * 30 + col) as f64);
        file.new_dataset_builder().with_data(&ramp).create("ramp").unwrap();
    });
    folder.sae(&["repack", "in.h5", "out.h5", "--rel", "1e-2", "--chunk", "16,16", "-j", "1"]).expect(0);
    let report = folder.sae(&["verify", "in.h5", "out.h5", "--json"]).expect(0).json();
    assert!((report["bound"].as_f64().unwrap() - 11.99).abs() < 1e-9, "{report}");
}

#[test]
fn noise_bounds_are_kept_by_repack_and_looked_after_by_verify() {
    let folder = Folder::new();
    let counts = |scale: u32| {
        Array3::from_shape_fn((6, 24, 24), |(f, r, c)| {
            let mean = 3000 / (1 + (r.abs_diff(12).pow(2) + c.abs_diff(12).pow(2)) as u32);
            scale * (mean + (f * 7919 + r * 104_729 + c * 1_299_709) as u32 % (1 + mean.isqrt()))
        })
    };
    folder.write("in.h5", |file| {
        file.new_dataset_builder().with_data(&counts(1)).create("counts").unwrap();
    });
    let repack = ["repack", "in.h5", "out.h5", "--noise", "1", "--dataset", "/counts"];
    folder.sae(&repack).expect(0);
    let report = folder.sae(&["verify", "in.h5", "out.h5", "--json"]).expect(0).json();
    assert_eq!(report["datasets"][0]["bound_kind"], 3);
    let largest = report["max_abs_err"].as_f64().unwrap();
    assert!(largest > 1.0 && largest <= 3060f64.sqrt(), "{report}");
    assert!(report["ratio"].as_f64().unwrap() > 8.0, "{report}");
    folder.write("other.h5", |file| {
        file.new_dataset_builder().with_data(&counts(2)).create("counts").unwrap();
    });
    folder.sae(&["verify", "other.h5", "out.h5"]).expect(1).says(&["/counts", "allowed is"]);
}

#[test]
fn unpacking_gives_back_the_values_without_the_filter() {
    let folder = Folder::new();
    folder.synth("in.h5", 20);
    folder.sae(&["repack", "in.h5", "out.h5", "--lossless"]).expect(0);
    folder.sae(&["unpack", "out.h5", "back.h5"]).expect(0);
    let unpacked = open(&folder.path("back.h5")).dataset("frames").unwrap();
    assert!(unpacked.filters().is_empty());
    assert_eq!(values(&folder.path("in.h5"), "frames"), unpacked.read_raw::<f32>().unwrap());
    folder.sae(&["unpack", "back.h5", "again.h5"]).expect(2).says(&["back.h5", "nothing to unpack"]);
}

#[test]
fn everything_else_of_the_file_stays() {
    let folder = Folder::new();
    let axis: Vec<f64> = (0..7).map(f64::from).collect();
    folder.write("in.h5", |file| {
        let group = file.create_group("entry").unwrap();
        let title: VarLenUnicode = "a title".parse().unwrap();
        group.new_attr::<VarLenUnicode>().create("title").unwrap().write_scalar(&title).unwrap();
        let cube = Array3::from_shape_fn((3, 9, 7), |(f, r, c)| (f + r * c) as f32);
        let data = group.new_dataset_builder().with_data(&cube).create("data").unwrap();
        data.new_attr::<i32>().create("signal").unwrap().write_scalar(&1).unwrap();
        group.new_dataset_builder().deflate(3).chunk(4).with_data(&axis).create("axis").unwrap();
        file.link_hard("/entry/data", "same").unwrap();
        file.link_soft("/entry/axis", "soft").unwrap();
        file.link_external("other.h5", "/x", "external").unwrap();
        let reference = file.reference::<hdf5::ObjectReference1>("/entry/data").unwrap();
        group.new_attr::<hdf5::ObjectReference1>().create("plot").unwrap().write_scalar(&reference).unwrap();
    });

    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "0.1"]).expect(0);
    let copy = open(&folder.path("out.h5"));
    let entry = copy.group("entry").unwrap();
    assert_eq!(entry.attr("title").unwrap().read_scalar::<VarLenUnicode>().unwrap().as_str(), "a title");
    assert_eq!(copy.dataset("same").unwrap().attr("signal").unwrap().read_scalar::<i32>().unwrap(), 1);
    let same_object =
        |a: &str, b: &str| copy.loc_info_by_name(a).unwrap().token == copy.loc_info_by_name(b).unwrap().token;
    assert!(same_object("same", "/entry/data") && same_object("soft", "/entry/axis"));
    assert_eq!(copy.dataset("soft").unwrap().read_raw::<f64>().unwrap(), axis);
    assert_eq!(copy.dataset("soft").unwrap().filters(), [hdf5::filters::Filter::deflate(3)]);
    let plot: hdf5::ObjectReference1 = entry.attr("plot").unwrap().read_scalar().unwrap();
    match copy.dereference(&plot).unwrap() {
        hdf5::ReferencedObject::Dataset(dataset) => assert_eq!(dataset.shape(), [3, 9, 7]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn integers_and_axes_are_compressed_only_when_named() {
    let folder = Folder::new();
    folder.write("in.h5", |file| {
        let counts = Array2::from_shape_fn((30, 20), |(row, col)| (row * col) as u16);
        file.new_dataset_builder().with_data(&counts).create("counts").unwrap();
        file.new_dataset_builder().with_data(&[0.5f32; 100]).create("axis").unwrap();
    });
    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "1"]).expect(2).says(&["in.h5", "--dataset"]);
    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "1", "--dataset", "/counts"]).expect(0);
    folder.sae(&["verify", "in.h5", "out.h5", "--dataset", "/counts"]).expect(0);
    folder
        .sae(&["verify", "in.h5", "out.h5", "--dataset", "/axis"])
        .expect(1)
        .says(&["/axis", "not compressed"]);
}

#[test]
fn verify_tells_broken_bounds() {
    let folder = Folder::new();
    folder.synth("in.h5", 10);
    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "1e-3"]).expect(0);
    folder.write("in.h5", |file| {
        let frames = file.dataset("frames").unwrap();
        let mut changed = frames.read_raw::<f32>().unwrap();
        changed[24 * 24 + 5] += 0.01;
        frames.write_raw(&changed).unwrap();
    });
    let outcome = folder.sae(&["verify", "in.h5", "out.h5", "--json"]).expect(1);
    let report = outcome.json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["datasets"][0]["broken_values"], 1);
    assert!(report["problems"][0].as_str().unwrap().contains("[1, 0, 5]"), "{report}");
}

#[test]
fn verify_tells_files_that_were_not_compressed() {
    let folder = Folder::new();
    folder.synth("in.h5", 5);
    folder.sae(&["verify", "in.h5", "in.h5"]).expect(1).says(&["no dataset is compressed", "h5repack"]);
}

#[test]
fn verify_tells_missing_and_reshaped_datasets() {
    let folder = Folder::new();
    folder.synth("in.h5", 6);
    folder.synth("short.h5", 5);
    folder.sae(&["repack", "short.h5", "out.h5", "--abs", "1e-3"]).expect(0);
    folder.sae(&["verify", "in.h5", "out.h5"]).expect(1).says(&["/frames: has dimensions [5, 24, 24]"]);
    folder.write("out.h5", |file| {
        file.unlink("qmax").unwrap();
    });
    folder.sae(&["verify", "short.h5", "out.h5"]).expect(1).says(&["/qmax: is missing"]);
}

#[test]
fn verify_tells_damaged_chunks() {
    let folder = Folder::new();
    folder.synth("in.h5", 10);
    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "1e-3"]).expect(0);
    let chunk = open(&folder.path("out.h5")).dataset("frames").unwrap().chunk_info(0).unwrap();
    let mut bytes = std::fs::read(folder.path("out.h5")).unwrap();
    bytes[(chunk.addr + chunk.size / 2) as usize] ^= 0x10;
    std::fs::write(folder.path("out.h5"), bytes).unwrap();
    folder.sae(&["verify", "in.h5", "out.h5"]).expect(1).says(&["/frames", "cannot be decoded", "checksum"]);
    folder.sae(&["unpack", "out.h5", "back.h5"]).expect(2).says(&["/frames", "checksum"]);
    assert_eq!(folder.names(), ["in.h5", "out.h5"]);
}

#[test]
fn special_values_come_back_exactly() {
    let folder = Folder::new();
    let mut frame = Array2::from_shape_fn((20, 20), |(row, col)| (row as f32 * 0.3).sin() + col as f32);
    frame[[1, 1]] = f32::NAN;
    frame[[2, 2]] = f32::NEG_INFINITY;
    frame[[3, 3]] = -0.0;
    frame[[4, 4]] = -1e9;
    folder.write("in.h5", |file| {
        file.new_dataset_builder().with_data(&frame).create("frame").unwrap();
    });
    folder.sae(&["repack", "in.h5", "out.h5", "--rel", "0.01", "--mask-value", "-1e9"]).expect(0);
    folder.sae(&["unpack", "out.h5", "back.h5"]).expect(0);
    let back = values(&folder.path("back.h5"), "frame");
    for at in [[1, 1], [2, 2], [3, 3], [4, 4]] {
        assert_eq!(back[at[0] * 20 + at[1]].to_bits(), frame[at].to_bits(), "{at:?}");
    }
    let report = folder.sae(&["verify", "in.h5", "out.h5", "--json"]).expect(0).json();
    assert!(report["bound"].as_f64().unwrap() < 1.0, "the mask value widened the range: {report}");
}

#[test]
fn a_picture_is_three_panels_wide() {
    let folder = Folder::new();
    folder.synth("in.h5", 4);
    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "1e-2"]).expect(0);
    folder.sae(&["verify", "in.h5", "out.h5", "--picture", "p.png", "--frame", "3"]).expect(0);
    let decoder =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(folder.path("p.png")).unwrap()));
    let info = decoder.read_info().unwrap().info().size();
    assert_eq!(info, (3 * 24 * 16 + 16, 24 * 16));
    folder
        .sae(&["verify", "in.h5", "out.h5", "--picture", "q.png", "--frame", "4"])
        .expect(2)
        .says(&["frame 4", "0 to 3"]);
}

#[test]
fn rejects_wrong_inputs_and_leaves_nothing_behind() {
    let folder = Folder::new();
    folder.synth("in.h5", 4);
    std::fs::write(folder.path("text.h5"), "no HDF5").unwrap();
    let repack = |args: &[&str]| folder.sae(&[&["repack"], args].concat()).expect(2);
    repack(&["no.h5", "out.h5", "--abs", "1"]).says(&["no.h5", "No such file"]);
    repack(&["text.h5", "out.h5", "--abs", "1"]).says(&["text.h5", "HDF5"]);
    repack(&["in.h5", "in.h5", "--abs", "1"]).says(&["in.h5", "same file"]);
    repack(&["in.h5", "out.h5", "--abs", "1", "--dataset", "/no"]).says(&["in.h5", "/no", "no such dataset"]);
    repack(&["in.h5", "out.h5", "--abs", "1", "--dataset", "/"]).says(&["is a group"]);
    repack(&["in.h5", "out.h5", "--abs", "1", "--chunk", "8,8"]).says(&[
        "--chunk",
        "2 numbers",
        "3 dimensions",
    ]);
    repack(&["in.h5", "out.h5", "--abs", "1", "-j", "0"]).says(&["--jobs"]);
    repack(&["in.h5", "out.h5"]).says(&["--abs"]);
    folder.sae(&["verify", "in.h5", "no.h5"]).expect(2).says(&["no.h5"]);
    folder.sae(&["verify", "in.h5"]).expect(2);
    assert_eq!(folder.names(), ["in.h5", "text.h5"]);
}

#[test]
fn rejects_types_that_the_filter_cannot_take() {
    let folder = Folder::new();
    folder.write("in.h5", |file| {
        let words: Vec<VarLenUnicode> = ["a", "b"].iter().map(|word| word.parse().unwrap()).collect();
        file.new_dataset_builder().with_data(&words).create("words").unwrap();
    });
    folder.sae(&["repack", "in.h5", "out.h5", "--lossless", "--dataset", "/words"]).expect(2).says(&[
        "/words",
        "class is string",
        "IEEE floats",
    ]);
}

#[test]
fn info_shows_parameters_and_chunks() {
    let folder = Folder::new();
    folder.synth("in.h5", 30);
    folder.sae(&["repack", "in.h5", "out.h5", "--abs", "1e-2", "--chunk", "10,24,24"]).expect(0);
    let info = folder.sae(&["info", "out.h5", "--json"]).expect(0).json();
    let dataset = &info["datasets"][0];
    assert_eq!(dataset["parameters"]["bound"], "absolute 1e-2");
    assert_eq!(dataset["cd_values"].as_array().unwrap().len(), 16);
    assert_eq!(dataset["chunks"]["number"], 3);
    let plain = folder.sae(&["info", "in.h5"]).expect(0).stdout;
    assert!(plain.contains("none uses filter 34222"), "{plain}");
    std::fs::write(folder.path("text"), "neither").unwrap();
    folder.sae(&["info", "text"]).expect(2).says(&["text"]);
    folder.sae(&["info", "no"]).expect(2).says(&["no", "No such file"]);
}
