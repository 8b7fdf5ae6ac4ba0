//! What the network can do for each patch of a chunk: scale, latents, linear atoms and their steps.
//!
//! Everything here is an encoder's guess. The exact decoder says what a guess is worth, and the coded size decides.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use crate::atoms::{AtomCoder, AtomRules, NetworkPatch, PatchHeader};
use crate::decode::atom_rules;
use crate::domain::round_shift;
use crate::encode::{Choices, Chunk, evenly_spread};
use crate::error::Error;
use crate::frame::{Method, least_residual};
use crate::patch::PatchGrid;
use crate::sae::{ActiveLatents, Model, PatchCode, Penalty};
use crate::stream::payload::{NetworkRules, patch_is_allowed};

mod cost;
mod linear;
mod trials;

use cost::{ResidualCosts, ResidualPatch, SymbolCounts};
use linear::Pulls;

/// What the network can do for each patch of a chunk, `Pixels` where it is no candidate.
pub(crate) struct NetworkCandidates {
    pub(crate) rules: NetworkRules,
    pub(crate) headers: Vec<PatchHeader>,
}

/// Patches on which the steps of a chunk are chosen, at most.
const SAMPLES: usize = 32;

/// With fewer, the steps from which the search starts are kept.
const LEAST_SAMPLES: usize = 8;

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

/// Levels of steps of ∇z within this many steps of 0 become 0.
const DEAD_ZONE: f32 = 0.6;

/// Patches darker than 2⁻²⁴ of the brightest have nothing that a bound would not swallow.
const DARKEST_SCALE: i32 = -24 * 8;

/// Patches that are run through the network together.
const BATCH: usize = 64;

/// Finds the candidates; `None` if the model's patches do not suit the frames, nothing in them has a scale, or nowhere
/// does the network come near to what patches cost without one.
pub(crate) fn find_candidates(
    chunk: &Chunk,
    model: &Arc<Model>,
    without: Option<&Choices>,
) -> Result<Option<NetworkCandidates>, Error> {
    let patch = model.patch();
    if !patch_is_allowed(patch, chunk.rows, chunk.cols) {
        return Ok(None);
    }
    let Some(mut search) = Search::new(chunk, model, without) else { return Ok(None) };
    let start = search.first_settings();
    let everywhere: Vec<usize> = (0..search.patches.len()).collect();
    let promising = search.promising(&Settings { refined: false, ..start }, &everywhere)?;
    if promising.is_empty() {
        return Ok(None);
    }
    search.refine(&promising);
    let (settings, costs) = search.choose_settings(start, &sample_of(&promising))?;
    let headers = search.all_headers(&settings, &costs, &promising)?;
    let is_network = |header: &PatchHeader| header.method() == Method::Network;
    Ok(headers.iter().any(is_network).then_some(NetworkCandidates { rules: settings.rules, headers }))
}

/// A quarter of these patches, on which settings are tried.
fn sample_of(nth: &[usize]) -> Vec<usize> {
    let n_samples = (nth.len() / 4).clamp(LEAST_SAMPLES, SAMPLES);
    evenly_spread(nth.len(), n_samples).map(|place| nth[place]).collect()
}

/// The patches of a chunk as the network sees them.
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
    /// Scale of each patch, `None` where it has no values.
    scales: Vec<Option<i32>>,
    /// Patches with a scale, and their inputs and latents, n and ℓ values each, in the same order.
    patches: Vec<usize>,
    inputs: Vec<f32>,
    latents: Vec<f32>,
    /// The active latents of each of these, refined; `None` where they are not: with `Penalty::Grad`, whose codes are
    /// running sums, and where there are too many.
    refined: Vec<Option<ActiveLatents>>,
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

/// What several trials of some patches have in common: their latents (none, where linear atoms are to do all), and the
/// linear coefficients, K for each patch, that would make up for what these leave.
struct Begun {
    codes: Vec<PatchCode>,
    /// n for each patch, in the network's domain.
    left: Vec<f32>,
    /// How far each of these values may be off.
    limits: Vec<f32>,
    coefs: Vec<f32>,
}

/// The samples without latents, and their guesses: of all settings only the linear step matters to these.
struct LinearOnly {
    begun: Begun,
    made: Option<(i8, Vec<Guess>)>,
}

