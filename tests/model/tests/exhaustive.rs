//! With all rules, no reachable state breaks an invariant; and the states that matter are reached.
//!
//! Each test goes through every state of one scenario and prints how many there are; the number is part of the test, so
//! that a model that lost half of its world does not pass.

use std::sync::{Mutex, PoisonError};

use stateright::{Checker, Model};
use strandline_model::checks::{Reach, World};
use strandline_model::reaches::*;
use strandline_model::rules::{Exists, Rules};
use strandline_model::scenario::Scenario;
use strandline_model::scenarios::*;

/// One at a time: each takes two threads, and memory by the state.
static TURN: Mutex<()> = Mutex::new(());

fn holds(scenario: Scenario, rules: Rules, states: usize, reaches: &[Reach]) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World { scenario, rules, reaches: reaches.to_vec() };
    let checker = world.checker().threads(2).spawn_bfs().join();
    let found = checker.unique_state_count();
    println!(
        "{}: {found} states, {} nodes, {} slots, {} floor moves, lease {}, delay {}",
        scenario.name,
        scenario.parts.len(),
        scenario.last_slot,
        scenario.floor_moves,
        scenario.lease,
        scenario.delay,
    );
    checker.assert_properties();
    assert_eq!(found, states, "states of {}", scenario.name);
}

#[test]
fn contention() {
    let reaches = [HOLE, OWN_WRITE_MET, PUT_TWICE, ACKNOWLEDGED_AFTER_ALL, REFUSED];
    holds(CONTENTION, Rules::ALL, 98_960, &reaches);
}

#[test]
fn sleeping_writers() {
    let reaches = [
        DELETED_UNDER_A_SLEEPER,
        DEAD_SLOT_FILLED,
        DEAD_SLOT_WON,
        RELOADED_WITH_A_SLOT,
        PUT_TWICE,
        ACKNOWLEDGED_AFTER_ALL,
        UNKNOWN,
        FLOOR_MOVED_TWICE,
    ];
    holds(SLEEPING_WRITERS, Rules::ALL, 504_263, &reaches);
}

/// All that the proof needs: the delay is no shorter than the lease. The design's 24 h to 1 h is room for clocks.
#[test]
fn a_delay_as_long_as_the_lease_is_enough() {
    holds(TIGHT_DELAY, Rules::ALL, 317_730, &[DEAD_SLOT_WON, RELOADED_WITH_A_SLOT]);
}

#[test]
fn sleeping_reader() {
    let reaches = [DELETED_SLOT_READ, DEAD_SLOT_READ, DEAD_SLOT_WON, OWN_WRITE_MET];
    holds(SLEEPING_READER, Rules::ALL, 2_174_927, &reaches);
}

#[test]
fn reading_writer() {
    let reaches = [DELETED_SLOT_READ, DEAD_SLOT_WON, RELOADED_WITH_A_SLOT, ACKNOWLEDGED_AFTER_ALL];
    holds(READING_WRITER, Rules::ALL, 2_442_940, &reaches);
}

#[test]
fn stale_loader() {
    let reaches = [LOADED_BELOW_THE_FLOOR, DELETED_SLOT_READ, RELOADED_WITH_A_SLOT, FLOOR_MOVED_TWICE];
    holds(STALE_LOADER, Rules::ALL, 2_366_123, &reaches);
}

#[test]
fn handed_over() {
    let reaches = [TWICE_IN_THE_LOG, HOLE, DEAD_SLOT_WON, RELOADED_WITH_A_SLOT, UNKNOWN];
    holds(HANDED_OVER, Rules::ALL, 106_888, &reaches);
}

#[test]
fn a_day_ahead() {
    let reaches = [DEAD_SLOT_WON, RELOADED_WITH_A_SLOT, ACKNOWLEDGED_AFTER_ALL, UNKNOWN];
    holds(A_DAY_AHEAD, Rules::ALL, 175_139, &reaches);
}

/// What would close the gap that `rules.rs` shows: the fold voids a commit that is older than what it remembers.
#[test]
fn voiding_old_commits_closes_the_gap_of_handed_over_commits() {
    let rules = Rules { fold_voids_old_commits: true, ..Rules::ALL };
    holds(HANDED_OVER_AND_FORGOTTEN, rules, 436_385, &[TWICE_IN_THE_LOG, HOLE, UNKNOWN]);
}

/// What would close the other one: not the id decides whose a slot is, but all bytes.
#[test]
fn comparing_bytes_closes_the_gap_of_cloned_machines() {
    let rules = Rules { exists: Exists::ComparedByBytes, ..Rules::ALL };
    holds(CLONED_MACHINE, rules, 570, &[UNKNOWN]);
}
