//! The fold, written a second time, on plain maps and sets: slow, and easy to believe.
//!
//! Shares no code with the production fold but the form of commits. Says what must come of every change; [`super::truth`]
//! compares.

mod groups;
mod history;
mod logs;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use strandline_core::manifest::commit::{ConfigChange, ConfigOp};
use strandline_core::manifest::{
    Append, Change, Commit, Expire, IndexChunks, Joins, Manifest, ObjectName, Outcome, SwapRun, Void,
};
use ulid::Ulid;
use uuid::Uuid;

use groups::Groups;
use logs::Partition;
use transactions::{Transactions, Verdict};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
/// Counters below the highest of a proposer that are remembered one by one.
const COMMIT_WINDOW: u64 = 64;

#[derive(Debug, Default)]
pub(super) struct Oracle {
    slot: u64,
    now_ms: i64,
    level: u32,
    next_producer_id: i64,
    groups: Groups,
    transactions: Transactions,
    topics: BTreeMap<Uuid, Topic>,
    /// Commits that were folded, by proposer: their counters, and the journal's time of the last.
    folded: BTreeMap<Ulid, (BTreeSet<u64>, i64)>,
    /// Of these, those that were refused in part because they were overtaken.
    unsettled: BTreeSet<(Ulid, u64)>,
    /// What has expired since somebody asked.
    expired: Vec<Expired>,
}

/// Records that are gone for their age or their number.
#[derive(Debug, Clone)]
pub(super) struct Expired {
    pub(super) topic: Uuid,
    pub(super) partition: u32,
    pub(super) offsets: Range<i64>,
    /// What the topic kept then; negative: no bound.
    pub(super) retention_ms: i64,
    pub(super) retention_bytes: i64,
}

#[derive(Debug, Default)]
struct Topic {
    name: String,
    configs: BTreeMap<String, String>,
    partitions: Vec<Partition>,
}

