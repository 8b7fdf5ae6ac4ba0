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
    let options = ["-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
    bench.run("valgrind", &[&options[..], &[program.to_str().unwrap()]].concat()).expect_success();
}

#[test]
fn registers_the_filter_in_linked_programs() {
    let bench = Bench::new();
    let program = bench.compile("register", true);
    let mut command = bench.command(program);
    command.env("HDF5_PLUGIN_PATH", bench.path("nowhere")).arg("x.h5");
    assert!(common::output_of(command).expect_success().stdout.contains("registered"));
}

#[test]
fn exports_and_needs_nothing_unexpected() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/check_symbols.sh");
    let mut command = std::process::Command::new("sh");
    command.arg(script).arg(common::built_library());
    common::output_of(command).expect_success();
}
