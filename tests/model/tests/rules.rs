//! Every rule is there for something: without it, the checker finds a way to break an invariant, and prints it.
//!
//! One thread, breadth first: what is printed is a shortest way.

use stateright::{Checker, HasDiscoveries, Model};
use strandline_model::checks::{D2, J1, J4, J5, J6, J7, J9, World};
use strandline_model::rules::{Exists, Rules};
use strandline_model::scenario::Scenario;
use strandline_model::scenarios::*;

const ALL: Rules = Rules::ALL;

fn breaks(what: &str, rules: Rules, scenario: Scenario, property: &'static str) {
    let world = World { scenario, rules, reaches: Vec::new() };
    let until = HasDiscoveries::AnyOf([property].into());
    let checker = world.checker().finish_when(until).spawn_bfs().join();
    let actions = checker.assert_any_discovery(property).into_actions();
    println!("{what} ({}): {property}: broken in {} steps", scenario.name, actions.len());
    for action in actions {
        println!("    {action:?}");
    }
}

#[test]
fn without_the_writers_lease() {
    let rules = Rules { writer_lease: false, ..ALL };
    breaks("a writer trusts what it knew", rules, SLEEPING_WRITERS, J1);
    breaks("a writer trusts what it knew", rules, SLEEPING_WRITERS, J4);
}

#[test]
fn without_the_readers_lease() {
    let rules = Rules { reader_lease: false, ..ALL };
    breaks("a reader trusts what it knew", rules, SLEEPING_READER, J1);
    breaks("a reader trusts what it knew", rules, SLEEPING_READER, J9);
    breaks("a reader trusts what it knew", rules, STALE_LOADER, J9);
}

#[test]
fn with_the_clock_looked_at_before_the_operation() {
    let rules = Rules { clock_after: false, ..ALL };
    breaks("a writer looks at the clock too early", rules, SLEEPING_WRITERS, J4);
    breaks("a reader looks at the clock too early", rules, SLEEPING_READER, J9);
}

#[test]
fn without_the_floor_on_load() {
    let rules = Rules { floor_on_load: false, ..ALL };
    breaks("any checkpoint is good enough", rules, STALE_LOADER, J9);
    breaks("any checkpoint is good enough", rules, STALE_LOADER, J4);
}

#[test]
fn with_already_exists_taken_for_ones_own() {
    let rules = Rules { exists: Exists::TakenAsOurs, ..ALL };
    breaks("what exists is ours", rules, CONTENTION, J4);
}

/// The fold makes up for it while it remembers the id, and no longer.
#[test]
fn with_already_exists_taken_for_somebody_elses() {
    let rules = Rules { exists: Exists::TakenAsTheirs, ..ALL };
    breaks("what exists is theirs", rules, A_DAY_AHEAD, J5);
    let rules = Rules { fold_drops_repeats: false, ..rules };
    breaks("what exists is theirs, and the fold drops nothing", rules, SLEEPING_WRITERS, J5);
    breaks("what exists is theirs, and the fold drops nothing", rules, CONTENTION, J6);
}

#[test]
fn without_the_fold_dropping_what_it_has_seen() {
    let rules = Rules { fold_drops_repeats: false, ..ALL };
    breaks("the fold drops nothing", rules, HANDED_OVER, J5);
}

#[test]
fn without_looking_for_ones_commit_after_a_reload() {
    let rules = Rules { looks_for_its_id: false, ..ALL };
    breaks("put again although it was folded", rules, A_DAY_AHEAD, J5);
    let rules = Rules { forgotten_is_unknown: false, ..ALL };
    breaks("put again although it may have been folded", rules, A_DAY_AHEAD, J5);
}

#[test]
fn without_the_deletion_delay() {
    let rules = Rules { deletion_delay: false, ..ALL };
    breaks("slots go as soon as the floor passed", rules, SLEEPING_WRITERS, J4);
    breaks("slots go as soon as the floor passed", rules, SLEEPING_READER, J9);
    let short = Scenario { delay: SLEEPING_WRITERS.lease - 1, ..SLEEPING_WRITERS };
    breaks("the delay is shorter than the lease", ALL, short, J4);
}

#[test]
fn without_the_collectors_care() {
    let rules = Rules { deletes_below_the_floor: false, ..ALL };
    breaks("any slot may go", rules, SLEEPING_WRITERS, D2);
    let rules = Rules { floor_at_a_checkpoint: false, ..ALL };
    breaks("the floor moves without a checkpoint", rules, SLEEPING_WRITERS, J7);
}

/// Known gap: the fold's memory of commit ids is shorter than the life of a copy that was handed over. One clock that is
/// a day ahead is enough. Nothing is handed over yet.
#[test]
fn gap_a_commit_that_was_handed_over_takes_effect_twice() {
    breaks("handed over, three in flight, a clock a day ahead", ALL, HANDED_OVER_AND_FORGOTTEN, J5);
}

/// Known gap: a machine restored twice from one snapshot has one incarnation and one counter for two commits.
#[test]
fn gap_a_cloned_machine_acknowledges_what_is_not_there() {
    breaks("two machines with one commit id", ALL, CLONED_MACHINE, J1);
    breaks("two machines with one commit id", ALL, CLONED_MACHINE, J4);
}
