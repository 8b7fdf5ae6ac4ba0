//! The committed C header is the one that the sources make. `make headers` writes it anew.

use std::path::Path;

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../include/h5zsae.h");

/// Set by `make headers`: write the header instead of comparing.
const WRITE_VARIABLE: &str = "H5Z_SAE_WRITE_HEADER";

fn generated_header() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let bindings =
        cbindgen::Builder::new().with_config(config).with_src(folder.join("src/abi.rs")).generate().unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn header_is_what_the_sources_make() {
    let generated = generated_header();
    if std::env::var_os(WRITE_VARIABLE).is_some() {
        std::fs::write(HEADER, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(HEADER).expect("include/h5zsae.h is missing: run `make headers`");
    assert_eq!(committed, generated, "include/h5zsae.h is out of date: run `make headers`");
}
