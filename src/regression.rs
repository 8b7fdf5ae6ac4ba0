//! A linear prediction by least squares that follows the data: docs/format.md, "Regression".
//!
//! Normal equations of recent pixels, each in units of the error that was expected there, are kept as integers. Every
//! few pixels they are solved by a Cholesky decomposition in fixed point, and older pixels lose weight.

/// Most inputs of a regression.
pub(crate) const MAX_INPUTS: usize = 24;

/// Pixels between two solutions.
const SOLVE_EVERY: u32 = 32;

/// At each solution what was seen loses 2^−this of its weight.
const DECAY_LOG2: u32 = 5;

/// Fraction bits of inputs in units of the expected error, which are cut at ±2^(this + 6).
const UNIT_BITS: u32 = 10;

/// Fraction bits of factors and of the weights that come out.
const FACTOR_BITS: u32 = 28;
const WEIGHT_BITS: u32 = 14;

/// Inputs are cut here before they are weighted: sums of all of them stay in an i64.
const MAX_INPUT: i64 = 1 << 40;

/// Linear prediction of a target from `n` inputs; all are differences from a first guess.
#[derive(Clone)]
pub(crate) struct Regression {
    n: usize,
    gram: [[i64; MAX_INPUTS]; MAX_INPUTS],
    moments: [i64; MAX_INPUTS],
    energy: i64,
    weights: [i64; MAX_INPUTS],
    until_solve: u32,
}

impl Regression {
    /// Knows nothing yet: predicts 0. `n` is at most [`MAX_INPUTS`].
    pub(crate) fn new(n: usize) -> Self {
        let mut gram = [[0; MAX_INPUTS]; MAX_INPUTS];
        for (i, row) in gram.iter_mut().enumerate() {
            row[i] = 1 << (2 * UNIT_BITS + 4);
        }
        Self {
            n,
            gram,
            moments: [0; MAX_INPUTS],
            energy: 1 << (2 * UNIT_BITS + 4),
            weights: [0; MAX_INPUTS],
            until_solve: SOLVE_EVERY / 4,
        }
    }

    /// The expected target.
    #[inline]
    pub(crate) fn predict(&self, inputs: &[i64; MAX_INPUTS]) -> i64 {
        let mut sum = 1 << (WEIGHT_BITS - 1);
        for (weight, input) in self.weights.iter().zip(inputs).take(self.n) {
            sum += weight * input.clamp(&-MAX_INPUT, &MAX_INPUT);
        }
        sum >> WEIGHT_BITS
    }

    /// Takes in what the target was; `scale` is the size of error that was expected, from 1 to 2^28.
    #[inline]
    pub(crate) fn learn(&mut self, inputs: &[i64; MAX_INPUTS], target: i64, scale: i64) {
        let inverse = (1 << 40) / scale;
        let limit = scale << 6;
        let relative = |value: i64| ((value.clamp(-limit, limit) * inverse) >> (40 - UNIT_BITS)) as i32;
        let mut x = [0i32; MAX_INPUTS];
        for (relative_input, &input) in x.iter_mut().zip(inputs).take(self.n) {
            *relative_input = relative(input);
        }
        let y = i64::from(relative(target));
        let rows = self.gram.iter_mut().zip(&mut self.moments).zip(x).take(self.n);
        for (i, ((row, moment), xi)) in rows.enumerate() {
            for (sum, xj) in row[..=i].iter_mut().zip(x) {
                *sum += i64::from(xi) * i64::from(xj);
            }
            *moment += i64::from(xi) * y;
        }
        self.energy += y * y;
        self.until_solve -= 1;
        if self.until_solve == 0 {
            self.until_solve = SOLVE_EVERY;
            self.solve();
            self.forget();
        }
    }

    fn forget(&mut self) {
        for row in &mut self.gram[..self.n] {
            row.iter_mut().for_each(|sum| *sum -= *sum >> DECAY_LOG2);
        }
        self.moments.iter_mut().for_each(|sum| *sum -= *sum >> DECAY_LOG2);
        self.energy -= self.energy >> DECAY_LOG2;
    }

