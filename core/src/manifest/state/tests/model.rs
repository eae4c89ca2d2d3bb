//! Random histories, folded and compared with a model of plain maps that merges nothing.

mod author;
mod groups;
mod history;
mod history_author;
mod transactions;
mod transactions_author;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use self::author::Author;
use self::groups::Groups;
use self::history::Written;
use self::transactions::{Decision, Transactions};
use super::*;
use crate::index::Branch;
use crate::manifest::commit::{ConfigChange, ConfigOp};
use crate::record::MARKER_BYTES;
use crate::rope::Rope;
use crate::testing::{Dice, for_seeds};

const DAY_MS: i64 = 24 * HOUR_MS;
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Default)]
struct Model {
    now_ms: i64,
    level: u32,
    topics: BTreeMap<Uuid, (String, Vec<Log>)>,
    configs: BTreeMap<Uuid, BTreeMap<String, String>>,
    groups: Groups,
    transactions: Transactions,
    /// What swaps bring.
    written: Written,
    /// How many there ever were.
    runs: usize,
    ids: i64,
    folded: BTreeSet<CommitId>,
    /// Folded, and refused in part because something was still to come.
    refused: BTreeSet<CommitId>,
    /// Journal time of each proposer's last commit.
    heard_ms: BTreeMap<Ulid, i64>,
}

#[derive(Debug, Default)]
struct Log {
    start: i64,
    end: i64,
    /// All that were ever appended, and the ends of transactions.
    batches: Vec<Batch>,
    index: Option<Branch>,
    /// Up to here everything is in the index, or was.
    indexed: i64,
    /// All that was said of it: up to where, and when the first tombstone may go.
    compacted: Vec<(i64, i64)>,
    producers: BTreeMap<i64, (i16, History)>,
    /// Journal time of each producer's last batch.
    heard_ms: BTreeMap<i64, i64>,
}

#[derive(Debug)]
struct Batch {
    base: i64,
    object: ObjectId,
    at: u64,
    bytes: u32,
    /// Those of one run follow each other there.
    run: usize,
    /// It is the end of a transaction.
    marker: Option<Marker>,
    /// The producer.
    by: Option<i64>,
    /// The transaction.
    of: Option<usize>,
}

/// Sequence, offsets and base offset of every batch of an epoch.
type History = Vec<(i32, u32, i64)>;

impl Model {
    fn fold(&mut self, slot: u64, commit: &Commit) -> Vec<Outcome> {
        let hours = self.now_ms / HOUR_MS;
        self.now_ms = self.now_ms.max(commit.timestamp_ms);
        if !self.folded.insert(commit.id) {
            return vec![Outcome::Void(Void::SeenBefore); commit.changes.len()];
        }
        if self.level >= 2 && self.now_ms / HOUR_MS > hours {
            self.expire();
        }
        let settled = |counter| {
            let id = CommitId { counter, ..commit.id };
            self.folded.contains(&id) && !self.refused.contains(&id)
        };
        let overtaken = !(commit.oldest_open..commit.id.counter).all(settled);
        if self.heard_ms.insert(commit.id.incarnation, self.now_ms).is_none() {
            self.forget_proposers();
        }
        let outcomes: Vec<_> =
            commit.changes.iter().map(|change| self.change(slot, overtaken, change)).collect();
        let out_of_order = |outcome: &Outcome| match outcome {
            Outcome::Appended(placed) => placed.contains(&Err(Void::OutOfOrderSequence)),
            _ => false,
        };
        if overtaken && outcomes.iter().any(out_of_order) {
            self.refused.insert(commit.id);
        }
        outcomes
    }

