//! Transactions: whole or not at all, each input copied once, nothing told that was not decided, nothing open for ever.
//!
//! Must not know the bucket. What became of a record is what the first marker of its producer behind it says.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::keys::ByKey;
use super::log::{Entry, Of};
use super::truth::Truth;
use crate::history::{CopierLife, DecidedRead, History, Record, Transacted};

/// The number of readers that read everything from a node that was never there before.
pub(crate) const FRESH: usize = 9_000;

/// Partition and offset of what is copied.
type Input = (u32, i64);

type Faults = Vec<(&'static str, String)>;

/// What became of a record that is in the log, and in which slot that was decided.
type Verdicts = BTreeMap<Record, Option<(bool, u64)>>;

/// Everything that is wrong with transactions.
pub(crate) fn check(history: &History, truth: &Truth) -> Faults {
    let mut faults = Vec::new();
    let mut verdicts = Verdicts::new();
    for log in truth.logs.values() {
        judge(log, &mut verdicts);
    }
    for (number, transacted) in history.transacted.iter().enumerate() {
        if let Some(why) = torn(transacted, history, &verdicts) {
            faults.push(("K6", format!("transaction {number} ({transacted:?}): {why}")));
        }
    }
    for life in &history.copiers {
        copied(life, history, truth, &verdicts, &mut faults);
        in_order(life, history, truth, &verdicts, &mut faults);
    }
    for ((reader, committed, topic, partition), read) in &history.decided_reads {
        let DecidedRead { records, upto, skipped, .. } = read;
        let log = truth.logs.get(&(*topic, *partition)).map_or(&[][..], Vec::as_slice);
        let (start, end) = bounds(truth, *topic, *partition);
        if *reader == FRESH && (*upto != end || skipped.iter().any(|(_, to)| *to != start)) {
            let what = format!(
                "a fresh node served {topic}/{partition} to {upto} but for {skipped:?}, not {start} to {end}"
            );
            faults.push(("J4", what));
        }
        let mut expected = expected(log, *upto, *committed, &verdicts);
        expected.retain(|(offset, _)| !skipped.iter().any(|(from, to)| (*from..*to).contains(offset)));
        if let Some(keyed) = truth.by_key(*topic, *partition) {
            let got: BTreeSet<i64> = records.iter().map(|(offset, _)| *offset).collect();
            expected.retain(|(offset, _)| got.contains(offset) || !was_gone(&keyed, read, truth, *offset));
        }
        if let Some(place) =
            (0..records.len().max(expected.len())).find(|at| records.get(*at) != expected.get(*at))
        {
            let what = format!(
                "reader {reader} (committed: {committed}) of {topic}/{partition} got {:?} where {:?} stands",
                records.get(place),
                expected.get(place)
            );
            faults.push(("K5", what));
        }
    }
    told_too_early(history, &mut faults);
    for (id, open) in truth.manifest.open_transactions() {
        faults.push(("K6", format!("a transaction of {id} stays open: {open:?}")));
    }
    faults
}

/// Whether compaction by key may have taken a record away before a reader came by.
fn was_gone(keyed: &ByKey<'_>, read: &DecidedRead, truth: &Truth, offset: i64) -> bool {
    let came = read.answers.partition_point(|answer| answer.upto <= offset);
    let came = read.answers.get(came);
    came.is_some_and(|came| keyed.may_go(offset, came.stable, truth.times.at(came.ended_ms)))
}

fn judge(log: &[Entry], verdicts: &mut Verdicts) {
    let mut open: BTreeMap<i64, Vec<Record>> = BTreeMap::new();
    for entry in log {
        match entry.of {
            Of::Nobody => {}
            Of::Transaction(producer) => {
                verdicts.insert(entry.record, None);
                open.entry(producer).or_default().push(entry.record);
            }
            Of::Marker(producer, commit) => {
                for record in open.remove(&producer).unwrap_or_default() {
                    verdicts.insert(record, Some((commit, entry.slot)));
                }
            }
        }
    }
}

/// Why a transaction is not what its producer was told that it is.
fn torn(transacted: &Transacted, history: &History, verdicts: &Verdicts) -> Option<String> {
    let mut kinds = BTreeSet::new();
    let mut slots = BTreeSet::new();
    for sent in &transacted.sent {
        for index in 0..history.sent.get(*sent)?.timestamps.len() as u32 {
            let verdict = verdicts.get(&Record { sent: *sent, index }).copied();
            match verdict {
                Some(None) => return Some(format!("record {sent}.{index} is not decided")),
                Some(Some((commit, slot))) => {
                    kinds.insert(Some(commit));
                    slots.insert(slot);
                }
                None => {
                    kinds.insert(None);
                }
            }
        }
    }
    if slots.len() > 1 {
        return Some(format!("it was decided more than once, in {slots:?}"));
    }
    let committed = kinds.contains(&Some(true));
    if committed && kinds.len() > 1 {
        return Some(format!("it is there in part: {kinds:?}"));
    }
    match (transacted.asked, transacted.ended) {
        (_, Some(true)) if !committed => Some("it was said to be committed, and is not".to_owned()),
        (_, Some(false)) if committed => Some("it was said to be aborted, and is not".to_owned()),
        (None | Some(false), _) if committed => Some("nobody asked to commit it".to_owned()),
        _ => None,
    }
}

/// Each input once, up to the place that was committed, at every slot.
fn copied(life: &CopierLife, history: &History, truth: &Truth, verdicts: &Verdicts, faults: &mut Faults) {
    let mut times: BTreeMap<Input, u32> = BTreeMap::new();
    let mut slots: BTreeMap<u64, (usize, BTreeMap<u32, i64>)> = BTreeMap::new();
    for (record, (copier, input)) in &history.copies {
        if let (Some(Some((true, slot))), true) = (verdicts.get(record), *copier == life.number) {
            *times.entry(*input).or_default() += 1;
            slots.entry(*slot).or_default().0 += 1;
        }
    }
    for (slot, (_, topic, partition), offset) in truth.moves.iter().filter(|(_, of, _)| of.0 == life.group) {
        if *topic == life.input {
            slots.entry(*slot).or_default().1.insert(*partition, *offset);
        }
    }
    let inputs = inputs(life, truth, verdicts);
    let behind = |partition: u32, position: i64| inputs.range((partition, 0)..(partition, position)).count();
    let (mut count, mut positions) = (0, BTreeMap::new());
    for (slot, (more, moved)) in slots {
        count += more;
        positions.extend(moved);
        if positions.iter().map(|(partition, position)| behind(*partition, *position)).sum::<usize>() != count
        {
            let what = format!(
                "{}: at slot {slot} {count} records are copied, and it is at {positions:?}",
                life.name
            );
            faults.push(("K6", what));
            break;
        }
    }
    for partition in &life.partitions {
        let position = positions.get(partition).copied().unwrap_or(0);
        let (done, all) = (behind(*partition, position), behind(*partition, i64::MAX));
        if history.copied.contains(&life.number) && done != all {
            faults.push(("K3", format!("{} is done, with {done} of {all} of {partition}", life.name)));
        }
    }
    let due = |input: &Input| {
        let position = positions.get(&input.0).copied().unwrap_or(0);
        u32::from(inputs.contains(input) && input.1 < position)
    };
    let mut all = inputs.iter().chain(times.keys());
    if let Some(input) = all.find(|input| times.get(*input).copied().unwrap_or(0) != due(input)) {
        let there = times.get(input).copied().unwrap_or(0);
        let what = format!("{}: {input:?} is copied {there} times, it is at {positions:?}", life.name);
        faults.push(("K3", what));
    }
}

/// What is there to copy: partition and offset of what was not written in vain.
fn inputs(life: &CopierLife, truth: &Truth, verdicts: &Verdicts) -> BTreeSet<Input> {
    let in_partition = |partition: &u32| {
        let log = truth.logs.get(&(life.input, *partition)).map_or(&[][..], Vec::as_slice);
        let records = expected(log, log.len() as i64, true, verdicts);
        let partition = *partition;
        records.into_iter().map(move |(offset, _)| (partition, offset)).collect::<Vec<_>>()
    };
    life.partitions.iter().flat_map(in_partition).collect()
}

/// G0: what a copier wrote to a partition lies there in the order in which it wrote it, over all its processes. G1c: whoever
/// copied what another transaction wrote did so behind the end of that one, so that none depends on itself.
fn in_order(life: &CopierLife, history: &History, truth: &Truth, verdicts: &Verdicts, faults: &mut Faults) {
    let logs = truth.logs.iter().filter(|((topic, _), _)| *topic == life.output);
    for ((_, partition), log) in logs {
        let mut last = None;
        for entry in log {
            let Some((_, (from, offset))) =
                history.copies.get(&entry.record).filter(|of| of.0 == life.number)
            else {
                continue;
            };
            if last > Some(entry.record) {
                let what = format!("{}: {:?} lies behind {last:?} in {partition}", life.name, entry.record);
                faults.push(("K3", what));
            }
            last = Some(entry.record);
            let source = truth.logs.get(&(life.input, *from)).and_then(|log| log.get(*offset as usize));
            let decided = source.and_then(|source| match source.of {
                Of::Nobody => Some(source.slot),
                _ => verdicts.get(&source.record).copied().flatten().map(|(_, slot)| slot),
            });
            if decided.is_none_or(|slot| slot >= entry.slot) {
                let what = format!(
                    "{}: {:?} in slot {} depends on {source:?}, decided in {decided:?}",
                    life.name, entry.record, entry.slot
                );
                faults.push(("K5", what));
            }
        }
    }
}

fn expected(log: &[Entry], upto: i64, committed: bool, verdicts: &Verdicts) -> Vec<(i64, Record)> {
    let mut expected = Vec::new();
    for (offset, entry) in log.iter().enumerate().take(upto as usize) {
        let given = match entry.of {
            Of::Nobody => true,
            Of::Transaction(_) => {
                let verdict = verdicts.get(&entry.record).copied().flatten();
                !committed || verdict.is_some_and(|(commit, _)| commit)
            }
            Of::Marker(..) => false,
        };
        if given {
            expected.push((offset as i64, entry.record));
        }
    }
    expected
}

/// Nobody who asks for what is stable is told an offset while an open transaction may commit another.
fn told_too_early(history: &History, faults: &mut Faults) {
    for transacted in &history.transacted {
        let (Some(since_ms), Some(until_ms), true) =
            (transacted.offsets_ms, transacted.end_begun_ms, transacted.lasted)
        else {
            continue;
        };
        let early = history.stable.iter().find(|read| {
            read.copier == transacted.copier && read.begun_ms > since_ms && read.ended_ms < until_ms
        });
        if let Some(read) = early {
            faults.push(("K6", format!("{read:?} was answered while {transacted:?} was open")));
        }
    }
}

/// The first offset, and where what readers get under `read_committed` comes to an end.
fn bounds(truth: &Truth, topic: Uuid, partition: u32) -> (i64, i64) {
    truth
        .manifest
        .partition(&topic, partition)
        .map_or((0, 0), |one| (one.log_start, one.last_stable_offset()))
}
