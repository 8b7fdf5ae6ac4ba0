//! A device: it holds the networks that it was given, and runs them. After its first failure it declines everything.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use h5z_sae::sae::backend::{CheckedCodes, NetworkDevice};
use h5z_sae::sae::{Model, ModelId};

use crate::codes::{CodeLists, count};
use crate::image::with_image;
use crate::library::{Library, RawDevice, RawNetwork, call};

/// A device that runs networks, and the process that may use it.
pub struct Device {
    library: Library,
    handle: NonNull<RawDevice>,
    networks: Mutex<HashMap<NetworkKey, Network>>,
    /// CUDA's state is not inherited by a forked child.
    process: u32,
    failed: AtomicBool,
    report: Box<dyn Fn(&str) + Send + Sync>,
}

/// A model's id, n, ℓ and K. Two models can be made to share the id, but sizes measure what a call reads and writes.
type NetworkKey = (ModelId, [usize; 3]);

/// A model's weights in the device's memory. Freed by the device alone.
#[derive(Clone, Copy)]
struct Network(NonNull<RawNetwork>);

// SAFETY: handles of the library may be used from several threads at once (include/h5zsae_cuda.h).
unsafe impl Send for Network {}
// SAFETY: as above; all other fields are `Send` and `Sync` by themselves.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Opens device `ordinal`, from 0, by the library in the file `library`. `report` is called with a sentence when
    /// the device fails later on: once, as nothing is asked of it after that.
    ///
    /// # Errors
    /// A sentence: no such library, another version of it, no driver, no such device.
    pub fn open(
        library: &Path,
        ordinal: u32,
        report: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let library = Library::open(library)?;
        let mut handle = null_mut();
        // SAFETY: `handle` is valid for the library to write to.
        call(|message| unsafe { (library.device_new)(ordinal, &mut handle, message) })?;
        let handle = NonNull::new(handle).ok_or("the library gave no device")?;
        Ok(Self {
            library,
            handle,
            networks: Mutex::default(),
            process: std::process::id(),
            failed: AtomicBool::new(false),
            report: Box::new(report),
        })
    }

    /// What runs the kernels: `CUDA`, or `host` for a library that was built for tests.
    pub fn platform(&self) -> &'static str {
        self.library.platform_name()
    }

    /// Whether this process may ask it for anything: it opened the device, and has not seen it fail.
    pub fn is_usable(&self) -> bool {
        self.process == std::process::id() && !self.failed.load(Ordering::Relaxed)
    }

    /// Runs `work` on the model's network; whether it succeeded.
    fn on_network(&self, model: &Model, work: impl FnOnce(Network) -> Result<(), String>) -> bool {
        if !self.is_usable() {
            return false;
        }
        let outcome = self.network(model).and_then(work);
        outcome.map_err(|reason| self.give_up(&reason)).is_ok()
    }

    /// Says why the device is not used any more, unless that was said before, and declines everything from now on.
    pub fn give_up(&self, reason: &str) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            (self.report)(reason);
        }
    }

    /// What trainings are made with.
    ///
    /// # Errors
    /// A sentence, where this process may not use the device any more.
    pub(crate) fn library(&self) -> Result<(&Library, NonNull<RawDevice>), String> {
        if self.is_usable() {
            return Ok((&self.library, self.handle));
        }
        Err("it failed before, or was opened by another process".to_string())
    }

    /// The library, where its handles mean something: in the process that opened the device.
    pub(crate) fn library_to_free(&self) -> Option<&Library> {
        (self.process == std::process::id()).then_some(&self.library)
    }

    /// The model's network; its weights are copied to the device at their first use.
    fn network(&self, model: &Model) -> Result<Network, String> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (model.id(), [model.n_values(), model.n_latents(), model.n_linear()]);
        if let Some(&network) = networks.get(&key) {
            return Ok(network);
        }
        let network = self.load(model)?;
        networks.insert(key, network);
        Ok(network)
    }

    fn load(&self, model: &Model) -> Result<Network, String> {
        let mut network = null_mut();
        with_image(model, |image| {
            // SAFETY:
            // - the device is open as long as `self` lives;
            // - `image` holds the tensors of a checked model, whose lengths are those that its sizes state;
            // - `network` is valid for the library to write to.
            call(|message| unsafe {
                (self.library.network_new)(self.handle.as_ptr(), image, &mut network, message)
            })
        })?;
        NonNull::new(network).map(Network).ok_or_else(|| "the library gave no network".to_string())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("platform", &self.platform()).finish_non_exhaustive()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        let networks = self.networks.get_mut().unwrap_or_else(PoisonError::into_inner);
        for Network(network) in networks.drain().map(|(_, network)| network) {
            // SAFETY: made by `load`, freed nowhere else, and nobody uses a device that is being dropped.
            unsafe { (self.library.network_free)(network.as_ptr()) };
        }
        // SAFETY: made by `open` and freed nowhere else; its networks are gone.
        unsafe { (self.library.device_free)(self.handle.as_ptr()) };
    }
}

fn n_values(codes: CheckedCodes<'_>) -> usize {
    codes.codes().len() * codes.model().n_values()
}

impl NetworkDevice for Device {
    fn decode_patches(&self, codes: CheckedCodes<'_>, out: &mut [i32]) -> bool {
        assert_eq!(out.len(), n_values(codes), "values");
        self.on_network(codes.model(), |Network(network)| {
            let lists = CodeLists::try_new(codes)?;
            // SAFETY: the network of this model; lists of codes checked for it; room for n values each, as asserted.
            call(|message| unsafe {
                (self.library.decode)(network.as_ptr(), &lists.raw(), out.as_mut_ptr(), message)
            })
        })
    }

    fn reconstruct_transformed(&self, codes: CheckedCodes<'_>, out: &mut [f32]) -> bool {
        assert_eq!(out.len(), n_values(codes), "values");
        self.on_network(codes.model(), |Network(network)| {
            let lists = CodeLists::try_new(codes)?;
            // SAFETY: the network of this model; lists of codes checked for it; room for n values each, as asserted.
            call(|message| unsafe {
                (self.library.reconstruct)(network.as_ptr(), &lists.raw(), out.as_mut_ptr(), message)
            })
        })
    }

    fn latents(&self, model: &Model, patches: &[f32], out: &mut [f32]) -> bool {
        let n_patches = patches.len() / model.n_values();
        assert_eq!(out.len(), n_patches * model.n_latents(), "latents");
        self.on_network(model, |Network(network)| {
            let n_patches = count(n_patches)?;
            // SAFETY: the network of this model; n values are read and ℓ written for each patch, as asserted.
            call(|message| unsafe {
                (self.library.latents)(
                    network.as_ptr(),
                    n_patches,
                    patches.as_ptr(),
                    out.as_mut_ptr(),
                    message,
                )
            })
        })
    }

    fn project(&self, model: &Model, residual: &[f32], out: &mut [f32]) -> bool {
        let n_patches = residual.len() / model.n_values();
        assert_eq!(out.len(), n_patches * model.n_linear(), "coefficients");
        self.on_network(model, |Network(network)| {
            let n_patches = count(n_patches)?;
            // SAFETY: the network of this model; n values are read and K written for each patch, as asserted.
            call(|message| unsafe {
                (self.library.project)(
                    network.as_ptr(),
                    n_patches,
                    residual.as_ptr(),
                    out.as_mut_ptr(),
                    message,
                )
            })
        })
    }
}
