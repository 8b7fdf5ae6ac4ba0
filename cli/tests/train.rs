//! `sae train` on small simulated files: a model comes out that `sae repack` takes, and mistakes are named.

use std::path::Path;
use std::process::{Command, Output};

fn sae(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sae")).args(arguments).current_dir(folder).output().unwrap()
}

fn stdout_of(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn error_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SMALL_NET: [&str; 8] = ["--components", "12", "--hidden", "24", "--latent", "32", "--epochs", "4"];

fn folder_with_frames(extra: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let synth = ["synth", "frames.h5", "-n", "600", "--set", "narrow", "--pixels", "20"];
    stdout_of(&sae(&[&synth, extra].concat(), folder.path()));
    folder
}

#[test]
fn a_trained_model_is_written_whole_and_compresses() {
    let folder = folder_with_frames(&[]);
    let train = ["train", "frames.h5:/frames", "-o", "small.sae", "--active", "4", "--held-out", "0.2"];
    let curve = ["--log", "curve.csv", "--mirror"];
    let report = stdout_of(&sae(&[&train[..], &SMALL_NET, &curve].concat(), folder.path()));
    assert!(report.contains("2400 patches of 20 x 20 values"), "{report}");
    assert!(report.contains("held-out patches") && report.contains("within 1e-3"), "{report}");
    let curve = std::fs::read_to_string(folder.path().join("curve.csv")).unwrap();
    assert!(curve.lines().count() > 1 && curve.starts_with("step,loss"), "{curve}");
    let repack = ["repack", "frames.h5", "small.h5", "--model", "small.sae", "--abs", "1e-2"];
    stdout_of(&sae(&[&repack[..], &["--dataset", "/frames"]].concat(), folder.path()));
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn counts_are_learnt_in_patches_and_reported_as_json() {
    let folder = folder_with_frames(&["--counts", "1000"]);
    let train = ["train", "frames.h5:/frames", "frames.h5:/frames", "-o", "small.sae", "--patch", "10x6"];
    let options = ["--transform", "sqrt:0.01", "--penalty", "grad", "--lambda", "0.01", "--json"];
    let report = stdout_of(&sae(&[&train[..], &SMALL_NET, &options].concat(), folder.path()));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let file_bytes = std::fs::metadata(folder.path().join("small.sae")).unwrap().len();
    assert_eq!(report["bytes"].as_u64(), Some(file_bytes));
    assert!(report["held_out"]["squared_error"].as_f64().unwrap() > 0.0);
    // 2 stacks of 600 frames of 2 × 3 patches, of which 2 % are held out in runs of 64; blank ones are left out.
    assert!((1..=128).contains(&report["held_out"]["patches"].as_u64().unwrap()), "{report}");
}

#[cfg(not(feature = "mpi"))]
#[test]
fn refuses_to_be_one_of_many_ranks_without_mpi() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sae"));
    command.args(["train", "frames.h5:/frames", "-o", "small.sae"]).current_dir(folder.path());
    let message = error_of(&command.env("OMPI_COMM_WORLD_SIZE", "2").output().unwrap());
    assert!(message.contains("one of 2 ranks") && message.contains("--features mpi"), "{message}");
}

#[test]
fn mistakes_are_named_and_leave_no_file() {
    let folder = folder_with_frames(&[]);
    let cases = [
        (vec!["frames.h5"], "expected FILE:/DATASET"),
        (vec!["absent.h5:/frames"], "absent.h5"),
        (vec!["frames.h5:/absent"], "frames.h5:/absent"),
        (vec!["frames.h5:/family"], "expected frames"),
        (vec!["frames.h5:/frames", "--patch", "30x30"], "smaller than a patch of 30 x 30"),
        (vec!["frames.h5:/frames", "--components", "500"], "500 components"),
        (vec!["frames.h5:/frames", "--components", "200", "--held-out", "0.5"], "at least 400"),
        (vec!["frames.h5:/frames", "--penalty", "grad", "--active", "3"], "belongs to penalty z"),
        (vec!["frames.h5:/frames", "--transform", "log:0"], "offset 0"),
    ];
    for (arguments, expected) in cases {
        let output = sae(&[&["train", "-o", "small.sae"], &arguments[..]].concat(), folder.path());
        let message = error_of(&output);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
