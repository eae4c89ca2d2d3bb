//! Transactions in random histories: a model that keeps every transaction there ever was, and looks up what follows.
//!
//! Must not know the fold's: nothing here is counted, indexed or summed up on the way.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Log;
use crate::manifest::commit::Identity;
use crate::manifest::commit::group::OffsetCommit;
use crate::manifest::commit::transaction::{
    AddToTransaction, EndTransaction, InitProducer, Joins, TransactionOf, TransactionOffsets,
};
use crate::manifest::state::{Marker, Partition, Phase};
use crate::manifest::{BatchMeta, Manifest, Void};

const WEEK_MS: i64 = 7 * super::DAY_MS;

#[derive(Default)]
pub(super) struct Transactions {
    names: BTreeMap<String, Name>,
    ever: Vec<Transaction>,
}

/// A transactional id.
struct Name {
    /// Everybody it was, in order.
    was: Vec<Identity>,
    /// It is who it is by its own wish, or because of its own transaction: not because another took its place.
    own: bool,
    timeout_ms: i32,
    /// How often somebody has begun under it.
    begun: u64,
    /// Its transactions, in order.
    transactions: Vec<usize>,
    /// What became of the last one since the producer began.
    decided: Option<bool>,
    heard_ms: i64,
}

struct Transaction {
    producer: Identity,
    begun_ms: i64,
    /// Whether it was committed; none: it is open.
    committed: Option<bool>,
    partitions: BTreeSet<(Uuid, u32)>,
    groups: BTreeSet<String>,
    /// How often it was given offsets.
    steps: u64,
    /// In the order in which they came.
    offsets: Vec<(String, OffsetCommit)>,
}

/// A transaction is over.
pub(super) struct Decision {
    pub(super) transaction: usize,
    pub(super) marker: Marker,
    pub(super) partitions: Vec<(Uuid, u32)>,
    /// What is committed with it.
    pub(super) offsets: Vec<(String, OffsetCommit)>,
}

impl Name {
    fn producer(&self) -> Identity {
        *self.was.last().unwrap()
    }

    /// Who it was before, if that one may hear again who it became.
    fn before(&self) -> Option<Identity> {
        self.was.iter().rev().nth(1).copied().filter(|_| self.own)
    }

    fn count(&self) -> u64 {
        self.transactions.len() as u64
    }
}

impl Transactions {
    fn open(&self, name: &Name) -> Option<usize> {
        name.transactions.last().copied().filter(|index| self.ever[*index].committed.is_none())
    }

    fn of_producer(&self, id: i64) -> Option<(&String, &Name)> {
        self.names.iter().find(|(_, name)| name.producer().id == id)
    }

    /// Who asks must be who the name is now, and mean the transaction that is open, or is to begin.
    fn who(&self, of: &TransactionOf, begins: bool) -> Result<Option<usize>, Void> {
        let name = self.names.get(&of.transactional_id).ok_or(Void::UnknownProducerId)?;
        let (producer, open) = (name.producer(), self.open(name));
        let number = if begins && open.is_none() { name.count() + 1 } else { name.count() };
        match () {
            () if producer.id != of.producer_id => Err(Void::UnknownProducerId),
            () if producer.epoch != of.epoch => Err(Void::ProducerFenced),
            () if number != of.number => Err(Void::TransactionOver),
            () => Ok(open),
        }
    }

    /// The one that is open; there is one from now on.
    fn begin(&mut self, id: &str, now_ms: i64) -> &mut Transaction {
        let open = self.open(&self.names[id]);
        let name = self.names.get_mut(id).unwrap();
        name.heard_ms = now_ms;
        let index = open.unwrap_or_else(|| {
            name.transactions.push(self.ever.len());
            self.ever.push(Transaction {
                producer: name.producer(),
                begun_ms: now_ms,
                committed: None,
                partitions: BTreeSet::new(),
                groups: BTreeSet::new(),
                steps: 0,
                offsets: Vec::new(),
            });
            self.ever.len() - 1
        });
        &mut self.ever[index]
    }

