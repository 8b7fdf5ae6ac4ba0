//! From a chunk to a coded payload: tries the methods, keeps what is cheapest.

use std::sync::Arc;

use crate::ablation::{Part, has};
use crate::atoms::{AtomCoder, PatchHeader};
use crate::candidates::{NetworkCandidates, find_candidates};
use crate::centre::find_centre;
use crate::decode::{FramePlanner, atom_rules};
use crate::entropy::{BitCoder, CostCounter, RangeEncoder};
use crate::error::Error;
use crate::frame::{FrameCoder, FramePlan, FrameRules, Method};
use crate::options::Effort;
use crate::patch::{BLOCK, PatchGrid};
use crate::sae::{Model, backend::Backend};
use crate::stream::payload::{PayloadRules, default_patch};
use crate::symmetry::Centre;
use crate::target::Target;

/// Frames on which the centre of symmetry is tried.
const SAMPLE_FRAMES: usize = 3;

/// Largest edge of the part of a frame on which the centre is tried.
const SAMPLE_EDGE: usize = 128;

/// Frames that are longer than this against their width are no pictures of a beam, and would make the search slow: its
/// coarsest picture is at least two pixels wide.
const MOST_ELONGATED: usize = 8;

/// Pixels are modelled if a sample becomes smaller by more than one part in so many.
const LEAST_GAIN: u64 = 50;

/// One half of frames tells the other if a sample with a centre takes less than this percentage of what it takes without.
const SYMMETRIC_PERCENT: u64 = 65;

/// Frames of that sample, fewer where they have more pixels than this together.
const MODELLED_FRAMES: usize = 8;
const MODELLED_PIXELS: usize = 1 << 15;

/// After this many frames in which both methods were tried, only one is, but for every so often, unless trying has saved
/// more than one part in so many.
const SETTLED_AFTER: usize = 3;
const TRY_AGAIN_EVERY: usize = 16;
const WORTH_TRYING: u64 = 128;

/// Pixels out of reach of every residual become special if they are fewer than one in so many; passes that may use all
/// methods.
const FEW_UNREACHABLE: usize = 1000;
const MOST_FREE_PASSES: usize = 3;

/// The network needs no trial where it takes less than this share of a patch's bits without it, by its estimate: that is
/// 2 to 9 % below the true number in one patch of fifty, and hardly ever more.
const SURE: f64 = 0.95;

/// Patches that cost more than this percentage of their raw bits are also tried as stored bit patterns.
const LOSSLESS_TRIAL_PERCENT: u64 = 60;

/// A chunk to encode.
pub(crate) struct Chunk<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) n_frames: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) effort: Effort,
    pub(crate) latents_only: bool,
    pub(crate) model: Option<&'a Arc<Model>>,
    pub(crate) backend: &'a dyn Backend,
}

/// A coded payload and whether it needs the model.
pub(crate) struct Coded {
    pub(crate) payload: Vec<u8>,
    pub(crate) uses_network: bool,
    choices: Choices,
}

/// How the patches of a chunk were coded and what they cost, frame by frame.
pub(crate) struct Choices {
    grid: PatchGrid,
    methods: Vec<Method>,
    /// In 1/65536 bit.
    costs: Vec<u64>,
}

impl Choices {
    /// These, if they are of patches on the given grid: the two ways to encode may differ in that.
    pub(crate) fn on(&self, grid: PatchGrid) -> Option<&Self> {
        (self.grid == grid).then_some(self)
    }

    /// Bits of a patch.
    pub(crate) fn bits(&self, index: usize) -> f64 {
        self.costs[index] as f64 / 65536.0
    }
}

/// Choices about the frames of a chunk that hold for all of them.
#[derive(Clone, Copy, Default)]
struct Common {
    centre: Option<Centre>,
    modelled: bool,
}

/// What a chunk is encoded with, besides what every chunk may use.
#[derive(Clone, Copy, Default)]
struct Help<'a> {
    candidates: Option<&'a NetworkCandidates>,
    /// The choices without a network.
    choices: Option<&'a Choices>,
}

