//! Whatever is wrong with a device, its backend decodes the same values on the CPU, and says once what was wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use h5z_sae::sae::Model;
use h5z_sae::sae::backend::{Backend, ScalarBackend};
use h5z_sae::sae::testing::{random_codes, random_spec};
use h5z_sae_cuda::DeviceBackend;
use h5z_sae_kernels::GemmBackend;
use tempfile::TempDir;

use crate::{SHORT_OF_MEMORY, host_library, open};

fn refusal(library: &Path, ordinal: u32) -> String {
    open(library, ordinal).expect_err("the device opened")
}

/// A shared library of one line of C.
fn compile_c(folder: &TempDir, source: &str) -> PathBuf {
    let (file, library) = (folder.path().join("other.c"), folder.path().join("other.so"));
    std::fs::write(&file, source).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&file).status();
    assert!(compiled.expect("cannot run cc").success());
    library
}

#[test]
fn names_a_library_that_is_missing_or_none() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("libh5zsae_cuda.so");
    assert!(refusal(&missing, 0).contains("libh5zsae_cuda.so"), "{}", refusal(&missing, 0));
    std::fs::write(&missing, "no library").unwrap();
    assert!(refusal(&missing, 0).contains("libh5zsae_cuda.so"), "{}", refusal(&missing, 0));
}

#[test]
fn rejects_another_version_and_missing_functions() {
    let folder = TempDir::new().unwrap();
    let other = compile_c(&folder, "unsigned h5zsae_cuda_abi_version(void) { return 4711; }");
    assert!(refusal(&other, 0).contains("has version 4711 of the interface"), "{}", refusal(&other, 0));
    let folder = TempDir::new().unwrap();
    let empty = compile_c(&folder, "unsigned h5zsae_cuda_abi_version(void) { return 2; }");
    assert!(refusal(&empty, 0).contains("h5zsae_cuda_platform"), "{}", refusal(&empty, 0));
}

#[test]
fn names_the_device_that_is_not_there() {
    assert!(open(host_library(), 1).is_ok());
    for ordinal in [2, u32::MAX] {
        let message = refusal(host_library(), ordinal);
        assert!(message.starts_with("there is no device "), "{message}");
    }
}

#[test]
fn a_device_short_of_memory_loses_nothing_and_says_so_once() {
    let (device, reports) = open(host_library(), SHORT_OF_MEMORY).unwrap();
    let backend = DeviceBackend::new(GemmBackend::default(), || Some(Arc::new(device)));
    let spec = random_spec(0);
    let model = Model::parse(&spec.to_bytes().unwrap()).unwrap();
    for seed in 0..3 {
        let codes = random_codes(&spec, seed, 500);
        let mut found = vec![0; codes.len() * model.n_values()];
        let mut expected = found.clone();
        model.decode_patches(&backend, &codes, &mut found).unwrap();
        model.decode_patches(&ScalarBackend, &codes, &mut expected).unwrap();
        assert_eq!(found, expected);
    }
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].starts_with("allocating "), "{reports:?}");
    assert!(backend.device().is_none());
}
