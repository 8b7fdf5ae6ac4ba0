//! The kernels, compiled once for this machine's processor by its C++ compiler, and what is asked of them.

use h5z_sae_cuda::Device;

mod encoder;
mod failures;
#[path = "../host_library/mod.rs"]
mod host_library;
mod same_bits;

use host_library::{SHORT_OF_MEMORY, host_library, open};

fn host_device() -> Device {
    let (device, _) = open(host_library(), 0).unwrap();
    assert_eq!(device.platform(), "host");
    device
}
