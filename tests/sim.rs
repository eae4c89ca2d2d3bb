//! The simulation's share of every run of the tests: seeds that must pass, a run that must repeat itself, mutations that
//! must be noticed, and the seeds that found bugs.
//!
//! Owns no rule of the simulation; that is the crate `strandline-sim`. `STRANDLINE_SEED` moves the seeds, the report says
//! which failed. More of them: `cargo run --release -p strandline-sim -- --seeds 10000`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use strandline_sim::mutations::{all, hunt};
use strandline_sim::run::{Broken, run};

/// Seeds of one test run.
const SEEDS: u64 = 200;
/// Seeds in which a mutation must be noticed if its known seed does not notice it any more.
const MUTATION_SEEDS: u64 = 3_000;

fn first_seed() -> u64 {
    let seed = std::env::var("STRANDLINE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    eprintln!("STRANDLINE_SEED={seed}");
    seed
}

fn must_pass(seed: u64) {
    let report = run(seed, Broken::Nothing, false);
    let broken: Vec<_> =
        report.violations.iter().map(|one| format!("{}: {}", one.invariant, one.what)).collect();
    assert!(
        broken.is_empty(),
        "seed {seed} (strandline-sim --seed {seed} shows it):\n  {}",
        broken.join("\n  ")
    );
}

#[test]
fn sim_seeds_break_no_promise() {
    let first = first_seed();
    (first..first + SEEDS).for_each(must_pass);
}

#[test]
fn sim_repeats_a_seed_to_the_byte() {
    let first = first_seed();
    for seed in first..first + 20 {
        let (once, again) = (run(seed, Broken::Nothing, true), run(seed, Broken::Nothing, true));
        let parted = once.trace.iter().zip(&again.trace).find(|(once, again)| once != again);
        assert_eq!(parted, None, "seed {seed} went two ways");
        assert_eq!(once.fingerprint, again.fingerprint, "seed {seed}");
    }
}

/// Each promise is broken once. Among them are the bugs that the simulation and the model found, put back in: their seeds
/// pass without them.
#[test]
fn sim_notices_every_mutation() {
    let mut missed = Vec::new();
    for one in all() {
        must_pass(one.known_seed);
        let known = hunt(&one, one.known_seed, 1);
        if known.by.is_some() {
            continue;
        }
        // The runs changed with the code: any other seed will do.
        match hunt(&one, 0, MUTATION_SEEDS).by {
            Some((seed, _)) => {
                eprintln!("{}: noticed at seed {seed} now, no more at {}", one.name, one.known_seed)
            }
            None => missed.push(one.name),
        }
    }
    assert!(missed.is_empty(), "in {MUTATION_SEEDS} seeds nobody noticed: {missed:?}");
}
