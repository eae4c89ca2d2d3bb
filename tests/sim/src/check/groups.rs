//! What groups were told, against what the journal holds: owners, commits, offsets, and that nothing was passed over.
//!
//! Must not know the bucket.

use std::collections::BTreeMap;

use super::commits::State;
use super::truth::Truth;
use crate::history::{Committed, Fetched, History, OfGroup};

type Faults = Vec<(&'static str, String)>;

/// Answers after which a commit is known not to hold: not a member, not of this generation, fenced, in a rebalance.
const REFUSED: [i16; 4] = [22, 25, 27, 82];

/// A coordinator that has not read the journal for five seconds does so before it answers.
const COORDINATORS_LOOK_MS: u64 = 6_000;

/// Everything that is wrong between the groups and the journal.
pub(crate) fn check(history: &History, truth: &Truth) -> Faults {
    let mut faults = Faults::new();
    owners(history, truth, &mut faults);
    beats(history, truth, &mut faults);
    let places = places(history, truth);
    for (number, commit) in history.committed.iter().enumerate() {
        committed(number, commit, places[number].is_some(), &mut faults);
        let before = commit.behind.and_then(|before| places[before]);
        if places[number].zip(before).is_some_and(|(place, before)| place < before) {
            faults.push(("K7", format!("commit {number} overtook the one before it: {commit:?}")));
        }
    }
    for fetched in &history.fetched {
        told(history, fetched, truth, &places, &mut faults);
    }
    for (group, ends) in &history.read {
        everything_was_read(history, group, ends, &mut faults);
    }
    faults
}

/// An assignment that a member got is the one of its generation, for ever.
fn owners(history: &History, truth: &Truth, faults: &mut Faults) {
    for assigned in &history.assigned {
        let lives = 0..=truth.groups.lives.get(&assigned.group).copied().unwrap_or_default();
        let in_life = |life| (assigned.group.clone(), life, assigned.generation);
        let owners: Vec<_> = lives.filter_map(|life| truth.groups.owners.get(&in_life(life))).collect();
        let all_own = |owners: &&BTreeMap<u32, String>| {
            assigned.partitions.iter().all(|partition| owners.get(partition) == Some(&assigned.owner))
        };
        if !assigned.partitions.is_empty() && !owners.iter().any(all_own) {
            faults.push(("K7", format!("{assigned:?}, but the journal says {owners:?}")));
        }
    }
}

/// Nobody may go on in a generation long after somebody got an assignment of a later one: coordinators look.
fn beats(history: &History, truth: &Truth, faults: &mut Faults) {
    let once = |group: &String| truth.groups.lives.get(group).is_none_or(|lives| *lives <= 1);
    for beat in history.beats.iter().filter(|beat| once(&beat.group)) {
        let later = history.assigned.iter().find(|assigned| {
            assigned.group == beat.group
                && assigned.generation > beat.generation
                && assigned.at_ms + COORDINATORS_LOOK_MS < beat.begun_ms
        });
        if let Some(later) = later {
            faults.push(("K7", format!("{beat:?} was allowed after {later:?}")));
        }
    }
}

fn states<'a>(truth: &'a Truth, of: &OfGroup) -> &'a [State] {
    truth.groups.states.get(of).map_or(&[], Vec::as_slice)
}

/// The state that each commit made, by its place among those of its partition.
fn places(history: &History, truth: &Truth) -> Vec<Option<usize>> {
    let mut by_number = BTreeMap::new();
    for (of, states) in &truth.groups.states {
        for (place, state) in states.iter().enumerate() {
            let number = state.commit.parse::<usize>().ok();
            let right = number.and_then(|number| history.committed.get(number)).filter(|commit| {
                (&commit.group, commit.topic, commit.partition, commit.offset)
                    == (&of.0, of.1, of.2, state.offset)
            });
            if let (Some(number), Some(_)) = (number, right) {
                by_number.entry(number).or_insert(place);
            }
        }
    }
    (0..history.committed.len()).map(|number| by_number.get(&number).copied()).collect()
}

fn committed(number: usize, commit: &Committed, there: bool, faults: &mut Faults) {
    match commit.ended {
        Some((_, 0)) if !there => {
            faults.push(("J4", format!("commit {number} was acknowledged and is not there: {commit:?}")));
        }
        Some((_, code)) if REFUSED.contains(&code) && there => {
            let generation = commit.generation;
            faults.push((
                "K7",
                format!("commit {number} of generation {generation} was refused with {code} and is there"),
            ));
        }
        _ => {}
    }
}

/// An answer is the state at some moment after everything that was acknowledged before the question.
fn told(history: &History, fetched: &Fetched, truth: &Truth, places: &[Option<usize>], faults: &mut Faults) {
    let of = (fetched.group.clone(), fetched.topic, fetched.partition);
    let acked = history.committed.iter().enumerate().filter(|(_, commit)| {
        (&commit.group, commit.topic, commit.partition) == (&of.0, of.1, of.2)
            && commit.ended.is_some_and(|(at_ms, code)| code == 0 && at_ms < fetched.begun_ms)
    });
    let least = acked.filter_map(|(number, _)| places[number]).max();
    let commit = fetched.commit.clone().unwrap_or_default();
    let wanted = State { offset: fetched.offset, commit };
    let possible = &states(truth, &of)[least.unwrap_or(0)..];
    let at_first = least.is_none() && fetched.offset == -1;
    if !at_first && !possible.contains(&wanted) {
        let newest = least.map(|least| &states(truth, &of)[least]);
        faults.push(("K7", format!("{fetched:?}, but {newest:?} was acknowledged before")));
    }
}

/// Of every record that was not deleted, some member had it. What lands later, nobody was promised.
fn everything_was_read(history: &History, group: &str, ends: &[i64], faults: &mut Faults) {
    let topics = history.received.keys().filter(|(name, ..)| name == group).map(|(_, topic, _)| *topic);
    let Some(topic) = topics.min() else { return };
    for (partition, end) in (0..).zip(ends.iter().copied()) {
        let (_, deleted) = history.log_start(topic, partition, 0, u64::MAX);
        let received = history.received.get(&(group.to_owned(), topic, partition));
        let had = |offset: i64| received.is_some_and(|received| received.contains(&offset));
        if let Some(lost) = (deleted..end).find(|offset| !had(*offset)) {
            let what =
                format!("nobody of {group} had the record at {lost} of {partition}, which ended at {end}");
            faults.push(("K3", what));
        }
    }
}