impl Chunk<'_> {
    /// Encodes without a network, then with it where it may help, and keeps the shorter. `None` if latents alone are
    /// asked for and there are none.
    pub(crate) fn encode(&mut self) -> Result<Option<Coded>, Error> {
        let common = self.choose_common();
        let without = match self.latents_only {
            true => None,
            false => Some(self.encode_exactly(common, Help::default())?),
        };
        let choices = without.as_ref().map(|without| &without.choices);
        let candidates = match self.model {
            Some(model) if self.effort != Effort::Fast && self.target.suits_network() => {
                find_candidates(self, model, choices)?
            }
            _ => None,
        };
        if candidates.is_none() {
            return Ok(without);
        }
        let with = self.encode_exactly(common, Help { candidates: candidates.as_ref(), choices })?;
        Ok(Some(match without {
            Some(without) if !with.uses_network || without.payload.len() <= with.payload.len() => without,
            _ => with,
        }))
    }

    /// Encodes; where a pixel turns out to be out of reach of every residual, makes it special and starts again.
    ///
    /// What is out of reach depends on the prediction, so another pass may find others; on the grid it does not. So
    /// where many pixels are, or passes have not helped, only the grid is used, and the next pass but one is the last.
    fn encode_exactly(&mut self, common: Common, help: Help) -> Result<Coded, Error> {
        let few = self.target.n_pixels() / FEW_UNREACHABLE;
        let mut grid_only = false;
        let mut pass = 0;
        loop {
            pass += 1;
            let help = if grid_only { Help::default() } else { help };
            let rules = self.rules(common, help.candidates);
            let mut encoder = ChunkEncoder::new(self, &rules, help);
            encoder.grid_only = grid_only;
            for frame in 0..self.n_frames {
                encoder.encode_frame(frame)?;
                if !grid_only && encoder.unreachable.len() > few {
                    break;
                }
            }
            if encoder.unreachable.is_empty() {
                return Ok(encoder.finish());
            }
            let unreachable = std::mem::take(&mut encoder.unreachable);
            if grid_only || unreachable.len() <= few {
                self.target.exclude(&unreachable);
            }
            grid_only |= unreachable.len() > few || pass == MOST_FREE_PASSES;
        }
    }

    fn rules(&self, common: Common, candidates: Option<&NetworkCandidates>) -> PayloadRules {
        let patch = match (candidates, self.model) {
            (Some(_), Some(model)) => model.patch(),
            _ => default_patch(self.rows, self.cols),
        };
        PayloadRules {
            frames: FrameRules {
                domain: self.target.domain,
                grid: PatchGrid { rows: self.rows, cols: self.cols, patch },
                lowest: self.target.lowest,
                highest: self.target.highest,
                centre: common.centre,
                specials: self.target.patterns.clone(),
                latents_only: self.latents_only,
                modelled: common.modelled,
            },
            network: candidates.map(|candidates| candidates.rules),
            fast: false,
        }
    }

    fn choose_common(&self) -> Common {
        let (centre, symmetric) = self.choose_centre();
        Common { centre, modelled: self.choose_modelled(centre, symmetric) }
    }

    /// A centre of symmetry, if coding a sample with it is cheaper than without; and whether one half of frames tells the
    /// other.
    fn choose_centre(&self) -> (Option<Centre>, bool) {
        if !centre_may_exist(self.rows, self.cols) || self.latents_only || !has(Part::Symmetry) {
            return (None, false);
        }
        let frames: Vec<usize> = evenly_spread(self.n_frames, SAMPLE_FRAMES).collect();
        let found = self.find_centre(frames[frames.len() / 2]);
        let middle = Centre::of_frame(self.rows, self.cols);
        let sample = self.sample(&frames, found);
        let exact = self.target.is_exact();
        let first = if exact { Method::Grid } else { Method::Aligned };
        let without = sample.cost(first, Common::default());
        let mut best = (without, None);
        for centre in [found, middle].into_iter().take(if found == middle { 1 } else { 2 }) {
            let cost = sample.cost(first, Common { centre: Some(centre), modelled: false });
            if cost < best.0 {
                best = (cost, Some(centre));
            }
        }
        (best.1, best.0 < without / 100 * SYMMETRIC_PERCENT)
    }

    /// Whether to model pixels: where a sample becomes smaller by it, and, but for the best effort, where the time that
    /// it takes is well spent: not where frames are simulations without noise, one half of which tells the other.
    fn choose_modelled(&self, centre: Option<Centre>, symmetric: bool) -> bool {
        let spare_time = self.effort == Effort::Default && symmetric && !self.target.is_exact();
        if self.effort == Effort::Fast || self.latents_only || spare_time || !has(Part::Modelled) {
            return false;
        }
        // Neighbours, since a frame may tell about the next.
        let n_frames =
            self.n_frames.min(MODELLED_FRAMES.min(MODELLED_PIXELS.div_ceil(self.rows * self.cols)));
        let first = (self.n_frames - n_frames) / 2;
        let frames: Vec<usize> = (first..first + n_frames).collect();
        let sample = self.sample(&frames, centre.unwrap_or(Centre::of_frame(self.rows, self.cols)));
        let costs = |modelled| {
            [Method::Grid, Method::Aligned].map(|method| match method {
                Method::Aligned if self.target.is_exact() => u64::MAX,
                _ => sample.cost(method, Common { centre, modelled }),
            })
        };
        let plain = costs(false);
        let least = plain[0].min(plain[1]);
        let modelled = costs(true);
        modelled[0].min(modelled[1]) < least - least / LEAST_GAIN
    }

    /// Where a frame's pixels stand among those of the chunk.
    pub(crate) fn pixels(&self, frame: usize) -> std::ops::Range<usize> {
        let n_pixels = self.rows * self.cols;
        frame * n_pixels..(frame + 1) * n_pixels
    }

    fn find_centre(&self, frame: usize) -> Centre {
        let positions: Vec<Option<i64>> = self
            .pixels(frame)
            .map(|i| (self.target.special(i) == 0).then(|| self.target.positions.at(i)))
            .collect();
        find_centre(self.rows, self.cols, &positions, self.target.domain.step_positions())
    }

    /// Some frames, or of large ones the part around a centre.
    fn sample(&self, frames: &[usize], centre: Centre) -> Sample<'_> {
        let cut = |edge: usize, twice_centre: i64| {
            let length = edge.min(SAMPLE_EDGE);
            let start = (twice_centre / 8 - length as i64 / 2).clamp(0, (edge - length) as i64) as usize;
            (start, length)
        };
        let (top, rows) = cut(self.rows, centre.twice_row);
        let (left, cols) = cut(self.cols, centre.twice_col);
        let pixels = frames.iter().flat_map(|frame| {
            (top..top + rows).flat_map(move |row| {
                let start = (frame * self.rows + row) * self.cols + left;
                start..start + cols
            })
        });
        let target = self.target.select(pixels);
        let mut rules = self.rules(Common::default(), None).frames;
        rules.grid = PatchGrid { rows, cols, patch: default_patch(rows, cols) };
        Sample { rules, target, top: top as i64, left: left as i64 }
    }
}

