//! Transactions in the fold: who may write what, and what a decision does (KIP-98, KIP-360, KIP-890).
//!
//! Must not know batches or requests. Invariants: a transaction ends with one change, for all its partitions and groups at
//! once; a batch belongs to the one that its producer has open, or is refused, so that no transaction can hang; a change
//! that was meant for an earlier one takes no effect.

mod pending;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::super::commit::transaction::{
    AddToTransaction, EndTransaction, InitProducer, Joins, TransactionOf, TransactionOffsets,
};
use super::super::commit::{BatchMeta, Identity, Void};
use super::extents::Marker;
use super::{Manifest, Topic};
use crate::limits::{
    MAX_GROUP_NAME_BYTES, MAX_TRANSACTION_PARTS, MAX_TRANSACTIONAL_IDS, TRANSACTIONAL_ID_EXPIRATION,
    TRANSACTIONAL_ID_MAKES_ROOM,
};
use crate::mutation::{self, Mutation};
use pending::{Offsets, Pending};

/// From this epoch on a producer gets a new id: there must be a next one to fence it with.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// Where the transactions of one producer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Phase {
    /// There was none yet.
    #[default]
    Empty,
    /// One is open.
    Ongoing,
    /// The last one was committed.
    Committed,
    /// The last one was aborted.
    Aborted,
}

/// What is known of one transactional id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transaction {
    /// Its producer.
    pub producer: Identity,
    /// Who it was before, if its epoch was raised.
    pub previous: Option<Identity>,
    /// How long a transaction may take, milliseconds.
    pub timeout_ms: i32,
    /// How often a producer has begun under the name.
    pub begun: u64,
    /// Counts the transactions: the open one, or else the last.
    pub number: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Journal time at which the last one began.
    pub begun_ms: i64,
    /// Journal time of the last change.
    pub changed_ms: i64,
    /// What takes part in the open one, and the offset of its first record there, if there is any.
    pub partitions: BTreeMap<(Uuid, u32), Option<i64>>,
    /// How often the open one was given offsets.
    pub steps: u64,
    /// Groups that take part in it, and what is to be committed for them.
    pub groups: BTreeMap<String, Offsets>,
}

impl Transaction {
    /// Whether one is open.
    pub fn is_ongoing(&self) -> bool {
        self.phase == Phase::Ongoing
    }

    /// Journal time from which on anybody may abort the open one.
    pub fn due_ms(&self) -> i64 {
        self.begun_ms.saturating_add(i64::from(self.timeout_ms))
    }

    /// The number that a change names which begins a transaction, or goes on with the open one.
    pub fn number_to_join(&self) -> u64 {
        if self.is_ongoing() { self.number } else { self.number.saturating_add(1) }
    }

    /// What a change that gives the transaction offsets names as its step.
    pub fn next_step(&self) -> u64 {
        if self.is_ongoing() { self.steps } else { 0 }
    }

    fn check(&self, of: &TransactionOf) -> Result<(), Void> {
        if self.producer.id != of.producer_id {
            return Err(Void::UnknownProducerId);
        }
        match self.producer.epoch == of.epoch || mutation::is(Mutation::ZombieNotFenced) {
            true => Ok(()),
            false => Err(Void::ProducerFenced),
        }
    }

    /// Whether the change means the transaction that is open, or the one that it may begin.
    fn check_number(&self, of: &TransactionOf, number: u64) -> Result<(), Void> {
        match of.number == number || mutation::is(Mutation::LateChangeTaken) {
            true => Ok(()),
            false => Err(Void::TransactionOver),
        }
    }

    fn begin(&mut self, now_ms: i64) {
        if !self.is_ongoing() {
            self.number = self.number.saturating_add(1);
            (self.phase, self.begun_ms, self.steps) = (Phase::Ongoing, now_ms, 0);
        }
        self.changed_ms = now_ms;
    }

    fn parts(&self) -> usize {
        self.partitions.len() + self.groups.len()
    }
}