/// A candidate for one patch: its atoms, what they leave of the patch in steps (empty where the scale does not suit),
/// and the bits of its header before anything adapts.
struct Guess {
    patch: NetworkPatch,
    residuals: Vec<i32>,
    header_bits: f64,
}

/// A patch's atoms, the bits of its header before anything adapts, and the pixels that they leave beyond the bound where
/// there are linear ones.
struct Coded {
    patch: NetworkPatch,
    header_bits: f64,
    n_beyond: usize,
}

impl<'a> Search<'a> {
    fn new(chunk: &'a Chunk<'a>, model: &'a Arc<Model>, without: Option<&'a Choices>) -> Option<Self> {
        let grid = PatchGrid { rows: chunk.rows, cols: chunk.cols, patch: model.patch() };
        let target = &chunk.target;
        let brightest = target.lowest.abs().max(target.highest.abs()) as f64;
        let brightest = target
            .positions
            .iter()
            .zip(&target.specials)
            .filter(|(_, special)| **special == 0)
            .fold(0.0, |most: f64, (position, _)| most.max(position.abs() as f64))
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
        let mut search = Self {
            chunk,
            without: without.and_then(|without| without.on(grid)),
            model,
            grid,
            base,
            brightest,
            relative_bound,
            scales: Vec::new(),
            patches: Vec::new(),
            inputs: Vec::new(),
            latents: Vec::new(),
            refined: Vec::new(),
            atoms: RefCell::new(AtomCoder::new(Some(atom_rules(&base, model)))),
        };
        search.gather_inputs();
        if search.patches.is_empty() {
            return None;
        }
        search.latents = model.analyze(chunk.backend, &search.inputs);
        search.refined = vec![None; search.patches.len()];
        Some(search)
    }

    /// Scales and transforms every patch.
    fn gather_inputs(&mut self) {
        let target = &self.chunk.target;
        let mut values = Vec::new();
        for frame in 0..self.chunk.n_frames {
            let pixels = self.chunk.pixels(frame);
            let inpainted = inpaint(&target.positions[pixels.clone()], &target.specials[pixels]);
            for patch in 0..self.grid.n_patches() {
                values.clear();
                self.grid.gather(&inpainted, patch, &mut values);
                let most = values.iter().fold(0.0f64, |most, &v| most.max((v as f64).abs()));
                let scale =
                    patch_scale(most / self.brightest).filter(|&scale| self.base.multiplier(scale).is_some());
                self.scales.push(scale);
                let Some(scale) = scale else { continue };
                let factor = self.position_scale(scale);
                let scaled: Vec<f32> = values.iter().map(|&v| (v as f64 * factor) as f32).collect();
                let start = self.inputs.len();
                self.inputs.resize(start + scaled.len(), 0.0);
                self.model.transform_patch(&scaled, &mut self.inputs[start..]);
                self.patches.push(self.scales.len() - 1);
            }
        }
    }