/// Whether frames may be pictures of a beam.
pub(crate) fn centre_may_exist(rows: usize, cols: usize) -> bool {
    let edges = (rows.min(cols), rows.max(cols));
    edges.0 >= BLOCK && edges.1 / edges.0 <= MOST_ELONGATED
}

/// At most so many of the numbers below `n`, evenly spread.
pub(crate) fn evenly_spread(n: usize, most: usize) -> impl Iterator<Item = usize> {
    let n_chosen = most.min(n);
    (0..n_chosen).map(move |i| (2 * i + 1) * n / (2 * n_chosen))
}

/// A part of a chunk on which choices are tried.
struct Sample<'a> {
    rules: FrameRules,
    target: Target<'a>,
    top: i64,
    left: i64,
}

impl Sample<'_> {
    /// Cost of all frames by one method, in 1/65536 bit. The centre is that of whole frames.
    fn cost(&self, method: Method, common: Common) -> u64 {
        let centre = common.centre.map(|centre| Centre {
            twice_row: centre.twice_row - 8 * self.top,
            twice_col: centre.twice_col - 8 * self.left,
        });
        let mut coder =
            FrameCoder::new(FrameRules { centre, modelled: common.modelled, ..self.rules.clone() });
        let methods = vec![method; self.rules.grid.n_patches()];
        let n_pixels = self.rules.grid.rows * self.rules.grid.cols;
        let mut counter = CostCounter::default();
        let plan = FramePlan { methods: &methods, given: &[] };
        for start in (0..self.target.n_pixels()).step_by(n_pixels) {
            let target = self.target.frame(start..start + n_pixels);
            coder.code_frame(&mut counter, &plan, Some(&target), None);
            coder.end_frame();
        }
        counter.cost()
    }
}

