//! The slots, folded: what is in the log, record by record, also of topics that are gone.
//!
//! Must not know the clients. Every outcome of the production fold is compared with the oracle's on the way (J2, J5).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use strandline_core::manifest::{
    Append, BatchMeta, Change, Commit, Joins, Manifest, ObjectId, Outcome, checkpoint, state,
};
use strandline_core::paths;
use strandline_core::record::{BatchHeader, MARKER_BYTES, records};
use strandline_core::rope::Rope;
use uuid::Uuid;

use super::commits::Commits;
use super::keys::ByKey;
use super::log::{Entry, NO_RECORD, Of, Times};
use super::oracle::{Expired, Oracle};
use crate::auditor::fingerprint;
use crate::bucket::Bucket;
use crate::history::{OfGroup, Record};
use crate::keys::Key;
use crate::trace::Trace;

/// Groups of copiers begin like this.
pub(crate) const COPIERS: &str = "copiers-";

/// Everything that ever was in the log.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// By offset, from 0 without gaps.
    pub(crate) logs: BTreeMap<(Uuid, u32), Vec<Entry>>,
    /// Topics that are there at the end, by id.
    pub(crate) topics: BTreeMap<Uuid, String>,
    /// The manifest at the tail.
    pub(crate) manifest: Manifest,
    pub(crate) times: Times,
    /// Fingerprints of the manifest at the slots that somebody wants to compare.
    pub(crate) fingerprints: BTreeMap<u64, u64>,
    /// What groups committed, and who owned what.
    pub(crate) groups: Commits,
    /// Slot, partition and offset of what copiers committed, in order.
    pub(crate) moves: Vec<(u64, OfGroup, i64)>,
    /// What is wrong with the bucket by itself: the invariant, and what happened.
    pub(crate) faults: Vec<(&'static str, String)>,
}

/// A transaction that was aborted in a partition: its producer, its first offset there, that of its end.
pub(crate) type Aborted = (i64, i64, i64);

impl Truth {
    /// The transactions that were aborted in a partition, by their ends.
    pub(crate) fn aborted(&self, topic: Uuid, partition: u32) -> Vec<Aborted> {
        let (mut open, mut found) = (BTreeMap::new(), Vec::new());
        for (offset, entry) in (0..).zip(self.logs.get(&(topic, partition)).into_iter().flatten()) {
            match entry.of {
                Of::Nobody => {}
                Of::Transaction(producer) => drop(open.entry(producer).or_insert(offset)),
                Of::Marker(producer, commit) => {
                    let first = open.remove(&producer).filter(|_| !commit);
                    found.extend(first.map(|first| (producer, first, offset)));
                }
            }
        }
        found
    }

