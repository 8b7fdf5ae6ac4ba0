//! The functions of `libh5zsae_cuda.so`, and the structures of `include/h5zsae_cuda.h` as Rust sees them.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

use libloading::os::unix::{Library as SharedObject, RTLD_LOCAL, RTLD_NOW};

/// File name of the library.
pub const LIBRARY_NAME: &str = "libh5zsae_cuda.so";

/// `H5ZSAE_CUDA_ABI_VERSION`.
const ABI_VERSION: u32 = 2;

/// Longest sentence of a failure, with its NUL.
const MESSAGE_BYTES: usize = 512;

/// `h5zsae_cuda_device`.
#[repr(C)]
pub(crate) struct RawDevice {
    _opaque: [u8; 0],
}

/// `h5zsae_cuda_network`.
#[repr(C)]
pub(crate) struct RawNetwork {
    _opaque: [u8; 0],
}

/// `h5zsae_cuda_training`.
#[repr(C)]
pub(crate) struct RawTraining {
    _opaque: [u8; 0],
}

/// `h5zsae_cuda_message`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RawMessage {
    text: *mut c_char,
    bytes: usize,
}

/// `h5zsae_cuda_block`.
#[repr(C)]
pub(crate) struct RawBlock {
    pub(crate) weights: *const i16,
    pub(crate) rows: u32,
    pub(crate) weight_bits: u32,
}

/// `h5zsae_cuda_model`.
#[repr(C)]
pub(crate) struct RawModel {
    pub(crate) n_values: u32,
    pub(crate) n_stored: u32,
    pub(crate) n_latents: u32,
    pub(crate) n_hidden: u32,
    pub(crate) n_coefs: u32,
    pub(crate) n_linear: u32,
    pub(crate) hidden: *const c_void,
    pub(crate) hidden_weight_bits: u32,
    pub(crate) hidden_bias: *const i32,
    pub(crate) hidden_shift: u32,
    pub(crate) hidden_bits: u32,
    pub(crate) coef: RawBlock,
    pub(crate) coef_bias: *const i32,
    pub(crate) coef_shift: *const u8,
    pub(crate) coef_frac_bits: *const u8,
    pub(crate) coef_bits: u32,
    pub(crate) basis: *const RawBlock,
    pub(crate) n_basis_blocks: u32,
    pub(crate) mean: *const i64,
    pub(crate) output_frac_bits: u32,
    pub(crate) transform: u32,
    pub(crate) offset_q24: u32,
    pub(crate) log_exponent_q24: i64,
    pub(crate) powers_q30: *const u32,
    pub(crate) quarter_octaves_q30: *const u32,
    pub(crate) basis_real: *const f32,
    pub(crate) inverse_norms: *const f32,
    pub(crate) mean_real: *const f32,
    pub(crate) input: *const f32,
    pub(crate) input_bias: *const f32,
    pub(crate) latent: *const f32,
    pub(crate) latent_bias: *const f32,
    pub(crate) input_is_direct: u32,
}

/// `h5zsae_cuda_codes`.
#[repr(C)]
pub(crate) struct RawCodes {
    pub(crate) n_patches: u32,
    pub(crate) latent_start: *const u32,
    pub(crate) latent_index: *const u32,
    pub(crate) latent_step: *const i32,
    pub(crate) linear_start: *const u32,
    pub(crate) linear_index: *const u32,
    pub(crate) linear_level: *const i32,
    pub(crate) linear_step_quarters: *const u8,
}

/// `h5zsae_cuda_training_sizes`.
#[repr(C)]
pub(crate) struct RawTrainingSizes {
    pub(crate) n_components: u32,
    pub(crate) n_hidden: u32,
    pub(crate) n_latents: u32,
    pub(crate) most_patches: u32,
    pub(crate) input_scale: *const f32,
}

/// `h5zsae_cuda_training_state`.
#[repr(C)]
pub(crate) struct RawTrainingState {
    pub(crate) weights: *mut f32,
    pub(crate) mean: *mut f32,
    pub(crate) square: *mut f32,
}

/// `h5zsae_cuda_training_step`.
#[repr(C)]
pub(crate) struct RawTrainingStep {
    pub(crate) n_patches: u32,
    pub(crate) active: u32,
    pub(crate) steps: u32,
    pub(crate) refines: u32,
    pub(crate) components: *const f32,
    pub(crate) sparsity_lambda: f64,
    pub(crate) rate_scale: f64,
    pub(crate) learning_rate: f32,
    pub(crate) clip_norm: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    pub(crate) mean_correction: f32,
    pub(crate) square_correction: f32,
}

/// `h5zsae_cuda_training_sums`.
#[repr(C)]
pub(crate) struct RawTrainingSums {
    pub(crate) squared_error: *mut f64,
    pub(crate) distortion: *mut f64,
    pub(crate) l1: *mut f64,
    pub(crate) fired: *mut u32,
}

