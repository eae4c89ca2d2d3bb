//! The fold, written a second time, on plain maps and sets: slow, and easy to believe.
//!
//! Shares no code with the production fold but the form of commits. Says what must come of every change; [`super::truth`]
//! compares.

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::manifest::{BatchMeta, Change, Commit, Outcome, Placed, Void};
use ulid::Ulid;
use uuid::Uuid;

const DAY_MS: i64 = 86_400_000;
/// Counters below the highest of a proposer that are remembered one by one.
const COMMIT_WINDOW: u64 = 64;
/// Batches of a producer that are remembered (Kafka's `NUM_BATCHES_TO_RETAIN`).
const WINDOW: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Oracle {
    now_ms: i64,
    next_producer_id: i64,
    topics: BTreeMap<Uuid, Topic>,
    /// Commits that were folded, by proposer: their counters, and the journal's time of the last.
    folded: BTreeMap<Ulid, (BTreeSet<u64>, i64)>,
    /// Of these, those that were refused in part because they were overtaken.
    unsettled: BTreeSet<(Ulid, u64)>,
}

#[derive(Debug, Default)]
struct Topic {
    name: String,
    partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    end: i64,
    producers: BTreeMap<i64, Producer>,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    /// First sequence number, number of records, offset; in the order of the log.
    batches: Vec<(i32, u32, i64)>,
    from_zero: bool,
}

impl Oracle {
    pub(super) fn fold(&mut self, commit: &Commit) -> Vec<Outcome> {
        let (incarnation, counter) = (commit.id.incarnation, commit.id.counter);
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
        let entry = self.folded.entry(incarnation).or_default();
        entry.0.insert(counter);
        entry.1 = self.now_ms;
        if newcomer {
            let before = self.now_ms - DAY_MS;
            self.folded.retain(|_, (_, last_ms)| *last_ms >= before);
        }
        let outcomes: Vec<_> = commit.changes.iter().map(|change| self.change(change, overtaken)).collect();
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Appended(batches) if batches.contains(&Err(Void::OutOfOrderSequence)));
        if overtaken && outcomes.iter().any(refused) {
            self.unsettled.insert((incarnation, counter));
        }
        outcomes
    }

    fn change(&mut self, change: &Change, overtaken: bool) -> Outcome {
        match change {
            Change::CreateTopic { id, name, partitions, .. } => {
                if self.topics.contains_key(id) {
                    return Outcome::Void(Void::Malformed);
                }
                if self.topics.values().any(|topic| topic.name == *name) {
                    return Outcome::Void(Void::TopicExists);
                }
                let partitions = (0..*partitions).map(|_| Partition::default()).collect();
                self.topics.insert(*id, Topic { name: name.clone(), partitions });
                Outcome::Applied
            }
            Change::DeleteTopic { id } => match self.topics.remove(id) {
                Some(_) => Outcome::Applied,
                None => Outcome::Void(Void::UnknownTopic),
            },
            Change::AllocateProducerIds { count } => {
                let first = self.next_producer_id;
                self.next_producer_id += i64::from(*count);
                Outcome::ProducerIds(first)
            }
            Change::Append(append) => {
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
                Outcome::Appended(
                    append.batches.iter().map(|batch| partition.append(batch, overtaken)).collect(),
                )
            }
            Change::FeatureLevel { .. } | Change::Tick => Outcome::Applied,
        }
    }

    /// The end of every partition.
    pub(super) fn ends(&self) -> BTreeMap<(Uuid, usize), i64> {
        let topics = self.topics.iter();
        let ends = topics.flat_map(|(id, topic)| {
            topic.partitions.iter().enumerate().map(|(number, partition)| ((*id, number), partition.end))
        });
        ends.collect()
    }
}

impl Partition {
    fn append(&mut self, batch: &BatchMeta, overtaken: bool) -> Result<Placed, Void> {
        let offset = match batch.producer {
            None if overtaken => return Err(Void::OutOfOrderSequence),
            None => self.end,
            Some(producer) => {
                let known = self.producers.contains_key(&producer.id);
                if !known && overtaken && producer.sequence != 0 {
                    return Err(Void::OutOfOrderSequence);
                }
                let state = self.producers.entry(producer.id).or_default();
                if known && producer.epoch < state.epoch {
                    return Err(Void::InvalidProducerEpoch);
                }
                if known && producer.epoch > state.epoch {
                    if producer.sequence != 0 {
                        return Err(Void::OutOfOrderSequence);
                    }
                    *state = Producer::default();
                }
                state.append(producer.epoch, producer.sequence, batch.offsets, self.end)?
            }
        };
        if offset == self.end {
            self.end += i64::from(batch.offsets);
        }
        Ok(Placed { base_offset: offset, log_start: 0 })
    }
}

impl Producer {
    /// The offset of the batch: the end of the log if it is new, its old place if it is one of the last five.
    fn append(&mut self, epoch: i16, sequence: i32, count: u32, end: i64) -> Result<i64, Void> {
        let after = |first: i32, count: u32| ((i64::from(first) + i64::from(count)) % (1 << 31)) as i32;
        let Some(&(last_first, last_count, _)) = self.batches.last() else {
            *self = Producer { epoch, batches: vec![(sequence, count, end)], from_zero: sequence == 0 };
            return Ok(end);
        };
        let recent = self.batches.iter().rev().take(WINDOW);
        if let Some((.., offset)) =
            recent.clone().find(|(first, many, _)| (*first, *many) == (sequence, count))
        {
            return Ok(*offset);
        }
        if sequence == after(last_first, last_count) {
            self.batches.push((sequence, count, end));
            return Ok(end);
        }
        let oldest = recent.map(|(first, ..)| *first).next_back().unwrap_or(0);
        let ahead = (i64::from(oldest) - i64::from(after(sequence, count - 1))).rem_euclid(1 << 31);
        let before = self.from_zero && ahead != 0 && ahead < 1 << 30;
        Err(if before { Void::DuplicateSequence } else { Void::OutOfOrderSequence })
    }
}
