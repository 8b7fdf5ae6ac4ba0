//! Where networks run: on the CPU, unless `H5Z_SAE_DEVICE` or `h5zsae_set_device` names a GPU.
//!
//! A GPU that cannot be used is no error: the CPU takes its place, and one line on stderr says why it had to. It
//! decodes the same values; what it trains differs by rounding.
//! A forked child does without GPUs where its parent has asked for one, as CUDA does not survive a fork.

use std::collections::HashMap;
use std::ffi::c_void;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use h5z_sae::{Error, ErrorKind};
use h5z_sae_cuda::{Device, DeviceBackend, LIBRARY_NAME};
use h5z_sae_kernels::GemmBackend;
use once_cell::sync::Lazy;

use crate::host::{library_file, lock};

const VARIABLE: &str = "H5Z_SAE_DEVICE";

/// Folder beside this library that holds the device's. HDF5 opens every file on its plugin path, but no folder there.
const FOLDER: &str = "h5zsae";

/// What the program asked for; `None`: what the variable says.
static ASKED: Mutex<Option<DeviceChoice>> = Mutex::new(None);

/// What became of a GPU, once it has been asked for: `None` where it cannot be used.
type Outcome = OnceLock<Option<Arc<Device>>>;

/// GPUs that were asked for, by number.
static GPUS: Lazy<Mutex<HashMap<u32, Arc<Outcome>>>> = Lazy::new(Mutex::default);

/// The process that opens GPUs: the first that was asked to. 0 before.
static OPENER: AtomicU32 = AtomicU32::new(0);

/// The forked process that has said that it does without GPUs; 0 where none has.
static CHILD: AtomicU32 = AtomicU32::new(0);

/// A place where networks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number, from 0.
    Cuda(u32),
}

impl FromStr for DeviceChoice {
    type Err = String;

    /// `cpu`, `cuda` for GPU 0, or `cuda:N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let choice = match (text, text.strip_prefix("cuda:")) {
            ("cpu", _) => Some(Self::Cpu),
            ("cuda", _) => Some(Self::Cuda(0)),
            (_, digits) => digits.and_then(number).map(Self::Cuda),
        };
        choice.ok_or_else(|| format!("{text:?}: expected cpu, cuda or cuda:N with the number of a GPU"))
    }
}

/// Chooses for this process, whatever the variable says; `None`: what it says. Nothing is opened before it is needed.
pub fn choose(choice: Option<DeviceChoice>) {
    *lock(&ASKED) = choice;
}

/// The backend for networks: on the chosen device, opened when the first network is to run, with `cpu` for all else.
///
/// # Errors
/// `InvalidArgument` where the variable counts and is no device's name.
pub fn backend(cpu: GemmBackend) -> Result<DeviceBackend, Error> {
    let choice = chosen()?;
    Ok(DeviceBackend::new(cpu, move || open_chosen(choice)))
}

/// Where networks run: what the program asked for, else what the variable says.
///
/// # Errors
/// `InvalidArgument` where the variable counts and is no device's name.
pub fn chosen() -> Result<DeviceChoice, Error> {
    let asked = *lock(&ASKED);
    asked.map_or_else(chosen_by_variable, Ok)
}

/// The device of a choice, opened if it was not; `None` for the CPU, and for one that cannot be used, which is said.
pub fn open_chosen(choice: DeviceChoice) -> Option<Arc<Device>> {
    match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Cuda(ordinal) => device(ordinal),
    }
}

fn chosen_by_variable() -> Result<DeviceChoice, Error> {
    let Some(value) = std::env::var_os(VARIABLE) else { return Ok(DeviceChoice::Cpu) };
    let choice = value.to_string_lossy().trim().parse();
    choice.map_err(|message| Error::new(ErrorKind::InvalidArgument, format!("{VARIABLE} is {message}")))
}

/// The GPU of that number: the one place that decides whether it is used.
fn device(ordinal: u32) -> Option<Arc<Device>> {
    let process = std::process::id();
    if let Err(opener) = OPENER.compare_exchange(0, process, Ordering::Relaxed, Ordering::Relaxed)
        && opener != process
    {
        do_without(ordinal, process);
        return None;
    }
    let outcome = Arc::clone(lock(&GPUS).entry(ordinal).or_default());
    // The lock is open again: CUDA takes its time to come up, and only those who want this very GPU wait for it.
    outcome.get_or_init(|| open(ordinal)).clone()
}

/// Tells, once in a forked process, that it uses no GPU; not where its parent has found that it cannot use this one,
/// and has said so. Waits for no lock: the thread that held it may not have survived the fork.
fn do_without(ordinal: u32, process: u32) {
    let outcome = GPUS.try_lock().ok().and_then(|gpus| gpus.get(&ordinal)?.get().cloned());
    if !matches!(outcome, Some(None)) && CHILD.swap(process, Ordering::Relaxed) != process {
        report(
            ordinal,
            "this process was forked from one that uses CUDA, which does not survive that; start workers anew, in \
             Python with multiprocessing's \"spawn\"",
        );
    }
}

fn report(ordinal: u32, reason: &str) {
    // Whoever closed stderr does not want to know.
    let _ = writeln!(
        std::io::stderr(),
        "h5zsae: GPU cuda:{ordinal} is not used, the CPU takes its place: {reason}"
    );
}

fn open(ordinal: u32) -> Option<Arc<Device>> {
    let report = move |reason: &str| report(ordinal, reason);
    let opened = find_library().and_then(|library| Device::open(&library, ordinal, report));
    opened.map(Arc::new).map_err(|reason| report(&reason)).ok()
}

/// The library that holds the kernels.
///
/// # Errors
/// A sentence that names the places searched, and the remedy.
fn find_library() -> Result<PathBuf, String> {
    let candidates = candidates(&our_file().ok_or("the file of this library is not known")?);
    candidates.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let searched: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        format!("there is no {}; `make cuda` builds it (docs/cuda.md)", searched.join(" and no "))
    })
}

/// The file that holds this code, links followed.
fn our_file() -> Option<PathBuf> {
    let loaded = library_file(our_file as *const c_void)?;
    // A bare name is that of a program which the shell found on its path: it says nothing of where it lies.
    let is_bare = loaded.components().count() == 1;
    let path = if is_bare { std::env::current_exe().ok()? } else { loaded };
    path.canonicalize().ok()
}

/// Beside this library, and for a program `bin/sae` beside the library in `lib`.
fn candidates(ours: &Path) -> Vec<PathBuf> {
    let folder = ours.parent().unwrap_or(Path::new("/"));
    let beside = Some(folder.join(FOLDER));
    let of_prefix = folder.parent().map(|prefix| prefix.join("lib").join(FOLDER));
    beside.into_iter().chain(of_prefix).map(|folder| folder.join(LIBRARY_NAME)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_of_devices() {
        assert_eq!("cpu".parse(), Ok(DeviceChoice::Cpu));
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
        assert_eq!("cuda:12".parse(), Ok(DeviceChoice::Cuda(12)));
    }

    #[test]
    fn rejects_names_that_are_no_devices() {
        for text in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:1.0", "cuda:4294967296", "cpu:0"]
        {
            let message = DeviceChoice::from_str(text).unwrap_err();
            assert!(message.contains(&format!("{text:?}")) && message.contains("cuda:N"), "{message}");
        }
    }

    #[test]
    fn looks_beside_the_plugin_and_below_the_prefix_of_a_program() {
        let found = candidates(Path::new("/usr/local/bin/sae"));
        let expected = ["/usr/local/bin/h5zsae/libh5zsae_cuda.so", "/usr/local/lib/h5zsae/libh5zsae_cuda.so"];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
