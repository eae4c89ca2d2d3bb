//! Makes up commits for the model: mostly what honest nodes send, in any order, and what broken ones do.
//!
//! Must not know what the fold makes of them, but for what an honest node would see there.

use std::collections::BTreeMap;

use ulid::Ulid;
use uuid::Uuid;

use super::groups::{GroupsAuthor, NAMES};
use super::history::Written;
use super::history_author::HistoryAuthor;
use super::transactions_author::TransactionsAuthor;
use super::{DAY_MS, Model};
use crate::manifest::commit::{ConfigChange, ConfigOp, Producer};
use crate::manifest::{Append, BatchMeta, Change, Commit, CommitId, Manifest};
use crate::testing::{Dice, EPOCH_MS};

/// Producer ids that no transactional id gets.
const FREE_IDS: i64 = 1 << 40;

/// Honest nodes, most of the time.
pub(super) struct Author {
    dice: Dice,
    /// Days pass between two commits, now and then.
    leaps: bool,
    /// Per mille of changes and of batches that belong to transactions.
    transactional: u64,
    /// Per mille of changes that befall what was written before.
    rewriting: u64,
    groups: GroupsAuthor,
    transactions: TransactionsAuthor,
    history: HistoryAuthor,
    now_ms: i64,
    counters: [u64; 3],
    /// Made, but not folded yet.
    held: Vec<Commit>,
    sent: Vec<Commit>,
    /// For each producer of each partition: epoch and next sequence number of an honest client.
    next: BTreeMap<(Uuid, u32, i64), (i16, i32)>,
    topics: Vec<Uuid>,
    /// Partitions that are there.
    places: Vec<(Uuid, u32)>,
}

impl Author {
    pub(super) fn new(dice: Dice, leaps: bool, transactional: u64, rewriting: u64) -> Author {
        Author {
            dice,
            leaps,
            transactional,
            rewriting,
            groups: GroupsAuthor::default(),
            transactions: TransactionsAuthor::default(),
            history: HistoryAuthor::default(),
            now_ms: EPOCH_MS,
            counters: [0; 3],
            held: Vec::new(),
            sent: Vec::new(),
            next: BTreeMap::new(),
            topics: vec![Uuid::from_u128(9)],
            places: Vec::new(),
        }
    }

    pub(super) fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// What compactors have written.
    pub(super) fn take_written(&mut self) -> Written {
        self.history.take_written()
    }

    /// What became of what was sent.
    pub(super) fn look(&mut self, manifest: &Manifest, model: &Model) {
        self.history.look(manifest, model);
        self.groups.look(manifest);
        self.transactions.look(manifest);
        let places = manifest.topics().flat_map(|topic| {
            let numbers = 0..topic.partitions.len() as u32;
            numbers.map(|partition| (topic.id, partition))
        });
        self.places = places.collect();
    }

    pub(super) fn next_commit(&mut self) -> Commit {
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
        if self.dice.per_mille(self.rewriting) && !self.places.is_empty() {
            let place = self.place();
            return self.history.change(&mut self.dice, self.now_ms, place);
        }
        if self.dice.per_mille(self.transactional) && !self.places.is_empty() {
            if self.dice.per_mille(350) {
                return Change::Append(self.append());
            }
            let places: Vec<_> = (0..self.dice.below(4)).map(|_| self.place()).collect();
            let (group, recent) = (*self.dice.pick(&NAMES), self.topics.len().saturating_sub(4));
            let commit = self.groups.commit(&mut self.dice, group.to_owned(), &self.topics[recent..]);
            return self.transactions.change(&mut self.dice, places, commit);
        }
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
            5 => Change::FeatureLevel { level: self.dice.below(5) as u32 },
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
                let lists = ["x", "x,y", "z", "compact", "delete", "delete,compact", "-1", "1000"];
                let (a, b) = (*self.dice.pick(&lists), *self.dice.pick(&["", "x", "y,z", "delete"]));
                let (elements, default) = (a.to_owned(), b.to_owned());
                let op = match self.dice.below(4) {
                    0 => ConfigOp::Set(elements),
                    1 => ConfigOp::Delete,
                    2 => ConfigOp::Append { elements, default },
                    _ => ConfigOp::Subtract { elements, default },
                };
                let name =
                    (*self.dice.pick(&["cleanup.policy", "retention.ms", "retention.bytes"])).to_owned();
                let replace = self.dice.per_mille(200);
                Change::AlterConfigs { topic, replace, changes: vec![ConfigChange { name, op }] }
            }
            _ => {
                let before = *self.dice.pick(&[-2, -1, 0, 1, 3, 7, 12, 30]);
                Change::DeleteRecords { topic, partition: self.dice.below(3) as u32, before }
            }
        }
    }

    /// A partition that is there, mostly.
    fn place(&mut self) -> (Uuid, u32) {
        if self.dice.per_mille(850) && !self.places.is_empty() {
            return *self.dice.pick(&self.places);
        }
        let recent = self.topics.len().saturating_sub(4);
        (*self.dice.pick(&self.topics[recent..]), self.dice.below(3) as u32)
    }

    fn append(&mut self) -> Append {
        let (topic, partition) = self.place();
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
        if self.dice.per_mille(self.transactional) {
            let batch =
                BatchMeta { bytes, offsets, max_timestamp, producer: None, joins: Default::default() };
            return self.transactions.batch(&mut self.dice, (topic, partition), batch);
        }
        let producer = (self.dice.per_mille(800)).then(|| self.producer(topic, partition, offsets));
        BatchMeta { bytes, offsets, max_timestamp, producer, joins: Default::default() }
    }

    fn producer(&mut self, topic: Uuid, partition: u32, offsets: u32) -> Producer {
        let id = FREE_IDS + self.dice.below(3) as i64;
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
