//! The programs of examples/, built as strictly as a user may, and run under valgrind: no error of memory, no leak.
//! Each compares what it decodes with what it wrote, and fails where the bound is broken.

mod common;

use std::path::PathBuf;

use common::{Bench, output_of, pkg_config_hdf5, project};

/// What a program is linked with, beside libm.
#[derive(Clone, Copy)]
enum Linked {
    OurLibrary,
    Hdf5,
    Both,
}

fn flags(bench: &Bench, linked: Linked, hdf5: Vec<String>) -> Vec<String> {
    match linked {
        Linked::OurLibrary => bench.link_flags(),
        Linked::Hdf5 => hdf5,
        Linked::Both => [bench.link_flags(), hdf5].concat(),
    }
}

fn compile_c(bench: &Bench, name: &str, linked: Linked) -> PathBuf {
    let source = project(&format!("examples/c/{name}.c"));
    let flags = flags(bench, linked, pkg_config_hdf5());
    bench.compile_sources("gcc", &["-std=c99", "-pedantic"], &[&source], &flags)
}

fn compile_fortran(bench: &Bench, name: &str, linked: Linked) -> PathBuf {
    let (module, source) = (project("include/h5zsae.F90"), project(&format!("examples/fortran/{name}.f90")));
    let mut hdf5 = pkg_config_hdf5();
    hdf5.push("-lhdf5_fortran".to_string());
    let flags = flags(bench, linked, hdf5);
    let sources = [module.as_path(), source.as_path()];
    let sources = if matches!(linked, Linked::Hdf5) { &sources[1..] } else { &sources };
    bench.compile_sources("gfortran", &["-std=f2018", "-pedantic"], sources, &flags)
}

/// Runs an example under valgrind, with the plugin on HDF5's path or with nothing on it.
#[track_caller]
fn assert_clean(bench: &Bench, program: PathBuf, arguments: &[&str], has_plugin_path: bool) {
    let mut command = bench.valgrind(program);
    command.args(arguments);
    if !has_plugin_path {
        command.env("HDF5_PLUGIN_PATH", bench.path("nowhere"));
    }
    let outcome = output_of(command).expect_success();
    assert!(outcome.stdout.contains("largest error") && outcome.stderr.is_empty(), "{}", outcome.text());
}

#[test]
fn c_compresses_buffers_without_hdf5() {
    let bench = Bench::new();
    assert_clean(&bench, compile_c(&bench, "buffers", Linked::OurLibrary), &[], false);
}

#[test]
fn c_writes_and_reads_by_the_plugin() {
    let bench = Bench::new();
    assert_clean(&bench, compile_c(&bench, "plugin", Linked::Hdf5), &["x.h5"], true);
}

#[test]
fn c_writes_and_reads_by_the_registered_filter() {
    let bench = Bench::new();
    assert_clean(&bench, compile_c(&bench, "registered", Linked::Both), &["x.h5"], false);
}

#[test]
fn fortran_compresses_buffers_without_hdf5() {
    let bench = Bench::new();
    assert_clean(&bench, compile_fortran(&bench, "buffers", Linked::OurLibrary), &[], false);
}

#[test]
fn fortran_writes_and_reads_by_the_plugin() {
    let bench = Bench::new();
    assert_clean(&bench, compile_fortran(&bench, "plugin", Linked::Hdf5), &["x.h5"], true);
}

#[test]
fn fortran_writes_and_reads_by_the_registered_filter() {
    let bench = Bench::new();
    assert_clean(&bench, compile_fortran(&bench, "registered", Linked::Both), &["x.h5"], false);
}

#[test]
fn examples_say_what_to_do_without_a_plugin_path() {
    let bench = Bench::new();
    for program in
        [compile_c(&bench, "plugin", Linked::Hdf5), compile_fortran(&bench, "plugin", Linked::Hdf5)]
    {
        let mut command = bench.command(program);
        command.env("HDF5_PLUGIN_PATH", bench.path("nowhere")).arg("x.h5");
        let outcome = output_of(command);
        assert!(
            !outcome.success && outcome.stderr.contains("HDF5_PLUGIN_PATH must name"),
            "{}",
            outcome.text()
        );
        assert!(!bench.path("x.h5").exists());
    }
}

#[test]
fn pages_show_the_examples_as_they_are() {
    for (page, fence, example) in [
        ("docs/c.md", "```c\n", "examples/c/registered.c"),
        ("docs/fortran.md", "```fortran\n", "examples/fortran/registered.f90"),
    ] {
        let text = std::fs::read_to_string(project(page)).unwrap();
        let shown = text.split(fence).nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(
            shown,
            std::fs::read_to_string(project(example)).unwrap(),
            "{page} does not show {example}"
        );
    }
}
