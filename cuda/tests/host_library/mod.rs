//! The kernels, compiled once for this machine's processor by its C++ compiler, for tests of this crate and of others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

use h5z_sae_cuda::{Device, LIBRARY_NAME};
use tempfile::TempDir;

/// Number of the host's device that lacks memory.
pub const SHORT_OF_MEMORY: u32 = 1;

/// The library of the host's build.
pub fn host_library() -> &'static Path {
    static BUILT: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
        let folder = TempDir::new().unwrap();
        let library = compile(folder.path());
        (folder, library)
    });
    &BUILT.1
}

/// Compiles the kernels with checks for undefined arithmetic: an overflow ends the tests.
fn compile(folder: &Path) -> PathBuf {
    let library = folder.join(LIBRARY_NAME);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cuda/kernels/library.cu");
    let language = ["-x", "c++", "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-shared", "-pthread"];
    let warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"];
    let checks = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined", "-o"];
    let mut command = Command::new("g++");
    command.args(language).args(warnings).args(checks).arg(&library).arg(&source);
    let output = command.output().expect("cannot run g++");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// What a device reported.
pub type Reports = Arc<Mutex<Vec<String>>>;

/// Opens a device of a library and keeps its reports.
pub fn open(library: &Path, ordinal: u32) -> Result<(Device, Reports), String> {
    let reports = Reports::default();
    let kept = Arc::clone(&reports);
    let device = Device::open(library, ordinal, move |reason| kept.lock().unwrap().push(reason.to_string()))?;
    Ok((device, reports))
}