/// What is tried on a frame.
#[derive(Clone, Copy)]
enum Trial {
    /// One method on all patches.
    All(Method),
    /// On each patch what was chosen without a network.
    AsChosen,
    /// The network where it is a candidate.
    Network,
}

/// Whether all the network's candidates for a frame are cheaper, by an estimate that is seldom so far off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    Sure,
    Possible,
}

/// Costs of frames that were coded by grid, by aligned prediction, and by the cheaper of them on each patch; what is older
/// counts less.
#[derive(Default)]
struct Tried {
    n_frames: usize,
    grid: u64,
    aligned: u64,
    cheaper: u64,
}

impl Tried {
    fn favourite(&self) -> Method {
        if self.aligned < self.grid { Method::Aligned } else { Method::Grid }
    }

    /// Whether one method is hardly worse than the cheaper of both.
    fn is_settled(&self) -> bool {
        let least = self.grid.min(self.aligned);
        self.n_frames >= SETTLED_AFTER && self.cheaper >= least - least / WORTH_TRYING
    }

    fn learn(&mut self, grid: &[u64], aligned: &[u64]) {
        let cheaper = grid.iter().zip(aligned).map(|(grid, aligned)| grid.min(aligned));
        let forget = |sum: u64| sum - sum / 4;
        self.n_frames += 1;
        self.cheaper = forget(self.cheaper) + cheaper.sum::<u64>();
        self.grid = forget(self.grid) + grid.iter().sum::<u64>();
        self.aligned = forget(self.aligned) + aligned.iter().sum::<u64>();
    }
}

/// State while the frames of a chunk are encoded in order.
struct ChunkEncoder<'a> {
    chunk: &'a Chunk<'a>,
    rules: &'a PayloadRules,
    help: Help<'a>,
    planner: Option<FramePlanner<'a>>,
    frame_coder: FrameCoder,
    atoms: AtomCoder,
    header_body: RangeEncoder,
    pixel_body: RangeEncoder,
    given: Vec<i64>,
    tried: Tried,
    unreachable: Vec<usize>,
    uses_network: bool,
    choices: Choices,
    /// Of the methods that predict, only the grid is tried.
    grid_only: bool,
}

impl<'a> ChunkEncoder<'a> {
    fn new(chunk: &'a Chunk<'a>, rules: &'a PayloadRules, help: Help<'a>) -> Self {
        let network = help.candidates.zip(chunk.model);
        let grid = rules.frames.grid;
        let choices = help.choices.and_then(|choices| choices.on(grid));
        Self {
            chunk,
            rules,
            help: Help { choices, ..help },
            planner: help.candidates.map(|_| FramePlanner::new(rules, chunk.model, chunk.backend)),
            frame_coder: FrameCoder::new(rules.frames.clone()),
            atoms: AtomCoder::new(network.map(|(candidates, model)| atom_rules(&candidates.rules, model))),
            header_body: RangeEncoder::new(),
            pixel_body: RangeEncoder::new(),
            given: vec![0; chunk.rows * chunk.cols],
            tried: Tried::default(),
            unreachable: Vec::new(),
            uses_network: false,
            choices: Choices { grid, methods: Vec::new(), costs: Vec::new() },
            grid_only: false,
        }
    }

    fn finish(self) -> Coded {
        Coded {
            payload: self.rules.write(&self.header_body.finish(), &self.pixel_body.finish()),
            uses_network: self.uses_network,
            choices: self.choices,
        }
    }

    fn encode_frame(&mut self, frame: usize) -> Result<(), Error> {
        if let (Some(planner), Some(candidates)) = (&mut self.planner, self.help.candidates) {
            self.given.copy_from_slice(planner.given(&candidates.headers, frame)?);
        }
        let headers = self.choose(frame);
        let grid = self.rules.frames.grid;
        for (index, header) in (frame * grid.n_patches()..).zip(&headers) {
            let [left, before] = grid.neighbours(index).map(|i| i.map(|i| self.choices.methods[i]));
            self.atoms.code(&mut self.header_body, Some(header), left, before);
            self.uses_network |= header.method() == Method::Network;
        }
        Ok(())
    }

