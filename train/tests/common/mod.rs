//! Small simulated patches, and an observer that keeps what it sees.
#![allow(dead_code, reason = "every test binary uses some of it")]

use h5z_sae::sae::{Penalty, Transform};
use h5z_sae::{Error, PatchShape};
use h5z_sae_train::checkpoint::Checkpoint;
use h5z_sae_train::export::{ExportOptions, Width};
use h5z_sae_train::loader::InMemory;
use h5z_sae_train::network::Objective;
use h5z_sae_train::observer::{Event, Observer};
use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::report::StepReport;
use h5z_sae_train::schedule::Budget;

pub const PATCH: PatchShape = PatchShape { rows: 12, cols: 11 };

/// Gaussian spots about the centre, of two widths and a direction: point-symmetric, smooth, of maximum 1000.
pub fn spots(n_patches: usize, off_centre: f32) -> InMemory {
    spots_from(0, n_patches, off_centre)
}

/// The same, from spot number `first` on.
pub fn spots_from(first: usize, n_patches: usize, off_centre: f32) -> InMemory {
    let mut values = Vec::new();
    for number in first..first + n_patches {
        let phase = |k: usize| ((number * k) as f32 * 0.618_034).fract();
        let (long, short, angle) =
            (8.0 + 20.0 * phase(1), 1.0 + 4.0 * phase(7), std::f32::consts::PI * phase(13));
        for pixel in 0..PATCH.n_values() {
            let y = (pixel / PATCH.cols) as f32 - (PATCH.rows - 1) as f32 / 2.0 + off_centre * phase(5);
            let x = (pixel % PATCH.cols) as f32 - (PATCH.cols - 1) as f32 / 2.0;
            let (along, across) = (x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin());
            values.push(1000.0 * (-along * along / long - across * across / short).exp());
        }
    }
    InMemory::try_new(PATCH, values).unwrap()
}

pub fn options() -> TrainOptions {
    TrainOptions {
        components: 24,
        basis_rows: 24,
        hidden: 40,
        latents: 64,
        objective: Objective { active: 8, penalty: Penalty::Z, sparsity_lambda: 1e-6, rate_scale: 0.0 },
        transform: Transform::None,
        budget: Budget::Epochs(40.0),
        batch: 100,
        learning_rate: 3e-3,
        active_least: 0,
        active_start: 1.0,
        refined_share: 0.0,
        revived: 0,
        seed: 1,
        threads: 2,
        held_out: 0.1,
        early_stop: None,
        device: None,
        search: None,
        control: false,
        memory_limit: None,
        reported_bounds: vec![1e-2, 1e-3],
        export: ExportOptions { wide_rows: 8, hidden_width: Width::I16 },
    }
}

#[derive(Default)]
pub struct Record {
    pub stages: Vec<String>,
    pub reports: Vec<StepReport>,
    /// Those of memory and of coded bytes.
    pub events: Vec<Event<'static>>,
    /// Ends the training after this step, and takes a checkpoint there.
    pub stop_at: Option<usize>,
    pub checkpoint: Option<Vec<u8>>,
}

impl Observer for Record {
    fn stage(&mut self, name: &str, _n_units: usize) {
        self.stages.push(name.to_owned());
    }

    fn advance(&mut self, _n_units: usize) -> bool {
        true
    }

    fn step(&mut self, report: &StepReport) -> bool {
        self.reports.push(*report);
        self.stop_at.is_none_or(|stop_at| report.step < stop_at)
    }

    fn event(&mut self, event: &Event) {
        match *event {
            Event::Memory(memory) => self.events.push(Event::Memory(memory)),
            Event::CodedBytes { step, coded_bytes } => {
                self.events.push(Event::CodedBytes { step, coded_bytes });
            }
            _ => {}
        }
    }

    fn wants_checkpoint(&mut self) -> bool {
        self.stop_at.is_some_and(|stop_at| self.reports.last().is_some_and(|report| report.step == stop_at))
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.checkpoint = Some(checkpoint.to_bytes(&serde_json::Value::Null)?);
        Ok(())
    }
}