/// All transactional ids of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Transactions {
    pub(in crate::manifest) by_id: BTreeMap<String, Transaction>,
    by_producer: BTreeMap<i64, String>,
    ongoing: BTreeSet<String>,
    /// Partitions and groups that take part in open ones.
    parts: usize,
    /// Of the partitions, how many there are of each topic.
    topics: BTreeMap<Uuid, usize>,
    pending: Pending,
    full: Full,
}

/// Journal time before which no name makes room for another. Only spares a search: no part of what is known.
#[derive(Debug, Clone, Default)]
struct Full {
    until_ms: i64,
}

impl PartialEq for Full {
    fn eq(&self, _: &Full) -> bool {
        true
    }
}

impl Transactions {
    /// For a checkpoint.
    pub(in crate::manifest) fn insert(&mut self, id: String, transaction: Transaction) {
        self.by_producer.insert(transaction.producer.id, id.clone());
        if transaction.is_ongoing() {
            self.ongoing.insert(id.clone());
        }
        self.parts += transaction.parts();
        for (topic, _) in transaction.partitions.keys() {
            *self.topics.entry(*topic).or_default() += 1;
        }
        self.pending.count(&id, &transaction.groups);
        self.by_id.insert(id, transaction);
    }

    /// The open ones, by transactional id.
    pub(in crate::manifest) fn ongoing(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.ongoing.iter().filter_map(|id| Some((id.as_str(), self.by_id.get(id)?)))
    }

    /// Whose producer id this is.
    pub(in crate::manifest) fn of_producer(&self, id: i64) -> Option<(&str, &Transaction)> {
        let name = self.by_producer.get(&id)?;
        Some((name.as_str(), self.by_id.get(name)?))
    }

    /// Whether the batch may join the partition now.
    pub(super) fn check_batch(&self, batch: &BatchMeta, at: (Uuid, u32)) -> Result<(), Void> {
        let (Some(producer), joins) = (batch.producer, batch.joins) else {
            return if batch.joins == Joins::Nothing { Ok(()) } else { Err(Void::Malformed) };
        };
        let Some((_, transaction)) = self.of_producer(producer.id) else {
            return match joins {
                Joins::Nothing => Ok(()),
                Joins::Added | Joins::Adds => Err(Void::UnknownProducerId),
            };
        };
        if producer.epoch != transaction.producer.epoch && !mutation::is(Mutation::ZombieNotFenced) {
            return Err(Void::InvalidProducerEpoch);
        }
        let takes_part = transaction.is_ongoing() && transaction.partitions.contains_key(&at);
        match joins {
            Joins::Added | Joins::Adds if takes_part || mutation::is(Mutation::AnyBatchJoins) => Ok(()),
            Joins::Adds if self.parts >= MAX_TRANSACTION_PARTS => Err(Void::LimitReached),
            Joins::Adds => Ok(()),
            Joins::Nothing | Joins::Added => Err(Void::InvalidTransactionState),
        }
    }

    /// A batch of this producer joined the partition, which notes where its records begin; `None`: it had some before.
    pub(super) fn joined(&mut self, producer: i64, at: (Uuid, u32), offset: i64, now_ms: i64) -> Option<i64> {
        let id = self.by_producer.get(&producer)?;
        let transaction = self.by_id.get_mut(id)?;
        if !transaction.is_ongoing() {
            self.ongoing.insert(id.clone());
        }
        transaction.begin(now_ms);
        let takes_part = transaction.partitions.contains_key(&at);
        let first = transaction.partitions.entry(at).or_default();
        let new = first.is_none().then(|| *first.insert(offset));
        if !takes_part {
            self.parts += 1;
            *self.topics.entry(at.0).or_default() += 1;
        }
        new
    }

