//! Some patches as the network sees them, and what atoms make of them.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use crate::ablation::{Part, has};
use crate::atoms::{AtomRules, NetworkPatch, PatchHeader};
use crate::decode::atom_rules;
use crate::error::Error;
use crate::sae::{ActiveLatents, PatchCode, Penalty, Transform};
use crate::target::Target;

use super::linear::Pulls;
use super::{Search, Settings};

/// Levels of steps of ∇z within this many steps of 0 become 0.
const DEAD_ZONE: f32 = 0.6;

/// Patches darker than 2⁻²⁴ of the brightest have nothing that a bound would not swallow.
const DARKEST_SCALE: i32 = -24 * 8;

/// Some patches of a chunk that have values.
#[derive(Default)]
pub(super) struct Group {
    /// Which of the chunk's patches they are.
    pub(super) patches: Vec<usize>,
    /// Scale of each.
    pub(super) scales: Vec<i32>,
    /// n for each, in the network's domain.
    inputs: Vec<f32>,
    limits: Vec<Rc<Limits>>,
    /// ℓ for each.
    latents: Vec<f32>,
    /// K for each: least squares in the basis. Empty before they are refined.
    coordinates: Vec<f32>,
    /// The active latents of each, refined; `None` where they are not: with `Penalty::Grad`, whose codes are running sums,
    /// and where there are too many.
    refined: Vec<Option<ActiveLatents>>,
}

/// What several trials of some patches have in common: their latents (none, where linear atoms are to do all), and the
/// linear coefficients, K for each patch, that would make up for what these leave.
pub(super) struct Begun {
    pub(super) scales: Vec<i32>,
    pub(super) codes: Vec<PatchCode>,
    /// n for each patch, in the network's domain.
    pub(super) left: Vec<f32>,
    pub(super) limits: Vec<Rc<Limits>>,
    pub(super) coefs: Vec<f32>,
}

/// How far below and above what atoms leave of each of the n values of a patch may be. Infinity where a pixel is special
/// or beyond the frame, and on the side on which the output is cut to the range of the values, where that comes near
/// enough.
pub(super) struct Limits {
    pub(super) below: Vec<f32>,
    pub(super) above: Vec<f32>,
}

/// A candidate for one patch: its atoms, and what they leave of the patch in steps.
pub(super) struct Guess {
    pub(super) patch: NetworkPatch,
    pub(super) residuals: Vec<i32>,
}

impl Group {
    /// Those at some places.
    pub(super) fn select(&self, places: &[usize]) -> Self {
        Self {
            patches: entries(&self.patches, places),
            scales: entries(&self.scales, places),
            inputs: rows(&self.inputs, self.patches.len(), places),
            limits: entries(&self.limits, places),
            latents: rows(&self.latents, self.patches.len(), places),
            coordinates: rows(&self.coordinates, self.patches.len(), places),
            refined: entries(&self.refined, places),
        }
    }
}

impl Begun {
    /// Those at some places.
    pub(super) fn select(&self, places: &[usize]) -> Self {
        let of = |values| rows(values, self.codes.len(), places);
        Self {
            scales: entries(&self.scales, places),
            codes: entries(&self.codes, places),
            left: of(&self.left),
            limits: entries(&self.limits, places),
            coefs: of(&self.coefs),
        }
    }
}

/// Those at some places.
fn entries<T: Clone>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|&place| values[place].clone()).collect()
}

/// Some of `n_rows` rows of one length.
fn rows(values: &[f32], n_rows: usize, places: &[usize]) -> Vec<f32> {
    let length = values.len() / n_rows.max(1);
    places.iter().flat_map(|place| &values[place * length..][..length]).copied().collect()
}