    /// Refines the codes of some patches.
    fn refine(&mut self, nth: &[usize]) {
        if self.model.penalty() == Penalty::Grad {
            return;
        }
        let (n_values, n_latents) = (self.grid.patch.n_values(), self.model.n_latents());
        for batch in nth.chunks(BATCH) {
            let inputs: Vec<f32> =
                batch.iter().flat_map(|nth| &self.inputs[nth * n_values..][..n_values]).copied().collect();
            let coordinates = self.model.least_squares(self.chunk.backend, &inputs);
            for (&nth, coordinates) in batch.iter().zip(coordinates.chunks_exact(self.model.n_linear())) {
                let latents = &self.latents[nth * n_latents..][..n_latents];
                self.refined[nth] = self.model.refine(self.chunk.backend, latents, coordinates);
            }
        }
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

    /// Steps at scale 0, and which latents to keep, such that a sample of patches is cheapest; with the costs of
    /// residuals there.
    fn choose_settings(
        &self,
        mut settings: Settings,
        samples: &[usize],
    ) -> Result<(Settings, ResidualCosts), Error> {
        if self.chunk.latents_only {
            settings.rules.latent_step_log2 = self.model.spec().none_step_log2 as i8;
            settings.least_gain = 0.0;
            let own = Settings { refined: false, ..settings };
            if self.squared_error(&own, samples)? < self.squared_error(&settings, samples)? {
                settings = own;
            }
            return Ok((settings, SymbolCounts::new().costs()));
        }
        let mut linear = LinearOnly { begun: self.begin_without_latents(samples)?, made: None };
        let (mut best, mut costs) = self.sample_cost(&settings, samples, &mut linear)?;
        let own = Settings { refined: false, ..settings };
        let (own_best, own_costs) = self.sample_cost(&own, samples, &mut linear)?;
        if own_best < best {
            (best, costs, settings) = (own_best, own_costs, own);
        }
        // Few patches do not say enough, and each may have a linear step of its own.
        if samples.len() < LEAST_SAMPLES {
            return Ok((settings, costs));
        }
        let reach = if samples.len() < SAMPLES { 1 } else { 3 };
        let changes: [fn(&mut Settings, i8); 4] = [
            |settings, direction| settings.change_linear_step(LINEAR_QUARTERS * direction),
            Settings::change_latent_step,
            Settings::change_gain,
            Settings::change_linear_step,
        ];
        for change in changes {
            for direction in [-1, 1] {
                let mut n_steps = 0;
                while n_steps < reach {
                    let mut next = settings;
                    change(&mut next, direction);
                    let (next_best, next_costs) = self.sample_cost(&next, samples, &mut linear)?;
                    if next_best >= best {
                        break;
                    }
                    (best, costs, settings) = (next_best, next_costs, next);
                    n_steps += 1;
                }
                // The other way lies what was left behind.
                if n_steps > 0 {
                    break;
                }
            }
        }
        Ok((settings, costs))
    }

    /// Squared error of some patches by latents alone, in the network's domain.
    fn squared_error(&self, settings: &Settings, samples: &[usize]) -> Result<f64, Error> {
        let left = self.left(samples, &self.latent_codes(settings, samples))?;
        Ok(left.iter().map(|&error| f64::from(error).powi(2)).sum())
    }

    /// Bits of some patches, each with its cheapest kinds of atoms, under costs that are fitted to them.
    fn sample_cost(
        &self,
        settings: &Settings,
        samples: &[usize],
        linear: &mut LinearOnly,
    ) -> Result<(f64, ResidualCosts), Error> {
        let latents = self.begin(settings, samples)?;
        let step = settings.rules.linear_step_quarters;
        let without_latents = match linear.made.take() {
            Some((made_with, guesses)) if made_with == step => guesses,
            _ => self.guess(settings, samples, &linear.begun, Some(0), Pulls::FEW)?,
        };
        let guesses = [
            self.guess(settings, samples, &latents, Some(0), Pulls::FEW)?,
            self.guess(settings, samples, &latents, None, Pulls::FEW)?,
            without_latents,
        ];
        let mut costs = self.costs_of(guesses[0].iter());
        let mut total = f64::INFINITY;
        for _ in 0..2 {
            let cheapest: Vec<&Guess> = (0..samples.len())
                .filter_map(|i| {
                    let by_cost =
                        |a: &&Guess, b: &&Guess| self.bits(a, &costs).total_cmp(&self.bits(b, &costs));
                    guesses.iter().map(|guesses| &guesses[i]).min_by(by_cost)
                })
                .collect();
            costs = self.costs_of(cheapest.iter().copied());
            total = cheapest.iter().map(|guess| self.bits(guess, &costs)).sum();
        }
        let [.., without_latents] = guesses;
        linear.made = Some((step, without_latents));
        Ok((total, costs))
    }

    fn costs_of<'g>(&self, guesses: impl Iterator<Item = &'g Guess>) -> ResidualCosts {
        let mut counts = SymbolCounts::new();
        guesses.for_each(|guess| counts.add(&self.residual_patch(guess)));
        counts.costs()
    }