    fn expire(&mut self) {
        for log in self.topics.values_mut().flat_map(|(_, logs)| logs) {
            let at_work = self.transactions.at_work(log);
            let silent = |id: &i64, heard_ms: &i64| self.now_ms - heard_ms >= DAY_MS && !at_work.contains(id);
            let gone: Vec<i64> =
                log.heard_ms.iter().filter(|(id, heard)| silent(id, heard)).map(|(id, _)| *id).collect();
            for id in gone {
                log.heard_ms.remove(&id);
                log.producers.remove(&id);
            }
        }
        self.groups.expire(self.now_ms);
        self.transactions.expire(self.now_ms);
    }

    fn forget_proposers(&mut self) {
        let now_ms = self.now_ms;
        self.heard_ms.retain(|_, heard_ms| now_ms - *heard_ms <= DAY_MS);
        self.folded.retain(|id| self.heard_ms.contains_key(&id.incarnation));
        self.refused.retain(|id| self.heard_ms.contains_key(&id.incarnation));
    }

    fn change(&mut self, slot: u64, overtaken: bool, change: &Change) -> Outcome {
        match change {
            Change::Append(append) => self.append(slot, overtaken, append),
            Change::CreateTopic { id, name, partitions, configs } => {
                self.create_topic(*id, name, *partitions, configs)
            }
            Change::DeleteTopic { id } => match self.topics.remove(id) {
                Some(_) => {
                    self.groups.forget(*id);
                    Outcome::Applied
                }
                None => Outcome::Void(Void::UnknownTopic),
            },
            Change::CreatePartitions { topic, count } => match self.topics.get_mut(topic) {
                None => Outcome::Void(Void::UnknownTopic),
                Some((_, logs)) if logs.len() >= *count as usize => Outcome::Void(Void::InvalidPartitions),
                Some((_, logs)) => {
                    logs.resize_with(*count as usize, Log::default);
                    Outcome::Applied
                }
            },
            Change::AlterConfigs { topic, replace, changes } => match self.topics.get(topic) {
                None => Outcome::Void(Void::UnknownTopic),
                Some(_) => {
                    let configs = self.configs.get_mut(topic).unwrap();
                    if *replace {
                        configs.clear();
                    }
                    changes.iter().for_each(|change| alter(configs, change));
                    Outcome::Applied
                }
            },
            Change::DeleteRecords { topic, partition, before } => {
                applied(self.delete_records(topic, *partition, *before))
            }
            Change::Swap(_) | Change::IndexChunks(_) | Change::Expire(_) | Change::Compacted(_) => {
                self.history_change(change)
            }
            Change::AllocateProducerIds { count } => {
                self.ids += i64::from(*count);
                Outcome::ProducerIds(self.ids - i64::from(*count))
            }
            Change::FeatureLevel { level } => {
                self.level = self.level.max(*level);
                Outcome::Applied
            }
            Change::Tick => Outcome::Applied,
            of_group => self.group_change(slot, of_group),
        }
    }