impl Search<'_> {
    /// Some patches, scaled, transformed and analyzed; those that are dark are left out.
    pub(super) fn group(&self, patches: impl Iterator<Item = usize>) -> Group {
        let mut group = Group::default();
        let target = &self.chunk.target;
        let mut values = Vec::new();
        let mut frame = (usize::MAX, Vec::new());
        for patch in patches {
            let n_patches = self.grid.n_patches();
            if frame.0 != patch / n_patches {
                let pixels = self.chunk.pixels(patch / n_patches);
                frame = (patch / n_patches, inpaint(target, pixels));
            }
            values.clear();
            self.grid.gather(&frame.1, patch % n_patches, &mut values);
            let most = values.iter().fold(0, |most, v| v.unsigned_abs().max(most));
            let scale = patch_scale(most as f64 / self.brightest)
                .filter(|&scale| self.base.multiplier(scale).is_some());
            let Some(scale) = scale else { continue };
            let factor = self.position_scale(scale);
            let scaled: Vec<f32> = values.iter().map(|&v| (v as f64 * factor) as f32).collect();
            let start = group.inputs.len();
            group.inputs.resize(start + scaled.len(), 0.0);
            self.model.transform_patch(&scaled, &mut group.inputs[start..]);
            group.patches.push(patch);
            group.scales.push(scale);
            group.limits.push(Rc::new(self.limits(patch, scale)));
        }
        group.latents = self.model.analyze(self.chunk.backend, &group.inputs);
        group.refined = vec![None; group.patches.len()];
        group
    }

    /// Finds the coordinates of a group, and refines its codes.
    pub(super) fn refine(&self, group: &mut Group) {
        let (n_latents, n_linear) = (self.model.n_latents(), self.model.n_linear());
        group.coordinates = self.model.least_squares(self.chunk.backend, &group.inputs);
        if self.model.penalty() == Penalty::Grad {
            return;
        }
        let patches = group.latents.chunks_exact(n_latents).zip(group.coordinates.chunks_exact(n_linear));
        for (refined, (latents, coordinates)) in group.refined.iter_mut().zip(patches) {
            *refined = self.model.refine(self.chunk.backend, latents, coordinates);
        }
    }

    /// Candidates of one trial: with linear atoms, whose step is so much finer than the chunk's, or without.
    pub(super) fn guess(
        &self,
        settings: &Settings,
        begun: &Begun,
        linear_change: Option<i32>,
        pulls: Pulls,
    ) -> Vec<Guess> {
        let steps = atom_rules(&settings.rules, self.model);
        let mut codes = begun.codes.clone();
        for (code, &scale) in codes.iter_mut().zip(&begun.scales) {
            code.latent_step_log2 = steps.latent_step_log2(scale);
            code.linear_step_quarters = steps.linear_step_quarters(scale, linear_change.unwrap_or(0));
        }
        let left = match linear_change {
            Some(_) if has(Part::Linear) => Cow::Owned(self.add_linear(begun, pulls, &mut codes)),
            _ => Cow::Borrowed(&begun.left),
        };
        let n_values = self.grid.patch.n_values();
        let guesses = codes.into_iter().zip(&begun.scales).enumerate().map(|(place, (code, &scale))| {
            let patch = NetworkPatch {
                scale,
                has_latents: !code.latents.is_empty(),
                has_linear: !code.linear.is_empty(),
                linear_change: linear_change.filter(|_| !code.linear.is_empty()).unwrap_or(0),
                code,
            };
            let residuals = match self.chunk.latents_only {
                true => Vec::new(),
                false => residuals(&left[place * n_values..][..n_values], &begun.limits[place]),
            };
            Guess { patch, residuals }
        });
        guesses.collect()
    }

    /// Bits of a patch's header before anything adapts.
    pub(super) fn header_bits(&self, settings: &Settings, patch: &NetworkPatch) -> f64 {
        let mut atoms = self.atoms.borrow_mut();
        atoms.set_rules(atom_rules(&settings.rules, self.model));
        atoms.price(&PatchHeader::Network(Box::new(patch.clone())), None, None) as f64 / 65536.0
    }

    /// Some patches with their latents; without coefficients where latents are all that is stored.
    pub(super) fn begin(&self, settings: &Settings, group: &Group) -> Result<Begun, Error> {
        let codes = self.latent_codes(settings, group);
        let (scales, limits) = (group.scales.clone(), group.limits.clone());
        if self.chunk.latents_only {
            return Ok(Begun { scales, codes, left: Vec::new(), limits, coefs: Vec::new() });
        }
        let left = self.left(group, &codes)?;
        // What latents leave is small: one projection will do.
        let coefs = self.model.project(self.chunk.backend, &left);
        Ok(Begun { scales, codes, left, limits, coefs })
    }

    /// Some patches without latents, refined.
    pub(super) fn begin_without_latents(&self, group: &Group) -> Result<Begun, Error> {
        let codes = vec![PatchCode::default(); group.patches.len()];
        // The same for all.
        let mut output = vec![0.0; self.grid.patch.n_values()];
        self.model.reconstruct_transformed(self.chunk.backend, &[PatchCode::default()], &mut output)?;
        let less = |rows: &[f32], row: &[f32]| -> Vec<f32> {
            let rows = rows.chunks_exact(row.len());
            rows.flat_map(|values| values.iter().zip(row).map(|(value, less)| value - less)).collect()
        };
        let left = less(&group.inputs, &output);
        let coefs = less(&group.coordinates, &self.model.least_squares(self.chunk.backend, &output));
        Ok(Begun { scales: group.scales.clone(), codes, left, limits: group.limits.clone(), coefs })
    }

    pub(super) fn latent_codes(&self, settings: &Settings, group: &Group) -> Vec<PatchCode> {
        let steps = atom_rules(&settings.rules, self.model);
        (0..group.patches.len()).map(|place| self.latent_code(&steps, settings, group, place)).collect()
    }

    fn latent_code(&self, steps: &AtomRules, settings: &Settings, group: &Group, place: usize) -> PatchCode {
        let scale = group.scales[place];
        let latent_step_log2 = steps.latent_step_log2(scale);
        if !has(Part::Latents) {
            return PatchCode { latent_step_log2, ..PatchCode::default() };
        }
        let latents = match group.refined[place].as_ref().filter(|_| settings.refined) {
            Some(refined) => {
                // Not the patch's own step, which follows from what the latents leave.
                let linear_step = (-f64::from(steps.linear_step_quarters(scale, 0)) / 4.0).exp2();
                let latent_step = (-f64::from(latent_step_log2)).exp2();
                let most = self.model.most_latent_level(latent_step_log2);
                refined.pruned(settings.least_gain * linear_step * linear_step).levels(latent_step, most)
            }
            None => {
                let n_latents = self.model.n_latents();
                let latents = &group.latents[place * n_latents..][..n_latents];
                self.model.quantize_latents(latents, latent_step_log2, DEAD_ZONE)
            }
        };
        PatchCode { latent_step_log2, latents, ..PatchCode::default() }
    }

    /// What codes leave of the patches, in the network's domain.
    pub(super) fn left(&self, group: &Group, codes: &[PatchCode]) -> Result<Vec<f32>, Error> {
        let mut left = vec![0.0; group.inputs.len()];
        self.model.reconstruct_transformed(self.chunk.backend, codes, &mut left)?;
        left.iter_mut().zip(&group.inputs).for_each(|(left, &input)| *left = input - *left);
        Ok(left)
    }

    fn limits(&self, patch: usize, scale: i32) -> Limits {
        let infinite = || vec![f32::INFINITY; self.grid.patch.n_values()];
        let mut limits = Limits { below: infinite(), above: infinite() };
        let target = &self.chunk.target;
        let width = target.uniform_width() as f64;
        let bound = (self.relative_bound * (-f64::from(scale) / 8.0).exp2()) as f32;
        for (line, pixels) in self.lines(patch) {
            let (below, above) = (&mut limits.below[line.clone()], &mut limits.above[line]);
            self.bound_in_domain(scale, pixels.clone(), bound, below);
            above.copy_from_slice(below);
            for ((below, above), pixel) in below.iter_mut().zip(above).zip(pixels) {
                let (position, is_special) = (target.positions.at(pixel), target.special(pixel) != 0);
                let near = |end: i64| is_special || (2 * (position - end).abs()) as f64 <= width;
                if near(target.lowest) {
                    *above = f32::INFINITY;
                }
                if near(target.highest) {
                    *below = f32::INFINITY;
                }
            }
        }
        limits
    }

    /// A bound on values over a patch's scale, as one on what the transform makes of them.
    fn bound_in_domain(&self, scale: i32, pixels: Range<usize>, bound: f32, limits: &mut [f32]) {
        if self.model.transform() == Transform::None {
            return limits.fill(bound);
        }
        let factor = self.position_scale(scale);
        let positions = &self.chunk.target.positions;
        let values = pixels.map(|pixel| (positions.at(pixel) as f64 * factor) as f32);
        let (above, below): (Vec<f32>, Vec<f32>) = values.map(|value| (value + bound, value - bound)).unzip();
        let mut lower = vec![0.0; limits.len()];
        self.model.transform_patch(&above, limits);
        self.model.transform_patch(&below, &mut lower);
        limits.iter_mut().zip(lower).for_each(|(limit, lower)| *limit = (*limit - lower) / 2.0);
    }

    /// The rows of a patch, where they are in the frame: places in the patch, and places in the chunk.
    fn lines(&self, patch: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let grid = self.grid;
        let n_patches = grid.n_patches();
        let region = grid.region(patch % n_patches);
        let frame = patch / n_patches * grid.rows * grid.cols;
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
}

/// What is left of some values, in steps of twice their limit; 0 within it.
fn residuals(left: &[f32], limits: &Limits) -> Vec<i32> {
    let steps = |(&left, (&below, &above)): (&f32, (&f32, &f32))| {
        let limit = if left < 0.0 { below } else { above };
        if left.abs() <= limit { 0 } else { (left / (2.0 * limit)).round() as i32 }
    };
    left.iter().zip(limits.below.iter().zip(&limits.above)).map(steps).collect()
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
fn inpaint(target: &Target, pixels: Range<usize>) -> Vec<i64> {
    let mut last = 0;
    let ordinary = |pixel| {
        if target.special(pixel) == 0 {
            last = target.positions.at(pixel);
        }
        last
    };
    pixels.map(ordinary).collect()
}
