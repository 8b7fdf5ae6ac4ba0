//! What the network can do for each patch of a chunk: scale, latents, linear atoms and their steps.
//!
//! Everything here is an encoder's guess, in floating point. The exact decoder says what a guess is worth, and the coded
//! size decides.

use std::cell::RefCell;
use std::sync::Arc;

use crate::ablation::{Part, has};
use crate::atoms::{AtomCoder, PatchHeader};
use crate::decode::atom_rules;
use crate::encode::{Choices, Chunk, evenly_spread};
use crate::error::Error;
use crate::frame::Method;
use crate::options::Effort;
use crate::patch::PatchGrid;
use crate::sae::{BUILTIN_IDS, Model};
use crate::stream::payload::{NetworkRules, patch_is_allowed};

mod cost;
mod group;
mod linear;
mod trials;

use cost::{ResidualCosts, ResidualPatch, SymbolCounts};
use group::{Begun, Group, Guess};
use linear::Pulls;

/// What the network can do for each patch of a chunk, `Pixels` where it is no candidate.
pub(crate) struct NetworkCandidates {
    pub(crate) rules: NetworkRules,
    pub(crate) headers: Vec<PatchHeader>,
    /// By an estimate, the bits of each patch with its candidate; 0 where there is none.
    pub(crate) bits: Vec<f64>,
}

/// Patches on which the steps of a chunk are chosen, at most: a quarter, but not fewer than the least.
const MOST_SAMPLES: usize = 32;
const LEAST_SAMPLES: usize = 8;

/// The built-in model is not worth the time where it saves less than this share of a sample's bits.
const LEAST_SAVING: f64 = 0.1;

/// Where more than this share of a sample is promising, all patches are taken to be.
const MOSTLY_PROMISING: f64 = 0.75;

/// Long searches pay where they save this share of a sample's bits.
const LEAST_LONG_GAIN: f64 = 0.02;

/// Steps of the latents and of the linear atoms from which the search starts, in units of the bound: near the best in
/// every measurement so far.
const LATENT_STEP_BOUNDS: f64 = 12.0;
const LINEAR_STEP_BOUNDS: f64 = 4.0;

/// Quarters of an octave by which the search changes the linear step of a chunk at first.
const LINEAR_QUARTERS: i8 = 2;

/// A latent is worth its bits if it lowers the squared error by this many squares of the linear step: the start, and
/// the factor between what is tried. The fourteen bits or so of a latent buy 1.6 where linear atoms take them.
const LEAST_GAIN: f64 = 1.6;
const GAIN_FACTOR: f64 = 4.0;

/// Patches that are run through the network together.
const BATCH: usize = 64;

/// Finds the candidates; `None` if the model's patches do not suit the frames, nothing in them has a scale, or nowhere
/// does the network come near to what patches cost without one.
pub(crate) fn find_candidates(
    chunk: &Chunk,
    model: &Arc<Model>,
    without: Option<&Choices>,
) -> Result<Option<NetworkCandidates>, Error> {
    if !patch_is_allowed(model.patch(), chunk.rows, chunk.cols) {
        return Ok(None);
    }
    let Some(search) = Search::new(chunk, model, without) else { return Ok(None) };
    let n_patches = search.n_patches();
    let start = search.first_settings();
    if !search.is_worthwhile(&start)? {
        return Ok(None);
    }
    let batches =
        (0..n_patches).step_by(BATCH).map(|first| search.group(first..n_patches.min(first + BATCH)));
    let spread = search.group(evenly_spread(n_patches, (n_patches / 4).clamp(LEAST_SAMPLES, MOST_SAMPLES)));
    // Where all of these are dark, others may not be.
    let Some(sample) = std::iter::once(spread).chain(batches.clone()).find(|group| !group.patches.is_empty())
    else {
        return Ok(None);
    };
    let n_samples = sample.patches.len();
    let mut sample = search.promising(&start, sample)?;
    if sample.patches.is_empty() {
        return Ok(None);
    }
    let some_are_not = (sample.patches.len() as f64) < MOSTLY_PROMISING * n_samples as f64;
    search.refine(&mut sample);
    let plan = search.plan(start, &sample)?;
    let unused = PatchHeader::Pixels(Method::Aligned);
    let mut candidates = NetworkCandidates {
        rules: plan.settings.rules,
        headers: vec![unused; n_patches],
        bits: vec![0.0; n_patches],
    };
    for mut group in batches {
        if some_are_not {
            group = search.promising(&plan.settings, group)?;
        }
        search.refine(&mut group);
        search.find(&plan, &group, &mut candidates)?;
    }
    let is_network = |header: &PatchHeader| header.method() == Method::Network;
    Ok(candidates.headers.iter().any(is_network).then_some(candidates))
}