    fn residual_patch<'g>(&self, guess: &'g Guess) -> ResidualPatch<'g> {
        ResidualPatch { cols: self.grid.patch.cols, residuals: &guess.residuals }
    }

    fn bits(&self, guess: &Guess, costs: &ResidualCosts) -> f64 {
        guess.header_bits + costs.of(&self.residual_patch(guess))
    }

    /// Candidates of one trial for some patches (by their place in `patches`): with linear atoms, whose step is so much
    /// finer than the chunk's, or without.
    fn guess(
        &self,
        settings: &Settings,
        nth: &[usize],
        begun: &Begun,
        linear_change: Option<i32>,
        pulls: Pulls,
    ) -> Result<Vec<Guess>, Error> {
        let coded = self.code(settings, nth, begun, linear_change, pulls);
        let n_values = self.grid.patch.n_values();
        let mut output = vec![0; nth.len() * n_values];
        let codes: Vec<PatchCode> = coded.iter().map(|coded| coded.patch.code.clone()).collect();
        self.model.decode_patches(self.chunk.backend, &codes, &mut output)?;
        let guesses = coded.into_iter().zip(nth).zip(output.chunks_exact(n_values));
        let guesses = guesses.map(|((Coded { patch, header_bits, .. }, &nth), output)| {
            let residuals = self.residuals(&settings.rules, self.patches[nth], patch.scale, output);
            Guess { header_bits, residuals, patch }
        });
        Ok(guesses.collect())
    }

    /// The same, not yet decoded.
    fn code(
        &self,
        settings: &Settings,
        nth: &[usize],
        begun: &Begun,
        linear_change: Option<i32>,
        pulls: Pulls,
    ) -> Vec<Coded> {
        let steps = atom_rules(&settings.rules, self.model);
        let mut codes = begun.codes.clone();
        for (code, &nth) in codes.iter_mut().zip(nth) {
            code.latent_step_log2 = steps.latent_step_log2(self.scale(nth));
            code.linear_step_quarters =
                steps.linear_step_quarters(self.scale(nth), linear_change.unwrap_or(0));
        }
        let mut n_beyond = vec![0; nth.len()];
        if linear_change.is_some() {
            n_beyond = self.add_linear(begun, pulls, &mut codes);
        }
        let mut atoms = self.atoms.borrow_mut();
        atoms.set_rules(steps);
        let coded = nth.iter().zip(codes).zip(n_beyond).map(|((&nth, code), n_beyond)| {
            let patch = NetworkPatch {
                scale: self.scale(nth),
                has_latents: !code.latents.is_empty(),
                has_linear: !code.linear.is_empty(),
                linear_change: linear_change.filter(|_| !code.linear.is_empty()).unwrap_or(0),
                code,
            };
            Coded { header_bits: header_bits(&mut atoms, &patch), patch, n_beyond }
        });
        coded.collect()
    }

    /// Some patches with their latents; without coefficients where latents are all that is stored.
    fn begin(&self, settings: &Settings, nth: &[usize]) -> Result<Begun, Error> {
        let codes = self.latent_codes(settings, nth);
        if self.chunk.latents_only {
            return Ok(Begun { codes, left: Vec::new(), limits: Vec::new(), coefs: Vec::new() });
        }
        let left = self.left(nth, &codes)?;
        // What latents leave is small: one projection will do.
        let coefs = self.model.project(self.chunk.backend, &left);
        Ok(Begun { codes, left, limits: self.limits(nth), coefs })
    }

    /// Some patches without latents.
    fn begin_without_latents(&self, nth: &[usize]) -> Result<Begun, Error> {
        let codes = vec![PatchCode::default(); nth.len()];
        let left = self.left(nth, &codes)?;
        let coefs = self.model.project_twice(self.chunk.backend, &left);
        Ok(Begun { codes, left, limits: self.limits(nth), coefs })
    }

    fn latent_codes(&self, settings: &Settings, nth: &[usize]) -> Vec<PatchCode> {
        let steps = atom_rules(&settings.rules, self.model);
        nth.iter().map(|&nth| self.latent_code(&steps, settings, nth)).collect()
    }

    fn latent_code(&self, steps: &AtomRules, settings: &Settings, nth: usize) -> PatchCode {
        let latent_step_log2 = steps.latent_step_log2(self.scale(nth));
        let latents = match self.refined[nth].as_ref().filter(|_| settings.refined) {
            Some(refined) => {
                // Not the patch's own step, which follows from what the latents leave.
                let linear_step = (-f64::from(steps.linear_step_quarters(self.scale(nth), 0)) / 4.0).exp2();
                let latent_step = (-f64::from(latent_step_log2)).exp2();
                let most = self.model.most_latent_level(latent_step_log2);
                refined.pruned(settings.least_gain * linear_step * linear_step).levels(latent_step, most)
            }
            None => {
                let n_latents = self.model.n_latents();
                let latents = &self.latents[nth * n_latents..][..n_latents];
                self.model.quantize_latents(latents, latent_step_log2, DEAD_ZONE)
            }
        };
        PatchCode { latent_step_log2, latents, ..PatchCode::default() }
    }

    fn scale(&self, nth: usize) -> i32 {
        self.scales[self.patches[nth]].unwrap_or(0)
    }

    /// What codes leave of the patches, in the network's domain.
    fn left(&self, nth: &[usize], codes: &[PatchCode]) -> Result<Vec<f32>, Error> {
        let n_values = self.grid.patch.n_values();
        let mut residual = vec![0.0; nth.len() * n_values];
        self.model.reconstruct_transformed(self.chunk.backend, codes, &mut residual)?;
        for (row, &nth) in residual.chunks_exact_mut(n_values).zip(nth) {
            for (left, &input) in row.iter_mut().zip(&self.inputs[nth * n_values..][..n_values]) {
                *left = input - *left;
            }
        }
        Ok(residual)
    }

    /// The rows of a patch, where they are in the frame: places in the patch, and places in the chunk.
    fn lines(&self, index: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let grid = self.grid;
        let n_patches = grid.n_patches();
        let region = grid.region(index % n_patches);
        let frame = index / n_patches * grid.rows * grid.cols;
        (0..region.rows).map(move |row| {
            let first = frame + (region.row + row) * grid.cols + region.col;
            let place = row * grid.patch.cols;
            (place..place + region.cols, first..first + region.cols)
        })
    }

    /// What makes a position a value over a patch's scale.
    fn position_scale(&self, scale: i32) -> f64 {
        (-f64::from(scale) / 8.0).exp2() / self.brightest
    }

    /// What the network's output leaves of a patch, in steps; 0 for special pixels and beyond the frame. Empty where the
    /// network has no say over the pixels.
    fn residuals(&self, rules: &NetworkRules, index: usize, scale: i32, output: &[i32]) -> Vec<i32> {
        let Some((factor, shift)) = rules.multiplier(scale).filter(|_| !self.chunk.latents_only) else {
            return Vec::new();
        };
        let target = &self.chunk.target;
        let (width, bits) = (target.uniform_width(), target.domain.fraction_bits);
        let mut residuals = vec![0; output.len()];
        for (line, pixels) in self.lines(index) {
            let values = residuals[line.clone()].iter_mut().zip(&output[line]).zip(pixels);
            for ((residual, &value), i) in values.filter(|(_, i)| target.specials[*i] == 0) {
                let position =
                    round_shift(i64::from(value) * factor, shift).clamp(target.lowest, target.highest);
                let steps = least_residual(target.positions[i] - position, width, bits);
                *residual = steps.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            }
        }
        residuals
    }
}

