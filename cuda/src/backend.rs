//! The codec's backend where a device may be at hand.

use std::sync::{Arc, LazyLock};

use h5z_sae::sae::backend::{Backend, NetworkDevice, Weights};
use h5z_sae_kernels::GemmBackend;

use crate::Device;

type Found = Option<Arc<Device>>;

/// Whole layers on a device, if there is one; all else on the CPU.
pub struct DeviceBackend {
    cpu: GemmBackend,
    device: LazyLock<Found, Box<dyn FnOnce() -> Found + Send>>,
}

impl DeviceBackend {
    /// Products on `cpu`, networks on what `find_device` finds, which is called when there is a network to run: not
    /// every chunk has one, and a GPU takes its time to come up.
    pub fn new(cpu: GemmBackend, find_device: impl FnOnce() -> Found + Send + 'static) -> Self {
        Self { cpu, device: LazyLock::new(Box::new(find_device)) }
    }
}

impl Backend for DeviceBackend {
    fn name(&self) -> &'static str {
        self.cpu.name()
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