/// What holds for all patches of a chunk while their atoms are searched.
struct Search<'a> {
    chunk: &'a Chunk<'a>,
    without: Option<&'a Choices>,
    model: &'a Arc<Model>,
    grid: PatchGrid,
    base: NetworkRules,
    /// Of ordinary pixels, as a position.
    brightest: f64,
    /// The bound over the brightest value.
    relative_bound: f64,
    /// Prices headers. It is the same before and after, but large: made once.
    atoms: RefCell<AtomCoder>,
}

/// What all patches of a chunk share.
#[derive(Clone, Copy)]
struct Settings {
    rules: NetworkRules,
    /// Squares of the linear step by which a latent must lower the squared error to be kept.
    least_gain: f64,
    /// Whether codes are refined. Where rows of the basis are far from orthogonal, or steps so coarse that hidden units
    /// bend between two levels, the encoder's own codes may be better.
    refined: bool,
}

/// What the network saves of the bits of some patches.
struct Saving {
    n_promising: usize,
    all_bits: f64,
    saved_bits: f64,
}

impl Saving {
    fn and(self, other: Self) -> Self {
        Self {
            n_promising: self.n_promising + other.n_promising,
            all_bits: self.all_bits + other.all_bits,
            saved_bits: self.saved_bits + other.saved_bits,
        }
    }

    fn is_enough(&self) -> bool {
        self.saved_bits >= LEAST_SAVING * self.all_bits
    }
}

/// How the patches of a chunk are searched: what a sample of them said.
struct Plan {
    settings: Settings,
    costs: ResidualCosts,
    /// Whether long searches pay.
    is_long: bool,
}

/// What the patches of a sample cost, each by its cheapest kind of atoms, and which kinds these are.
struct SampleCost {
    bits: Vec<f64>,
    costs: ResidualCosts,
    has_latents: bool,
    has_linear: bool,
}

/// A guess and the bits of its header.
struct PricedGuess {
    guess: Guess,
    header_bits: f64,
}

/// The samples without latents, and their guesses: of all settings only the linear step matters to these.
struct LinearOnly {
    begun: Begun,
    made: Option<(i8, Vec<PricedGuess>)>,
}

impl<'a> Search<'a> {
    fn new(chunk: &'a Chunk<'a>, model: &'a Arc<Model>, without: Option<&'a Choices>) -> Option<Self> {
        let grid = PatchGrid { rows: chunk.rows, cols: chunk.cols, patch: model.patch() };
        let target = &chunk.target;
        let brightest = target.lowest.abs().max(target.highest.abs()) as f64;
        let ordinary = (0..target.n_pixels()).filter(|&pixel| target.special(pixel) == 0);
        let brightest = ordinary
            .fold(0.0, |most: f64, pixel| most.max(target.positions.at(pixel).abs() as f64))
            .min(brightest);
        if brightest < 1.0 {
            return None;
        }
        let exponent = brightest.log2().floor();
        let mantissa = (brightest * (15.0 - exponent).exp2()).round() as u32;
        let base = NetworkRules {
            mantissa: mantissa.min(0xffff) as u16,
            shift: (59 - exponent as i64) as i8,
            latent_step_log2: 0,
            linear_step_quarters: 0,
        };
        let relative_bound = target.uniform_width() as f64 / 2.0 / brightest;
        Some(Self {
            chunk,
            without: without.and_then(|without| without.on(grid)),
            model,
            grid,
            base,
            brightest,
            relative_bound,
            atoms: RefCell::new(AtomCoder::new(Some(atom_rules(&base, model)))),
        })
    }

    /// Patches of the chunk.
    fn n_patches(&self) -> usize {
        self.chunk.n_frames * self.grid.n_patches()
    }

    /// Bits of a patch without a network, where it has been coded so.
    fn bits_without(&self, patch: usize) -> Option<f64> {
        self.without.map(|without| without.bits(patch))
    }

    /// Where the search for settings begins.
    fn first_settings(&self) -> Settings {
        let steps_at = |bounds: f64, parts: f64| {
            (-(bounds * self.relative_bound).log2() * parts).round().clamp(-127.0, 127.0) as i8
        };
        Settings {
            rules: NetworkRules {
                latent_step_log2: steps_at(LATENT_STEP_BOUNDS, 1.0),
                linear_step_quarters: steps_at(LINEAR_STEP_BOUNDS, 4.0),
                ..self.base
            },
            least_gain: LEAST_GAIN,
            refined: true,
        }
    }

