//! Random histories, folded and compared with a model of plain maps that forgets nothing and merges nothing.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::*;
use crate::rope::Rope;
use crate::testing::{Dice, EPOCH_MS, for_seeds};

const DAY_MS: i64 = 24 * HOUR_MS;
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Default)]
struct Model {
    now_ms: i64,
    topics: BTreeMap<Uuid, (String, Vec<Log>)>,
    ids: i64,
    folded: BTreeSet<CommitId>,
    /// Folded, and refused in part because something was still to come.
    refused: BTreeSet<CommitId>,
}

#[derive(Default)]
struct Log {
    end: i64,
    /// Base offset, offsets, where the bytes lie: object, position, length.
    batches: Vec<(i64, u32, ObjectId, u64, u32)>,
    producers: BTreeMap<i64, (i16, History)>,
}

/// Sequence, offsets and base offset of every batch of an epoch.
type History = Vec<(i32, u32, i64)>;

impl Model {
    fn fold(&mut self, slot: u64, commit: &Commit) -> Vec<Outcome> {
        self.now_ms = self.now_ms.max(commit.timestamp_ms);
        if !self.folded.insert(commit.id) {
            return vec![Outcome::Void(Void::SeenBefore); commit.changes.len()];
        }
        let settled = |counter| {
            let id = CommitId { counter, ..commit.id };
            self.folded.contains(&id) && !self.refused.contains(&id)
        };
        let overtaken = !(commit.oldest_open..commit.id.counter).all(settled);
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
            Change::CreateTopic { id, name, partitions, .. } => {
                let logs = (0..*partitions).map(|_| Log::default()).collect();
                self.topics.insert(*id, (name.clone(), logs));
                Outcome::Applied
            }
            Change::DeleteTopic { id } => match self.topics.remove(id) {
                Some(_) => Outcome::Applied,
                None => Outcome::Void(Void::UnknownTopic),
            },
            Change::AllocateProducerIds { count } => {
                self.ids += i64::from(*count);
                Outcome::ProducerIds(self.ids - i64::from(*count))
            }
            Change::FeatureLevel { .. } | Change::Tick => Outcome::Applied,
        }
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
                log.batches.push((log.end, batch.offsets, object, at, batch.bytes));
                log.end += i64::from(batch.offsets);
            }
            at += u64::from(batch.bytes);
            base_offset.map(|base_offset| Placed { base_offset, log_start: 0 })
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
            if overtaken && sequence != 0 {
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

/// Makes up commits: mostly what honest nodes send, in any order, and what broken ones do.
struct Author {
    dice: Dice,
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
            _ => Change::Append(self.append()),
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
        BatchMeta { bytes, offsets, max_timestamp, producer }
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

/// Extents tile the offsets without a gap, and every batch's bytes are where it was told that they are.
fn check_extents(manifest: &Manifest, model: &Model) {
    assert_eq!(manifest.topics.len(), model.topics.len());
    let mut count = 0;
    for (id, (name, logs)) in &model.topics {
        let topic = manifest.topic_named(name).unwrap();
        assert_eq!((topic.id, topic.partitions.len()), (*id, logs.len()));
        for (partition, log) in topic.partitions.iter().zip(logs) {
            assert_eq!((partition.log_start, partition.high_watermark), (0, log.end));
            let mut batches = log.batches.iter().peekable();
            let mut next = partition.log_start;
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
        let mut author = Author { dice, now_ms: EPOCH_MS, counters: [0; 3], held, sent, next, topics };
        let (mut live, mut restarted, mut model) =
            (Manifest::default(), Manifest::default(), Model::default());
        for slot in 1..=60 {
            let commit = author.next_commit();
            let expected = model.fold(slot, &commit);
            assert_eq!(apply(&mut live, slot, &commit, 100), expected, "slot {slot}: {commit:?}");
            check_extents(&live, &model);
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
