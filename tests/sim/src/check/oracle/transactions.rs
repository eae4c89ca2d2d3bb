//! Transactions, folded a second time: who is the producer of a name, what takes part, what waits for the decision.
//!
//! Shares nothing with the production fold but the form of changes. Must not know logs: what a decision does to them and to
//! groups is told to whoever asked for it.

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::manifest::commit::group::{CommitOffsets, OffsetCommit};
use strandline_core::manifest::{
    AddToTransaction, BatchMeta, EndTransaction, Identity, InitProducer, Joins, Manifest, Phase,
    TransactionOf, TransactionOffsets, Void,
};
use uuid::Uuid;

/// Names that nobody used for so long are forgotten.
const KEPT_MS: i64 = 7 * 86_400_000;
/// The last epoch that a producer works under is one less: this one only ever fences.
const TOP_EPOCH: i16 = 32_766;

#[derive(Debug, Default)]
pub(super) struct Transactions(BTreeMap<String, Name>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Fresh,
    Open,
    Done {
        commit: bool,
    },
}

#[derive(Debug, Default)]
struct Name {
    id: i64,
    epoch: i16,
    /// Who may hear again what was answered to it.
    earlier: Option<(i64, i16)>,
    timeout_ms: i32,
    /// How often somebody has begun under it.
    begun: u64,
    number: u64,
    /// Of the open one, how often it was given offsets.
    given: u64,
    stage: Stage,
    begun_ms: i64,
    changed_ms: i64,
    partitions: BTreeMap<(Uuid, u32), Option<i64>>,
    groups: BTreeMap<String, BTreeMap<(Uuid, u32), OffsetCommit>>,
}

/// What a decision ends.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) producer: i64,
    pub(super) commit: bool,
    /// Where it has records, and the first of them there.
    pub(super) partitions: Vec<((Uuid, u32), i64)>,
    /// Group and offsets, if it is committed.
    pub(super) offsets: Vec<CommitOffsets>,
}

/// Of a change that may decide something: who the producer is from now on, and what was decided.
pub(super) type Verdict = (Result<Identity, Void>, Option<Decided>);

impl Name {
    fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    fn now(&self) -> Identity {
        Identity { id: self.id, epoch: self.epoch }
    }

    /// Only its producer, under the epoch that holds, in the transaction that it means.
    fn admits(&self, of: &TransactionOf, number: u64) -> Result<(), Void> {
        if of.producer_id != self.id {
            return Err(Void::UnknownProducerId);
        }
        if of.epoch != self.epoch {
            return Err(Void::ProducerFenced);
        }
        if of.number != number { Err(Void::TransactionOver) } else { Ok(()) }
    }

    fn next_number(&self) -> u64 {
        self.number + u64::from(!self.is_open())
    }

    fn open(&mut self, now_ms: i64) {
        if !self.is_open() {
            self.number += 1;
            self.given = 0;
            self.stage = Stage::Open;
            self.begun_ms = now_ms;
        }
        self.changed_ms = now_ms;
    }

    fn close(&mut self, commit: bool, now_ms: i64) -> Decided {
        self.stage = Stage::Done { commit };
        self.changed_ms = now_ms;
        let partitions = std::mem::take(&mut self.partitions);
        let groups = std::mem::take(&mut self.groups);
        let offsets = groups.into_iter().filter(|_| commit).map(|(group, offsets)| CommitOffsets {
            group,
            member: String::new(),
            epoch: -1,
            instance_id: None,
            offsets: offsets.into_values().collect(),
        });
        Decided {
            producer: self.id,
            commit,
            partitions: partitions.into_iter().filter_map(|(at, first)| Some((at, first?))).collect(),
            offsets: offsets.collect(),
        }
    }

    /// The next epoch, or the next id where there is none.
    fn raise(&mut self, next_id: &mut i64, hears_again: bool) {
        self.earlier = hears_again.then_some((self.id, self.epoch));
        if self.epoch < TOP_EPOCH {
            self.epoch += 1;
        } else {
            (self.id, self.epoch) = (*next_id, 0);
            *next_id += 1;
        }
    }
}

impl Transactions {
    fn of_producer(&self, id: i64) -> Option<&Name> {
        self.0.values().find(|name| name.id == id)
    }

