//! `sae synth`: files of simulated frames.

mod common;

use common::{Folder, open};
use hdf5::types::VarLenUnicode;

fn frames(folder: &Folder, name: &str) -> Vec<f32> {
    open(&folder.path(name)).dataset("frames").unwrap().read_raw().unwrap()
}

#[test]
fn frames_are_scaled_and_symmetric() {
    let folder = Folder::new();
    folder.sae(&["synth", "a.h5", "-n", "40", "--pixels", "16"]).expect(0);
    let values = frames(&folder, "a.h5");
    assert_eq!(values.len(), 40 * 16 * 16);
    for frame in values.chunks(256) {
        assert_eq!(frame.iter().copied().fold(0.0, f32::max), 1.0);
        assert!(frame.iter().zip(frame.iter().rev()).all(|(value, mirrored)| value == mirrored));
    }
}

#[test]
fn a_seed_gives_the_same_frames_however_many() {
    let folder = Folder::new();
    folder.sae(&["synth", "few.h5", "-n", "10", "--seed", "7", "--pixels", "8"]).expect(0);
    folder.sae(&["synth", "many.h5", "-n", "30", "--seed", "7", "--pixels", "8"]).expect(0);
    folder.sae(&["synth", "other.h5", "-n", "10", "--seed", "8", "--pixels", "8"]).expect(0);
    let few = frames(&folder, "few.h5");
    assert_eq!(few, frames(&folder, "many.h5")[..few.len()]);
    assert_ne!(few, frames(&folder, "other.h5"));
}

#[test]
fn the_file_says_what_each_frame_shows() {
    let folder = Folder::new();
    folder
        .sae(&["synth", "a.h5", "-n", "60", "--pixels", "8", "--families", "sphere,core_shell_sphere"])
        .expect(0);
    let file = open(&folder.path("a.h5"));
    let family = file.dataset("family").unwrap();
    let names: Vec<VarLenUnicode> = family.attr("families").unwrap().read_raw().unwrap();
    assert_eq!(names.iter().map(VarLenUnicode::as_str).collect::<Vec<_>>(), ["sphere", "core_shell_sphere"]);
    let indices: Vec<u8> = family.read_raw().unwrap();
    assert!(indices.contains(&0) && indices.contains(&1) && indices.iter().all(|&i| i < 2));
    let q_max: Vec<f32> = file.dataset("qmax").unwrap().read_raw().unwrap();
    assert!(q_max.iter().all(|&q| (0.0251..=0.3982).contains(&q)));
    let seed: u64 = file.dataset("frames").unwrap().attr("seed").unwrap().read_scalar().unwrap();
    assert_eq!(seed, 1);
}

#[test]
fn counts_have_the_mean_that_was_asked_for() {
    let folder = Folder::new();
    folder
        .sae(&["synth", "c.h5", "-n", "200", "--pixels", "5", "--set", "narrow", "--counts", "400"])
        .expect(0);
    let counts: Vec<u32> = open(&folder.path("c.h5")).dataset("frames").unwrap().read_raw().unwrap();
    let brightest: f64 = counts.chunks(25).map(|frame| f64::from(frame[12])).sum::<f64>() / 200.0;
    // Five standard deviations of a mean over 200 frames.
    assert!((brightest - 400.0).abs() < 5.0 * (400.0f64 / 200.0).sqrt(), "{brightest}");
}

#[test]
fn rejects_what_cannot_be_drawn() {
    let folder = Folder::new();
    folder.sae(&["synth", "a.h5", "--families", "banana"]).expect(2).says(&["banana", "core_shell_sphere"]);
    folder.sae(&["synth", "a.h5", "--set", "narrow", "--families", "sphere"]).expect(2).says(&["--families"]);
    folder.sae(&["synth", "a.h5", "--counts", "5", "--noise", "1"]).expect(2).says(&["cannot be used with"]);
    folder.sae(&["synth", "a.h5", "--centre", "5"]).expect(2).says(&["two numbers"]);
    folder.sae(&["synth", "a.h5", "-n", "0"]).expect(2);
    folder.sae(&["synth", "no/where/a.h5", "-n", "1"]).expect(2).says(&["no/where", "no such folder"]);
    assert!(folder.names().is_empty());
}

#[cfg(unix)]
#[test]
fn interrupted_work_leaves_no_file() {
    let folder = Folder::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_sae"))
        .args(["synth", "big.h5", "-n", "4000000"])
        .current_dir(folder.path(""))
        .spawn()
        .unwrap();
    while folder.names().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began to write");
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(folder.names().is_empty());
}