impl Settings {
    fn change_linear_step(&mut self, quarters: i8) {
        self.rules.linear_step_quarters = self.rules.linear_step_quarters.saturating_add(quarters);
    }

    fn change_latent_step(&mut self, direction: i8) {
        self.rules.latent_step_log2 = self.rules.latent_step_log2.saturating_add(direction);
    }

    fn change_gain(&mut self, direction: i8) {
        self.least_gain *= GAIN_FACTOR.powi(direction.into());
    }
}

/// Eighths of an octave from the brightest value up to which a patch reaches; `None` where it is dark.
fn patch_scale(share: f64) -> Option<i32> {
    if share <= 0.0 {
        return None;
    }
    // Rounding in the logarithm must not push an exact power over the edge.
    let scale = (share.log2() * 8.0 - 1e-6).ceil() as i32;
    (scale >= DARKEST_SCALE).then_some(scale.min(0))
}

/// Positions with special pixels replaced by the last ordinary one before them.
fn inpaint(positions: &[i64], specials: &[u8]) -> Vec<i64> {
    let mut last = 0;
    positions
        .iter()
        .zip(specials)
        .map(|(&position, &special)| {
            if special == 0 {
                last = position;
            }
            last
        })
        .collect()
}

/// Bits of a patch's header before anything adapts.
fn header_bits(atoms: &mut AtomCoder, patch: &NetworkPatch) -> f64 {
    let header = PatchHeader::Network(Box::new(patch.clone()));
    atoms.price(&header, None, None) as f64 / 65536.0
}