    /// Solves the normal equations, each variable in units of a power of two that brings its energy below 1.
    fn solve(&mut self) {
        let n = self.n;
        let units: [i32; MAX_INPUTS] = std::array::from_fn(|i| half_octaves(self.gram[i][i]));
        let target_unit = half_octaves(self.energy);
        let mut factor = [[0; MAX_INPUTS]; MAX_INPUTS];
        let mut solution = [0; MAX_INPUTS];
        for i in 0..n {
            for j in 0..i {
                let sum = scaled(self.gram[i][j], units[i] + units[j]) << FACTOR_BITS;
                let rest = sum - dot(&factor[i][..j], &factor[j][..j]);
                factor[i][j] = (rest / factor[j][j]).clamp(-MOST, MOST);
            }
            let sum = scaled(self.gram[i][i], 2 * units[i]) << FACTOR_BITS;
            let rest = sum + RIDGE - dot(&factor[i][..i], &factor[i][..i]);
            factor[i][i] = (rest.max(RIDGE) as u64).isqrt() as i64;
            let sum = scaled(self.moments[i], units[i] + target_unit) << FACTOR_BITS;
            let rest = sum - dot(&factor[i][..i], &solution[..i]);
            solution[i] = (rest / factor[i][i]).clamp(-4 * MOST, 4 * MOST);
        }
        for i in (0..n).rev() {
            let below = factor[i + 1..n].iter().zip(&solution[i + 1..n]);
            let rest = (solution[i] << SOLUTION_BITS) - below.map(|(row, value)| row[i] * value).sum::<i64>();
            solution[i] = (rest / factor[i][i]).clamp(-2 * MOST, 2 * MOST);
            let shift_bits = target_unit - units[i] + WEIGHT_BITS as i32 - SOLUTION_BITS as i32;
            self.weights[i] = shift(solution[i], shift_bits).clamp(-16 << WEIGHT_BITS, 16 << WEIGHT_BITS);
        }
    }
}

/// Added to the energy of each input, which is from 1/4 to 1, in units of 2^−56.
const RIDGE: i64 = 1 << (2 * FACTOR_BITS - 12);

/// 1 in factors. Sums that rounding has made impossible are cut, so that none overflows.
const MOST: i64 = 1 << FACTOR_BITS;

/// Fraction bits of the solution.
const SOLUTION_BITS: u32 = 20;

/// A sum of products, in units of 2^`units`, with the fraction bits of factors.
fn scaled(sum: i64, units: i32) -> i64 {
    shift(sum, FACTOR_BITS as i32 - units).clamp(-MOST, MOST)
}

/// Σ a·b
fn dot(a: &[i64], b: &[i64]) -> i64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The least u for which `energy` < 2^(2u).
fn half_octaves(energy: i64) -> i32 {
    (65 - energy.leading_zeros() as i32) / 2
}

/// x · 2^bits, rounded down.
fn shift(x: i64, bits: i32) -> i64 {
    if bits >= 0 { x << bits.min(62) } else { x >> (-bits).min(63) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u64) -> i64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 44) as i64 - (1 << 19)
    }

    #[test]
    fn weights_of_a_linear_relation_are_found() {
        let mut state = 1;
        let mut regression = Regression::new(5);
        let mut inputs = [0; MAX_INPUTS];
        for _ in 0..2000 {
            inputs[..5].fill_with(|| random(&mut state));
            let target = (3 * inputs[0] - 2 * inputs[1] + inputs[4]) / 4;
            regression.learn(&inputs, target, 1 << 17);
        }
        inputs[..5].copy_from_slice(&[40_000, 8_000, -70_000, 123, -4_000]);
        let expected = (3 * 40_000 - 2 * 8_000 - 4_000) / 4;
        let found = regression.predict(&inputs);
        assert!((found - expected).abs() < 300, "{found} for {expected}");
    }

    #[test]
    fn inputs_that_say_nothing_or_all_the_same_are_survived() {
        let mut regression = Regression::new(3);
        for i in 0..5000i64 {
            let x = i % 7 * 1000;
            let mut inputs = [0; MAX_INPUTS];
            inputs[1..3].fill(x);
            regression.learn(&inputs, x, 500);
        }
        let mut inputs = [0; MAX_INPUTS];
        inputs[1..3].fill(5000);
        assert!((regression.predict(&inputs) - 5000).abs() < 50);
    }

    #[test]
    fn extreme_inputs_do_not_overflow() {
        let mut state = 3;
        let mut regression = Regression::new(MAX_INPUTS);
        for i in 0..3000 {
            let mut inputs = [0; MAX_INPUTS];
            inputs.fill_with(|| random(&mut state) << (random(&mut state) & 36));
            let scale = if i % 3 == 0 { 1 } else { 1 << 28 };
            regression.learn(&inputs, random(&mut state) << 36, scale);
            assert!(regression.predict(&inputs).abs() < 1 << 50);
        }
    }
}