    pub(super) fn add(
        &mut self,
        add: &AddToTransaction,
        exists: impl Fn(&Uuid, u32) -> bool,
        now_ms: i64,
    ) -> Result<(), Void> {
        let transaction = self.by_id.get_mut(&add.of.transactional_id).ok_or(Void::UnknownProducerId)?;
        transaction.check(&add.of)?;
        transaction.check_number(&add.of, transaction.number_to_join())?;
        if add.partitions.iter().any(|(topic, partition)| !exists(topic, *partition)) {
            return Err(Void::UnknownPartition);
        }
        if add.groups.iter().any(|group| group.len() > MAX_GROUP_NAME_BYTES) {
            return Err(Void::Malformed);
        }
        let partitions: BTreeSet<_> =
            add.partitions.iter().filter(|at| !transaction.partitions.contains_key(*at)).collect();
        let groups: BTreeSet<_> =
            add.groups.iter().filter(|group| !transaction.groups.contains_key(*group)).collect();
        let bytes = groups.iter().map(|group| group.len()).sum();
        if self.parts + partitions.len() + groups.len() > MAX_TRANSACTION_PARTS
            || !self.pending.has_bytes(bytes)
        {
            return Err(Void::LimitReached);
        }
        transaction.begin(now_ms);
        self.parts += partitions.len() + groups.len();
        for at in partitions {
            transaction.partitions.insert(*at, None);
            *self.topics.entry(at.0).or_default() += 1;
        }
        for group in groups {
            transaction.groups.insert(group.clone(), Offsets::new());
            self.pending.named(group);
        }
        self.ongoing.insert(add.of.transactional_id.clone());
        Ok(())
    }

    /// Offsets that wait for the decision. Whether the group takes them was asked before.
    pub(super) fn commit_offsets(&mut self, wanted: &TransactionOffsets, now_ms: i64) -> Result<(), Void> {
        let id = &wanted.of.transactional_id;
        let transaction = self.by_id.get_mut(id).ok_or(Void::UnknownProducerId)?;
        transaction.check(&wanted.of)?;
        transaction.check_number(&wanted.of, transaction.number_to_join())?;
        let group = &wanted.commit.group;
        let takes_part = transaction.is_ongoing() && transaction.groups.contains_key(group);
        if !wanted.adds && !takes_part {
            return Err(Void::InvalidTransactionState);
        }
        if wanted.step != transaction.next_step() && !mutation::is(Mutation::LateOffsetsTaken) {
            return Err(Void::TransactionOver);
        }
        if !self.pending.has_room(&wanted.commit) || !takes_part && self.parts >= MAX_TRANSACTION_PARTS {
            return Err(Void::LimitReached);
        }
        transaction.begin(now_ms);
        self.ongoing.insert(id.clone());
        if !takes_part {
            self.parts += 1;
            self.pending.named(group);
        }
        transaction.steps = transaction.steps.saturating_add(1);
        let held = transaction.groups.entry(group.clone()).or_default();
        self.pending.insert(id, &wanted.commit, held, now_ms);
        Ok(())
    }

    /// Whether open ones have the topic among their partitions, though it may be gone.
    pub(super) fn span(&self, topic: &Uuid) -> bool {
        self.topics.contains_key(topic)
    }

    /// Forgets names that nobody used for long.
    pub(super) fn expire(&mut self, now_ms: i64) {
        let before = now_ms.saturating_sub(TRANSACTIONAL_ID_EXPIRATION.as_millis() as i64);
        let by_producer = &mut self.by_producer;
        self.by_id.retain(|_, transaction| {
            let stays = transaction.is_ongoing() || transaction.changed_ms > before;
            if !stays {
                by_producer.remove(&transaction.producer.id);
            }
            stays
        });
    }

    /// For one more name: the longest silent ones go, if they have been silent for long enough. Some more than one, so that
    /// not each name looks at all others.
    fn make_room(&mut self, now_ms: i64) -> Result<(), Void> {
        if self.by_id.len() < MAX_TRANSACTIONAL_IDS {
            return Ok(());
        }
        if now_ms < self.full.until_ms {
            return Err(Void::LimitReached);
        }
        let silent = self.by_id.iter().filter(|(_, of)| !of.is_ongoing());
        let mut silent: Vec<_> = silent.map(|(id, of)| (of.changed_ms, id.clone())).collect();
        silent.sort_unstable();
        let room_ms = TRANSACTIONAL_ID_MAKES_ROOM.as_millis() as i64;
        // Whoever is heard of is silent for less long than before: until then it stays so.
        let oldest_ms = silent.first().map_or(now_ms, |(changed_ms, _)| *changed_ms);
        self.full.until_ms = oldest_ms.saturating_add(room_ms);
        silent.truncate(MAX_TRANSACTIONAL_IDS / 64);
        silent.retain(|(changed_ms, _)| changed_ms.saturating_add(room_ms) <= now_ms);
        for (_, id) in &silent {
            if let Some(of) = self.by_id.remove(id) {
                self.by_producer.remove(&of.producer.id);
            }
        }
        if silent.is_empty() { Err(Void::LimitReached) } else { Ok(()) }
    }