    /// Whether a batch may be written, as far as transactions go.
    pub(super) fn admit(&self, batch: &BatchMeta, at: (Uuid, u32)) -> Result<(), Void> {
        let joins = batch.joins != Joins::Nothing;
        let Some(producer) = batch.producer else {
            return if joins { Err(Void::Malformed) } else { Ok(()) };
        };
        match self.of_producer(producer.id) {
            None if joins => Err(Void::UnknownProducerId),
            None => Ok(()),
            Some(name) if name.epoch != producer.epoch => Err(Void::InvalidProducerEpoch),
            Some(_) if batch.joins == Joins::Adds => Ok(()),
            Some(name) if joins && name.is_open() && name.partitions.contains_key(&at) => Ok(()),
            Some(_) => Err(Void::InvalidTransactionState),
        }
    }

    /// A batch of a transaction was written.
    pub(super) fn written(&mut self, producer: i64, at: (Uuid, u32), offset: i64, now_ms: i64) {
        if let Some(name) = self.0.values_mut().find(|name| name.id == producer) {
            name.open(now_ms);
            name.partitions.entry(at).or_default().get_or_insert(offset);
        }
    }

    pub(super) fn begin(&mut self, init: &InitProducer, next_id: &mut i64, now_ms: i64) -> Verdict {
        let begun = self.0.get(&init.transactional_id).map_or(0, |name| name.begun);
        if init.known.is_none() && init.begun != begun {
            return (Err(Void::TransactionOver), None);
        }
        let Some(name) = self.0.get_mut(&init.transactional_id) else {
            let (id, timeout_ms) = (*next_id, init.timeout_ms);
            *next_id += 1;
            let name = Name { id, timeout_ms, begun: 1, changed_ms: now_ms, ..Name::default() };
            let now = name.now();
            self.0.insert(init.transactional_id.clone(), name);
            return (Ok(now), None);
        };
        if init.known.is_some() && init.known == name.earlier && !name.is_open() {
            return (Ok(name.now()), None);
        }
        if init.known.is_some_and(|known| known != (name.id, name.epoch)) {
            return (Err(Void::ProducerFenced), None);
        }
        let aborted = name.is_open().then(|| name.close(false, now_ms));
        name.raise(next_id, init.known.is_some());
        name.begun += 1;
        (name.stage, name.timeout_ms, name.changed_ms) = (Stage::Fresh, init.timeout_ms, now_ms);
        (Ok(name.now()), aborted)
    }

    pub(super) fn add(
        &mut self,
        add: &AddToTransaction,
        there: impl Fn(Uuid, u32) -> bool,
        now_ms: i64,
    ) -> Result<(), Void> {
        let name = self.0.get_mut(&add.of.transactional_id).ok_or(Void::UnknownProducerId)?;
        name.admits(&add.of, name.next_number())?;
        if !add.partitions.iter().all(|(topic, partition)| there(*topic, *partition)) {
            return Err(Void::UnknownPartition);
        }
        name.open(now_ms);
        for at in &add.partitions {
            name.partitions.entry(*at).or_default();
        }
        for group in &add.groups {
            name.groups.entry(group.clone()).or_default();
        }
        Ok(())
    }

    /// The group has said already that it would take them.
    pub(super) fn offsets(&mut self, wanted: &TransactionOffsets, now_ms: i64) -> Result<(), Void> {
        let name = self.0.get_mut(&wanted.of.transactional_id).ok_or(Void::UnknownProducerId)?;
        name.admits(&wanted.of, name.next_number())?;
        let group = &wanted.commit.group;
        let takes_part = name.is_open() && name.groups.contains_key(group);
        if !wanted.adds && !takes_part {
            return Err(Void::InvalidTransactionState);
        }
        if wanted.step != if name.is_open() { name.given } else { 0 } {
            return Err(Void::TransactionOver);
        }
        name.open(now_ms);
        name.given += 1;
        let pending = name.groups.entry(group.clone()).or_default();
        pending.extend(wanted.commit.offsets.iter().map(|one| ((one.topic, one.partition), one.clone())));
        Ok(())
    }

    /// These offsets were committed, or deleted, by somebody else in the meantime.
    pub(super) fn withdraw(&mut self, group: &str, of: impl Fn(&(Uuid, u32)) -> bool) {
        for name in self.0.values_mut() {
            if let Some(pending) = name.groups.get_mut(group) {
                pending.retain(|at, _| !of(at));
            }
        }
    }

