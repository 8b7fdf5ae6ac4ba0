//! Runs the program and looks at what it says.
#![allow(dead_code, reason = "every test binary uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder for one test, removed at its end.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Names of all files, hidden ones too.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Runs `sae` in the folder.
    pub fn sae(&self, args: &[&str]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_sae"))
            .args(args)
            .current_dir(self.0.path())
            .env_remove("H5Z_SAE_MODEL_PATH")
            .env_remove("H5Z_SAE_DEVICE")
            // Programs that other tests start meanwhile inherit this process's open files, and with them HDF5's locks.
            .env("HDF5_USE_FILE_LOCKING", "FALSE")
            .output()
            .unwrap();
        Outcome::from(output)
    }

    /// Lets a test write an HDF5 file. All that it opens must be closed when it returns, or the file stays locked.
    pub fn write(&self, name: &str, fill: impl FnOnce(&hdf5::File)) {
        let file = hdf5::File::append(self.path(name)).unwrap();
        fill(&file);
        file.close().unwrap();
    }

    /// Runs `sae synth` for a small file of frames.
    pub fn synth(&self, name: &str, n: usize) {
        self.sae(&["synth", name, "-n", &n.to_string(), "--pixels", "24", "--set", "narrow"]).expect(0);
    }
}

/// What the program printed, and its exit code.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Outcome {
    /// Asserts the exit code.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that stderr holds every one of the words.
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "'{word}' is not in {:#?}", self);
        }
        self
    }

    /// Stdout as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Opens a file that a test has written.
pub fn open(path: &Path) -> hdf5::File {
    hdf5::File::open(path).unwrap()
}