    /// Takes what the open transaction holds; it is over.
    fn take(&mut self, id: &str, commit: bool, now_ms: i64) -> Option<Ended> {
        let transaction = self.by_id.get_mut(id)?;
        transaction.phase = if commit { Phase::Committed } else { Phase::Aborted };
        transaction.changed_ms = now_ms;
        self.pending.discount(id, &transaction.groups);
        self.parts -= transaction.parts();
        for (topic, _) in transaction.partitions.keys() {
            if let Some(left) = self.topics.get_mut(topic) {
                *left -= 1;
                if *left == 0 {
                    self.topics.remove(topic);
                }
            }
        }
        self.ongoing.remove(id);
        Some(Ended {
            marker: Marker {
                producer_id: transaction.producer.id,
                epoch: transaction.producer.epoch,
                commit,
            },
            partitions: std::mem::take(&mut transaction.partitions),
            groups: std::mem::take(&mut transaction.groups),
        })
    }
}

fn allocate(next_producer_id: &mut i64) -> Identity {
    let id = *next_producer_id;
    *next_producer_id = id.saturating_add(1);
    Identity { id, epoch: 0 }
}

/// What a transaction held when it was decided.
struct Ended {
    marker: Marker,
    partitions: BTreeMap<(Uuid, u32), Option<i64>>,
    groups: BTreeMap<String, Offsets>,
}

impl Manifest {
    /// Offsets wait for the decision, if the group takes them.
    pub(super) fn commit_in_transaction(
        &mut self,
        wanted: &TransactionOffsets,
        slot: u64,
    ) -> Result<(), Void> {
        self.groups.check_pending(&wanted.commit)?;
        self.transactions.commit_offsets(wanted, self.now_ms)?;
        if mutation::is(Mutation::OffsetsNotHeldBack) {
            let group = &wanted.commit.group;
            let pending = self.transaction(&wanted.of.transactional_id).and_then(|of| of.groups.get(group));
            let offsets = pending.cloned().unwrap_or_default();
            self.groups.take_over(group, offsets, slot, self.now_ms);
        }
        Ok(())
    }

    /// The producer's id and epoch from now on.
    pub(super) fn init_producer(&mut self, init: &InitProducer, slot: u64) -> Result<Identity, Void> {
        let (id, now_ms) = (&init.transactional_id, self.now_ms);
        if id.is_empty() || id.len() > MAX_GROUP_NAME_BYTES || init.timeout_ms <= 0 {
            return Err(Void::Malformed);
        }
        let begun = self.transactions.by_id.get(id).map_or(0, |of| of.begun);
        if init.known.is_none() && init.begun != begun {
            return Err(Void::TransactionOver);
        }
        let Some(transaction) = self.transactions.by_id.get_mut(id) else {
            self.transactions.make_room(now_ms)?;
            let producer = allocate(&mut self.next_producer_id);
            let (timeout_ms, changed_ms) = (init.timeout_ms, now_ms);
            let begun = 1;
            let transaction =
                Transaction { producer, timeout_ms, begun, changed_ms, ..Transaction::default() };
            self.transactions.insert(id.clone(), transaction);
            return Ok(producer);
        };
        if let Some(known) = init.known {
            let known = Identity { id: known.0, epoch: known.1 };
            if transaction.previous == Some(known) && !transaction.is_ongoing() {
                // The answer to an earlier attempt was lost.
                return Ok(transaction.producer);
            }
            if transaction.producer != known {
                return Err(Void::ProducerFenced);
            }
        }
        (transaction.timeout_ms, transaction.begun) = (init.timeout_ms, begun.saturating_add(1));
        let ongoing = transaction.is_ongoing();
        if ongoing && mutation::is(Mutation::InitKeepsOpen) {
            return self.bump(id, Phase::Ongoing, init.known.is_some());
        }
        if ongoing {
            self.decide(id, false, slot);
        }
        self.bump(id, Phase::Empty, init.known.is_some())
    }

