//! Random histories, folded and compared with a model of plain maps that merges nothing.

mod groups;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use self::groups::{Groups, GroupsAuthor};
use super::*;
use crate::manifest::commit::{ConfigChange, ConfigOp};
use crate::rope::Rope;
use crate::testing::{Dice, EPOCH_MS, for_seeds};

const DAY_MS: i64 = 24 * HOUR_MS;
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Default)]
struct Model {
    now_ms: i64,
    level: u32,
    topics: BTreeMap<Uuid, (String, Vec<Log>)>,
    configs: BTreeMap<Uuid, BTreeMap<String, String>>,
    groups: Groups,
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
    /// Base offset, offsets, where the bytes lie: object, position, length.
    batches: Vec<(i64, u32, ObjectId, u64, u32)>,
    producers: BTreeMap<i64, (i16, History)>,
    /// Journal time of each producer's last batch.
    heard_ms: BTreeMap<i64, i64>,
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
            let silent = |heard_ms: &i64| self.now_ms - heard_ms >= DAY_MS;
            let gone: Vec<i64> =
                log.heard_ms.iter().filter(|(_, heard)| silent(heard)).map(|(id, _)| *id).collect();
            for id in gone {
                log.heard_ms.remove(&id);
                log.producers.remove(&id);
            }
        }
        self.groups.expire(self.now_ms);
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
            Change::CreateTopic { name, .. } if !NAMES.contains(&name.as_str()) => {
                Outcome::Void(Void::InvalidTopicName)
            }
            Change::CreateTopic { partitions: 0, .. } => Outcome::Void(Void::InvalidPartitions),
            Change::CreateTopic { name, .. } if self.topics.values().any(|(taken, _)| taken == name) => {
                Outcome::Void(Void::TopicExists)
            }
            Change::CreateTopic { id, name, partitions, configs } => {
                self.configs.insert(*id, configs.clone());
                let logs = (0..*partitions).map(|_| Log::default()).collect();
                self.topics.insert(*id, (name.clone(), logs));
                Outcome::Applied
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
                self.delete_records(topic, *partition, *before)
            }
            Change::UpdateGroup(update) => self.groups.update(update, slot, self.now_ms),
            Change::CommitOffsets(commit) => {
                let width = |topic: &Uuid| self.topics.get(topic).map_or(0, |(_, logs)| logs.len());
                self.groups.commit(commit, width, slot, self.now_ms)
            }
            Change::DeleteGroup { group } => self.groups.delete(group),
            Change::DeleteOffsets { group, partitions } => self.groups.delete_offsets(group, partitions),
            Change::AllocateProducerIds { count } => {
                self.ids += i64::from(*count);
                Outcome::ProducerIds(self.ids - i64::from(*count))
            }
            Change::FeatureLevel { level } => {
                self.level = self.level.max(*level);
                Outcome::Applied
            }
            Change::Tick => Outcome::Applied,
            Change::InitProducer(_)
            | Change::AddToTransaction(_)
            | Change::TransactionOffsets(_)
            | Change::EndTransaction(_) => unreachable!("its author writes none"),
        }
    }

    fn delete_records(&mut self, topic: &Uuid, partition: u32, before: i64) -> Outcome {
        let Some((_, logs)) = self.topics.get_mut(topic) else {
            return Outcome::Void(Void::UnknownTopic);
        };
        let Some(log) = logs.get_mut(partition as usize) else {
            return Outcome::Void(Void::UnknownPartition);
        };
        let before = if before == -1 { log.end } else { before };
        if before < 0 || before > log.end {
            return Outcome::Void(Void::OffsetOutOfRange);
        }
        log.start = log.start.max(before);
        Outcome::Applied
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
        let placed = append.batches.iter().map(|batch| {
            let verdict = batch
                .producer
                .map_or(if overtaken { Err(Void::OutOfOrderSequence) } else { Ok(None) }, |producer| {
                    log.admit(producer, batch.offsets, overtaken)
                });
            let base_offset = verdict.map(|original| original.unwrap_or(log.end));
            if verdict == Ok(None) {
                log.heard_ms.extend(batch.producer.map(|producer| (producer.id, self.now_ms)));
                log.batches.push((log.end, batch.offsets, object, at, batch.bytes));
                log.end += i64::from(batch.offsets);
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

/// Makes up commits: mostly what honest nodes send, in any order, and what broken ones do.
struct Author {
    dice: Dice,
    /// Days pass between two commits, now and then.
    leaps: bool,
    groups: GroupsAuthor,
    now_ms: i64,
    counters: [u64; 3],
    /// Made, but not folded yet.
    held: Vec<Commit>,
    sent: Vec<Commit>,
    /// For each producer of each partition: epoch and next sequence number of an honest client.
    next: BTreeMap<(Uuid, u32, i64), (i16, i32)>,
    topics: Vec<Uuid>,
}

impl Author {
    fn next_commit(&mut self) -> Commit {
        if self.dice.per_mille(60) && !self.sent.is_empty() {
            return self.dice.pick(&self.sent).clone();
        }
        if self.dice.per_mille(250) && !self.held.is_empty() {
            let index = self.dice.below(self.held.len() as u64) as usize;
            return self.held.remove(index);
        }
        let commit = self.make();
        if self.dice.per_mille(250) && self.held.len() < 6 {
            self.held.push(commit);
            return self.next_commit();
        }
        self.sent.push(commit.clone());
        commit
    }

    fn make(&mut self) -> Commit {
        let node = self.dice.below(3);
        let incarnation = Ulid::from_parts(node, node.into());
        self.counters[node as usize] += 1;
        let counter = self.counters[node as usize];
        let open =
            self.held.iter().filter(|held| held.id.incarnation == incarnation).map(|held| held.id.counter);
        let oldest_open = open.min().unwrap_or(counter);
        self.now_ms += self.dice.below(60_000) as i64;
        if self.leaps && self.dice.per_mille(80) {
            self.now_ms += self.dice.below(9 * DAY_MS as u64) as i64;
        }
        let timestamp_ms = self.now_ms - self.dice.below(120_000) as i64;
        let changes = (0..self.dice.between(1, 4)).map(|_| self.change()).collect();
        Commit { id: CommitId { incarnation, counter }, oldest_open, timestamp_ms, changes }
    }

    fn change(&mut self) -> Change {
        match self.dice.below(40) {
            0 | 1 => {
                let id = Uuid::from_u128(self.topics.len() as u128 + 10);
                self.topics.push(id);
                let name = *self.dice.pick(&["a", "b", "c", "not a name"]);
                let partitions = self.dice.below(4) as u32;
                let configs = BTreeMap::from([("retention.ms".to_owned(), self.dice.draw().to_string())]);
                Change::CreateTopic { id, name: name.to_owned(), partitions, configs }
            }
            2 => Change::DeleteTopic { id: *self.dice.pick(&self.topics) },
            3 => Change::AllocateProducerIds { count: self.dice.below(2_000) as u32 },
            4 => Change::Tick,
            5 => Change::FeatureLevel { level: self.dice.below(3) as u32 },
            6..9 => self.administration(),
            9..20 => self.groups.change(&mut self.dice, &self.topics),
            _ => Change::Append(self.append()),
        }
    }

    fn administration(&mut self) -> Change {
        let topic = *self.dice.pick(&self.topics);
        match self.dice.below(4) {
            0 => Change::CreatePartitions { topic, count: self.dice.below(6) as u32 },
            1 => {
                let (a, b) = (*self.dice.pick(&["x", "x,y", "z"]), *self.dice.pick(&["", "x", "y,z"]));
                let (elements, default) = (a.to_owned(), b.to_owned());
                let op = match self.dice.below(4) {
                    0 => ConfigOp::Set(elements),
                    1 => ConfigOp::Delete,
                    2 => ConfigOp::Append { elements, default },
                    _ => ConfigOp::Subtract { elements, default },
                };
                let name = (*self.dice.pick(&["cleanup.policy", "retention.ms"])).to_owned();
                let replace = self.dice.per_mille(200);
                Change::AlterConfigs { topic, replace, changes: vec![ConfigChange { name, op }] }
            }
            _ => {
                let before = *self.dice.pick(&[-2, -1, 0, 1, 3, 7, 12, 30]);
                Change::DeleteRecords { topic, partition: self.dice.below(3) as u32, before }
            }
        }
    }

    fn append(&mut self) -> Append {
        let recent = self.topics.len().saturating_sub(4);
        let (topic, partition) = (*self.dice.pick(&self.topics[recent..]), self.dice.below(3) as u32);
        let age_ms = if self.dice.per_mille(200) { self.dice.below(2 * DAY_MS as u64) as i64 } else { 0 };
        let written = Ulid::from_parts((self.now_ms - age_ms) as u64, self.dice.u128());
        let segment = self.dice.per_mille(400).then_some(written);
        let batches = (0..self.dice.between(1, 5)).map(|_| self.batch(topic, partition)).collect();
        Append {
            topic,
            partition,
            segment,
            at: self.dice.below(1_000),
            crc: self.dice.draw() as u32,
            batches,
        }
    }

    fn batch(&mut self, topic: Uuid, partition: u32) -> BatchMeta {
        let (bytes, offsets) = (self.dice.between(61, 200) as u32, self.dice.between(1, 5) as u32);
        let max_timestamp = self.now_ms - self.dice.below(1_000) as i64;
        let producer = (self.dice.per_mille(800)).then(|| self.producer(topic, partition, offsets));
        BatchMeta { bytes, offsets, max_timestamp, producer, joins: Default::default() }
    }

    fn producer(&mut self, topic: Uuid, partition: u32, offsets: u32) -> Producer {
        let id = self.dice.below(3) as i64;
        let first = *self.dice.pick(&[0, 0, 5, i32::MAX - 6]);
        let (epoch, sequence) = *self.next.entry((topic, partition, id)).or_insert((0, first));
        let near = |dice: &mut Dice| {
            ((i64::from(sequence) + (1 << 31) + dice.below(30) as i64 - 25) % (1 << 31)) as i32
        };
        let (epoch, sequence) = match self.dice.below(20) {
            0 => (epoch, near(&mut self.dice)),
            1 => ((epoch - 1).max(0), sequence),
            2 => (epoch + 1, near(&mut self.dice)),
            3 => (epoch + 1, 0),
            _ => (epoch, sequence),
        };
        let after = ((i64::from(sequence) + i64::from(offsets)) % (1 << 31)) as i32;
        if self.dice.per_mille(900) {
            self.next.insert((topic, partition, id), (epoch, after));
        }
        Producer { id, epoch, sequence }
    }
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
            assert_eq!((partition.log_start, partition.high_watermark), (log.start, log.end));
            // An extent goes when all of it is deleted, and not before.
            let mut next = partition.extents.first().map_or(log.end, |first| first.base_offset);
            assert!(next <= log.start || partition.extents.is_empty(), "{next} {log:?}");
            assert!(partition.extents.first().is_none_or(|first| first.end_offset() > log.start));
            let first = next;
            let mut batches = log.batches.iter().skip_while(|(base, ..)| *base < first).peekable();
            for extent in &partition.extents {
                assert_eq!(extent.base_offset, next);
                next = extent.end_offset();
                let mut at = extent.at;
                while let Some((base, _, object, lies_at, bytes)) = batches.next_if(|(base, ..)| *base < next)
                {
                    assert_eq!((extent.object, at), (*object, *lies_at), "batch {base}");
                    at += u64::from(*bytes);
                }
                assert_eq!(at, extent.at + u64::from(extent.bytes));
                assert_eq!(partition.extent_index(extent.base_offset), partition.extent_index(next - 1));
            }
            assert_eq!((next, batches.next()), (log.end, None));
            count += partition.extents.len();
        }
    }
    assert_eq!(manifest.extents(), count);
}

/// K1, K4, K10, J2, J5: outcomes and extents equal the model's; what was decoded goes on as what was folded.
#[test]
fn random_histories_fold_as_the_model_says() {
    for_seeds(400, |seed| {
        let mut dice = Dice::new(seed);
        let every = dice.between(1, 20);
        let topics = vec![Uuid::from_u128(9)];
        let (held, sent, next) = (vec![], vec![], BTreeMap::new());
        let (leaps, groups) = (dice.per_mille(300), GroupsAuthor::default());
        let (now_ms, counters) = (EPOCH_MS, [0; 3]);
        let mut author = Author { dice, leaps, groups, now_ms, counters, held, sent, next, topics };
        let (mut live, mut restarted, mut model) =
            (Manifest::default(), Manifest::default(), Model::default());
        for slot in 1..=60 {
            let commit = author.next_commit();
            let expected = model.fold(slot, &commit);
            assert_eq!(apply(&mut live, slot, &commit, 100), expected, "slot {slot}: {commit:?}");
            check_extents(&live, &model);
            model.groups.check(&live);
            author.groups.look(&live);
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
    });
}
