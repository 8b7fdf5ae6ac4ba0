//! A time budget. In a binary of its own, so that no other test takes its time.

use std::time::{Duration, Instant};

use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::outcome::Trained;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::trainer::{Start, train};

mod common;
use common::{Record, options, spots};

fn whole(options: &TrainOptions) -> Trained {
    train(&mut spots(2000, 0.0), options, Start::Random, &mut Record::default()).unwrap()
}

#[test]
fn a_time_budget_becomes_steps_that_can_be_asked_for() {
    let time = Duration::from_secs(4);
    let started = Instant::now();
    let timed = whole(&TrainOptions { budget: Budget::Time(time), ..options() });
    // Far from the tenth that an idle machine keeps to: others may take a core of a loaded one meanwhile.
    assert!(started.elapsed() > time / 4 && started.elapsed() < 3 * time, "{:?}", started.elapsed());
    assert_eq!(timed.n_steps, timed.n_planned);
    let counted = whole(&TrainOptions { budget: Budget::Steps(timed.n_steps), ..options() });
    assert_eq!(counted.file, timed.file);
}
