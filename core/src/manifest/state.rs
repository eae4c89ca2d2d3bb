//! The manifest and the fold: `apply(&mut Manifest, slot, commit) -> outcomes`.
//!
//! Pure: no clock, no dice, no I/O, no hash order. Must not know how commits travel. Its rules belong to a feature level:
//! a rule changes only from the slot of a [`Change::FeatureLevel`] on, so that old and new programs never disagree.
//! Offsets of a partition strictly increase with the position of the commits; one offset, one record, for ever.

mod topics;
mod transactions;
mod groups;
mod history;
mod partition;
mod extents;
mod producers;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use ulid::Ulid;
use uuid::Uuid;

use super::commit::{Append, BatchMeta, Change, Commit, CommitId, Identity, Outcome, Placed, Void};
use crate::chunk::Format;
use crate::limits::{COMMIT_WINDOW, DAY, EXPIRE_EVERY};
use crate::mutation::{self, Mutation};
use extents::push_extent;
pub use extents::{Extent, Marker, ObjectId};
pub(super) use groups::Groups;
pub use groups::{CommittedOffset, Group};
pub use partition::{Aborted, ActiveProducer, Partition};
pub(super) use producers::{Producers, Remembered, State};
pub use rules::{AppendRules, Retention};
pub(super) use transactions::Transactions;
pub use transactions::{Phase, Transaction};

/// The newest feature level that this program knows.
pub const FEATURE_LEVEL: u32 = 4;
/// From this level on, silent producers and the offsets of empty groups expire.
const EXPIRING: u32 = 2;

/// The latest time that a ULID can carry: journal time beyond it would make every segment look old.
const LATEST_MS: i64 = (1 << 48) - 1;

/// One topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Never used again, also when the name is.
    pub id: Uuid,
    /// Unique while the topic is there.
    pub name: String,
    /// Those that differ from the defaults.
    pub configs: BTreeMap<String, String>,
    /// By number.
    pub partitions: Vec<Partition>,
    rules: AppendRules,
    retention: Retention,
}

impl Topic {
    pub(super) fn new(
        id: Uuid,
        name: String,
        configs: BTreeMap<String, String>,
        partitions: Vec<Partition>,
    ) -> Topic {
        let (rules, retention) = (AppendRules::of(&configs), Retention::of(&configs));
        Topic { id, name, configs, partitions, rules, retention }
    }

    /// What its configs ask of the batches that join it.
    pub fn rules(&self) -> AppendRules {
        self.rules
    }

    /// What becomes of its old records.
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// How the records of its chunks lie in them (`strandline.archive.format`).
    pub fn archive_format(&self) -> Format {
        match self.configs.get("strandline.archive.format").map(|format| format.trim()) {
            Some("parquet") => Format::Parquet,
            _ => Format::Batches,
        }
    }

    fn configure(&mut self, configs: BTreeMap<String, String>) {
        (self.rules, self.retention) = (AppendRules::of(&configs), Retention::of(&configs));
        self.configs = configs;
    }
}

/// Which commits of one proposer were folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) highest: u64,
    /// Bit `i`: counter `highest - i` was folded.
    pub(super) window: u64,
    /// Bit `i`: counter `highest - i` was overtaken, and batches of it were refused that its proposer will propose again.
    pub(super) refused: u64,
    pub(super) last_ms: i64,
}

impl Seen {
    fn contains(&self, counter: u64) -> bool {
        match self.highest.checked_sub(counter) {
            None => false,
            Some(back) => back >= COMMIT_WINDOW || self.window & (1 << back) != 0,
        }
    }

    /// Folded, and nothing of it is to come again. Nobody knows that of what lies below the window.
    fn is_settled(&self, counter: u64) -> bool {
        let back = self.highest.checked_sub(counter).filter(|back| *back < COMMIT_WINDOW);
        back.is_some_and(|back| self.window & !self.refused & (1 << back) != 0)
    }

    fn refuse(&mut self, counter: u64) {
        if let Some(back) = self.highest.checked_sub(counter).filter(|back| *back < COMMIT_WINDOW) {
            self.refused |= 1 << back;
        }
    }

