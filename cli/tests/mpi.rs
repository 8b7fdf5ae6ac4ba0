//! `sae train` under mpirun. Needs the feature `mpi`, so that plain `cargo test` passes it by: scripts/test.sh runs it.

use std::path::Path;
use std::process::{Command, Output};

/// Largest relative difference of two loss curves. Ranks add up gradients in another order, and f32 rounds at 6e-8: the
/// curves below are off by 1e-8. On another CPU a latent may just pass the limit, or just not: 1e-5 or so.
const CURVE_TOLERANCE: f64 = 1e-4;

const TRAIN: [&str; 15] = [
    "train",
    "frames.h5:/frames",
    "-o",
    "model.sae",
    "--components",
    "12",
    "--hidden",
    "24",
    "--latent",
    "32",
    "--active",
    "4",
    "--threads",
    "1",
    "--mirror",
];

fn sae(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sae")).args(arguments).current_dir(folder).output().unwrap()
}

fn mpirun_sae(n_ranks: &str, arguments: &[&str], folder: &Path) -> Output {
    // Open MPI refuses root, and more ranks than cores, unless told.
    let mpirun = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", n_ranks];
    let mut command = Command::new("mpirun");
    command.args(mpirun).arg(env!("CARGO_BIN_EXE_sae")).args(arguments).current_dir(folder);
    command.output().expect("mpirun, of Debian's openmpi-bin")
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}{}", text_of(&output.stdout), text_of(&output.stderr));
}

fn folder_with_frames() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let synth = ["synth", "frames.h5", "-n", "600", "--set", "narrow", "--pixels", "20"];
    assert_success(&sae(&synth, folder.path()));
    folder
}

/// The columns step, loss, squared error.
fn curve(path: &Path) -> Vec<[f64; 3]> {
    let text = std::fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let mut numbers = line.split(',').map(|number| number.parse().unwrap());
        std::array::from_fn(|_| numbers.next().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

fn difference(a: &[[f64; 3]], b: &[[f64; 3]]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| a[0] == b[0]), "reports of other steps");
    let pairs = a.iter().zip(b).flat_map(|(a, b)| [(a[1], b[1]), (a[2], b[2])]);
    pairs.map(|(a, b)| (a - b).abs() / a).fold(0.0, f64::max)
}

#[test]
fn two_ranks_have_the_loss_curve_of_one() {
    let folder = folder_with_frames();
    let arguments = |log| [&TRAIN[..], &["--epochs", "60", "--log", log]].concat();
    let one = mpirun_sae("1", &arguments("one.csv"), folder.path());
    let two = mpirun_sae("2", &arguments("two.csv"), folder.path());
    let without = sae(&arguments("without.csv"), folder.path());
    [&one, &two, &without].into_iter().for_each(assert_success);
    let report = text_of(&two.stdout);
    assert!(report.contains("on each of 2 ranks"), "{report}");
    assert_eq!(report.matches("held-out patches").count(), 1, "{report}");
    let curves = ["one.csv", "two.csv", "without.csv"].map(|name| curve(&folder.path().join(name)));
    let [one, two, without] = curves;
    assert!(
        one.len() > 10 && one[one.len() - 1][1] < 0.5 * one[0][1],
        "learns too little to compare anything"
    );
    assert_eq!(difference(&one, &without), 0.0, "without mpirun a rank is alone");
    let off = difference(&one, &two);
    println!("the loss curve of two ranks is off by {off:.1e}, over {} reports", one.len());
    assert!(off < CURVE_TOLERANCE, "off by {off}");
}

#[test]
fn ranks_agree_on_what_a_time_budget_allows() {
    let folder = folder_with_frames();
    let two = mpirun_sae("2", &[&TRAIN[..], &["--minutes", "0.03", "--json"]].concat(), folder.path());
    assert_success(&two);
    let report: serde_json::Value = serde_json::from_slice(&two.stdout).unwrap();
    assert!(report["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{report}");
}

#[test]
fn mistakes_are_told_once_and_end_all_ranks() {
    let folder = folder_with_frames();
    let cases = [("absent.h5:/frames", "absent.h5"), ("frames.h5:/family", "expected frames")];
    for (input, expected) in cases {
        let output = mpirun_sae("2", &["train", input, "-o", "model.sae"], folder.path());
        assert_eq!(output.status.code(), Some(2));
        let message = text_of(&output.stderr);
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.matches("sae: ").count(), 1, "{message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