macro_rules! function_table {
    ($($field:ident = $symbol:literal: $signature:ty,)*) => {
        /// The library, open for the rest of the process, and its functions.
        pub(crate) struct Library {
            $(pub(crate) $field: $signature,)*
        }

        impl Library {
            /// # Errors
            /// The name of the first function that the library does not have.
            fn of(object: &SharedObject) -> Result<Self, libloading::Error> {
                Ok(Self {
                    $(
                        // SAFETY: the signature is that of include/h5zsae_cuda.h for the version that was compared.
                        $field: *unsafe { object.get::<$signature>($symbol.to_bytes_with_nul())? },
                    )*
                })
            }
        }
    };
}

function_table! {
    platform = c"h5zsae_cuda_platform": unsafe extern "C" fn() -> *const c_char,
    device_new = c"h5zsae_cuda_device_new": unsafe extern "C" fn(u32, *mut *mut RawDevice, RawMessage) -> c_int,
    device_free = c"h5zsae_cuda_device_free": unsafe extern "C" fn(*mut RawDevice),
    network_new = c"h5zsae_cuda_network_new":
        unsafe extern "C" fn(*mut RawDevice, *const RawModel, *mut *mut RawNetwork, RawMessage) -> c_int,
    network_free = c"h5zsae_cuda_network_free": unsafe extern "C" fn(*mut RawNetwork),
    decode = c"h5zsae_cuda_decode":
        unsafe extern "C" fn(*mut RawNetwork, *const RawCodes, *mut i32, RawMessage) -> c_int,
    reconstruct = c"h5zsae_cuda_reconstruct":
        unsafe extern "C" fn(*mut RawNetwork, *const RawCodes, *mut f32, RawMessage) -> c_int,
    latents = c"h5zsae_cuda_latents":
        unsafe extern "C" fn(*mut RawNetwork, u32, *const f32, *mut f32, RawMessage) -> c_int,
    project = c"h5zsae_cuda_project":
        unsafe extern "C" fn(*mut RawNetwork, u32, *const f32, *mut f32, RawMessage) -> c_int,
    training_new = c"h5zsae_cuda_training_new":
        unsafe extern "C" fn(*mut RawDevice, *const RawTrainingSizes, *mut *mut RawTraining, RawMessage) -> c_int,
    training_free = c"h5zsae_cuda_training_free": unsafe extern "C" fn(*mut RawTraining),
    training_write = c"h5zsae_cuda_training_write":
        unsafe extern "C" fn(*mut RawTraining, *const RawTrainingState, RawMessage) -> c_int,
    training_read = c"h5zsae_cuda_training_read":
        unsafe extern "C" fn(*mut RawTraining, *const RawTrainingState, RawMessage) -> c_int,
    training_advance = c"h5zsae_cuda_training_advance": unsafe extern "C" fn(
        *mut RawTraining,
        *const RawTrainingStep,
        *const RawTrainingSums,
        RawMessage,
    ) -> c_int,
}

impl Library {
    /// Opens the library.
    ///
    /// # Errors
    /// A sentence, where it cannot be loaded, is of another version, or lacks a function.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let in_file = |error: libloading::Error| format!("{}: {error}", path.display());
        // SAFETY: the library is ours; its initialisers, those of C++ and of CUDA's runtime, only set memory up.
        let object = unsafe { SharedObject::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(in_file)?;
        let version = abi_version(&object).map_err(in_file)?;
        if version != ABI_VERSION {
            return Err(format!(
                "{} has version {version} of the interface, {ABI_VERSION} is needed: `make cuda` builds it",
                path.display()
            ));
        }
        let library = Self::of(&object).map_err(in_file)?;
        // CUDA's runtime has threads and handlers of its own: code that they return to must stay.
        Box::leak(Box::new(object));
        Ok(library)
    }

    /// What runs the kernels.
    pub(crate) fn platform_name(&self) -> &'static str {
        // SAFETY: a constant string of the library, which stays open.
        unsafe { CStr::from_ptr((self.platform)()) }.to_str().unwrap_or("unknown")
    }
}

fn abi_version(object: &SharedObject) -> Result<u32, libloading::Error> {
    type Function = unsafe extern "C" fn() -> u32;
    // SAFETY: this function has the same signature in all versions.
    let function = unsafe { object.get::<Function>(c"h5zsae_cuda_abi_version".to_bytes_with_nul()) }?;
    // SAFETY: it takes nothing and reads nothing.
    Ok(unsafe { function() })
}

/// Makes a call that may fail with a sentence.
///
/// # Errors
/// That sentence.
pub(crate) fn call(function: impl FnOnce(RawMessage) -> c_int) -> Result<(), String> {
    let mut text = [0u8; MESSAGE_BYTES];
    let outcome = function(RawMessage { text: text.as_mut_ptr().cast(), bytes: text.len() });
    if outcome == 0 {
        return Ok(());
    }
    let message = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    Err(message.to_string_lossy().into_owned())
}