    fn decide(&mut self, index: usize, commit: bool) -> Decision {
        let over = &mut self.ever[index];
        over.committed = Some(commit);
        let Identity { id: producer_id, epoch } = over.producer;
        Decision {
            transaction: index,
            marker: Marker { producer_id, epoch, commit },
            partitions: over.partitions.iter().copied().collect(),
            offsets: if commit { over.offsets.clone() } else { Vec::new() },
        }
    }

    /// The next epoch; an epoch must be left to fence the last one with. `ids`: the next producer id.
    fn raise(&mut self, id: &str, own: bool, ids: &mut i64, now_ms: i64) -> Identity {
        let name = self.names.get_mut(id).unwrap();
        let Identity { id, epoch } = name.producer();
        let next = if epoch + 1 < i16::MAX { Identity { id, epoch: epoch + 1 } } else { next_id(ids) };
        name.was.push(next);
        (name.own, name.heard_ms) = (own, now_ms);
        next
    }

    pub(super) fn init(
        &mut self,
        init: &InitProducer,
        ids: &mut i64,
        now_ms: i64,
    ) -> Result<(Identity, Option<Decision>), Void> {
        let (id, timeout_ms) = (&init.transactional_id, init.timeout_ms);
        if id.is_empty() || timeout_ms <= 0 {
            return Err(Void::Malformed);
        }
        let begun = self.names.get(id).map_or(0, |name| name.begun);
        if init.known.is_none() && init.begun != begun {
            return Err(Void::TransactionOver);
        }
        let Some(name) = self.names.get(id) else {
            let (producer, transactions) = (next_id(ids), Vec::new());
            let (was, own, decided, heard_ms) = (vec![producer], false, None, now_ms);
            let name = Name { was, own, timeout_ms, begun: 1, transactions, decided, heard_ms };
            self.names.insert(id.clone(), name);
            return Ok((producer, None));
        };
        let open = self.open(name);
        let known = init.known.map(|(id, epoch)| Identity { id, epoch });
        if open.is_none() && known.is_some() && name.before() == known {
            return Ok((name.producer(), None));
        }
        if known.is_some_and(|known| known != name.producer()) {
            return Err(Void::ProducerFenced);
        }
        let over = open.map(|open| self.decide(open, false));
        let producer = self.raise(id, known.is_some(), ids, now_ms);
        let name = self.names.get_mut(id).unwrap();
        (name.timeout_ms, name.begun, name.decided) = (timeout_ms, begun + 1, None);
        Ok((producer, over))
    }

    pub(super) fn add(
        &mut self,
        add: &AddToTransaction,
        exists: impl Fn(&(Uuid, u32)) -> bool,
        now_ms: i64,
    ) -> Result<(), Void> {
        self.who(&add.of, true)?;
        if !add.partitions.iter().all(exists) {
            return Err(Void::UnknownPartition);
        }
        let open = self.begin(&add.of.transactional_id, now_ms);
        open.partitions.extend(&add.partitions);
        open.groups.extend(add.groups.iter().cloned());
        Ok(())
    }

    /// Whether the group takes them is its own affair.
    pub(super) fn offsets(&mut self, wanted: &TransactionOffsets, now_ms: i64) -> Result<(), Void> {
        let group = &wanted.commit.group;
        let open = self.who(&wanted.of, true)?;
        let added = open.is_some_and(|open| self.ever[open].groups.contains(group));
        if !added && !wanted.adds {
            return Err(Void::InvalidTransactionState);
        }
        if wanted.step != open.map_or(0, |open| self.ever[open].steps) {
            return Err(Void::TransactionOver);
        }
        let open = self.begin(&wanted.of.transactional_id, now_ms);
        open.steps += 1;
        open.groups.insert(group.clone());
        open.offsets.extend(wanted.commit.offsets.iter().map(|one| (group.clone(), one.clone())));
        Ok(())
    }

