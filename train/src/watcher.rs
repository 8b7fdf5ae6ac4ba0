//! Between the training loop and its observer: makes checkpoints of states, and sizes of networks.

use std::collections::BTreeMap;
use std::time::Instant;

use h5z_sae::Error;
use ndarray::{Array2, Axis};

use crate::checkpoint::{Checkpoint, DataPrint};
use crate::early_stop::{EVALUATED_PATCHES, coded_bytes};
use crate::fit::{FitOptions, Watch};
use crate::loader::spread;
use crate::network::{Network, Objective};
use crate::observer::{Event, Observer};
use crate::outcome::Finisher;
use crate::report::StepReport;
use crate::state::FitState;
use crate::trial::Reserve;

/// The held-out patches that early stopping looks at.
pub(crate) fn evaluated(held_out: &Array2<f32>) -> Array2<f32> {
    let all: Vec<usize> = (0..held_out.nrows()).collect();
    held_out.select(Axis(0), &spread(&all, EVALUATED_PATCHES))
}

/// Measures what comes after the steps of a training.
pub(crate) fn measure_reserve(
    network: &Network<f32>,
    fit: &FitOptions,
    finisher: &Finisher,
) -> Result<Reserve, Error> {
    let end = finisher.measure_end(network)?;
    let Some(stop) = fit.early_stop else { return Ok(Reserve { end, evaluation: 0.0 }) };
    let started = Instant::now();
    let (_, model) = finisher.model(network)?;
    coded_bytes(&model, evaluated(finisher.held_out).view(), stop.bound)?;
    Ok(Reserve { end, evaluation: started.elapsed().as_secs_f64() })
}

/// Hands on to the observer what the loop tells.
pub(crate) struct Watcher<'a> {
    pub observer: &'a mut dyn Observer,
    pub finisher: &'a Finisher<'a>,
    pub options: BTreeMap<String, String>,
    pub data: DataPrint,
    pub n_steps: usize,
    pub init: Option<String>,
    pub objective: Objective,
    pub evaluated: Array2<f32>,
}

impl Watch for Watcher<'_> {
    fn step(&mut self, report: &StepReport) -> bool {
        self.observer.step(report)
    }

    fn state(&mut self, state: &FitState) -> Result<(), Error> {
        if !self.observer.wants_checkpoint() {
            return Ok(());
        }
        self.observer.checkpoint(&Checkpoint {
            options: self.options.clone(),
            data: self.data,
            n_steps: self.n_steps,
            init: self.init.clone(),
            objective: self.objective,
            basis: self.finisher.basis.clone(),
            state: state.clone(),
        })
    }

    fn coded_bytes(&mut self, network: &Network<f32>, step: usize) -> Result<usize, Error> {
        let bound = self.finisher.options.early_stop.map_or(0.0, |stop| stop.bound);
        let (_, model) = self.finisher.model(network)?;
        let coded_bytes = coded_bytes(&model, self.evaluated.view(), bound)?;
        self.observer.event(&Event::CodedBytes { step, coded_bytes });
        Ok(coded_bytes)
    }
}
