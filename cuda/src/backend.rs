//! The codec's backend where a device may be at hand.

use std::sync::Arc;

use h5z_sae::sae::backend::{Backend, NetworkDevice, Weights};
use h5z_sae_kernels::GemmBackend;

use crate::Device;

/// Whole layers on a device, if there is one; all else on the CPU.
#[derive(Clone)]
pub struct DeviceBackend {
    /// For what the device declines, and for everything without one.
    pub cpu: GemmBackend,
    /// The device.
    pub device: Option<Arc<Device>>,
}

impl Backend for DeviceBackend {
    fn name(&self) -> &'static str {
        if self.device().is_some() { "device" } else { self.cpu.name() }
    }

    fn integer_product(&self, rows: usize, left: &[i64], weights: &Weights, out: &mut [i64]) {
        self.cpu.integer_product(rows, left, weights, out);
    }

    fn float_product(
        &self,
        shape: (usize, usize, usize),
        left: &[f32],
        right: &[f32],
        right_transposed: bool,
        out: &mut [f32],
    ) {
        self.cpu.float_product(shape, left, right, right_transposed, out);
    }

    fn device(&self) -> Option<&dyn NetworkDevice> {
        let device = self.device.as_deref()?;
        device.is_usable().then_some(device as &dyn NetworkDevice)
    }
}