    /// Whether the built-in model, which nobody chose for these frames, saves enough of the bits of a few patches. Any other
    /// is worthwhile, and so is all that the best effort may try.
    fn is_worthwhile(&self, start: &Settings) -> Result<bool, Error> {
        let is_builtin = BUILTIN_IDS.contains(&self.model.id()) && has(Part::Sampling);
        let (Some(without), true, false) = (self.without, is_builtin, self.chunk.effort == Effort::Best)
        else {
            return Ok(true);
        };
        let n_samples = (self.n_patches() / 8).clamp(LEAST_SAMPLES, MOST_SAMPLES / 2);
        let samples = |most| evenly_spread(self.n_patches(), most).collect::<Vec<_>>();
        let few = self.saving(start, without, &samples(n_samples))?;
        if few.is_enough() || 2 * few.n_promising < n_samples {
            return Ok(few.is_enough());
        }
        // The network may save much on one patch in four, of which there happened to be none.
        let mut saving = few;
        for some in samples(4 * n_samples).chunks(n_samples) {
            saving = saving.and(self.saving(start, without, some)?);
        }
        Ok(saving.is_enough())
    }

    /// What the network saves of some patches.
    fn saving(&self, start: &Settings, without: &Choices, patches: &[usize]) -> Result<Saving, Error> {
        let all_bits = patches.iter().map(|&patch| without.bits(patch)).sum();
        let mut sample = self.promising(start, self.group(patches.iter().copied()))?;
        let n_promising = sample.patches.len();
        if n_promising == 0 {
            return Ok(Saving { n_promising, all_bits, saved_bits: 0.0 });
        }
        self.refine(&mut sample);
        let mut linear = LinearOnly { begun: self.begin_without_latents(&sample)?, made: None };
        let cost = self.sample_cost(start, &sample, &mut linear)?;
        let saved = sample.patches.iter().zip(cost.bits).map(|(&patch, bits)| without.bits(patch) - bits);
        Ok(Saving { n_promising, all_bits, saved_bits: saved.filter(|bits| *bits > 0.0).sum() })
    }

    /// How to search, by a sample of promising patches.
    fn plan(&self, start: Settings, sample: &Group) -> Result<Plan, Error> {
        if self.chunk.latents_only {
            let settings = self.latent_settings(start, sample)?;
            return Ok(Plan { settings, costs: SymbolCounts::new().costs(), is_long: false });
        }
        let mut linear = LinearOnly { begun: self.begin_without_latents(sample)?, made: None };
        let (settings, cost) = self.refined_or_not(start, sample, &mut linear)?;
        // Few patches do not say enough, and each may have a linear step of its own.
        let (settings, cost) = match sample.patches.len() {
            0..LEAST_SAMPLES => (settings, cost),
            n_samples => {
                let reach = if n_samples < MOST_SAMPLES { 1 } else { 3 };
                self.choose_settings((settings, cost), reach, sample, &mut linear)?
            }
        };
        let plan = Plan { settings, costs: cost.costs, is_long: false };
        let is_long = self.chunk.effort == Effort::Best
            || has(Part::LongSearch) && {
                let mut searched = self.search_shortly(&plan, sample)?;
                let short_bits = searched.bits();
                self.search_long(&plan, &mut searched);
                searched.bits() < (1.0 - LEAST_LONG_GAIN) * short_bits
            };
        Ok(Plan { is_long, ..plan })
    }

    /// Where latents are all that is stored: refined codes, or the encoder's own, whichever are nearer.
    fn latent_settings(&self, mut settings: Settings, sample: &Group) -> Result<Settings, Error> {
        settings.rules.latent_step_log2 = self.model.spec().none_step_log2 as i8;
        settings.least_gain = 0.0;
        let own = Settings { refined: false, ..settings };
        let squared_error = |settings: &Settings| -> Result<f64, Error> {
            let left = self.left(sample, &self.latent_codes(settings, sample))?;
            Ok(left.iter().map(|&error| f64::from(error).powi(2)).sum())
        };
        Ok(if squared_error(&own)? < squared_error(&settings)? { own } else { settings })
    }

    fn refined_or_not(
        &self,
        start: Settings,
        sample: &Group,
        linear: &mut LinearOnly,
    ) -> Result<(Settings, SampleCost), Error> {
        let cost = self.sample_cost(&start, sample, linear)?;
        let own = Settings { refined: false, ..start };
        let own_cost = self.sample_cost(&own, sample, linear)?;
        Ok(if own_cost.total() < cost.total() { (own, own_cost) } else { (start, cost) })
    }

