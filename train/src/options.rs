//! What a training is asked for: checked before it starts, and named in checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use h5z_sae::sae::{Penalty, Transform};
use h5z_sae::{Error, ErrorKind, PatchShape};
use h5z_sae_cuda::Device;

use crate::early_stop::EarlyStop;
use crate::export::ExportOptions;
use crate::network::{NetworkShape, Objective};
use crate::schedule::Budget;
use crate::search::Search;

/// Everything that a training is asked for.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// K′, principal components that the network works on.
    pub components: usize,
    /// K, rows of the basis, at least as many: those beyond the components serve linear atoms alone.
    pub basis_rows: usize,
    /// m, hidden units.
    pub hidden: usize,
    /// ℓ, latents.
    pub latents: usize,
    /// Loss.
    pub objective: Objective,
    /// Domain of the network.
    pub transform: Transform,
    /// When to stop, counted from the start of all stages.
    pub budget: Budget,
    /// Patches of a batch; fewer where there are few patches.
    pub batch: usize,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Each step draws its limit on active latents between this and the objective's; 0 keeps the limit.
    pub active_least: usize,
    /// The limit on active latents starts at this multiple of its end; 1 keeps it.
    pub active_start: f64,
    /// Share of the steps, at the end, in which the decoder learns from refined codes.
    pub refined_share: f64,
    /// Most dead latents that are revived at a time; 0 leaves them dead.
    pub revived: usize,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Threads. Results depend on their number by rounding.
    pub threads: usize,
    /// Makes the steps of the network's training, if there is one and it can be used. Results depend on it by rounding.
    pub device: Option<Arc<Device>>,
    /// Share of patches that are held out.
    pub held_out: f64,
    /// Whether to end once held-out patches stop getting smaller.
    pub early_stop: Option<EarlyStop>,
    /// Bounds that the model shall serve, if the objective is to be chosen for them.
    pub search: Option<Search>,
    /// Principal components alone: a control, with a network that is silent.
    pub control: bool,
    /// Most bytes of memory, if there is a limit: fewer training patches are used to stay below.
    pub memory_limit: Option<usize>,
    /// Absolute bounds at which the coded size of held-out patches is reported.
    pub reported_bounds: Vec<f64>,
    /// Widths in the model file.
    pub export: ExportOptions,
}

/// Largest n′: the covariance of more takes gigabytes and its eigenvectors hours.
const LARGEST_PATCH: usize = 16_384;
/// Most components, hidden units and latents.
const LARGEST_LAYER: usize = 1 << 16;

impl TrainOptions {
    /// Sizes of the network's layers.
    pub fn shape(&self) -> NetworkShape {
        NetworkShape { components: self.components, hidden: self.hidden, latents: self.latents }
    }

    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the option.
    pub fn check(&self, patch: PatchShape) -> Result<(), Error> {
        self.broken_rule(patch).map_or(Ok(()), |rule| Err(Error::new(ErrorKind::InvalidArgument, rule)))
    }

    fn broken_rule(&self, patch: PatchShape) -> Option<String> {
        let n_values = patch.n_values();
        if n_values > LARGEST_PATCH {
            return Some(format!(
                "patches of {} x {} values: at most {LARGEST_PATCH} values can be trained",
                patch.rows, patch.cols
            ));
        }
        let layers = [("components", self.components), ("hidden", self.hidden), ("latents", self.latents)];
        if let Some((name, number)) = layers.into_iter().find(|(_, n)| !(1..=LARGEST_LAYER).contains(n)) {
            return Some(format!("{name} is {number}: 1 to {LARGEST_LAYER} allowed"));
        }
        if !(self.components..=n_values.max(self.components)).contains(&self.basis_rows) {
            return Some(format!(
                "{} basis rows: at least the {} components, at most the {n_values} values of a patch",
                self.basis_rows, self.components
            ));
        }
        if self.components > n_values {
            return Some(format!("{} components of patches that have {n_values} values", self.components));
        }
        self.broken_rule_of_course()
    }