    /// What compaction may take away of a partition; `None`: its topic is not compacted by key, or is gone.
    pub(super) fn by_key(&self, topic: Uuid, partition: u32) -> Option<ByKey<'_>> {
        let configs = &self.manifest.topic(&topic)?.configs;
        let log = self.logs.get(&(topic, partition)).map_or(&[][..], Vec::as_slice);
        ByKey::of(configs, log, &self.times)
    }

    /// Folds the first content of all slots; `wanted`: the slots whose fingerprints are of interest.
    pub(crate) fn of(bucket: &Bucket, wanted: &BTreeSet<u64>, trace: &Trace) -> Truth {
        let mut truth = Truth::default();
        let mut oracle = Oracle::default();
        let slots = bucket.slots();
        if let Some((last, _)) = slots.last_key_value()
            && *last != slots.len() as u64
        {
            truth.fault("J3", format!("the last slot is {last}, but only {} were ever filled", slots.len()));
        }
        for (slot, object) in slots {
            if slot != truth.manifest.applied + 1 {
                break;
            }
            let object = Rope::from(object);
            let (commit, payload_at) = match Commit::decode(&paths::slot(slot), &object) {
                Ok(decoded) => decoded,
                Err(error) => {
                    return truth.fault_and_end("J3", format!("slot {slot} cannot be read: {error}"));
                }
            };
            let before_ms = truth.manifest.now_ms;
            let outcomes = state::apply(&mut truth.manifest, slot, &commit, payload_at);
            truth.times.note(slot, bucket.filled_ms(slot), truth.manifest.now_ms);
            let expected = oracle.fold(slot, &commit);
            if outcomes != expected {
                truth.fault("J2", format!("slot {slot} folds to {outcomes:?}, the oracle says {expected:?}"));
            }
            if let Some(difference) = oracle.difference(&truth.manifest) {
                return truth.fault_and_end("J2", format!("at slot {slot} {difference}"));
            }
            trace.note("journal", format_args!("{}", line(slot, &commit, &outcomes)));
            let broken = truth.groups.fold(&commit, &outcomes, &truth.manifest);
            truth.faults.extend(broken.into_iter().map(|what| ("K7", format!("slot {slot}: {what}"))));
            truth.keep(bucket, slot, &commit, &object, payload_at, &outcomes);
            truth.mark(slot);
            for expired in oracle.take_expired() {
                truth.rightly(slot, before_ms, &expired);
            }
            truth.follow(slot);
            if wanted.contains(&slot) {
                truth.fingerprints.insert(slot, fingerprint(&checkpoint::encode(&truth.manifest)));
            }
        }
        truth.topics = truth.manifest.topics().map(|topic| (topic.id, topic.name.clone())).collect();
        truth.compare_ends();
        truth
    }

    fn fault(&mut self, invariant: &'static str, what: String) {
        self.faults.push((invariant, what));
    }

    fn fault_and_end(mut self, invariant: &'static str, what: String) -> Truth {
        self.fault(invariant, what);
        self
    }

    fn keep(
        &mut self,
        bucket: &Bucket,
        slot: u64,
        commit: &Commit,
        object: &Rope,
        payload_at: u64,
        outcomes: &[Outcome],
    ) {
        for (change, outcome) in commit.changes.iter().zip(outcomes) {
            let (Change::Append(append), Outcome::Appended(placed)) = (change, outcome) else { continue };
            let Some(run) = run_of(bucket, append, object, payload_at) else {
                self.fault("D1", format!("slot {slot} names bytes that were never written"));
                continue;
            };
            let mut at = 0;
            for (batch, placed) in append.batches.iter().zip(placed) {
                let bytes = run.slice(at..at + batch.bytes as usize);
                at += batch.bytes as usize;
                let Ok(placed) = placed else { continue };
                let log = self.logs.entry((append.topic, append.partition)).or_default();
                // A duplicate is told its old place.
                if placed.base_offset < log.len() as i64 {
                    continue;
                }
                // Ends of transactions stand between.
                while (log.len() as i64) < placed.base_offset {
                    log.push(Entry::hole(slot));
                }
                match entries(slot, &bytes, batch) {
                    Ok(entries) => log.extend(entries),
                    Err(why) => self.fault("D1", format!("a batch of slot {slot}: {why}")),
                }
            }
        }
    }

    /// Says of every offset without a record whose end it is.
    fn mark(&mut self, slot: u64) {
        let mut unmarked = Vec::new();
        for topic in self.manifest.topics() {
            for (number, partition) in topic.partitions.iter().enumerate() {
                let log = self.logs.entry((topic.id, number as u32)).or_default();
                while (log.len() as i64) < partition.high_watermark {
                    log.push(Entry::hole(slot));
                }
                for extent in partition.extents.iter().rev() {
                    let entry = log.get_mut(extent.base_offset as usize);
                    let Some(entry) = entry.filter(|entry| entry.slot == slot) else { break };
                    if let ObjectId::Marker(marker) = extent.object {
                        entry.of = Of::Marker(marker.producer_id, marker.commit);
                        entry.bytes = u64::from(MARKER_BYTES);
                    }
                }
                let from = partition.log_start.max(0) as usize;
                let is_hole = |entry: &&Entry| entry.record == NO_RECORD && entry.of == Of::Nobody;
                if log.iter().skip(from).rev().take_while(|entry| entry.slot == slot).any(|one| is_hole(&one))
                {
                    unmarked.push(format!("{}/{number} has an offset without a record", topic.name));
                }
            }
        }
        unmarked.into_iter().for_each(|what| self.fault("K1", format!("slot {slot}: {what}")));
    }

    /// What expires is older than its topic keeps it, by the time of the journal before anybody said so, or so many bytes come
    /// behind it.
    fn rightly(&mut self, slot: u64, now_ms: i64, expired: &Expired) {
        let log = self.logs.get(&(expired.topic, expired.partition)).map_or(&[][..], Vec::as_slice);
        let keyed = self.by_key(expired.topic, expired.partition);
        let stable = self.manifest.partition(&expired.topic, expired.partition);
        let stable = stable.map_or(0, |partition| partition.last_stable_offset());
        // What compaction has taken away does not count any more, however young it was.
        let is_gone =
            |offset| keyed.as_ref().is_some_and(|keyed| keyed.may_go(offset, stable, self.manifest.now_ms));
        let (mut behind, mut wrong) = (0, None);
        for (offset, entry) in log.iter().enumerate().rev() {
            let offset = offset as i64;
            let is_old =
                expired.retention_ms >= 0 && now_ms.saturating_sub(entry.timestamp) > expired.retention_ms;
            let is_much = u64::try_from(expired.retention_bytes).is_ok_and(|most| behind >= most);
            let is_record = !matches!(entry.of, Of::Marker(..));
            let is_there = is_record && expired.offsets.contains(&offset);
            if is_there && !is_old && !is_much && !is_gone(offset) {
                wrong = Some((offset, *entry));
            }
            behind += entry.bytes;
        }
        if let Some(wrong) = wrong {
            let what =
                format!("slot {slot}: at {now_ms} {wrong:?} expired by {expired:?}, with {behind} bytes");
            self.fault("D4", what);
        }
    }

    /// Notes where copiers have come to.
    fn follow(&mut self, slot: u64) {
        for (name, group) in self.manifest.groups().filter(|(name, _)| name.starts_with(COPIERS)) {
            for ((topic, partition), committed) in &group.offsets {
                let of = (name.to_owned(), *topic, *partition);
                let before = self.moves.iter().rev().find(|(_, other, _)| *other == of);
                if before.is_none_or(|(.., before)| *before != committed.offset) {
                    self.moves.push((slot, of, committed.offset));
                }
            }
        }
    }

    /// The ends of all partitions, by the manifest and by the records.
    fn compare_ends(&mut self) {
        let topics = self.manifest.topics();
        let ends: BTreeMap<_, _> = topics
            .flat_map(|topic| {
                let partitions = topic.partitions.iter().enumerate();
                partitions.map(|(number, partition)| ((topic.id, number), partition.high_watermark))
            })
            .collect();
        for ((topic, number), end) in ends {
            let records = self.logs.get(&(topic, number as u32)).map_or(0, Vec::len);
            if records as i64 != end {
                self.fault("K1", format!("{topic}/{number} ends at {end} and holds {records} records"));
            }
        }
    }
}