impl Oracle {
    pub(super) fn fold(&mut self, slot: u64, commit: &Commit) -> Vec<Outcome> {
        let (incarnation, counter) = (commit.id.incarnation, commit.id.counter);
        let before_ms = self.now_ms;
        self.slot = slot;
        self.now_ms = self.now_ms.max(commit.timestamp_ms);
        let known = self.folded.get(&incarnation);
        let highest = known.and_then(|(counters, _)| counters.last().copied()).unwrap_or(0);
        let forgotten = |counter: u64| highest.saturating_sub(counter) >= COMMIT_WINDOW;
        if known.is_some_and(|(counters, _)| counters.contains(&counter)) || forgotten(counter) {
            return vec![Outcome::Void(Void::SeenBefore); commit.changes.len()];
        }
        let settled = |ahead: u64| {
            known.is_some_and(|(counters, _)| counters.contains(&ahead))
                && !forgotten(ahead)
                && !self.unsettled.contains(&(incarnation, ahead))
        };
        let overtaken = (commit.oldest_open..counter).any(|ahead| !settled(ahead));
        let newcomer = known.is_none();
        if self.level >= 2 && before_ms.div_euclid(HOUR_MS) != self.now_ms.div_euclid(HOUR_MS) {
            self.expire();
        }
        let entry = self.folded.entry(incarnation).or_default();
        entry.0.insert(counter);
        entry.1 = self.now_ms;
        if newcomer {
            let before = self.now_ms - DAY_MS;
            self.folded.retain(|_, (_, last_ms)| *last_ms >= before);
            self.unsettled.retain(|(incarnation, _)| self.folded.contains_key(incarnation));
        }
        let outcomes: Vec<_> = commit.changes.iter().map(|change| self.change(change, overtaken)).collect();
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Appended(batches) if batches.contains(&Err(Void::OutOfOrderSequence)));
        if overtaken && outcomes.iter().any(refused) {
            self.unsettled.insert((incarnation, counter));
        }
        outcomes
    }

    /// What has expired since the last question.
    pub(super) fn take_expired(&mut self) -> Vec<Expired> {
        std::mem::take(&mut self.expired)
    }

    fn change(&mut self, change: &Change, overtaken: bool) -> Outcome {
        match change {
            Change::CreateTopic { id, name, partitions, configs } => {
                self.create_topic(*id, name, *partitions, configs)
            }
            Change::DeleteTopic { id } => match self.topics.remove(id) {
                Some(_) => {
                    self.groups.topic_is_gone(*id);
                    Outcome::Applied
                }
                None => Outcome::Void(Void::UnknownTopic),
            },
            Change::AllocateProducerIds { count } => {
                let first = self.next_producer_id;
                self.next_producer_id += i64::from(*count);
                Outcome::ProducerIds(first)
            }
            Change::Append(append) => self.append(append, overtaken),
            Change::CreatePartitions { .. } | Change::AlterConfigs { .. } | Change::DeleteRecords { .. } => {
                self.of_topic(change).map_or_else(Outcome::Void, |()| Outcome::Applied)
            }
            Change::Swap(_) | Change::IndexChunks(_) | Change::Expire(_) | Change::Compacted(_) => {
                self.of_history(change)
            }
            Change::UpdateGroup(update) => self.groups.update(update, self.slot, self.now_ms),
            Change::CommitOffsets(commit) => {
                let topics = &self.topics;
                let there = |topic, partition| {
                    topics.get(&topic).is_some_and(|topic| topic.partitions.len() > partition as usize)
                };
                let outcome = self.groups.commit(commit, there, self.slot, self.now_ms);
                if outcome == Outcome::Applied {
                    let of =
                        |at: &(Uuid, u32)| commit.offsets.iter().any(|one| (one.topic, one.partition) == *at);
                    self.transactions.withdraw(&commit.group, of);
                }
                outcome
            }
            Change::InitProducer(_)
            | Change::EndTransaction(_)
            | Change::AddToTransaction(_)
            | Change::TransactionOffsets(_) => self.of_transaction(change),
            Change::DeleteGroup { group } => {
                let outcome = self.groups.delete(group);
                if outcome == Outcome::Applied {
                    self.transactions.withdraw(group, |_| true);
                }
                outcome
            }
            Change::DeleteOffsets { group, partitions } => {
                let outcome = self.groups.delete_offsets(group, partitions);
                if outcome == Outcome::Applied {
                    self.transactions.withdraw(group, |at| partitions.contains(at));
                }
                outcome
            }
            Change::FeatureLevel { level } => {
                self.level = self.level.max(*level);
                Outcome::Applied
            }
            Change::Tick => Outcome::Applied,
        }
    }

    fn append(&mut self, append: &Append, overtaken: bool) -> Outcome {
        let old = |id: Ulid| (id.timestamp_ms() as i64) + DAY_MS < self.now_ms;
        if append.segment.is_some_and(old) {
            return Outcome::Void(Void::Stale);
        }
        let Some(topic) = self.topics.get_mut(&append.topic) else {
            return Outcome::Void(Void::UnknownTopic);
        };
        let Some(partition) = topic.partitions.get_mut(append.partition as usize) else {
            return Outcome::Void(Void::UnknownPartition);
        };
        let at = (append.topic, append.partition);
        let object = append.segment.map_or(ObjectName::Slot(self.slot), ObjectName::Segment);
        let mut joins = false;
        let mut outcomes = Vec::new();
        for batch in &append.batches {
            let end = partition.end;
            let admitted = self.transactions.admit(batch, at);
            let placed = admitted.and_then(|()| partition.append(batch, overtaken, self.now_ms));
            if let (Ok(placed), Some(producer)) = (placed, batch.producer)
                && placed.base_offset == end
                && batch.joins != Joins::Nothing
            {
                self.transactions.written(producer.id, at, end, self.now_ms);
            }
            let is_new = partition.end > end;
            if is_new {
                partition.lay(end, partition.end, object, joins);
            }
            joins = is_new;
            outcomes.push(placed);
        }
        Outcome::Appended(outcomes)
    }

    /// A partition, and the first offset in it that is not decided.
    fn undecided(&mut self, topic: &Uuid, number: u32) -> Result<(&mut Partition, i64), Void> {
        let open = self.transactions.open_at((*topic, number));
        let partitions = &mut self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?.partitions;
        let partition = partitions.get_mut(number as usize).ok_or(Void::UnknownPartition)?;
        let stable = partition.stable(&open);
        Ok((partition, stable))
    }

    /// What befalls records that are there already.
    fn create_topic(
        &mut self,
        id: Uuid,
        name: &str,
        partitions: u32,
        configs: &BTreeMap<String, String>,
    ) -> Outcome {
        if self.topics.contains_key(&id) {
            return Outcome::Void(Void::Malformed);
        }
        if self.topics.values().any(|topic| topic.name == name) {
            return Outcome::Void(Void::TopicExists);
        }
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        self.topics.insert(id, Topic { name: name.to_owned(), configs: configs.clone(), partitions });
        Outcome::Applied
    }

    fn of_history(&mut self, change: &Change) -> Outcome {
        let held = match change {
            Change::Swap(swap) => {
                return Outcome::Swapped(swap.runs.iter().map(|run| self.swap(run)).collect());
            }
            Change::IndexChunks(change) => self.take_in(change),
            Change::Compacted(compacted) => {
                let held = self.undecided(&compacted.topic, compacted.partition);
                held.and_then(|(partition, stable)| partition.compact(compacted, stable))
            }
            Change::Expire(expire) => self.expire_records(expire),
            _ => Ok(()),
        };
        held.map_or_else(Outcome::Void, |()| Outcome::Applied)
    }

    fn swap(&mut self, run: &SwapRun) -> Result<(), Void> {
        let now_ms = self.now_ms;
        let (partition, stable) = self.undecided(&run.topic, run.partition)?;
        partition.swap(run, stable, now_ms)
    }

    fn take_in(&mut self, change: &IndexChunks) -> Result<(), Void> {
        let now_ms = self.now_ms;
        let (partition, _) = self.undecided(&change.topic, change.partition)?;
        partition.take_in(change, now_ms)
    }

    fn expire_records(&mut self, expire: &Expire) -> Result<(), Void> {
        let topic = self.topics.get(&expire.topic).ok_or(Void::UnknownTopic)?;
        if !history::lets_go(&topic.configs, expire) {
            return Err(Void::RetentionChanged);
        }
        let (partition, stable) = self.undecided(&expire.topic, expire.partition)?;
        let offsets = partition.start..expire.before;
        partition.expire(expire, stable)?;
        let Expire { topic, partition, retention_ms, retention_bytes, .. } = *expire;
        self.expired.push(Expired { topic, partition, offsets, retention_ms, retention_bytes });
        Ok(())
    }

    fn of_transaction(&mut self, change: &Change) -> Outcome {
        match change {
            Change::InitProducer(init) => {
                let verdict = self.transactions.begin(init, &mut self.next_producer_id, self.now_ms);
                self.decided(verdict)
            }
            Change::EndTransaction(end) => {
                let verdict = self.transactions.end(end, &mut self.next_producer_id, self.now_ms);
                self.decided(verdict)
            }
            Change::AddToTransaction(add) => {
                let topics = &self.topics;
                let there = |topic, partition| {
                    topics.get(&topic).is_some_and(|topic| topic.partitions.len() > partition as usize)
                };
                let added = self.transactions.add(add, there, self.now_ms);
                added.map_or_else(Outcome::Void, |()| Outcome::Applied)
            }
            Change::TransactionOffsets(wanted) => {
                let allowed = self.groups.would_take(&wanted.commit);
                let kept = allowed.and_then(|()| self.transactions.offsets(wanted, self.now_ms));
                kept.map_or_else(Outcome::Void, |()| Outcome::Applied)
            }
            _ => Outcome::Applied,
        }
    }

    /// A marker wherever it has records, and its offsets, all at once.
    fn decided(&mut self, (producer, decided): Verdict) -> Outcome {
        if let Some(decided) = decided {
            for ((topic, number), first) in decided.partitions {
                let topic = self.topics.get_mut(&topic);
                let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(number as usize))
                else {
                    continue;
                };
                if !decided.commit {
                    partition.aborted.push((decided.producer, first, partition.end));
                }
                partition.end += 1;
                partition.lay(partition.end - 1, partition.end, ObjectName::Marker, false);
            }
            let topics = &self.topics;
            let there = |topic, partition| {
                topics.get(&topic).is_some_and(|topic: &Topic| topic.partitions.len() > partition as usize)
            };
            for offsets in decided.offsets {
                self.groups.take(&offsets, there, self.slot, self.now_ms);
            }
        }
        producer.map_or_else(Outcome::Void, Outcome::Producer)
    }

    /// What happens to a topic that is there.
    fn of_topic(&mut self, change: &Change) -> Result<(), Void> {
        match change {
            Change::CreatePartitions { topic, count } => {
                let partitions = &mut self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?.partitions;
                if *count as usize <= partitions.len() {
                    return Err(Void::InvalidPartitions);
                }
                partitions.resize_with(*count as usize, Partition::default);
            }
            Change::AlterConfigs { topic, replace, changes } => {
                let configs = &mut self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?.configs;
                configs.retain(|_, _| !replace);
                changes.iter().for_each(|change| alter(configs, change));
            }
            Change::DeleteRecords { topic, partition, before } => {
                let partitions = &mut self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?.partitions;
                let partition = partitions.get_mut(*partition as usize).ok_or(Void::UnknownPartition)?;
                let before = if *before == -1 { partition.end } else { *before };
                if before < 0 || before > partition.end {
                    return Err(Void::OffsetOutOfRange);
                }
                partition.cut(before);
            }
            _ => {}
        }
        Ok(())
    }

    fn expire(&mut self) {
        let now_ms = self.now_ms;
        for (id, topic) in &mut self.topics {
            for (number, partition) in topic.partitions.iter_mut().enumerate() {
                let open = self.transactions.open_at((*id, number as u32));
                let stays = |id, last_ms| now_ms - last_ms < DAY_MS || open.contains_key(&id);
                partition.producers.retain(|id, producer| stays(*id, producer.last_ms));
            }
        }
        self.groups.expire(now_ms);
        self.transactions.expire(now_ms);
    }

    /// How the manifest differs from what is known here, but for records: beginnings, ends, configs, groups.
    pub(super) fn difference(&self, manifest: &Manifest) -> Option<String> {
        for topic in manifest.topics() {
            let Some(known) = self.topics.get(&topic.id) else {
                return Some(format!("the manifest has the topic {}", topic.name));
            };
            let bounds = topic.partitions.iter().map(|one| (one.log_start, one.high_watermark));
            if (&topic.name, &topic.configs) != (&known.name, &known.configs)
                || !bounds.eq(known.partitions.iter().map(|one| (one.start, one.end)))
            {
                return Some(format!("the manifest has {topic:?}, the oracle {known:?}"));
            }
            let dead = topic.partitions.iter().find(|one| {
                let first = one.extents.first();
                first.map_or(one.high_watermark, |first| first.end_offset() - 1) < one.log_start
            });
            for (number, (one, known)) in topic.partitions.iter().zip(&known.partitions).enumerate() {
                let open = self.transactions.open_at((topic.id, number as u32));
                if let Some(what) = known.undecided(one, &open).or_else(|| known.misplaced(one)) {
                    return Some(format!("in {}/{number} {what}", topic.name));
                }
            }
            if let Some(partition) = dead {
                return Some(format!("a partition of {} keeps what was deleted: {partition:?}", topic.name));
            }
        }
        if manifest.topics().count() != self.topics.len() {
            return Some("the manifest has fewer topics than the oracle".to_owned());
        }
        self.transactions.difference(manifest).or_else(|| self.groups.difference(manifest))
    }
}

fn alter(configs: &mut BTreeMap<String, String>, ConfigChange { name, op }: &ConfigChange) {
    let split = |list: &str| -> Vec<String> {
        list.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
    };
    let value = match op {
        ConfigOp::Delete => return drop(configs.remove(name)),
        ConfigOp::Set(value) => value.clone(),
        ConfigOp::Append { elements, default } => {
            let mut list = split(configs.get(name).unwrap_or(default));
            for one in split(elements) {
                if list.iter().all(|had| *had != one) {
                    list.push(one);
                }
            }
            list.join(",")
        }
        ConfigOp::Subtract { elements, default } => {
            let gone = split(elements);
            let list = split(configs.get(name).unwrap_or(default));
            list.into_iter().filter(|one| !gone.contains(one)).collect::<Vec<_>>().join(",")
        }
    };
    configs.insert(name.clone(), value);
}

#[cfg(test)]
mod tests;
