//! `sae filter-args`: what other tools are given must be what the filter reads.

mod common;

use common::Folder;
use h5z_sae::cd_values::RequestedParams;
use h5z_sae::{Bound, Effort};

fn json_params(args: &[&str]) -> RequestedParams {
    let all = [&["filter-args", "--format", "json"], args].concat();
    let json = Folder::new().sae(&all).expect(0).json();
    assert_eq!(json["id"], 34222);
    let words: Vec<u32> =
        json["values"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect();
    RequestedParams::parse(&words).unwrap()
}

#[test]
fn every_bound_arrives_as_it_was_given() {
    assert_eq!(json_params(&["--abs", "1e-3"]).bound, Bound::Absolute(1e-3));
    assert_eq!(json_params(&["--rel", "0.01"]).bound, Bound::Relative(0.01));
    assert_eq!(json_params(&["--noise", "0.5"]).bound, Bound::Noise(0.5));
    assert_eq!(json_params(&["--lossless"]).bound, Bound::Lossless);
    assert_eq!(json_params(&["--none"]).bound, Bound::None);
    assert_eq!(json_params(&["--none", "--effort", "best"]).effort, Effort::Best);
}

#[test]
fn mask_values_arrive_as_bits_of_their_type() {
    let float = json_params(&["--abs", "1", "--mask-value", "-1"]);
    assert_eq!(float.mask_value, Some(u64::from((-1f32).to_bits())));
    let count = json_params(&["--abs", "1", "--mask-value", "4294967295", "--type", "u4"]);
    assert_eq!(count.mask_value, Some(0xffff_ffff));
    Folder::new()
        .sae(&["filter-args", "--abs", "1", "--mask-value", "-1", "--type", "u2"])
        .expect(2)
        .says(&["mask value '-1'", "<u2"]);
}

#[test]
fn h5repack_form_counts_its_values() {
    let printed = Folder::new().sae(&["filter-args", "--abs", "1e-3"]).expect(0).stdout;
    assert_eq!(printed.trim(), "UD=34222,0,7,0,1,3539053052,1062232653,0,0,0");
}

#[test]
fn every_tool_gets_the_same_words() {
    for format in ["h5py", "c", "nccopy"] {
        let printed =
            Folder::new().sae(&["filter-args", "--abs", "1e-3", "--format", format]).expect(0).stdout;
        assert!(printed.contains("34222") && printed.contains("1062232653"), "{printed}");
    }
    let fortran =
        Folder::new().sae(&["filter-args", "--abs", "1e-3", "--format", "fortran"]).expect(0).stdout;
    assert!(fortran.contains(&format!("{}", 3_539_053_052u32 as i32)), "{fortran}");
}

#[test]
fn unbiased_errors_are_asked_for_in_the_options() {
    assert!(json_params(&["--abs", "1", "--unbiased"]).unbiased && !json_params(&["--abs", "1"]).unbiased);
    Folder::new().sae(&["filter-args", "--none", "--unbiased"]).expect(2).says(&["cannot be used with"]);
}

/// Two datasets: one chunked by single frames, one contiguous.
fn stacks(folder: &Folder) {
    folder.write("in.h5", |file| {
        let frames = file.new_dataset::<f32>().shape((100, 64, 64)).chunk((1, 64, 64));
        frames.create("single").unwrap();
        file.create_group("entry").unwrap().new_dataset::<u16>().shape((9, 300, 200)).create("data").unwrap();
    });
}

#[test]
fn a_dataset_gets_chunks_that_suit_it_and_a_line_that_says_why() {
    let folder = Folder::new();
    stacks(&folder);
    let frames = folder.sae(&["filter-args", "--abs", "1e-3", "in.h5:/single"]).expect(0);
    assert_eq!(
        frames.stdout.trim(),
        "-f /single:UD=34222,0,7,0,1,3539053052,1062232653,0,0,0 -l /single:CHUNK=64x64x64"
    );
    assert_eq!(frames.stderr.lines().count(), 1);
    frames.says(&[
        "/single: chunks 64x64x64",
        "1 MiB",
        "present ones, 1x64x64, can be read",
        "statistics anew",
    ]);
    let args = ["filter-args", "--noise", "1", "in.h5:/entry/data", "--format"];
    let of_format = |format| folder.sae(&[&args[..], &[format]].concat()).expect(0);
    let json = of_format("json");
    assert_eq!(json.json()["chunk"], serde_json::json!([8, 300, 200]));
    assert!(!json.says(&["/entry/data: chunks 8x300x200"]).stderr.contains("present"));
    assert!(of_format("h5py").stdout.contains("chunks=(8, 300, 200,)"));
    assert!(of_format("c").stdout.contains("chunk_dims[rank] = {8, 300, 200}"));
    assert!(of_format("fortran").stdout.contains("chunk_dims(3) = [ 200, 300, 8 ]"));
    assert!(of_format("nccopy").stdout.contains("nccopy -c entry/data:8,300,200 -F entry/data,34222,0,3,"));
}

#[test]
fn a_mask_value_is_one_of_the_dataset_s_type() {
    let folder = Folder::new();
    stacks(&folder);
    let args = ["filter-args", "--abs", "1", "--format", "json", "in.h5:/entry/data", "--mask-value"];
    let json = folder.sae(&[&args[..], &["65535"]].concat()).expect(0).json();
    assert_eq!(json["values"][7], 65535);
    folder.sae(&[&args[..], &["65536"]].concat()).expect(2).says(&["65536", "<u2"]);
}

/// nccopy does not hand the fill value on: without this, a relative bound would be one of the fill value.
#[test]
fn nccopy_gets_the_fill_value_as_mask_value() {
    let folder = Folder::new();
    folder.write("in.h5", |file| {
        let filled = file.new_dataset::<f32>().shape((9, 30, 20)).fill_value(-1f32);
        filled.create("data").unwrap();
    });
    let nccopy = ["filter-args", "--lossless", "in.h5:/data", "--format", "nccopy"];
    let words = |args: &[&str]| folder.sae(args).expect(0).stdout;
    let minus_one = (-1f32).to_bits();
    assert!(words(&nccopy).contains(&format!("34222,0,0,0,0,0,0,0,{minus_one},0 in.nc")));
    let two = (2f32).to_bits();
    assert!(words(&[&nccopy[..], &["--mask-value", "2"]].concat()).contains(&format!(",0,{two},0 in.nc")));
    assert!(words(&["filter-args", "--lossless", "in.h5:/data"]).contains("UD=34222,0,7,0,0,0,0,0,0,0 "));
}

#[test]
fn rejects_datasets_that_are_not() {
    let folder = Folder::new();
    stacks(&folder);
    let args = |place| ["filter-args", "--abs", "1", place];
    folder.sae(&args("in.h5")).expect(2).says(&["in.h5", "expected FILE:/DATASET"]);
    folder.sae(&args("no.h5:/x")).expect(2).says(&["no.h5", "cannot read"]);
    folder.sae(&args("in.h5:/entry")).expect(2).says(&["in.h5", "entry", "is a group, expected a dataset"]);
}

#[test]
fn rejects_bounds_that_are_not() {
    let folder = Folder::new();
    folder.sae(&["filter-args"]).expect(2).says(&["--abs", "--rel", "--noise", "--lossless", "--none"]);
    folder.sae(&["filter-args", "--abs", "1", "--lossless"]).expect(2).says(&["cannot be used with"]);
    folder.sae(&["filter-args", "--abs", "-1"]).expect(2).says(&["--abs", "-1", "above 0"]);
    folder.sae(&["filter-args", "--rel", "1.5"]).expect(2).says(&["--rel", "1.5", "between 0 and 1"]);
    folder.sae(&["filter-args", "--noise", "0"]).expect(2).says(&["--noise", "0", "above 0"]);
    folder.sae(&["filter-args", "--abs", "nan"]).expect(2).says(&["--abs", "NaN"]);
}

#[test]
fn rejects_models_that_are_not() {
    let folder = Folder::new();
    folder
        .sae(&["filter-args", "--lossless", "--model", "no.sae"])
        .expect(2)
        .says(&["no.sae", "No such file"]);
    std::fs::write(folder.path("text.sae"), "not a model").unwrap();
    folder.sae(&["filter-args", "--lossless", "--model", "text.sae"]).expect(2).says(&["text.sae"]);
}