    /// Somebody committed or deleted them outside of any transaction. What another transaction says of them does not count
    /// here: of two of these the one that is decided last stands.
    pub(super) fn drop_offsets(&mut self, group: &str, of: impl Fn((Uuid, u32)) -> bool) {
        for open in self.ever.iter_mut().filter(|transaction| transaction.committed.is_none()) {
            open.offsets.retain(|(held, one)| held != group || !of((one.topic, one.partition)));
        }
    }

    pub(super) fn end(
        &mut self,
        end: &EndTransaction,
        ids: &mut i64,
        now_ms: i64,
    ) -> Result<(Identity, Option<Decision>), Void> {
        let id = &end.of.transactional_id;
        let caller = Identity { id: end.of.producer_id, epoch: end.of.epoch };
        let name = self.names.get(id).ok_or(Void::UnknownProducerId)?;
        // KIP-890: who did not hear the answer asks again, under the epoch in which it asked before.
        let asked = if end.bump { name.before() } else { Some(name.producer()) };
        let same = asked == Some(caller) && name.decided == Some(end.commit) && name.count() == end.of.number;
        if self.open(name).is_none() && same && !end.if_due {
            return Ok((name.producer(), None));
        }
        let over = match self.who(&end.of, false)? {
            Some(open) if end.if_due && now_ms - self.ever[open].begun_ms < name.timeout_ms.into() => {
                return Err(Void::NotDue);
            }
            Some(open) => Some(self.decide(open, end.commit)),
            None if end.bump && !end.commit && !end.if_due => None,
            None => return Err(Void::InvalidTransactionState),
        };
        let name = self.names.get_mut(id).unwrap();
        (name.decided, name.heard_ms) = (Some(end.commit), now_ms);
        let after = if end.bump { self.raise(id, true, ids, now_ms) } else { caller };
        Ok((after, over))
    }

    /// Whether the batch may be written, apart from its sequence number.
    pub(super) fn takes(&self, batch: &BatchMeta, at: (Uuid, u32)) -> Result<(), Void> {
        let Some(producer) = batch.producer else {
            return if batch.joins == Joins::Nothing { Ok(()) } else { Err(Void::Malformed) };
        };
        let Some((_, name)) = self.of_producer(producer.id) else {
            return if batch.joins == Joins::Nothing { Ok(()) } else { Err(Void::UnknownProducerId) };
        };
        let added = self.open(name).is_some_and(|open| self.ever[open].partitions.contains(&at));
        match batch.joins {
            _ if name.producer().epoch != producer.epoch => Err(Void::InvalidProducerEpoch),
            Joins::Adds => Ok(()),
            Joins::Added if added => Ok(()),
            Joins::Added | Joins::Nothing => Err(Void::InvalidTransactionState),
        }
    }

    /// The transaction that the batch is written in.
    pub(super) fn written(&mut self, batch: &BatchMeta, at: (Uuid, u32), now_ms: i64) -> Option<usize> {
        if batch.joins == Joins::Nothing {
            return None;
        }
        let (id, _) = self.of_producer(batch.producer?.id)?;
        let id = id.clone();
        self.begin(&id, now_ms).partitions.insert(at);
        self.names[&id].transactions.last().copied()
    }

    /// Whether the topic takes part in what is not over.
    pub(super) fn have(&self, topic: &Uuid) -> bool {
        let names = self.names.values().filter_map(|name| self.open(name));
        names.flat_map(|open| &self.ever[open].partitions).any(|(of, _)| of == topic)
    }

    pub(super) fn expire(&mut self, now_ms: i64) {
        let Transactions { names, ever } = self;
        names.retain(|_, name| {
            let open = name.transactions.last().is_some_and(|index| ever[*index].committed.is_none());
            open || now_ms - name.heard_ms < WEEK_MS
        });
    }

    /// The producers that have something open in the partition.
    pub(super) fn at_work(&self, log: &Log) -> BTreeSet<i64> {
        let open = |index: &usize| self.ever[*index].committed.is_none();
        let theirs = log.batches.iter().filter(|batch| batch.of.as_ref().is_some_and(open));
        theirs.filter_map(|batch| batch.by).collect()
    }

