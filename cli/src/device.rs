//! The option that says where networks run.

use h5zsae::device::{self, DeviceChoice};

/// Where networks run.
#[derive(clap::Args, Clone, Default)]
pub struct DeviceArgs {
    /// Where networks run, or are trained: cpu, cuda or cuda:N; a GPU that cannot be used leaves them to the CPU
    /// [default: what H5Z_SAE_DEVICE says, else cpu]
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,
}

impl DeviceArgs {
    /// Chooses for this process, the filter included.
    pub fn choose(&self) {
        if self.device.is_some() {
            device::choose(self.device);
        }
    }
}
