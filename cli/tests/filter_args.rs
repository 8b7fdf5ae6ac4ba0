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
