//! C and C++ programs that link the library.

mod common;

use common::Bench;

#[test]
fn serves_c99_programs_without_hdf5() {
    let bench = Bench::new();
    let program =
        bench.compile_plain("gcc", &["-std=c99", "-pedantic", "-D_POSIX_C_SOURCE=200809L"], "buffers");
    assert!(bench.run(program, &[] as &[&str]).expect_success().stdout.contains("buffers done"));
}

#[test]
fn serves_cpp_programs_without_hdf5() {
    let bench = Bench::new();
    let program = bench.compile_plain("g++", &["-x", "c++", "-std=c++11"], "buffers");
    assert!(bench.run(program, &[] as &[&str]).expect_success().stdout.contains("buffers done"));
}

#[test]
fn keeps_memory_clean_under_valgrind() {
    let bench = Bench::new();
    let program = bench.compile_plain("gcc", &["-std=c99", "-D_POSIX_C_SOURCE=200809L"], "buffers");
    common::output_of(bench.valgrind(program)).expect_success();
}

#[test]
fn header_stands_alone_in_c_and_cpp() {
    let bench = Bench::new();
    let source = bench.path("twice.c");
    std::fs::write(
        &source,
        "#include <h5zsae.h>\n#include <h5zsae.h>\nint main(void) { return H5ZSAE_OK; }\n",
    )
    .unwrap();
    for (compiler, options) in [
        ("gcc", &["-std=c99", "-pedantic-errors", "-Wstrict-prototypes"][..]),
        ("gcc", &["-std=c2x", "-pedantic-errors"]),
        ("g++", &["-x", "c++", "-std=c++11", "-pedantic-errors", "-Wold-style-cast"]),
        ("g++", &["-x", "c++", "-std=c++20", "-pedantic-errors"]),
    ] {
        let program = bench.compile_sources(compiler, options, &[&source], &[]);
        bench.run(&program, &[] as &[&str]).expect_success();
        std::fs::remove_file(program).unwrap();
    }
}

#[test]
fn exports_and_needs_nothing_unexpected() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/check_symbols.sh");
    let mut command = std::process::Command::new("sh");
    command.arg(script).arg(common::built_library());
    common::output_of(command).expect_success();
}