    /// Chooses a method for each patch of a frame and writes its pixels.
    fn choose(&mut self, frame: usize) -> Vec<PatchHeader> {
        let n_patches = self.rules.frames.grid.n_patches();
        let mut chosen: Vec<Option<PatchHeader>> =
            (0..n_patches).map(|patch| self.constant(frame, patch)).collect();
        let mut best = vec![u64::MAX; n_patches];
        let trials = self.trials(frame);
        let n_trials = trials.len();
        let mut pixel_costs = Vec::new();
        for trial in trials {
            let headers: Vec<PatchHeader> = (0..n_patches)
                .map(|patch| match &chosen[patch] {
                    Some(constant @ PatchHeader::Constant(_)) => constant.clone(),
                    _ => self.trial_header(frame, patch, trial),
                })
                .collect();
            let methods: Vec<Method> = headers.iter().map(PatchHeader::method).collect();
            if n_trials > 1 || self.chunk.latents_only {
                let costs = self.price(frame, &methods);
                for (patch, header) in headers.into_iter().enumerate() {
                    let cost = costs[patch] + self.header_cost(&header);
                    if cost < best[patch] {
                        best[patch] = cost;
                        chosen[patch] = Some(header);
                    }
                }
                if let Trial::All(_) = trial {
                    pixel_costs.push(costs);
                }
            } else {
                chosen = headers.into_iter().map(Some).collect();
            }
        }
        self.try_lossless(frame, &mut chosen, &mut best);
        let chosen: Vec<PatchHeader> = chosen.into_iter().flatten().collect();
        if let [grid, aligned] = &pixel_costs[..] {
            self.tried.learn(grid, aligned);
        }
        self.write(frame, &chosen);
        chosen
    }

    /// Stores the bit patterns of patches where that is cheaper: those that no prediction describes.
    fn try_lossless(&mut self, frame: usize, chosen: &mut [Option<PatchHeader>], best: &mut [u64]) {
        let grid = self.rules.frames.grid;
        let raw_cost = |patch: usize| {
            let region = grid.region(patch);
            ((region.rows * region.cols) as u64 * u64::from(self.chunk.target.domain.element.bits())) << 16
        };
        let costly = |patch: usize, cost: u64| {
            cost != u64::MAX && cost > raw_cost(patch) / 100 * LOSSLESS_TRIAL_PERCENT
        };
        if !best.iter().enumerate().any(|(patch, &cost)| costly(patch, cost)) {
            return;
        }
        let methods = vec![Method::Lossless; best.len()];
        let costs = self.price(frame, &methods);
        for (patch, cost) in costs.into_iter().enumerate() {
            if best[patch] != u64::MAX && cost < best[patch] {
                best[patch] = cost;
                chosen[patch] = Some(PatchHeader::Pixels(Method::Lossless));
            }
        }
    }

    /// What to try on this frame.
    fn trials(&self, frame: usize) -> Vec<Trial> {
        if self.chunk.latents_only {
            return vec![Trial::All(Method::Lossless), Trial::Network];
        }
        let certainty = self.certainty(frame);
        if certainty == Some(Certainty::Sure) && self.chunk.effort != Effort::Best {
            return vec![Trial::Network];
        }
        let mut trials = match self.help.choices {
            Some(_) => vec![Trial::AsChosen],
            None => self.pixel_trials(frame).into_iter().map(Trial::All).collect(),
        };
        if certainty.is_some() {
            trials.push(Trial::Network);
        }
        trials
    }

    /// Of the network's candidates for a frame; `None` where there are none.
    fn certainty(&self, frame: usize) -> Option<Certainty> {
        let candidates = self.help.candidates?;
        let n_patches = self.rules.frames.grid.n_patches();
        let patches = frame * n_patches..(frame + 1) * n_patches;
        let are = patches.filter(|&patch| candidates.headers[patch].method() == Method::Network);
        are.map(|patch| match self.help.choices {
            Some(choices) if candidates.bits[patch] <= SURE * choices.bits(patch) => Certainty::Sure,
            _ => Certainty::Possible,
        })
        .max()
    }