    /// Steps at scale 0, and which latents to keep, such that a sample of patches is cheapest: one after the other is changed
    /// at most `reach` times, as long as that helps.
    fn choose_settings(
        &self,
        (mut settings, mut cost): (Settings, SampleCost),
        reach: usize,
        sample: &Group,
        linear: &mut LinearOnly,
    ) -> Result<(Settings, SampleCost), Error> {
        type Change = fn(&mut Settings, i8);
        type Matters = fn(&SampleCost) -> bool;
        let changes: [(Change, Matters); 4] = [
            (|settings, way| settings.change_linear_step(LINEAR_QUARTERS * way), |cost| cost.has_linear),
            (Settings::change_latent_step, |cost| cost.has_latents),
            (Settings::change_gain, |cost| cost.has_latents),
            (Settings::change_linear_step, |cost| cost.has_linear),
        ];
        for (change, matters) in changes {
            if !matters(&cost) {
                continue;
            }
            for way in [-1, 1] {
                let mut n_steps = 0;
                while n_steps < reach {
                    let mut next = settings;
                    change(&mut next, way);
                    let next_cost = self.sample_cost(&next, sample, linear)?;
                    if next_cost.total() >= cost.total() {
                        break;
                    }
                    (cost, settings) = (next_cost, next);
                    n_steps += 1;
                }
                // The other way lies what was left behind.
                if n_steps > 0 {
                    break;
                }
            }
        }
        Ok((settings, cost))
    }

    /// Bits of some patches, each with its cheapest kinds of atoms, under costs that are fitted to them.
    fn sample_cost(
        &self,
        settings: &Settings,
        sample: &Group,
        linear: &mut LinearOnly,
    ) -> Result<SampleCost, Error> {
        let latents = self.begin(settings, sample)?;
        let step = settings.rules.linear_step_quarters;
        let priced = |begun, linear_change| -> Vec<PricedGuess> {
            let guesses = self.guess(settings, begun, linear_change, Pulls::FEW).into_iter();
            let header_bits = |guess: &Guess| self.header_bits(settings, &guess.patch);
            guesses.map(|guess| PricedGuess { header_bits: header_bits(&guess), guess }).collect()
        };
        let without_latents = match linear.made.take() {
            Some((made_with, guesses)) if made_with == step => guesses,
            _ => priced(&linear.begun, Some(0)),
        };
        let guesses = [priced(&latents, Some(0)), priced(&latents, None), without_latents];
        let bits = |guess: &PricedGuess, costs: &ResidualCosts| {
            guess.header_bits + costs.of(&self.residual_patch(&guess.guess))
        };
        let mut costs = self.costs_of(guesses[0].iter());
        let mut cheapest: Vec<&PricedGuess> = Vec::new();
        for _ in 0..2 {
            let by_cost = |a: &&PricedGuess, b: &&PricedGuess| bits(a, &costs).total_cmp(&bits(b, &costs));
            let places = 0..sample.patches.len();
            let kinds = |place: usize| guesses.iter().map(move |guesses| &guesses[place]);
            cheapest = places.filter_map(|place| kinds(place).min_by(by_cost)).collect();
            costs = self.costs_of(cheapest.iter().copied());
        }
        let cost = SampleCost {
            bits: cheapest.iter().map(|guess| bits(guess, &costs)).collect(),
            has_latents: cheapest.iter().any(|priced| priced.guess.patch.has_latents),
            has_linear: cheapest.iter().any(|priced| priced.guess.patch.has_linear),
            costs,
        };
        let [.., without_latents] = guesses;
        linear.made = Some((step, without_latents));
        Ok(cost)
    }

    fn costs_of<'g>(&self, guesses: impl Iterator<Item = &'g PricedGuess>) -> ResidualCosts {
        let mut counts = SymbolCounts::new();
        guesses.for_each(|priced| counts.add(&self.residual_patch(&priced.guess)));
        counts.costs()
    }

    fn residual_patch<'g>(&self, guess: &'g Guess) -> ResidualPatch<'g> {
        ResidualPatch { cols: self.grid.patch.cols, residuals: &guess.residuals }
    }
}

impl SampleCost {
    fn total(&self) -> f64 {
        self.bits.iter().sum()
    }
}

impl Settings {
    fn change_linear_step(&mut self, quarters: i8) {
        self.rules.linear_step_quarters = self.rules.linear_step_quarters.saturating_add(quarters);
    }

    fn change_latent_step(&mut self, way: i8) {
        self.rules.latent_step_log2 = self.rules.latent_step_log2.saturating_add(way);
    }

    fn change_gain(&mut self, way: i8) {
        self.least_gain *= GAIN_FACTOR.powi(way.into());
    }
}
