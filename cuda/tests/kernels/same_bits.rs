//! The kernels, run on the host, decode every test model as the codec's plain loops do.

use h5z_sae::PatchShape;
use h5z_sae::sae::backend::{NetworkDevice, ScalarBackend};
use h5z_sae::sae::testing::{TestRng, cosine_spec, extreme_spec, random_codes, random_spec};
use h5z_sae::sae::{IntTensor, IntValues, Model, ModelSpec, PatchCode, Penalty, Transform};
use h5z_sae_cuda::Device;

use crate::host_device;

#[track_caller]
fn assert_same_values(device: &Device, model: &Model, codes: &[PatchCode], what: &str) {
    let checked = model.check_codes(codes).unwrap();
    let mut expected = vec![0; codes.len() * model.n_values()];
    model.decode_patches(&ScalarBackend, codes, &mut expected).unwrap();
    let mut found = vec![-1; expected.len()];
    assert!(device.decode_patches(checked, &mut found), "{what}: the device declined");
    assert_eq!(found, expected, "{what}");

    let mut expected = vec![0.0; codes.len() * model.n_values()];
    model.reconstruct_transformed(&ScalarBackend, codes, &mut expected).unwrap();
    let mut found = vec![f32::NAN; expected.len()];
    assert!(device.reconstruct_transformed(checked, &mut found), "{what}: the device declined");
    assert!(
        found.iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits())),
        "{what}, in real units"
    );
}

fn assert_same(device: &Device, spec: &ModelSpec, codes: &[PatchCode], what: &str) {
    assert_same_values(device, &Model::parse(&spec.to_bytes().unwrap()).unwrap(), codes, what);
}

#[test]
fn random_models_decode_alike() {
    let device = host_device();
    for seed in 0..400 {
        let spec = random_spec(seed);
        assert_same(
            &device,
            &spec,
            &random_codes(&spec, seed, 1 + seed as usize % 40),
            &format!("seed {seed}"),
        );
    }
}

#[test]
fn weights_at_both_ends_decode_alike() {
    let device = host_device();
    for seed in 0..400 {
        let spec = extreme_spec(seed);
        assert_same(&device, &spec, &random_codes(&spec, seed, 33), &format!("extreme, seed {seed}"));
    }
}

#[test]
fn the_built_in_model_decodes_alike() {
    let model = Model::builtin().unwrap();
    assert_same_values(&host_device(), &model, &random_codes(model.spec(), 1, 40), "built-in");
}

#[test]
fn realistic_sizes_decode_alike() {
    let device = host_device();
    for penalty in [Penalty::Z, Penalty::Grad] {
        for point_symmetric in [false, true] {
            let transform = Transform::Log { offset_q24: 1 << 16 };
            let spec = cosine_spec(PatchShape { rows: 17, cols: 15 }, point_symmetric);
            let spec = ModelSpec { penalty, transform, ..spec };
            assert_same(
                &device,
                &spec,
                &random_codes(&spec, 1, 70),
                &format!("{penalty:?}, {point_symmetric}"),
            );
        }
    }
}

/// A tensor of weights up to `reach`, stored in 8 or in 16 bits.
fn weights(rng: &mut TestRng, rows: usize, cols: usize, wide: bool, reach: i64) -> IntTensor {
    let mut draw = || rng.int(-reach, reach);
    let values = match wide {
        true => IntValues::I16((0..rows * cols).map(|_| draw() as i16).collect()),
        false => IntValues::I8((0..rows * cols).map(|_| draw() as i8).collect()),
    };
    IntTensor { rows, cols, values }
}

/// Every number of bytes on either side, and weights small and large enough for each kind of sum.
#[test]
fn every_width_of_either_side_decodes_alike() {
    let device = host_device();
    let mut rng = TestRng::new(5);
    let hidden_bits = [1, 7, 8, 9, 15, 16, 17, 20];
    for coef_bits in [1, 7, 8, 15, 16, 23, 24, 31, 32, 39, 40] {
        for (wide, reach) in [(false, 1), (false, 100), (true, 1), (true, 100)] {
            let mut spec = cosine_spec(PatchShape { rows: 8, cols: 9 }, false);
            let decoder = &mut spec.decoder;
            let (n_hidden, n_linear) = (decoder.hidden.cols, decoder.coef_bias.len());
            decoder.hidden_bits = hidden_bits[rng.count(0, hidden_bits.len() - 1)];
            decoder.coef = Some(weights(&mut rng, n_hidden, n_linear, wide, 127 * reach));
            decoder.basis = vec![
                weights(&mut rng, 5, 72, !wide, reach),
                weights(&mut rng, n_linear - 5, 72, wide, reach),
            ];
            decoder.coef_bits = coef_bits;
            decoder.coef_frac_bits = vec![30; n_linear];
            let what = format!("{} and {coef_bits} bits, wide: {wide}, {reach}", decoder.hidden_bits);
            assert_same(&device, &spec, &random_codes(&spec, 3, 35), &what);
        }
    }
}

/// More patches than all lanes take at once, and none at all.
#[test]
fn any_number_of_patches_decodes_alike() {
    let device = host_device();
    let spec = random_spec(12);
    for n_patches in [0, 1, 1024, 1025, 5000] {
        assert_same(&device, &spec, &random_codes(&spec, 2, n_patches), &format!("{n_patches} patches"));
    }
}

/// As several chunks do: their batches share lanes.
#[test]
fn threads_decode_alike_on_one_device() {
    let device = host_device();
    let specs: Vec<_> = (0..3).map(random_spec).collect();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (device, spec) = (&device, &specs[thread as usize % specs.len()]);
            scope.spawn(move || {
                for round in 0..5 {
                    let codes = random_codes(spec, 8 * round + thread, 2500);
                    assert_same(device, spec, &codes, &format!("thread {thread}, round {round}"));
                }
            });
        }
    });
}