    /// Decides a transaction, for all of its partitions and groups at once. The producer's id and epoch from now on.
    pub(super) fn end_transaction(&mut self, end: &EndTransaction, slot: u64) -> Result<Identity, Void> {
        let (id, now_ms) = (&end.of.transactional_id, self.now_ms);
        let transaction = self.transactions.by_id.get(id).ok_or(Void::UnknownProducerId)?;
        let caller = Identity { id: end.of.producer_id, epoch: end.of.epoch };
        if !transaction.is_ongoing() && !end.if_due {
            let decided = if end.commit { Phase::Committed } else { Phase::Aborted };
            let again = if end.bump { transaction.previous } else { Some(transaction.producer) };
            if again == Some(caller) && transaction.phase == decided && transaction.number == end.of.number {
                return Ok(transaction.producer);
            }
        }
        transaction.check(&end.of)?;
        transaction.check_number(&end.of, transaction.number)?;
        match transaction.is_ongoing() {
            true if end.if_due
                && now_ms < transaction.due_ms()
                && !mutation::is(Mutation::AbortedTooEarly) =>
            {
                return Err(Void::NotDue);
            }
            true => self.decide(id, end.commit, slot),
            // There is nothing to abort, and the producer wants to be sure that nothing of it comes late.
            false if end.bump && !end.commit && !end.if_due => {}
            false => return Err(Void::InvalidTransactionState),
        }
        let decided = if end.commit { Phase::Committed } else { Phase::Aborted };
        match end.bump {
            // Whoever took too long may abort late, and go on as if it had done so in time; a commit is fenced (KIP-588).
            true => self.bump(id, decided, true),
            false => Ok(caller),
        }
    }

    /// The producer goes on under the next epoch, or under the next id if there is none. `again`: so it may hear that again
    /// under the old one.
    fn bump(&mut self, id: &str, phase: Phase, again: bool) -> Result<Identity, Void> {
        let Manifest { transactions, next_producer_id, now_ms, .. } = self;
        let transaction = transactions.by_id.get_mut(id).ok_or(Void::UnknownProducerId)?;
        let before = transaction.producer;
        let after = match before.epoch < LAST_EPOCH {
            true => Identity { epoch: before.epoch + 1, ..before },
            false => allocate(next_producer_id),
        };
        (transaction.producer, transaction.previous) = (after, again.then_some(before));
        (transaction.phase, transaction.changed_ms) = (phase, *now_ms);
        transactions.by_producer.remove(&before.id);
        transactions.by_producer.insert(after.id, id.to_owned());
        Ok(after)
    }

    fn decide(&mut self, id: &str, commit: bool, slot: u64) {
        let Manifest { transactions, topics, groups, now_ms, extents, .. } = self;
        let Some(ended) = transactions.take(id, commit, *now_ms) else { return };
        for ((topic, partition), first) in ended.partitions {
            let partition =
                topics.get_mut(&topic).and_then(|topic| topic.partitions.get_mut(partition as usize));
            if let (Some(partition), Some(first)) = (partition, first) {
                partition.end_transaction(ended.marker, first, *now_ms);
                *extents += 1;
            }
        }
        if !commit && !mutation::is(Mutation::AbortCommitsOffsets) {
            return;
        }
        let exists = |at: &(Uuid, u32)| topics.get(&at.0).is_some_and(|topic| has(topic, at.1));
        for (group, offsets) in ended.groups {
            groups.take_over(&group, offsets.into_iter().filter(|(at, _)| exists(at)), slot, *now_ms);
        }
    }
}

fn has(topic: &Topic, partition: u32) -> bool {
    (partition as usize) < topic.partitions.len()
}
