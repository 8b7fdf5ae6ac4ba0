//! Trainings that are interrupted and go on: the same model, or a refusal that says why not.

use h5z_sae::ErrorKind;
use h5z_sae_train::checkpoint::Checkpoint;
use h5z_sae_train::early_stop::EarlyStop;
use h5z_sae_train::loader::{FrameSource, InMemory};
use h5z_sae_train::network::Objective;
use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::outcome::Trained;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::trainer::{Start, train};

mod common;
use common::{PATCH, Record, options, spots};

/// Everything that has a state or a course: revivals, limits on active latents that fall and are drawn, a rate scale that
/// falls, refined codes, a basis beyond the components, early stopping.
fn eventful() -> TrainOptions {
    TrainOptions {
        objective: Objective { rate_scale: 0.05, ..options().objective },
        basis_rows: 30,
        active_least: 3,
        refined_share: 0.5,
        budget: Budget::Epochs(8.0),
        active_start: 3.0,
        revived: 4,
        early_stop: Some(EarlyStop { patience: 6, bound: 1e-2 }),
        ..options()
    }
}

fn whole(options: &TrainOptions) -> Trained {
    train(&mut spots(2000, 0.0), options, Start::Random, &mut Record::default()).unwrap()
}

/// A checkpoint after `step` steps.
fn checkpoint_at(step: usize, options: &TrainOptions) -> Vec<u8> {
    let mut record = Record { stop_at: Some(step), ..Record::default() };
    let part = train(&mut spots(2000, 0.0), options, Start::Random, &mut record).unwrap();
    assert_eq!((part.n_steps, part.is_interrupted), (step, true));
    record.checkpoint.unwrap()
}

fn go_on(bytes: &[u8], options: &TrainOptions, source: &mut InMemory) -> Result<Trained, h5z_sae::Error> {
    let (checkpoint, _) = Checkpoint::parse(bytes)?;
    train(source, options, Start::Checkpoint(Box::new(checkpoint)), &mut Record::default())
}

#[test]
fn resumes_bit_for_bit() {
    let expected = whole(&eventful());
    for step in [20, 60, 120] {
        let checkpoint = checkpoint_at(step, &eventful());
        let resumed = go_on(&checkpoint, &eventful(), &mut spots(2000, 0.0)).unwrap();
        assert_eq!(resumed.file, expected.file, "interrupted after {step} steps");
        assert_eq!((resumed.n_steps, resumed.best_step), (expected.n_steps, expected.best_step));
    }
}

#[test]
fn resumes_what_was_resumed() {
    let expected = whole(&eventful());
    let first = checkpoint_at(40, &eventful());
    let (checkpoint, _) = Checkpoint::parse(&first).unwrap();
    let mut record = Record { stop_at: Some(100), ..Record::default() };
    let start = Start::Checkpoint(Box::new(checkpoint));
    train(&mut spots(2000, 0.0), &eventful(), start, &mut record).unwrap();
    let resumed = go_on(&record.checkpoint.unwrap(), &eventful(), &mut spots(2000, 0.0)).unwrap();
    assert_eq!(resumed.file, expected.file);
}

#[test]
fn a_checkpoint_survives_its_file() {
    let bytes = checkpoint_at(60, &eventful());
    let (checkpoint, _) = Checkpoint::parse(&bytes).unwrap();
    let caller = serde_json::json!({ "any": ["thing"] });
    let (again, handed_back) = Checkpoint::parse(&checkpoint.to_bytes(&caller).unwrap()).unwrap();
    assert_eq!(handed_back, caller);
    // Metadata of the container have no order, but as many bytes.
    assert_eq!(again.to_bytes(&serde_json::Value::Null).unwrap().len(), bytes.len());
}

#[test]
fn refuses_to_go_on_with_another_training() {
    let bytes = checkpoint_at(20, &eventful());
    let cases = [
        (TrainOptions { hidden: 41, ..eventful() }, "hidden was 40, and is 41 now"),
        (TrainOptions { seed: 2, ..eventful() }, "seed was 1, and is 2 now"),
        (TrainOptions { threads: 1, ..eventful() }, "threads was 2, and is 1 now"),
        (TrainOptions { budget: Budget::Steps(9), ..eventful() }, "budget was 8 epochs, and is 9 steps now"),
        (TrainOptions { early_stop: None, ..eventful() }, "early stop was 6, and is off now"),
    ];
    for (options, expected) in cases {
        let error = go_on(&bytes, &options, &mut spots(2000, 0.0)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn refuses_to_go_on_with_other_data() {
    let bytes = checkpoint_at(20, &eventful());
    let error = go_on(&bytes, &eventful(), &mut spots(2001, 0.0)).unwrap_err();
    assert!(error.to_string().contains("number of patches was 2000, and is 2001 now"), "{error}");
    let mut values = vec![0f32; 2000 * PATCH.n_values()];
    spots(2000, 0.0).read(0, &mut values).unwrap();
    values[777] += 1.0;
    let error = go_on(&bytes, &eventful(), &mut InMemory::try_new(PATCH, values).unwrap()).unwrap_err();
    assert!(error.to_string().contains("checksum of the training patches was"), "{error}");
}

#[test]
fn refuses_damaged_checkpoints() {
    let bytes = checkpoint_at(20, &eventful());
    for len in (0..bytes.len()).step_by(bytes.len() / 50) {
        assert_eq!(Checkpoint::parse(&bytes[..len]).unwrap_err().kind(), ErrorKind::Corrupt, "{len} bytes");
    }
    for at in (8..bytes.len()).step_by(bytes.len() / 200) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert_eq!(Checkpoint::parse(&damaged).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
    }
    let model = whole(&TrainOptions { budget: Budget::Steps(20), ..options() }).file;
    let message = Checkpoint::parse(&model).unwrap_err().to_string();
    assert!(message.contains("another file"), "{message}");
}