    fn insert(&mut self, counter: u64) {
        if counter > self.highest {
            let by = counter - self.highest;
            let moved = |bits: u64| if by >= COMMIT_WINDOW { 0 } else { bits << by };
            (self.window, self.refused) = (moved(self.window) | 1, moved(self.refused));
            self.highest = counter;
        } else if let Some(back) = self.highest.checked_sub(counter).filter(|back| *back < COMMIT_WINDOW) {
            self.window |= 1 << back;
        }
    }
}

/// The value that folding all commits in order gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// The last slot folded; 0: none.
    pub applied: u64,
    /// Journal time: the largest timestamp of any commit, milliseconds.
    pub now_ms: i64,
    /// Which rules hold.
    pub feature_level: u32,
    pub(super) next_producer_id: i64,
    pub(super) topics: BTreeMap<Uuid, Topic>,
    pub(super) names: BTreeMap<String, Uuid>,
    pub(super) seen: BTreeMap<Ulid, Seen>,
    pub(super) groups: Groups,
    pub(super) transactions: Transactions,
    pub(super) partitions: usize,
    pub(super) extents: usize,
}

impl Manifest {
    /// The topic with this id.
    pub fn topic(&self, id: &Uuid) -> Option<&Topic> {
        self.topics.get(id)
    }

    /// The topic that has this name now.
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.names.get(name)?)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// One partition.
    pub fn partition(&self, topic: &Uuid, partition: u32) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(partition as usize)
    }

    pub(super) fn partition_mut(&mut self, topic: &Uuid, partition: u32) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.partitions.get_mut(partition as usize)
    }

    /// The group with this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.by_name.get(name)
    }

    /// All groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.by_name.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// The producer with this transactional id.
    pub fn transaction(&self, id: &str) -> Option<&Transaction> {
        self.transactions.by_id.get(id)
    }

    /// All producers with transactions, by transactional id.
    pub fn transactions(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.transactions.by_id.iter().map(|(id, transaction)| (id.as_str(), transaction))
    }

    /// Those that have one open.
    pub fn open_transactions(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.transactions.ongoing()
    }

    /// Whose producer id this is.
    pub fn transaction_of(&self, producer_id: i64) -> Option<(&str, &Transaction)> {
        self.transactions.of_producer(producer_id)
    }

    /// The partitions in which open transactions may still commit offsets of the group.
    pub fn pending_offsets(&self, group: &str) -> BTreeSet<(Uuid, u32)> {
        self.transactions.pending(group)
    }

    /// Extents of all partitions.
    pub fn extents(&self) -> usize {
        self.extents
    }

    /// Whether this commit was folded.
    pub fn has_seen(&self, id: CommitId) -> bool {
        self.seen.get(&id.incarnation).is_some_and(|seen| seen.contains(id.counter))
    }

    /// Whether something of the same proposer that was ahead of this commit when it was made is still to come. Its
    /// proposer proposes again what the fold then refuses for its sequence number.
    pub(super) fn overtaken(&self, commit: &Commit) -> bool {
        let CommitId { incarnation, counter } = commit.id;
        let seen = self.seen.get(&incarnation).copied().unwrap_or_default();
        // At most the window is settled, so that a longer span, which nobody honest has, ends soon.
        (commit.oldest_open..counter).any(|ahead| !seen.is_settled(ahead))
    }

    /// Forgets proposers whose last commit is a day of journal time old.
    fn forget_proposers(&mut self) {
        let before = self.now_ms.saturating_sub(DAY.as_millis() as i64);
        self.seen.retain(|_, seen| seen.last_ms >= before);
    }

    /// Forgets what has expired, once each [`EXPIRE_EVERY`] of journal time.
    fn expire(&mut self, before_ms: i64) {
        let period = |ms: i64| ms.div_euclid(EXPIRE_EVERY.as_millis() as i64);
        if self.feature_level < EXPIRING || period(before_ms) == period(self.now_ms) {
            return;
        }
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.producers.expire(&partition.open, self.now_ms);
        }
        self.groups.expire(self.now_ms);
        self.transactions.expire(self.now_ms);
    }
}