/// One commit and what came of it, for people.
fn line(slot: u64, commit: &Commit, outcomes: &[Outcome]) -> String {
    let (incarnation, counter) = (commit.id.incarnation.to_string(), commit.id.counter);
    let mut line = format!("slot {slot}: ..{}-{counter}", &incarnation[incarnation.len() - 4..]);
    if commit.oldest_open < counter {
        line.push_str(&format!(" after {}", commit.oldest_open));
    }
    for (change, outcome) in commit.changes.iter().zip(outcomes) {
        match (change, outcome) {
            (Change::Append(append), Outcome::Appended(placed)) => {
                line.push_str(&format!("; {}/{}", &append.topic.to_string()[..4], append.partition));
                for (batch, placed) in append.batches.iter().zip(placed) {
                    let producer =
                        batch.producer.map_or("plain".to_owned(), |p| format!("{}:{}", p.id, p.sequence));
                    let placed =
                        placed.map_or_else(|void| format!("{void:?}"), |at| at.base_offset.to_string());
                    line.push_str(&format!(" {producer}+{}={placed}", batch.offsets));
                }
            }
            (change, outcome) => line.push_str(&format!("; {change:?} {outcome:?}")),
        }
    }
    line
}

/// The bytes of an append, wherever they lie, with their checksum looked at.
fn run_of(bucket: &Bucket, append: &Append, object: &Rope, payload_at: u64) -> Option<Bytes> {
    let (at, length) = (append.at as usize, append.bytes() as usize);
    let run = match append.segment {
        None => object.slice(payload_at as usize + at..payload_at as usize + at + length)?.to_bytes(),
        Some(id) => bucket.segment(&paths::segment(id))?.get(at..at + length)?.to_vec().into(),
    };
    // A part of a run that is proposed again has no checksum of its own.
    (append.segment.is_some() || Rope::from(run.clone()).crc32c() == append.crc).then_some(run)
}

fn entries(slot: u64, batch: &Bytes, meta: &BatchMeta) -> Result<Vec<Entry>, String> {
    let offsets = meta.offsets;
    BatchHeader::check(batch).map_err(|why| why.to_string())?;
    let found = records(batch).map_err(|why| why.to_string())?;
    if found.len() != offsets as usize {
        return Err(format!("it holds {} records, its commit says {offsets}", found.len()));
    }
    let transaction = meta.producer.filter(|_| meta.joins != Joins::Nothing);
    let of = transaction.map_or(Of::Nobody, |producer| Of::Transaction(producer.id));
    let entry = |record: strandline_core::record::Record| {
        let name = Record::of(&record).ok_or("a record that nobody sent")?;
        let bytes = if record.offset_delta == 0 { u64::from(meta.bytes) } else { 0 };
        Ok(Entry { record: name, slot, timestamp: record.timestamp, of, bytes, key: Key::of(&record) })
    };
    found.into_iter().map(entry).collect()
}