    /// Makes those old that have nothing open.
    pub(super) fn age(&mut self, epoch: i16) -> Vec<String> {
        let Transactions { names, ever } = self;
        let idle = |name: &Name| name.transactions.last().is_none_or(|last| ever[*last].committed.is_some());
        let mut aged = Vec::new();
        for (id, name) in names.iter_mut().filter(|(_, name)| idle(name)) {
            name.was.last_mut().unwrap().epoch = epoch;
            aged.push(id.clone());
        }
        aged
    }

    pub(super) fn check(&self, manifest: &Manifest) {
        assert!(manifest.transactions().map(|(id, _)| id).eq(self.names.keys()));
        let mut pending: BTreeMap<&str, BTreeSet<(Uuid, u32)>> = BTreeMap::new();
        for ((id, known), name) in manifest.transactions().zip(self.names.values()) {
            let open = self.open(name).map(|index| &self.ever[index]);
            let phase = match (open, name.decided) {
                (Some(_), _) => Phase::Ongoing,
                (None, None) => Phase::Empty,
                (None, Some(true)) => Phase::Committed,
                (None, Some(false)) => Phase::Aborted,
            };
            let expected = (name.producer(), name.timeout_ms, name.count(), phase, name.heard_ms);
            assert_eq!(
                (known.producer, known.timeout_ms, known.number, known.phase, known.changed_ms),
                expected,
                "{id}"
            );
            for was in &name.was {
                let current = (was.id == name.producer().id).then_some(id);
                assert_eq!(manifest.transaction_of(was.id).map(|(id, _)| id), current);
            }
            let nothing = (BTreeSet::new(), BTreeSet::new());
            let (partitions, groups) =
                open.map_or(nothing, |open| (open.partitions.clone(), open.groups.clone()));
            assert!(known.partitions.keys().eq(&partitions), "{id}: {:?}", known.partitions);
            assert!(known.groups.keys().eq(&groups), "{id}: {:?}", known.groups);
            let Some(open) = open else { continue };
            assert_eq!((known.begun_ms, known.steps), (open.begun_ms, open.steps), "{id}");
            for (group, held) in &known.groups {
                let of_group = open.offsets.iter().filter(|(of, _)| of == group);
                let last: BTreeMap<_, _> = of_group
                    .map(|(_, one)| ((one.topic, one.partition), (one.offset, &one.metadata)))
                    .collect();
                let held = held.iter().map(|(at, one)| (*at, (one.offset, &one.metadata)));
                assert!(held.eq(last.clone()), "{id} {group}: {last:?}");
                pending.entry(group).or_default().extend(last.keys());
            }
        }
        let open = self.names.iter().filter(|(_, name)| self.open(name).is_some()).map(|(id, _)| id);
        assert!(manifest.open_transactions().map(|(id, _)| id).eq(open));
        for group in super::groups::NAMES {
            let expected = pending.remove(group).unwrap_or_default();
            assert_eq!(manifest.pending_offsets(group), expected, "{group}");
        }
    }

    /// The first offset that is not decided.
    pub(super) fn stable(&self, log: &Log) -> i64 {
        let open = |index: &usize| self.ever[*index].committed.is_none();
        let undecided = log.batches.iter().find(|batch| batch.of.as_ref().is_some_and(open));
        undecided.map_or(log.end, |batch| batch.base.max(log.start))
    }