/// Folds the commit of the next slot; `payload_at` is where its record bytes begin in the object. One outcome per change.
pub fn apply(manifest: &mut Manifest, slot: u64, commit: &Commit, payload_at: u64) -> Vec<Outcome> {
    manifest.applied = slot;
    let before_ms = manifest.now_ms;
    manifest.now_ms = manifest.now_ms.max(commit.timestamp_ms.min(LATEST_MS));
    if manifest.has_seen(commit.id) {
        return commit.changes.iter().map(|_| Outcome::Void(Void::SeenBefore)).collect();
    }
    manifest.expire(before_ms);
    let now_ms = manifest.now_ms;
    let overtaken = manifest.overtaken(commit);
    let seen = manifest.seen.entry(commit.id.incarnation).or_default();
    let first_time = seen.highest == 0;
    seen.insert(commit.id.counter);
    seen.last_ms = now_ms;
    if first_time {
        manifest.forget_proposers();
    }
    let place = Place { slot, payload_at, overtaken };
    let mut fold = |change| apply_change(manifest, &place, change);
    let outcomes: Vec<_> = match mutation::is(Mutation::HashOrderInFold) && mutation::coin() {
        true => {
            let mut backwards: Vec<_> = commit.changes.iter().rev().map(&mut fold).collect();
            backwards.reverse();
            backwards
        }
        false => commit.changes.iter().map(fold).collect(),
    };
    if overtaken
        && outcomes.iter().any(Outcome::is_out_of_order)
        && let Some(seen) = manifest.seen.get_mut(&commit.id.incarnation)
    {
        seen.refuse(commit.id.counter);
    }
    outcomes
}

/// Where a commit came to lie.
struct Place {
    slot: u64,
    payload_at: u64,
    /// See [`Manifest::overtaken`].
    overtaken: bool,
}

fn apply_change(manifest: &mut Manifest, place: &Place, change: &Change) -> Outcome {
    let held = match change {
        Change::Append(append) => return apply_append(manifest, place, append),
        Change::CreateTopic { id, name, partitions, configs } => {
            manifest.create_topic(*id, name, *partitions, configs)
        }
        Change::DeleteTopic { id } => manifest.delete_topic(id),
        Change::CreatePartitions { topic, count } => manifest.create_partitions(topic, *count),
        Change::AlterConfigs { topic, replace, changes } => manifest.alter_configs(topic, *replace, changes),
        Change::DeleteRecords { topic, partition, before } => {
            manifest.delete_records(topic, *partition, *before)
        }
        Change::Swap(swap) => return Outcome::Swapped(manifest.swap(swap)),
        Change::IndexChunks(index) => manifest.index_chunks(index),
        Change::Expire(expire) => manifest.expire_records(expire),
        Change::Compacted(compacted) => manifest.note_compacted(compacted),
        Change::UpdateGroup(update) => {
            let now_ms = manifest.now_ms;
            return match manifest.groups.update(update, place.slot, now_ms) {
                Ok(version) => Outcome::GroupVersion(version),
                Err(void) => Outcome::Void(void),
            };
        }
        Change::CommitOffsets(commit) => manifest.commit_offsets(commit, place.slot),
        Change::InitProducer(init) => return identity(manifest.init_producer(init, place.slot)),
        Change::EndTransaction(end) => return identity(manifest.end_transaction(end, place.slot)),
        Change::AddToTransaction(add) => {
            let Manifest { transactions, topics, now_ms, .. } = manifest;
            let exists = |topic: &Uuid, partition| {
                topics.get(topic).is_some_and(|topic| (partition as usize) < topic.partitions.len())
            };
            transactions.add(add, exists, *now_ms)
        }
        Change::TransactionOffsets(offsets) => manifest.commit_in_transaction(offsets, place.slot),
        Change::DeleteGroup { group } => manifest.delete_group(group),
        Change::DeleteOffsets { group, partitions } => manifest.delete_offsets(group, partitions),
        Change::AllocateProducerIds { count } => {
            let first = manifest.next_producer_id;
            manifest.next_producer_id = first.saturating_add(i64::from(*count));
            return Outcome::ProducerIds(first);
        }
        Change::FeatureLevel { level } => {
            manifest.feature_level = manifest.feature_level.max(*level);
            Ok(())
        }
        Change::Tick => Ok(()),
    };
    held.map_or_else(Outcome::Void, |()| Outcome::Applied)
}