    pub(super) fn end(&mut self, end: &EndTransaction, next_id: &mut i64, now_ms: i64) -> Verdict {
        let Some(name) = self.0.get_mut(&end.of.transactional_id) else {
            return (Err(Void::UnknownProducerId), None);
        };
        let hears = if end.bump { name.earlier } else { Some((name.id, name.epoch)) };
        let same = name.stage == Stage::Done { commit: end.commit } && name.number == end.of.number;
        if same && !end.if_due && hears == Some((end.of.producer_id, end.of.epoch)) {
            return (Ok(name.now()), None);
        }
        if let Err(void) = name.admits(&end.of, name.number) {
            return (Err(void), None);
        }
        let decided = match name.is_open() {
            true if end.if_due && now_ms - name.begun_ms < i64::from(name.timeout_ms) => {
                return (Err(Void::NotDue), None);
            }
            true => Some(name.close(end.commit, now_ms)),
            // Whoever aborts nothing gets the next epoch all the same, if it asks for one.
            false if end.commit || end.if_due || !end.bump => {
                return (Err(Void::InvalidTransactionState), None);
            }
            false => None,
        };
        if end.bump {
            name.raise(next_id, true);
            (name.stage, name.changed_ms) = (Stage::Done { commit: end.commit }, now_ms);
        }
        (Ok(name.now()), decided)
    }

    pub(super) fn expire(&mut self, now_ms: i64) {
        self.0.retain(|_, name| name.is_open() || now_ms - name.changed_ms < KEPT_MS);
    }

    /// The first offsets of what is not decided in a partition, by producer.
    pub(super) fn open_at(&self, at: (Uuid, u32)) -> BTreeMap<i64, i64> {
        let open = self.0.values().filter(|name| name.is_open());
        open.filter_map(|name| Some((name.id, (*name.partitions.get(&at)?)?))).collect()
    }

    /// How the manifest differs from these.
    pub(super) fn difference(&self, manifest: &Manifest) -> Option<String> {
        let theirs: Vec<_> = manifest.transactions().collect();
        if !theirs.iter().map(|(id, _)| *id).eq(self.0.keys().map(String::as_str)) {
            return Some(format!("the manifest has the transactional ids {theirs:?}, the oracle {self:?}"));
        }
        let open = self.0.iter().filter(|(_, name)| name.is_open()).map(|(id, _)| id.as_str());
        if !manifest.open_transactions().map(|(id, _)| id).eq(open) {
            return Some(format!("other transactions are open than in {self:?}"));
        }
        let groups: BTreeSet<&String> = self.0.values().flat_map(|name| name.groups.keys()).collect();
        for group in groups {
            let waiting =
                self.0.values().filter(|name| name.is_open()).filter_map(|name| name.groups.get(group));
            let waiting: BTreeSet<_> = waiting.flat_map(|offsets| offsets.keys().copied()).collect();
            if waiting != manifest.pending_offsets(group) {
                return Some(format!("other offsets of {group} wait than {waiting:?}"));
            }
        }
        let mut both = theirs.iter().filter_map(|(id, theirs)| Some((id, theirs, self.0.get(*id)?)));
        both.find_map(|(id, theirs, name)| {
            (!name.is(theirs) || manifest.transaction_of(name.id).map(|(id, _)| id) != Some(*id)).then(|| {
                format!("the transaction {id} is {theirs:?} in the manifest, the oracle says {name:?}")
            })
        })
    }
}

impl Name {
    fn is(&self, theirs: &strandline_core::manifest::Transaction) -> bool {
        let stage = match self.stage {
            Stage::Fresh => Phase::Empty,
            Stage::Open => Phase::Ongoing,
            Stage::Done { commit: true } => Phase::Committed,
            Stage::Done { commit: false } => Phase::Aborted,
        };
        let same = |(group, offsets): (&String, &BTreeMap<(Uuid, u32), OffsetCommit>)| {
            let theirs = theirs.groups.get(group);
            theirs.is_some_and(|theirs| {
                theirs.len() == offsets.len()
                    && offsets.iter().all(|(at, one)| {
                        theirs.get(at).is_some_and(|other| {
                            (other.offset, other.leader_epoch, &other.metadata)
                                == (one.offset, one.leader_epoch, &one.metadata)
                        })
                    })
            })
        };
        self.now() == theirs.producer
            && self.earlier == theirs.previous.map(|earlier| (earlier.id, earlier.epoch))
            && (self.timeout_ms, self.number, stage) == (theirs.timeout_ms, theirs.number, theirs.phase)
            && (self.begun_ms, self.changed_ms) == (theirs.begun_ms, theirs.changed_ms)
            && self.partitions == theirs.partitions
            && self.groups.len() == theirs.groups.len()
            && self.groups.iter().all(same)
    }
}