    fn broken_rule_of_course(&self) -> Option<String> {
        let (penalty, active) = (self.objective.penalty, self.objective.active);
        if penalty == Penalty::Grad && active > 0 {
            return Some(format!(
                "active is {active}: a limit on nonzero latents belongs to penalty z, not grad"
            ));
        }
        if active > self.latents {
            return Some(format!("active is {active}: there are {} latents", self.latents));
        }
        if self.active_least > active {
            return Some(format!("least active is {}: above active, {active}", self.active_least));
        }
        if !(0.0..=1.0).contains(&self.refined_share) {
            return Some(format!("refined share is {}: 0 to 1 allowed", self.refined_share));
        }
        if !(0.0..=0.5).contains(&self.held_out) {
            return Some(format!("held-out fraction of {}: 0 to 0.5 allowed", self.held_out));
        }
        match self.early_stop {
            Some(stop) if stop.patience == 0 => Some("patience is 0: at least 1 expected".to_owned()),
            Some(_) if self.held_out == 0.0 => {
                Some("early stopping looks at held-out patches: held-out fraction is 0".to_owned())
            }
            _ if self.search.is_some() && self.held_out == 0.0 => {
                Some("a search for bounds looks at held-out patches: held-out fraction is 0".to_owned())
            }
            _ => None,
        }
    }

    /// Every option that the result depends on, by its name, with the shape of patches. Two trainings of the same
    /// data that agree in these give the same model.
    pub fn named(&self, patch: PatchShape) -> BTreeMap<String, String> {
        let Self { objective, export, .. } = self;
        let stop = self.early_stop;
        let entries = [
            ("patch", format!("{}x{}", patch.rows, patch.cols)),
            ("components", self.components.to_string()),
            ("basis rows", self.basis_rows.to_string()),
            ("hidden", self.hidden.to_string()),
            ("latents", self.latents.to_string()),
            ("active", objective.active.to_string()),
            ("penalty", name_of_penalty(objective.penalty).to_owned()),
            ("lambda", objective.sparsity_lambda.to_string()),
            ("rate scale", objective.rate_scale.to_string()),
            ("transform", name_of_transform(self.transform)),
            ("budget", name_of_budget(self.budget)),
            ("batch", self.batch.to_string()),
            ("learning rate", self.learning_rate.to_string()),
            ("least active", self.active_least.to_string()),
            ("active start", self.active_start.to_string()),
            ("refined share", self.refined_share.to_string()),
            ("revive", self.revived.to_string()),
            ("seed", self.seed.to_string()),
            ("threads", self.threads.to_string()),
            ("held out", self.held_out.to_string()),
            ("early stop", stop.map_or("off".to_owned(), |stop| stop.patience.to_string())),
            ("early stop bound", stop.map_or("off".to_owned(), |stop| stop.bound.to_string())),
            ("search", self.search.as_ref().map_or("off".to_owned(), |search| format!("{search:?}"))),
            ("control", self.control.to_string()),
            ("memory limit", self.memory_limit.map_or("none".to_owned(), |bytes| format!("{bytes} bytes"))),
            ("wide rows", export.wide_rows.to_string()),
            ("hidden bits", export.hidden_width.bits().to_string()),
        ];
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// `z` or `grad`.
pub fn name_of_penalty(penalty: Penalty) -> &'static str {
    match penalty {
        Penalty::Z => "z",
        Penalty::Grad => "grad",
    }
}

/// `none`, `sqrt:C` or `log:C`.
pub fn name_of_transform(transform: Transform) -> String {
    let offset = |offset_q24: u32| f64::from(offset_q24) / f64::from(1 << 24);
    match transform {
        Transform::None => "none".to_owned(),
        Transform::Sqrt { offset_q24 } => format!("sqrt:{}", offset(offset_q24)),
        Transform::Log { offset_q24 } => format!("log:{}", offset(offset_q24)),
    }
}

fn name_of_budget(budget: Budget) -> String {
    match budget {
        Budget::Epochs(epochs) => format!("{epochs} epochs"),
        Budget::Steps(steps) => format!("{steps} steps"),
        Budget::Time(time) => format!("{} minutes", time.as_secs_f64() / 60.0),
    }
}
