//! The clients' histories against the truth: lost, doubled, reordered, changed, made up, out of time.
//!
//! Must not know the bucket.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::log::Entry;
use super::truth::Truth;
use crate::history::{Asked, Ended, History, Record, Sent};

type Faults = Vec<(&'static str, String)>;
/// Where each record lies: topic, partition, offset.
type Places = BTreeMap<Record, Vec<(Uuid, u32, i64)>>;

/// Everything that is wrong between the clients and the log.
pub(crate) fn check(history: &History, truth: &Truth) -> Faults {
    let mut faults = Vec::new();
    let mut places = Places::new();
    for ((topic, partition), log) in &truth.logs {
        for (offset, entry) in log.iter().enumerate() {
            places.entry(entry.record).or_default().push((*topic, *partition, offset as i64));
        }
    }
    for (number, sent) in history.sent.iter().enumerate() {
        sending(number, sent, &places, &mut faults);
    }
    for seen in &history.seen {
        let log = truth.logs.get(&(seen.topic, seen.partition));
        let there = log.and_then(|log| log.get(usize::try_from(seen.offset).ok()?));
        if there.map(|entry| entry.record) != Some(seen.record) {
            faults.push(("K1", format!("{seen:?}, but the log has {there:?} there")));
        }
    }
    for ((topic, partition), log) in &truth.logs {
        orders(history, log, &format!("{topic}/{partition}"), &mut faults);
    }
    real_time(history, truth, &mut faults);
    for asked in &history.asked {
        told(history, asked, truth, &mut faults);
    }
    topics(history, truth, &mut faults);
    faults
}

/// One batch: acknowledged and there, refused and not there, never there too often.
fn sending(number: usize, sent: &Sent, places: &Places, faults: &mut Faults) {
    let most = if sent.idempotent { 1 } else { sent.attempts as usize };
    for index in 0..sent.timestamps.len() as u32 {
        let record = Record { sent: number, index };
        let there = places.get(&record).map_or(&[][..], Vec::as_slice);
        if there.len() > most {
            faults.push((
                "K3",
                format!("record {number}.{index} is there {} times, at most {most} expected", there.len()),
            ));
        }
        if there.iter().any(|(topic, partition, _)| (*topic, *partition) != (sent.topic, sent.partition)) {
            faults.push(("K10", format!("record {number}.{index} is in another partition: {there:?}")));
        }
        match sent.ended {
            Some((_, Ended::Acked(base))) => {
                let offset = base + i64::from(index);
                if !there.iter().any(|(.., at)| *at == offset) {
                    faults.push((
                        "J4",
                        format!("record {number}.{index} was acknowledged at {offset}, it is at {there:?}"),
                    ));
                }
            }
            Some((_, Ended::Refused(code))) if !there.is_empty() => {
                faults.push((
                    "J6",
                    format!("record {number}.{index} was refused with {code} and is at {there:?}"),
                ));
            }
            _ => {}
        }
    }
}

/// The order of each producer: of idempotent ones always, of plain ones while they sent through one connection.
fn orders(history: &History, log: &[Entry], name: &str, faults: &mut Faults) {
    let mut idempotent: BTreeMap<usize, Record> = BTreeMap::new();
    let mut plain: BTreeMap<(usize, u64), Record> = BTreeMap::new();
    for entry in log {
        let Some(sent) = history.sent.get(entry.record.sent) else { continue };
        let before = match (sent.idempotent, sent.attempts) {
            (true, _) => idempotent.insert(sent.producer, entry.record),
            (false, 1) => plain.insert((sent.producer, sent.connection), entry.record),
            (false, _) => continue,
        };
        if before.is_some_and(|before| before >= entry.record) {
            faults.push(("K3", format!("{name}: {:?} stands before {:?}", before, entry.record)));
        }
    }
}

/// What was acknowledged before something else began lies before it, over all partitions.
fn real_time(history: &History, truth: &Truth, faults: &mut Faults) {
    // For each slot: when the last of its batches began, and when the first was acknowledged.
    let mut slots: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for entry in truth.logs.values().flatten() {
        let Some(sent) = history.sent.get(entry.record.sent) else { continue };
        // A plain batch that was sent twice is there twice: only one place is the one that was acknowledged.
        if sent.attempts != 1 && !sent.idempotent {
            continue;
        }
        let acked_ms = match sent.ended {
            Some((at_ms, Ended::Acked(_))) => at_ms,
            _ => u64::MAX,
        };
        let slot = slots.entry(entry.slot).or_insert((0, u64::MAX));
        *slot = (slot.0.max(sent.begun_ms), slot.1.min(acked_ms));
    }
    let mut acked_later_ms = u64::MAX;
    for (slot, (begun_ms, acked_ms)) in slots.into_iter().rev() {
        if acked_later_ms < begun_ms {
            faults.push(("J9", format!("slot {slot} holds a batch begun at {begun_ms} ms, a later one was acknowledged at {acked_later_ms} ms")));
        }
        acked_later_ms = acked_later_ms.min(acked_ms);
    }
}

/// What somebody was told about an end or a time.
fn told(history: &History, asked: &Asked, truth: &Truth, faults: &mut Faults) {
    let empty = Vec::new();
    let log = truth.logs.get(&(asked.topic, asked.partition)).unwrap_or(&empty);
    // There, not at another place where a plain producer's second attempt put it.
    let acked_before = |offset: usize, entry: &Entry| {
        let ended = history.sent.get(entry.record.sent).and_then(|sent| sent.ended);
        let place = Ended::Acked(offset as i64 - i64::from(entry.record.index));
        ended.is_some_and(|(at_ms, ended)| at_ms < asked.begun_ms && ended == place)
    };
    match asked.timestamp {
        None => {
            let acked = log.iter().enumerate().rev().find(|(offset, entry)| acked_before(*offset, entry));
            let least = acked.map_or(0, |(last, _)| last + 1);
            if asked.offset < least as i64 || asked.offset > log.len() as i64 {
                faults.push((
                    "J9",
                    format!("{asked:?}, but {least} of {} records were acknowledged before", log.len()),
                ));
            }
        }
        Some(timestamp) => {
            // Records may have been deleted meanwhile: any first offset between the two may have been the one.
            let (low, high) = history.log_start(asked.topic, asked.partition, asked.begun_ms, asked.ended_ms);
            let late = |offset: &usize| log[*offset].timestamp >= timestamp;
            let first = (low as usize..log.len()).find(late);
            let surely = (high as usize..log.len()).find(late);
            let right = match (first, asked.offset) {
                (None, offset) => offset == -1,
                (Some(_), -1) => surely.is_none_or(|surely| !acked_before(surely, &log[surely])),
                (Some(first), offset) => {
                    let before = (0..log.len().min(offset as usize)).rev().find(late);
                    offset == first as i64
                        || (offset > first as i64
                            && before.is_some_and(|before| (before as i64) < high)
                            && log.get(offset as usize).is_some_and(|entry| entry.timestamp >= timestamp))
                }
            };
            if !right {
                faults.push(("K9", format!("{asked:?}, but the first such record is at {first:?}")));
            }
        }
    }
}

/// Topics are there from their acknowledged creation until somebody begins to delete them, and gone afterwards.
fn topics(history: &History, truth: &Truth, faults: &mut Faults) {
    for topic in &history.topics {
        let there = truth.topics.contains_key(&topic.id);
        if !there && !topic.delete_begun {
            faults.push(("J4", format!("the topic {} ({}) is gone", topic.name, topic.id)));
        }
        if there && topic.deleted {
            faults.push(("J4", format!("the topic {} ({}) was deleted and is there", topic.name, topic.id)));
        }
    }
}