    /// What a partition says of them, and what a reader makes of that who sees only what is committed.
    pub(super) fn check_partition(&self, partition: &Partition, log: &Log) {
        let open = |index: &usize| self.ever[*index].committed.is_none();
        let stable = self.stable(log);
        assert_eq!(partition.last_stable_offset(), stable);
        // By the index; or nothing of them is left.
        let told = log.indexed.max(log.compacted().0);
        let (told, aborted): (Vec<_>, Vec<_>) =
            self.aborted(log).into_iter().partition(|(_, _, last)| *last < told);
        let kept: Vec<_> = partition.aborted.iter().map(|one| one.last_offset).collect();
        assert_eq!(
            kept,
            aborted.iter().map(|(_, _, last)| *last).collect::<Vec<_>>(),
            "no longer than its data"
        );
        for from in steps(log.start, log.end) {
            for upto in steps(from + 1, log.end) {
                let found = partition.aborted_in(from, upto);
                let found: Vec<_> =
                    found.iter().map(|one| (one.producer_id, one.first_offset, one.last_offset)).collect();
                let overlaps = |(_, first, last): &&(i64, i64, i64)| *first < upto && *last >= from;
                let mut expected: Vec<_> = aborted.iter().filter(overlaps).copied().collect();
                expected.sort_by_key(|(_, first, _)| *first);
                assert_eq!(found, expected, "{from} to {upto}");
            }
            let decided = |batch: &&super::Batch| batch.base >= from && batch.base < stable;
            let counts = |index: usize| self.ever[index].committed == Some(true);
            let visible = log
                .batches
                .iter()
                .filter(decided)
                .filter(|batch| batch.marker.is_none() && batch.of.is_none_or(counts));
            let visible: Vec<i64> = visible.map(|batch| batch.base).collect();
            assert_eq!(read_committed(partition, log, from, &told), visible, "from {from}");
        }
        for active in partition.producers() {
            let of = |index: &usize| open(index) && self.ever[*index].producer.id == active.id;
            let first = log.batches.iter().find(|batch| batch.of.as_ref().is_some_and(of));
            assert_eq!(active.open_since, first.map(|batch| batch.base), "{active:?}");
        }
    }

    /// Producer, first offset and marker of those that were aborted, by their markers, while the marker is there.
    fn aborted(&self, log: &Log) -> Vec<(i64, i64, i64)> {
        let markers = log
            .batches
            .iter()
            .filter(|batch| batch.marker.is_some_and(|marker| !marker.commit) && batch.base >= log.start);
        let told = markers.map(|marker| {
            let first = log.batches.iter().find(|batch| batch.of == marker.of).unwrap();
            (self.ever[marker.of.unwrap()].producer.id, first.base, marker.base)
        });
        told.collect()
    }
}

fn next_id(ids: &mut i64) -> Identity {
    *ids += 1;
    Identity { id: *ids - 1, epoch: 0 }
}

/// Some offsets from the first to the last.
fn steps(first: i64, last: i64) -> impl Iterator<Item = i64> {
    (first..=last).step_by(((last - first) / 3).max(1) as usize)
}

/// As Kafka's consumer reads with `read_committed`: base offsets of the batches from `from` on. `told`: what the nodes of
/// the index tell of aborted transactions.
fn read_committed(partition: &Partition, log: &Log, from: i64, told: &[(i64, i64, i64)]) -> Vec<i64> {
    let upto = partition.last_stable_offset();
    let found = partition.aborted_in(from, upto).into_iter().map(|one| (one.first_offset, one.producer_id));
    let told = told.iter().filter(|(_, _, last)| *last >= from).map(|(id, first, _)| (*first, *id));
    let mut aborted: Vec<_> = found.chain(told).collect();
    aborted.sort_unstable();
    let mut aborted = aborted.into_iter().peekable();
    let (mut skipped, mut seen) = (BTreeSet::new(), Vec::new());
    for batch in log.batches.iter().filter(|batch| batch.base >= from && batch.base < upto) {
        while let Some((_, producer)) = aborted.next_if(|(first, _)| *first <= batch.base) {
            skipped.insert(producer);
        }
        match batch.marker {
            Some(marker) => {
                skipped.remove(&marker.producer_id);
            }
            _ if batch.of.is_some() && batch.by.is_some_and(|by| skipped.contains(&by)) => {}
            _ => seen.push(batch.base),
        }
    }
    seen
}
