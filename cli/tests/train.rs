//! `sae train` on small simulated files: a model comes out that `sae repack` takes, interrupted trainings go on, and
//! mistakes are named.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ndarray::{Array, Array3, ArrayD, IxDyn};

mod common;
use common::Folder;

const SMALL_NET: [&str; 8] = ["--components", "12", "--hidden", "24", "--latent", "32", "--threads", "2"];
const EPOCHS: [&str; 2] = ["--epochs", "4"];

fn folder_with_frames(extra: &[&str]) -> Folder {
    let folder = Folder::new();
    let synth = ["synth", "frames.h5", "-n", "600", "--set", "narrow", "--pixels", "20"];
    folder.sae(&[&synth, extra].concat()).expect(0);
    folder
}

fn read(folder: &Folder, name: &str) -> Vec<u8> {
    std::fs::read(folder.path(name)).unwrap()
}

fn text(folder: &Folder, name: &str) -> String {
    String::from_utf8(read(folder, name)).unwrap()
}

#[test]
fn a_trained_model_is_written_whole_and_compresses() {
    let folder = folder_with_frames(&[]);
    let train = ["train", "frames.h5:/frames", "-o", "small.sae", "--active", "4", "--held-out", "0.2"];
    let logs = ["--log", "curve.csv", "--log-json", "events.jsonl", "--curve", "curve.png", "--mirror"];
    let report = folder.sae(&[&train[..], &SMALL_NET, &EPOCHS, &logs].concat()).expect(0).stdout;
    assert!(report.contains("2400 patches of 20 x 20 values"), "{report}");
    assert!(report.contains("held-out patches") && report.contains("within 1e-3"), "{report}");
    let curve = text(&folder, "curve.csv");
    assert!(curve.lines().count() > 1 && curve.starts_with("step,loss"), "{curve}");
    assert!(read(&folder, "curve.png").starts_with(b"\x89PNG"));
    let repack = ["repack", "frames.h5", "small.h5", "--model", "small.sae", "--abs", "1e-2"];
    folder.sae(&[&repack[..], &["--dataset", "/frames"]].concat()).expect(0);
    let names = folder.names();
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn everything_that_happens_is_one_json_object_a_line() {
    let folder = folder_with_frames(&[]);
    let train = ["train", "frames.h5:/frames", "-o", "small.sae", "--held-out", "0.2", "--early-stop", "9"];
    folder.sae(&[&train[..], &SMALL_NET, &EPOCHS, &["--log-json", "log"]].concat()).expect(0);
    let events: Vec<serde_json::Value> =
        text(&folder, "log").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let stages: Vec<_> = of("stage").iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    let expected = ["covariance", "principal components", "projection", "network", "export and check"];
    assert_eq!(stages, expected);
    assert!(of("memory")[0]["bytes"].as_u64().unwrap() > 1_000_000);
    assert_eq!(of("steps")[0]["steps"], of("step").last().unwrap()["step"]);
    assert_eq!(of("coded_bytes").len(), 4);
    assert!(of("coded_bytes")[0]["coded_bytes"].as_u64().unwrap() > 0);
    assert!(events.iter().all(|event| event["seconds"].as_f64().unwrap() >= 0.0));
}

#[test]
fn a_bound_chooses_the_objective_by_held_out_bytes() {
    let folder = folder_with_frames(&[]);
    let train = ["train", "frames.h5:/frames", "-o", "small.sae", "--held-out", "0.2", "--basis-rows", "20"];
    let bounds =
        ["--abs", "0.01", "--rel", "0.001", "--steps", "400", "--lambda", "1e-6", "--log-json", "log"];
    let outcome = folder.sae(&[&train[..], &SMALL_NET, &bounds].concat()).expect(0);
    assert_eq!(outcome.stdout.matches("tried   active").count(), 5, "{}", outcome.stdout);
    let events: Vec<serde_json::Value> =
        text(&folder, "log").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let cost = |event: &serde_json::Value| -> f64 {
        let sizes = event["coded_bytes"].as_array().unwrap();
        assert_eq!(sizes.len(), 2);
        sizes.iter().map(|size| size["bytes"].as_f64().unwrap().ln()).sum()
    };
    let least = of("alternative").into_iter().map(cost).fold(f64::INFINITY, f64::min);
    assert_eq!(cost(of("chosen")[0]), least);
    assert!(of("alternative").iter().all(|tried| tried["lambda"] == 1e-6), "what was given is not tried");
    // Nothing but the steps and the choice enters the result: the chosen settings by hand give the same weights.
    let chosen = of("chosen")[0];
    let (active, scale) = (chosen["active"].to_string(), chosen["rate_scale"].to_string());
    let by_hand = ["--steps", "400", "--refine", "0.25", "--active", &active, "--rate-scale", &scale];
    let by_hand = [&train[..3], &["again.sae"], &train[4..], &SMALL_NET, &by_hand].concat();
    folder.sae(&by_hand).expect(0);
    let weights = |name: &str| {
        let file = read(&folder, name);
        let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        file[8 + header..].to_vec()
    };
    assert_eq!(weights("small.sae"), weights("again.sae"));
}

#[test]
fn principal_components_alone_are_a_model_too() {
    let folder = folder_with_frames(&[]);
    let train =
        ["train", "frames.h5:/frames", "-o", "control.sae", "--control", "--held-out", "0.2", "--json"];
    let report = folder.sae(&[&train[..], &SMALL_NET].concat()).expect(0).json();
    assert_eq!((report["steps"].as_u64(), report["held_out"]["nonzeros"].as_f64()), (Some(0), Some(0.0)));
    let repack = ["repack", "frames.h5", "small.h5", "--model", "control.sae", "--abs", "1e-2", "--json"];
    let verified = folder.sae(&[&repack[..], &["--dataset", "/frames"]].concat()).expect(0).json();
    let network = &verified["datasets"][0]["patches_by_method"]["network"];
    assert!(network.as_u64().is_some_and(|patches| patches > 0), "{verified}");
}

#[test]
fn counts_are_learnt_in_patches_and_reported_as_json() {
    let folder = folder_with_frames(&["--counts", "1000"]);
    let train = ["train", "frames.h5:/frames", "frames.h5:/frames", "-o", "small.sae", "--patch", "10x6"];
    let options = ["--transform", "sqrt:0.01", "--penalty", "grad", "--lambda", "0.01", "--json"];
    let report = folder.sae(&[&train[..], &SMALL_NET, &EPOCHS, &options].concat()).expect(0).json();
    let file_bytes = std::fs::metadata(folder.path("small.sae")).unwrap().len();
    assert_eq!(report["bytes"].as_u64(), Some(file_bytes));
    assert!(report["held_out"]["squared_error"].as_f64().unwrap() > 0.0);
    // 2 stacks of 600 frames of 2 × 3 patches, of which 2 % are held out in runs of 64; blank ones are left out.
    assert!((1..=128).contains(&report["held_out"]["patches"].as_u64().unwrap()), "{report}");
}

/// Smooth frames that vary, of maximum about 1000.
fn waves(n: usize, rows: usize, cols: usize) -> Array3<f32> {
    Array::from_shape_fn((n, rows, cols), |(k, y, x)| {
        let phase = (k as f32 * 0.618).fract();
        500.0 + 499.0 * ((x as f32 * (0.2 + phase) + y as f32 * 0.3 + k as f32).sin())
    })
}

#[test]
fn files_of_other_types_masks_and_larger_frames_are_one_data_set() {
    let folder = Folder::new();
    folder.write("floats.h5", |file| {
        let mut frames = waves(150, 21, 33);
        frames.slice_mut(ndarray::s![.., 3, 4]).fill(f32::NAN);
        frames.slice_mut(ndarray::s![7, .., ..]).fill(f32::NAN);
        file.new_dataset_builder().with_data(&frames).create("frames").unwrap();
    });
    folder.write("counts.h5", |file| {
        let mut counts = waves(100, 10, 16).mapv(|value| value as u16);
        counts.slice_mut(ndarray::s![.., 2, ..3]).fill(65535);
        let counts: ArrayD<u16> = counts.into_shape_with_order(IxDyn(&[10, 10, 10, 16])).unwrap();
        file.new_dataset_builder().with_data(&counts).create("scan").unwrap();
    });
    let train = ["train", "floats.h5:/frames", "counts.h5:/scan", "-o", "small.sae", "--patch", "10x16"];
    let rest = ["--mask-value", "65535", "--held-out", "0.1", "--log-json", "log"];
    let outcome = folder.sae(&[&train[..], &SMALL_NET, &EPOCHS, &rest].concat()).expect(0);
    // 150 frames of 2 × 2 patches, and 10 × 10 frames of one.
    assert!(outcome.stdout.contains("700 patches of 10 x 16 values"), "{}", outcome.stdout);
    // A mask of 65535 among values up to 999 would be almost all of a patch's energy after scaling: errors of patches
    // whose maximum is 1 would be those of a black frame.
    let model = folder.sae(&["info", "small.sae"]).expect(0).stdout;
    assert!(model.contains("floats.h5:/frames, counts.h5:/scan"), "{model}");
    let with_mask =
        folder.sae(&[&train[..], &SMALL_NET, &EPOCHS, &rest, &["--json"]].concat()).expect(0).json();
    let taken = ["--held-out", "0.1", "--json"];
    let without = folder.sae(&[&train[..], &SMALL_NET, &EPOCHS, &taken].concat()).expect(0).json();
    assert_ne!(with_mask["id"], without["id"]);
    assert!(with_mask["held_out"]["squared_error"].as_f64().unwrap() < 20.0, "{with_mask}");
}

#[test]
fn data_that_nothing_can_be_learnt_from_is_named_with_its_numbers() {
    let folder = Folder::new();
    folder.write("bad.h5", |file| {
        let dataset = |name: &str, value: f32| {
            let frames = Array3::from_elem((200, 8, 8), value);
            file.new_dataset_builder().with_data(&frames).create(name).unwrap();
        };
        dataset("flat", 7.0);
        dataset("dark", 0.0);
        dataset("masked", -1.0);
        file.new_dataset_builder().with_data(&waves(9, 8, 8)).create("few").unwrap();
    });
    let train = |inputs: &[&str]| {
        let options = ["-o", "small.sae", "--mask-value", "-1"];
        folder.sae(&[&["train"], inputs, &SMALL_NET, &EPOCHS, &options].concat()).expect(2)
    };
    let (flat, dark, masked, few) = ("bad.h5:/flat", "bad.h5:/dark", "bad.h5:/masked", "bad.h5:/few");
    train(&[flat]).says(&["bad.h5:/flat: patches that are all the same", "200 constant"]);
    train(&[dark]).says(&["bad.h5:/dark: 0 training patches that are not blank", "200 zero", "at least 24"]);
    train(&[masked]).says(&["bad.h5:/masked", "200 patches, 200 masked entirely"]);
    train(&[few]).says(&["bad.h5:/few: 9 training patches", "12 components need at least 24"]);
    train(&[dark, few]).says(&["bad.h5:/dark: 200 patches, 0 masked", "bad.h5:/few: 9 patches", "9 with"]);
    assert_eq!(folder.names(), ["bad.h5"]);
}

/// Starts a training, and interrupts it once it has made some steps.
fn interrupt_after_steps(folder: &Folder, args: &[&str], log: &Path) -> std::process::Output {
    let child = Command::new(env!("CARGO_BIN_EXE_sae"))
        .args(args)
        .current_dir(folder.path(""))
        .env("HDF5_USE_FILE_LOCKING", "FALSE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while std::fs::read_to_string(log).map_or(0, |log| log.lines().count()) < 4 {
        assert!(started.elapsed() < Duration::from_secs(120), "no step was made");
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(kill.success());
    child.wait_with_output().unwrap()
}

#[test]
fn an_interrupted_training_goes_on_bit_for_bit() {
    let folder = folder_with_frames(&[]);
    let train = ["train", "frames.h5:/frames", "--active", "4", "--steps", "6000", "--revive", "2"];
    folder.sae(&[&train[..], &SMALL_NET, &["-o", "whole.sae", "--log", "whole.csv"]].concat()).expect(0);
    let files = ["-o", "part.sae", "--checkpoint", "state", "--log", "part.csv", "--curve", "part.png"];
    let args = [&train[..], &SMALL_NET, &files].concat();
    let output = interrupt_after_steps(&folder, &args, &folder.path("part.csv"));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("of 6000 steps; the model so far was written"), "{message}");
    assert!(message.contains("sae train --resume state"), "{message}");
    folder.sae(&["info", "part.sae"]).expect(0);
    assert_ne!(read(&folder, "part.sae"), read(&folder, "whole.sae"));
    assert!(read(&folder, "part.png").starts_with(b"\x89PNG"));
    let resumed = folder.sae(&["train", "--resume", "state", "--log", "part.csv"]).expect(0);
    assert!(resumed.stdout.contains("of them done"), "{}", resumed.stdout);
    assert_eq!(read(&folder, "part.sae"), read(&folder, "whole.sae"));
    assert_eq!(text(&folder, "part.csv"), text(&folder, "whole.csv"));
    // All steps are made: to go on again only writes the model again.
    folder.sae(&["train", "--resume", "state", "-o", "again.sae"]).expect(0);
    assert_eq!(read(&folder, "again.sae"), read(&folder, "whole.sae"));
    folder
        .sae(&["train", "--resume", "state", "--hidden", "25"])
        .expect(2)
        .says(&["hidden was 24", "25 now"]);
    folder.sae(&["train", "--resume", "state", "--epochs", "9"]).expect(2).says(&["budget was 6000 steps"]);
    folder.sae(&["train", "--resume", "whole.sae"]).expect(2).says(&["whole.sae", "another file"]);
    folder.sae(&["train", "--resume", "absent"]).expect(2).says(&["absent"]);
}

#[test]
fn a_model_is_fitted_to_other_data() {
    let folder = folder_with_frames(&[]);
    let train = ["train", "frames.h5:/frames", "-o", "first.sae", "--active", "4"];
    folder.sae(&[&train[..], &SMALL_NET, &EPOCHS].concat()).expect(0);
    folder
        .sae(&["synth", "new.h5", "-n", "600", "--set", "narrow", "--pixels", "20", "--seed", "5"])
        .expect(0);
    let tune = ["train", "new.h5:/frames", "-o", "second.sae", "--init", "first.sae", "--json"];
    let rest = ["--held-out", "0.2", "--threads", "2"];
    let still = ["--steps", "1", "--learning-rate", "1e-12"];
    let before = folder.sae(&[&tune[..], &rest, &still].concat()).expect(0).json();
    let after = folder.sae(&[&tune[..], &rest, &["--epochs", "20"]].concat()).expect(0).json();
    let error = |report: &serde_json::Value| report["held_out"]["squared_error"].as_f64().unwrap();
    assert!(error(&after) < error(&before), "{before} {after}");
    let wrong = ["--hidden", "25"];
    let refused = folder.sae(&[&tune[..], &wrong].concat()).expect(2);
    refused.says(&["hidden is 24 in the model to start from, and 25 is asked for"]);
    folder.sae(&[&tune[..], &["--patch", "10x10"]].concat()).expect(2).says(&["patch is 20x20 in the model"]);
}

#[cfg(not(feature = "mpi"))]
#[test]
fn refuses_to_be_one_of_many_ranks_without_mpi() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sae"));
    command.args(["train", "frames.h5:/frames", "-o", "small.sae"]).env("OMPI_COMM_WORLD_SIZE", "2");
    let outcome = common::Outcome::from(command.output().unwrap()).expect(2);
    outcome.says(&["one of 2 ranks", "--features mpi"]);
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
        (vec!["frames.h5:/frames", "--patch", "30"], "expected ROWSxCOLS"),
        (vec!["frames.h5:/frames", "--components", "500"], "500 components"),
        (vec!["frames.h5:/frames", "--components", "200", "--held-out", "0.5"], "at least 400"),
        (vec!["frames.h5:/frames", "--penalty", "grad", "--active", "3"], "belongs to penalty z"),
        (vec!["frames.h5:/frames", "--transform", "log:0"], "offset 0"),
        (vec!["frames.h5:/frames", "--steps", "0"], "--steps 0"),
        (vec!["frames.h5:/frames", "--memory-limit", "9"], "memory limit of 9000000 bytes"),
        (vec!["frames.h5:/frames", "--checkpoint", "no/such/file"], "no/such: no such folder"),
    ];
    for (arguments, expected) in cases {
        folder.sae(&[&["train", "-o", "small.sae"], &arguments[..]].concat()).expect(2).says(&[expected]);
    }
    assert_eq!(folder.names(), ["frames.h5"]);
}