    /// Of groups and of transactions.
    fn group_change(&mut self, slot: u64, change: &Change) -> Outcome {
        match change {
            Change::UpdateGroup(update) => self.groups.update(update, slot, self.now_ms),
            Change::CommitOffsets(commit) => {
                let width = |topic: &Uuid| self.topics.get(topic).map_or(0, |(_, logs)| logs.len());
                let outcome = self.groups.commit(commit, width, slot, self.now_ms);
                let of = |at| commit.offsets.iter().any(|one| (one.topic, one.partition) == at);
                self.overtake(outcome, &commit.group, of)
            }
            Change::DeleteGroup { group } => {
                let outcome = self.groups.delete(group);
                self.overtake(outcome, group, |_| true)
            }
            Change::DeleteOffsets { group, partitions } => {
                let outcome = self.groups.delete_offsets(group, partitions);
                self.overtake(outcome, group, |at| partitions.contains(&at))
            }
            Change::InitProducer(init) => {
                let began = self.transactions.init(init, &mut self.ids, self.now_ms);
                self.settle(slot, began)
            }
            Change::EndTransaction(end) => {
                let ended = self.transactions.end(end, &mut self.ids, self.now_ms);
                self.settle(slot, ended)
            }
            Change::AddToTransaction(add) => {
                let width = |topic: &Uuid| self.topics.get(topic).map_or(0, |(_, logs)| logs.len());
                let exists = |at: &(Uuid, u32)| (at.1 as usize) < width(&at.0);
                applied(self.transactions.add(add, exists, self.now_ms))
            }
            Change::TransactionOffsets(wanted) => {
                let awaits = self.groups.awaits(&wanted.commit);
                applied(awaits.and_then(|()| self.transactions.offsets(wanted, self.now_ms)))
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn create_topic(
        &mut self,
        id: Uuid,
        name: &str,
        partitions: u32,
        configs: &BTreeMap<String, String>,
    ) -> Outcome {
        if !NAMES.contains(&name) {
            return Outcome::Void(Void::InvalidTopicName);
        }
        if partitions == 0 {
            return Outcome::Void(Void::InvalidPartitions);
        }
        // Put a second time, long after everybody forgot who proposed it.
        if self.topics.contains_key(&id) || self.transactions.have(&id) {
            return Outcome::Void(Void::Malformed);
        }
        if self.topics.values().any(|(taken, _)| taken == name) {
            return Outcome::Void(Void::TopicExists);
        }
        self.configs.insert(id, configs.clone());
        let logs = (0..partitions).map(|_| Log::default()).collect();
        self.topics.insert(id, (name.to_owned(), logs));
        Outcome::Applied
    }

    /// What open transactions said of these offsets before is no longer the last word.
    fn overtake(&mut self, outcome: Outcome, group: &str, of: impl Fn((Uuid, u32)) -> bool) -> Outcome {
        if outcome == Outcome::Applied {
            self.transactions.drop_offsets(group, of);
        }
        outcome
    }

    /// Whoever the producer is now; and what was decided is told to partitions and groups.
    fn settle(&mut self, slot: u64, done: Result<(Identity, Option<Decision>), Void>) -> Outcome {
        let (producer, decision) = match done {
            Ok(done) => done,
            Err(void) => return Outcome::Void(void),
        };
        let Some(Decision { transaction, marker, partitions, offsets }) = decision else {
            return Outcome::Producer(producer);
        };
        for (topic, partition) in partitions {
            let Some((_, logs)) = self.topics.get_mut(&topic) else { continue };
            let log = &mut logs[partition as usize];
            if log.batches.iter().any(|batch| batch.of == Some(transaction)) {
                self.runs += 1;
                log.batches.push(Batch {
                    base: log.end,
                    object: ObjectId::Marker(marker),
                    at: 0,
                    bytes: MARKER_BYTES,
                    run: self.runs,
                    marker: Some(marker),
                    by: None,
                    of: Some(transaction),
                });
                log.end += 1;
            }
        }
        for (group, one) in offsets {
            let width = self.topics.get(&one.topic).map_or(0, |(_, logs)| logs.len());
            if (one.partition as usize) < width {
                self.groups.receive(&group, one, slot, self.now_ms);
            }
        }
        Outcome::Producer(producer)
    }

    fn append(&mut self, slot: u64, overtaken: bool, append: &Append) -> Outcome {
        let (object, mut at) = match append.segment {
            None => (ObjectId::Slot(slot), append.at + 100),
            Some(segment) if self.now_ms - segment.timestamp_ms() as i64 > DAY_MS => {
                return Outcome::Void(Void::Stale);
            }
            Some(segment) => (ObjectId::Segment(segment), append.at),
        };
        let Some((_, logs)) = self.topics.get_mut(&append.topic) else {
            return Outcome::Void(Void::UnknownTopic);
        };
        let Some(log) = logs.get_mut(append.partition as usize) else {
            return Outcome::Void(Void::UnknownPartition);
        };
        let (transactions, of) = (&mut self.transactions, (append.topic, append.partition));
        let runs = &mut self.runs;
        *runs += 1;
        let placed = append.batches.iter().map(|batch| {
            let verdict = transactions.takes(batch, of).and_then(|()| match batch.producer {
                None if overtaken => Err(Void::OutOfOrderSequence),
                None => Ok(None),
                Some(producer) => log.admit(producer, batch.offsets, overtaken),
            });
            let base_offset = verdict.map(|original| original.unwrap_or(log.end));
            if verdict == Ok(None) {
                log.heard_ms.extend(batch.producer.map(|producer| (producer.id, self.now_ms)));
                let (by, of) = (batch.producer.map(|of| of.id), transactions.written(batch, of, self.now_ms));
                let (base, bytes, run, marker) = (log.end, batch.bytes, *runs, None);
                log.batches.push(Batch { base, object, at, bytes, run, marker, by, of });
                log.end += i64::from(batch.offsets);
            } else {
                *runs += 1;
            }
            at += u64::from(batch.bytes);
            base_offset.map(|base_offset| Placed { base_offset, log_start: log.start })
        });
        Outcome::Appended(placed.collect())
    }
}

impl Log {
    /// Kafka's rules over the whole history of the producer's epoch.
    fn admit(&mut self, producer: Producer, offsets: u32, overtaken: bool) -> Result<Option<i64>, Void> {
        let Producer { id, epoch, sequence } = producer;
        let begin = (epoch, vec![(sequence, offsets, self.end)]);
        let Some((known_epoch, history)) = self.producers.get_mut(&id) else {
            if overtaken {
                return Err(Void::OutOfOrderSequence);
            }
            self.producers.insert(id, begin);
            return Ok(None);
        };
        match epoch.cmp(known_epoch) {
            Ordering::Less => return Err(Void::InvalidProducerEpoch),
            Ordering::Greater if sequence != 0 => return Err(Void::OutOfOrderSequence),
            Ordering::Greater => {
                (*known_epoch, *history) = begin;
                return Ok(None);
            }
            Ordering::Equal => {}
        }
        let window = &history[history.len().saturating_sub(5)..];
        if let Some((_, _, base)) = window.iter().find(|(s, o, _)| (*s, *o) == (sequence, offsets)) {
            return Ok(Some(*base));
        }
        let after = |sequence: i32, offsets: u32| (i64::from(sequence) + i64::from(offsets)) % (1 << 31);
        let (last, taken, _) = history[history.len() - 1];
        if after(last, taken) == i64::from(sequence) {
            history.push((sequence, offsets, self.end));
            return Ok(None);
        }
        // How far the batch ends before the window begins, on the shorter way round the circle.
        let before = (i64::from(window[0].0) + 1 - after(sequence, offsets)).rem_euclid(1 << 31);
        let forgotten = history[0].0 == 0 && (1..1 << 30).contains(&before);
        Err(if forgotten { Void::DuplicateSequence } else { Void::OutOfOrderSequence })
    }
}

fn applied(held: Result<(), Void>) -> Outcome {
    held.map_or_else(Outcome::Void, |()| Outcome::Applied)
}

/// As sets would change that remember the order in which their elements came.
fn alter(configs: &mut BTreeMap<String, String>, change: &ConfigChange) {
    let list = |text: &str| -> Vec<String> {
        text.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    let had = configs.remove(&change.name);
    let value = match &change.op {
        ConfigOp::Set(value) => value.clone(),
        ConfigOp::Delete => return,
        ConfigOp::Append { elements, default } => {
            let mut all = list(had.as_ref().unwrap_or(default));
            let new = list(elements).into_iter().filter(|one| !all.contains(one)).collect::<Vec<_>>();
            all.extend(new);
            all.join(",")
        }
        ConfigOp::Subtract { elements, default } => {
            let gone: BTreeSet<String> = list(elements).into_iter().collect();
            let left = list(had.as_ref().unwrap_or(default)).into_iter().filter(|one| !gone.contains(one));
            left.collect::<Vec<_>>().join(",")
        }
    };
    configs.insert(change.name.clone(), value);
}

/// Extents tile the offsets from the first one without a gap, and every batch's bytes are where it was told that they are.
fn check_extents(manifest: &Manifest, model: &Model) {
    assert_eq!(manifest.topics.len(), model.topics.len());
    let mut count = 0;
    for (id, (name, logs)) in &model.topics {
        let topic = manifest.topic_named(name).unwrap();
        assert_eq!((topic.id, topic.partitions.len()), (*id, logs.len()));
        assert_eq!(topic.configs, model.configs[id]);
        for (partition, log) in topic.partitions.iter().zip(logs) {
            log.check(partition);
            model.transactions.check_partition(partition, log);
            count += partition.extents.len();
        }
    }
    assert_eq!(manifest.extents(), count);
}

/// Folds what an author makes up, as it is and as it comes back from bucket and checkpoints, and has the model say what
/// is to come of it.
fn compare(author: &mut Author, slots: u64, aged_at: Option<u64>) {
    let every = author.dice().between(1, 20);
    let (mut live, mut restarted, mut model) = (Manifest::default(), Manifest::default(), Model::default());
    for slot in 1..=slots {
        if aged_at == Some(slot) {
            let epoch = i16::MAX - 1 - author.dice().below(4) as i16;
            for id in model.transactions.age(epoch) {
                for manifest in [&mut live, &mut restarted] {
                    manifest.transactions.by_id.get_mut(&id).unwrap().producer.epoch = epoch;
                }
            }
        }
        let commit = author.next_commit();
        model.written.extend(author.take_written());
        let expected = model.fold(slot, &commit);
        assert_eq!(apply(&mut live, slot, &commit, 100), expected, "slot {slot}: {commit:?}");
        check_extents(&live, &model);
        model.groups.check(&live);
        model.transactions.check(&live);
        author.look(&live, &model);
        let object = commit.encode([bytes::Bytes::from(vec![0; 4_000])]);
        let (decoded, _) = Commit::decode("journal/x", &Rope::new(object.pieces().to_vec())).unwrap();
        assert_eq!(decoded, commit);
        assert_eq!(apply(&mut restarted, slot, &decoded, 100), expected);
        if slot % every == 0 {
            let bytes = checkpoint::encode(&live);
            assert_eq!(bytes, checkpoint::encode(&restarted), "two folds, one state");
            restarted = checkpoint::decode("checkpoint/x", &bytes).unwrap();
            assert_eq!(checkpoint::encode(&restarted), bytes);
        }
        assert_eq!(restarted, live);
    }
}

/// K1, K4, K10, J2, J5: outcomes and extents equal the model's; what was decoded goes on as what was folded.
#[test]
fn random_histories_fold_as_the_model_says() {
    for_seeds(400, |seed| {
        let mut dice = Dice::new(seed);
        let leaps = dice.per_mille(300);
        compare(&mut Author::new(dice, leaps, 100, 60), 60, None);
    });
}

/// The same where most of what happens belongs to transactions, of a few producers in a few partitions. Some of them are
/// as old as a producer may get.
#[test]
fn random_transactions_fold_as_the_model_says() {
    for_seeds(250, |seed| {
        let mut dice = Dice::new(!seed);
        let leaps = dice.per_mille(200);
        let aged_at = dice.per_mille(250).then(|| dice.between(5, 40));
        compare(&mut Author::new(dice, leaps, 750, 30), 100, aged_at);
    });
}

/// And where most of what happens befalls records that are there already.
#[test]
fn random_rewrites_fold_as_the_model_says() {
    for_seeds(250, |seed| {
        let mut dice = Dice::new(seed ^ 0x5a5a);
        let leaps = dice.per_mille(200);
        compare(&mut Author::new(dice, leaps, 300, 500), 100, None);
    });
}
