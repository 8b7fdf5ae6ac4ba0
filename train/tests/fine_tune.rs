//! Trainings that start from a model.

use std::sync::Arc;

use h5z_sae::PatchShape;
use h5z_sae::sae::{Model, Penalty, Transform};
use h5z_sae_train::export::{ExportOptions, Width};
use h5z_sae_train::loader::InMemory;
use h5z_sae_train::network::Objective;
use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::outcome::Trained;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::trainer::{Start, train};

mod common;
use common::{PATCH, Record, options, spots, spots_from};

fn fine_tune(model: &Arc<Model>, options: &TrainOptions, source: &mut InMemory) -> Trained {
    train(source, options, Start::Model(model), &mut Record::default()).unwrap()
}

/// Options of the trained model's own sizes.
fn as_in(model: &Model, options: TrainOptions) -> TrainOptions {
    TrainOptions { latents: model.n_latents(), ..options }
}

#[test]
fn a_network_from_a_model_computes_what_the_model_does() {
    let narrow = ExportOptions { wide_rows: 8, hidden_width: Width::I8 };
    let grad = Objective { active: 0, penalty: Penalty::Grad, sparsity_lambda: 1e-3, rate_scale: 0.0 };
    let log = Transform::Log { offset_q24: 1 << 14 };
    let cases = [
        (options(), 0.0),
        (TrainOptions { export: narrow, ..options() }, 0.0),
        (TrainOptions { objective: grad, ..options() }, 1.0),
        (TrainOptions { transform: log, ..options() }, 1.0),
    ];
    for (options, off_centre) in cases {
        let first = train(&mut spots(2000, off_centre), &options, Start::Random, &mut Record::default());
        let first = first.unwrap();
        // One step of a length that no weight notices.
        let still = TrainOptions { budget: Budget::Steps(1), learning_rate: 1e-12, ..options };
        let again = fine_tune(&first.model, &as_in(&first.model, still), &mut spots(2000, off_centre));
        let (was, is) = (first.check.quality.squared_error, again.check.float_squared_error);
        assert!((is - was).abs() < 0.02 * was, "{:?}: {is} in float, {was} as stored", options.objective);
        let is = again.check.quality.squared_error;
        assert!((is - was).abs() < 0.02 * was, "{:?}: {is} stored again, {was} before", options.objective);
        assert_eq!(again.spec.decoder.basis, first.spec.decoder.basis);
        assert_eq!(again.spec.provenance["started_from"], first.model.id().to_string());
    }
}

#[test]
fn fine_tuning_on_new_data_lowers_the_error() {
    let short = TrainOptions { budget: Budget::Epochs(10.0), ..options() };
    let first = train(&mut spots(400, 0.0), &short, Start::Random, &mut Record::default()).unwrap();
    let new_data = || spots_from(10_000, 2000, 0.0);
    let of_model = as_in(&first.model, short);
    let still = TrainOptions { budget: Budget::Steps(1), learning_rate: 1e-12, ..of_model.clone() };
    let before = fine_tune(&first.model, &still, &mut new_data()).check.quality.squared_error;
    let after = fine_tune(&first.model, &of_model, &mut new_data()).check.quality.squared_error;
    assert!(after < 0.7 * before, "{after} after, {before} before");
}

#[test]
fn refuses_to_start_from_a_model_that_does_not_fit() {
    let short = TrainOptions { budget: Budget::Epochs(3.0), ..options() };
    let first = train(&mut spots(400, 0.0), &short, Start::Random, &mut Record::default()).unwrap();
    let fitting = as_in(&first.model, short);
    let grad = Objective { active: 0, penalty: Penalty::Grad, ..fitting.objective };
    let sqrt = Transform::Sqrt { offset_q24: 1 << 14 };
    let cases = [
        (
            TrainOptions { hidden: 41, ..fitting.clone() },
            "hidden is 40 in the model to start from, and 41 is asked for",
        ),
        (TrainOptions { components: 25, basis_rows: 25, ..fitting.clone() }, "components is 24"),
        (TrainOptions { latents: 99, ..fitting.clone() }, "and 99 is asked for"),
        (TrainOptions { objective: grad, ..fitting.clone() }, "penalty is z"),
        (TrainOptions { transform: sqrt, ..fitting.clone() }, "transform is none"),
    ];
    let message = |options: &TrainOptions, source: &mut InMemory| {
        let start = Start::Model(&first.model);
        train(source, options, start, &mut Record::default()).unwrap_err().to_string()
    };
    for (options, expected) in cases {
        let message = message(&options, &mut spots(400, 0.0));
        assert!(message.contains(expected), "{message}");
    }
    let turned = PatchShape { rows: PATCH.cols, cols: PATCH.rows };
    let other = &mut InMemory::try_new(turned, vec![1.0; 400 * PATCH.n_values()]).unwrap();
    assert!(message(&fitting, other).contains("patch is 12x11"));
    assert!(message(&fitting, &mut spots(400, 2.0)).contains("point symmetry"));
}
