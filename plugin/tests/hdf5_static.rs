//! Programs with HDF5 linked in statically, from Debian's archive. Such a program shows HDF5's functions to nobody,
//! unless it was linked to show them all.

mod common;

use common::{Bench, Outcome, corrupt_stream, output_of, pkg_config_hdf5, project};
use std::path::PathBuf;

/// What the archive needs, as Debian builds it.
const LIBRARIES: [&str; 5] = ["-lsz", "-laec", "-lz", "-ldl", "-lpthread"];

/// What its parts that no program of ours uses need beyond that.
const LIBRARIES_OF_ALL: [&str; 2] = ["-lcurl", "-lcrypto"];

#[derive(Clone, Copy)]
enum Shown {
    Nothing,
    Everything,
}

/// `libhdf5.a`, beside the shared library.
fn archive() -> String {
    let flags = pkg_config_hdf5();
    let folder = flags.iter().find_map(|flag| flag.strip_prefix("-L")).expect("a folder of libhdf5");
    let path = PathBuf::from(folder).join("libhdf5.a");
    assert!(path.exists(), "no {}: libhdf5-dev has it", path.display());
    path.display().to_string()
}

/// Compiles `tests/c/<name>.c` with HDF5 in it.
fn compile(bench: &Bench, name: &str, shown: Shown) -> PathBuf {
    let archive = archive();
    let whole = ["-rdynamic", "-Wl,--whole-archive", &archive, "-Wl,--no-whole-archive"];
    let hdf5: Vec<&str> = match shown {
        Shown::Nothing => [&[archive.as_str()][..], &LIBRARIES].concat(),
        Shown::Everything => [&whole[..], &LIBRARIES, &LIBRARIES_OF_ALL].concat(),
    };
    let headers = pkg_config_hdf5().into_iter().filter(|flag| flag.starts_with("-I"));
    let flags: Vec<String> =
        headers.chain(bench.link_flags()).chain(hdf5.into_iter().map(str::to_string)).collect();
    let source = project(&format!("plugin/tests/c/{name}.c"));
    bench.compile_sources("gcc", &["-std=c11"], &[&source], &flags)
}

/// A bench with x.h5, written through the shared HDF5, whose dataset /smooth may use the built-in model, and y.h5,
/// whose dataset /singles is in several chunks.
fn with_files() -> Bench {
    let writer = Bench::new();
    writer.run(writer.compile("smooth"), &["x.h5", "0", "0"]).expect_success();
    writer.run(writer.compile("roundtrip"), &["y.h5"]).expect_success();
    let bench = Bench::new();
    for name in ["x.h5", "y.h5"] {
        std::fs::copy(writer.path(name), bench.path(name)).unwrap();
    }
    bench
}

/// Runs a program that finds no plugin on its path: it has the filter by registering it.
fn run_registered(bench: &Bench, program: PathBuf, arguments: &[&str]) -> Outcome {
    let mut command = bench.command(program);
    command.args(arguments).env("HDF5_PLUGIN_PATH", bench.path("nowhere"));
    output_of(command).expect_success()
}

#[test]
fn reads_in_a_program_that_shows_nothing() {
    let bench = with_files();
    let program = compile(&bench, "registered", Shown::Nothing);
    for arguments in [["x.h5", "smooth", "1"], ["y.h5", "singles", "1"]] {
        let outcome = run_registered(&bench, program.clone(), &arguments);
        let lines: Vec<_> = outcome.stdout.lines().collect();
        assert!(lines[0].starts_with("h5zsae_register_filter: no HDF5 library is visible"), "{}", lines[0]);
        assert_eq!((&lines[1..], outcome.stderr.as_str()), (&["read"][..], ""));
    }
}

#[test]
fn says_once_what_no_error_stack_can_take() {
    let bench = with_files();
    corrupt_stream(&bench.path("y.h5"), 40);
    let program = compile(&bench, "registered", Shown::Nothing);
    let outcome = run_registered(&bench, program, &["y.h5", "singles", "3"]);
    assert!(outcome.stdout.ends_with("failed\nfailed\nfailed\n"), "{}", outcome.stdout);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let sentence = "H5Z-SAE filter: cannot decompress a chunk: checksum";
    assert!(
        outcome.stderr.starts_with(sentence) && outcome.stderr.contains("said here once"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn refuses_to_create_datasets_where_it_cannot_ask_for_their_type() {
    let bench = Bench::new();
    let program = compile(&bench, "create", Shown::Nothing);
    let outcome = bench.run(program, &["z.h5", "f32", "none", "0"]).expect_success();
    assert!(outcome.stdout.starts_with("refused"), "{}", outcome.text());
    assert!(outcome.stderr.contains("does not show its function H5Tget_class"), "{}", outcome.stderr);
}

#[test]
fn does_everything_in_a_program_that_shows_all() {
    let bench = with_files();
    bench.run(compile(&bench, "roundtrip", Shown::Everything), &["z.h5"]).expect_success();
    let outcome =
        run_registered(&bench, compile(&bench, "registered", Shown::Everything), &["x.h5", "smooth", "1"]);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("registered\nread\n", ""));
}
