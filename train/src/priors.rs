//! What the arithmetic coder is told about a model's codes: how often latents fire and how large they are, and how
//! large linear coefficients are beside them and without them.

use h5z_sae::sae::{Penalty, Priors};
use ndarray::{ArrayView1, ArrayView2, Axis, Slice};

use crate::code::SparseCode;
use crate::network::{Atoms, Network};

/// Rounds codes to multiples of 2^−`step_log2`. For `Penalty::Grad` the rounded steps follow the running sum, so
/// that errors do not add up.
pub fn quantize(code: &SparseCode<f32>, step_log2: u8, penalty: Penalty) -> SparseCode<f32> {
    let scale = f32::from(step_log2).exp2();
    let mut rounded = SparseCode::new(code.width);
    for patch in 0..code.n_patches() {
        let (mut wanted, mut reached) = (0f32, 0f32);
        for (index, value) in code.patch(patch) {
            let level = if penalty == Penalty::Grad {
                wanted += value;
                (wanted * scale - reached).round()
            } else {
                (value * scale).round()
            };
            reached += level;
            if level != 0.0 {
                rounded.indices.push(index as u32);
                rounded.values.push(level / scale);
            }
        }
        rounded.starts.push(rounded.indices.len());
    }
    rounded
}

/// Priors from the codes of a calibration set, rounded to 2^−`step_log2`. `components`: K of each patch, of which the
/// network works on the leading ones.
pub fn learn_priors(
    network: &Network<f32>,
    atoms: &Atoms<f32>,
    code: &SparseCode<f32>,
    components: ArrayView2<f32>,
    step_log2: u8,
) -> Priors {
    let rounded = quantize(code, step_log2, network.objective.penalty);
    let (mut counts, mut sums) = (vec![0u32; code.width], vec![0f64; code.width]);
    for (&index, &value) in rounded.indices.iter().zip(&rounded.values) {
        counts[index as usize] += 1;
        sums[index as usize] += f64::from(value.abs());
    }
    let n_patches = code.n_patches() as f64;
    let fire = |&count: &u32| (f64::from(count) / n_patches * 65536.0).round().clamp(1.0, 65535.0) as u16;
    let overall = sums.iter().sum::<f64>() / f64::from(counts.iter().sum::<u32>().max(1));
    let weight_scale = counts.iter().zip(&sums).map(|(&count, &sum)| {
        // A latent that was never seen has the scale of all.
        quarter_octaves(if count > 0 { sum / f64::from(count) } else { overall })
    });
    let mut residual = components.to_owned();
    let mut leading = residual.slice_axis_mut(Axis(1), Slice::from(..network.n_components()));
    leading -= &network.decode(&rounded, atoms);
    Priors {
        fire: counts.iter().map(fire).collect(),
        weight_scale: weight_scale.collect(),
        linear_scale: residual.columns().into_iter().map(root_mean_square).map(quarter_octaves).collect(),
        linear_only_scale: components
            .columns()
            .into_iter()
            .map(root_mean_square)
            .map(quarter_octaves)
            .collect(),
    }
}

fn root_mean_square(values: ArrayView1<f32>) -> f64 {
    (values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>() / values.len() as f64)
        .sqrt()
}

/// 4·log2, rounded, in the range of i8.
fn quarter_octaves(value: f64) -> i8 {
    (4.0 * value.max(1e-12).log2()).round().clamp(-128.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_steps_follow_the_running_sum() {
        let code =
            SparseCode { width: 6, starts: vec![0, 4], indices: vec![0, 2, 3, 5], values: vec![0.4f32; 4] };
        let rounded = quantize(&code, 0, Penalty::Grad);
        // Sums of 0.4, 0.8, 1.2, 1.6.
        assert_eq!(rounded.patch(0).collect::<Vec<_>>(), [(2, 1.0), (5, 1.0)]);
        assert_eq!(quantize(&code, 0, Penalty::Z).n_entries(), 0);
        assert_eq!(quantize(&code, 1, Penalty::Z).values, [0.5; 4]);
    }

    #[test]
    fn scales_are_quarter_octaves() {
        assert_eq!([1.0, 0.5, 2.0, 1.1892, 0.0].map(quarter_octaves), [0, -4, 4, 1, -128]);
    }
}