fn identity(decided: Result<Identity, Void>) -> Outcome {
    decided.map_or_else(Outcome::Void, Outcome::Producer)
}

/// Whether an object is so old that it may be deleted if nothing refers to it: nothing may begin to. In every feature level:
/// what was collected must stay so.
pub fn is_stale(object: Ulid, now_ms: i64) -> bool {
    let written = i64::try_from(object.timestamp_ms()).unwrap_or(i64::MAX);
    written.saturating_add(DAY.as_millis() as i64) < now_ms
}

fn apply_append(manifest: &mut Manifest, place: &Place, append: &Append) -> Outcome {
    let Manifest { topics, transactions, extents, now_ms, .. } = manifest;
    let now_ms = *now_ms;
    let object = match append.segment {
        None => ObjectId::Slot(place.slot),
        Some(segment) => {
            if is_stale(segment, now_ms) {
                return Outcome::Void(Void::Stale);
            }
            ObjectId::Segment(segment)
        }
    };
    let Some(topic) = topics.get_mut(&append.topic) else {
        return Outcome::Void(Void::UnknownTopic);
    };
    let Some(partition) = topic.partitions.get_mut(append.partition as usize) else {
        return Outcome::Void(Void::UnknownPartition);
    };
    let base = if append.segment.is_none() { place.payload_at } else { 0 };
    let Some(mut at) = base.checked_add(append.at).filter(|at| at.checked_add(append.bytes()).is_some())
    else {
        return Outcome::Void(Void::Malformed);
    };
    let before = partition.extents.len();
    let of = (append.topic, append.partition);
    let mut joins = false;
    let mut outcomes = Vec::with_capacity(append.batches.len());
    for batch in &append.batches {
        let placed = transactions
            .check_batch(batch, of)
            .and_then(|()| place_batch(partition, batch, place.overtaken, now_ms));
        if let (Ok((base_offset, true)), Some(producer)) = (&placed, batch.transaction()) {
            let first = transactions.joined(producer.id, of, *base_offset, now_ms);
            partition.open.extend(first.map(|first| (first, producer.id)));
        }
        let fresh = matches!(placed, Ok((_, true)));
        if let Ok((base_offset, true)) = placed {
            let extent = Extent {
                base_offset,
                offsets: batch.offsets,
                object,
                at,
                bytes: batch.bytes,
                max_timestamp: batch.max_timestamp,
            };
            push_extent(&mut partition.extents, extent, joins);
        }
        joins = fresh;
        at += u64::from(batch.bytes);
        let log_start = partition.log_start;
        outcomes.push(placed.map(|(base_offset, _)| Placed { base_offset, log_start }));
    }
    *extents += partition.extents.len() - before;
    Outcome::Appended(outcomes)
}

/// The offset of a batch, and whether it is new (`true`) or was appended before (`false`).
fn place_batch(
    partition: &mut Partition,
    batch: &BatchMeta,
    overtaken: bool,
    now_ms: i64,
) -> Result<(i64, bool), Void> {
    let base_offset = partition.high_watermark;
    let end = base_offset.checked_add(i64::from(batch.offsets));
    let Some(end) = end.filter(|_| batch.offsets > 0 && batch.bytes > 0) else { return Err(Void::Malformed) };
    if batch.producer.is_none() && overtaken {
        // Nothing but its place keeps the order of a producer without sequence numbers: it waits for what is ahead.
        return Err(Void::OutOfOrderSequence);
    }
    let Partition { producers, open, .. } = partition;
    if let Some(producer) = batch.producer
        && let Some(original) =
            producers.admit(producer, batch.offsets, base_offset, overtaken, (open, now_ms))?
    {
        return Ok((original, false));
    }
    partition.high_watermark = end;
    Ok((base_offset, true))
}

#[cfg(test)]
mod tests;