    fn pixel_trials(&self, frame: usize) -> Vec<Method> {
        let exact = self.chunk.target.is_exact();
        if exact || self.grid_only || !has(Part::Aligned) {
            vec![Method::Grid]
        } else if !has(Part::Grid) {
            vec![Method::Aligned]
        } else if self.chunk.effort != Effort::Best
            && self.tried.is_settled()
            && !frame.is_multiple_of(TRY_AGAIN_EVERY)
        {
            vec![self.tried.favourite()]
        } else {
            vec![Method::Grid, Method::Aligned]
        }
    }

    fn trial_header(&self, frame: usize, patch: usize, trial: Trial) -> PatchHeader {
        let index = frame * self.rules.frames.grid.n_patches() + patch;
        if let (Trial::Network, Some(candidates)) = (trial, self.help.candidates)
            && let PatchHeader::Network(network) = &candidates.headers[index]
        {
            return PatchHeader::Network(network.clone());
        }
        PatchHeader::Pixels(match (trial, self.help.choices) {
            (Trial::All(method), _) => method,
            (_, Some(choices)) => choices.methods[index],
            _ if self.chunk.latents_only => Method::Lossless,
            _ => self.tried.favourite(),
        })
    }

    /// The header of a patch whose pixels are all reached by one position on the grid.
    fn constant(&mut self, frame: usize, patch: usize) -> Option<PatchHeader> {
        let grid = self.rules.frames.grid;
        let region = grid.region(patch);
        let target = &self.chunk.target;
        let start = self.chunk.pixels(frame).start;
        let first = start + region.row * grid.cols + region.col;
        let bits = target.domain.fraction_bits;
        let steps = crate::domain::round_shift(target.positions.at(first), bits);
        let position = steps << bits;
        // From the middle on, where the corners of an image look alike.
        let middle = region.row + region.rows / 2;
        let all = (middle..region.row + region.rows).chain(region.row..middle).all(|row| {
            let pixels =
                start + row * grid.cols + region.col..start + row * grid.cols + region.col + region.cols;
            pixels.into_iter().all(|i| {
                target.special(i) == 0
                    && (target.positions.at(i) - position).abs() <= target.domain.step_positions()
                    && target.reaches(i, position)
            })
        });
        let balanced =
            target
                .frame(self.chunk.pixels(frame))
                .is_balanced(&target.domain, grid.cols, &region, |_| position);
        if !(all && balanced) {
            return None;
        }
        for row in region.row..region.row + region.rows {
            self.given[row * grid.cols + region.col..][..region.cols].fill(position);
        }
        Some(PatchHeader::Constant(steps))
    }

    /// Costs of the pixels of each patch, in 1/65536 bit, with nothing remembered.
    fn price(&mut self, frame: usize, methods: &[Method]) -> Vec<u64> {
        let target = self.chunk.target.frame(self.chunk.pixels(frame));
        let mut costs = vec![0; methods.len()];
        self.frame_coder.mark();
        let mut counter = CostCounter::default();
        let plan = FramePlan { methods, given: &self.given };
        self.frame_coder.code_frame(&mut counter, &plan, Some(&target), Some(&mut costs));
        self.frame_coder.undo();
        self.frame_coder.unreachable.clear();
        costs
    }

    fn header_cost(&mut self, header: &PatchHeader) -> u64 {
        let PatchHeader::Network(_) = header else { return 1 << 15 };
        self.atoms.price(header, Some(Method::Network), Some(Method::Network))
    }

    /// Codes the pixels for good, and notes what they cost.
    fn write(&mut self, frame: usize, headers: &[PatchHeader]) {
        let target = self.chunk.target.frame(self.chunk.pixels(frame));
        let methods: Vec<Method> = headers.iter().map(PatchHeader::method).collect();
        let plan = FramePlan { methods: &methods, given: &self.given };
        let mut costs = vec![0; methods.len()];
        self.frame_coder.code_frame(&mut self.pixel_body, &plan, Some(&target), Some(&mut costs));
        self.frame_coder.end_frame();
        self.choices.methods.extend(methods);
        self.choices.costs.extend(costs);
        let first = self.chunk.pixels(frame).start;
        self.unreachable.extend(self.frame_coder.unreachable.drain(..).map(|i| first + i));
    }
}
