//! Transactions in random histories: producers that mostly know how they stand, and at times are somebody who was fenced,
//! come late, or were never there.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::manifest::commit::group::CommitOffsets;
use crate::manifest::commit::transaction::{
    AddToTransaction, EndTransaction, InitProducer, Joins, TransactionOf, TransactionOffsets,
};
use crate::manifest::commit::{Identity, Producer};
use crate::manifest::{BatchMeta, Change, Manifest};
use crate::testing::Dice;

const NAMES: [&str; 3] = ["copy", "count", "join"];
const TIMEOUTS_MS: [i32; 7] = [i32::MIN, 0, 1, 30_000, 60_000, 900_000, i32::MAX];

#[derive(Default)]
pub(super) struct TransactionsAuthor {
    views: BTreeMap<&'static str, View>,
    /// All that anybody ever was.
    were: BTreeSet<Identity>,
    /// Epoch and next sequence number, by partition and producer.
    next: BTreeMap<(Uuid, u32, i64), (i16, i32)>,
    /// The last batch to each partition.
    last: BTreeMap<(Uuid, u32), BatchMeta>,
}

/// How a producer stands, as far as is known: what is on its way is taken for done.
#[derive(Default, Clone)]
struct View {
    producer: Identity,
    begun: u64,
    number: u64,
    open: bool,
    partitions: Vec<(Uuid, u32)>,
    groups: Vec<String>,
    steps: u64,
}

impl View {
    fn begin(&mut self) {
        self.number += u64::from(!self.open);
        self.open = true;
    }

    fn end(&mut self, bump: bool) {
        let producer = self.producer;
        self.producer.epoch = producer.epoch.wrapping_add(i16::from(bump)).max(0);
        let View { producer, begun, number, .. } = *self;
        *self = View { producer, begun, number, ..View::default() };
    }
}

impl TransactionsAuthor {
    pub(super) fn look(&mut self, manifest: &Manifest) {
        self.views.clear();
        for name in NAMES {
            let Some(known) = manifest.transaction(name) else { continue };
            let view = View {
                producer: known.producer,
                begun: known.begun,
                number: known.number,
                open: known.is_ongoing(),
                partitions: known.partitions.keys().copied().collect(),
                groups: known.groups.keys().cloned().collect(),
                steps: known.next_step(),
            };
            self.were.insert(known.producer);
            self.views.insert(name, view);
        }
        self.next.clear();
        for topic in manifest.topics() {
            for (number, partition) in topic.partitions.iter().enumerate() {
                let next = partition.producers().map(|of| {
                    let sequence = ((i64::from(of.last_sequence) + 1) % (1 << 31)) as i32;
                    ((topic.id, number as u32, of.id), (of.epoch, sequence))
                });
                self.next.extend(next);
            }
        }
    }

    /// `partitions` and `commit`: what could take part.
    pub(super) fn change(
        &mut self,
        dice: &mut Dice,
        partitions: Vec<(Uuid, u32)>,
        commit: CommitOffsets,
    ) -> Change {
        let name = *dice.pick(&NAMES);
        match dice.below(20) {
            0..3 => Change::InitProducer(self.init(dice, name)),
            _ if !self.views.contains_key(name) => Change::InitProducer(self.init(dice, name)),
            3..8 => {
                let of = self.of(dice, name, true);
                let groups = (0..dice.below(2)).map(|_| commit.group.clone()).collect();
                let add = AddToTransaction { of, partitions, groups };
                if let Some(view) = self.views.get_mut(name) {
                    view.begin();
                    view.partitions.extend(&add.partitions);
                    view.groups.extend(add.groups.iter().cloned());
                }
                Change::AddToTransaction(add)
            }
            8..12 => Change::TransactionOffsets(self.offsets(dice, name, commit)),
            _ => {
                let of = self.of(dice, name, false);
                let (commit, if_due) = (dice.per_mille(500), dice.per_mille(200));
                let bump = dice.per_mille(500);
                if let Some(view) = self.views.get_mut(name).filter(|_| !if_due) {
                    view.end(bump);
                }
                Change::EndTransaction(EndTransaction { of, commit, bump, if_due })
            }
        }
    }

    fn init(&mut self, dice: &mut Dice, name: &'static str) -> InitProducer {
        let timeout_ms = if dice.per_mille(200) { *dice.pick(&TIMEOUTS_MS) } else { 60_000 };
        let known = if dice.per_mille(500) { Some(self.identity(dice, name)) } else { None };
        let known_begun = self.views.get(name).map_or(0, |view| view.begun);
        let begun = if dice.per_mille(900) { known_begun } else { dice.below(5) };
        let id = if dice.per_mille(30) { "" } else { name };
        if let Some(view) = self.views.get_mut(id) {
            view.end(true);
            view.begun += 1;
        }
        let known = known.map(|of: Identity| (of.id, of.epoch));
        InitProducer { transactional_id: id.to_owned(), timeout_ms, known, begun }
    }

    fn offsets(&mut self, dice: &mut Dice, name: &'static str, commit: CommitOffsets) -> TransactionOffsets {
        let of = self.of(dice, name, true);
        let adds = dice.per_mille(600);
        let silent = CommitOffsets { member: String::new(), epoch: -1, instance_id: None, ..commit.clone() };
        let mut commit = if dice.per_mille(500) { silent } else { commit };
        let mut step = if dice.per_mille(50) { dice.below(3) } else { 0 };
        if let Some(view) = self.views.get_mut(name) {
            step += view.steps;
            view.steps += 1;
            match adds {
                true => view.begin(),
                false if view.groups.is_empty() => {}
                false => commit.group = dice.pick(&view.groups).clone(),
            }
        }
        TransactionOffsets { of, adds, step, commit }
    }

    /// Who the producer is; or was; or might be.
    fn identity(&self, dice: &mut Dice, name: &str) -> Identity {
        let were: Vec<Identity> = self.were.iter().copied().collect();
        match dice.below(20) {
            0 => Identity { id: dice.below(9) as i64, epoch: *dice.pick(&[0, 1, 2, 5, i16::MAX]) },
            1 | 2 if !were.is_empty() => *dice.pick(&were),
            now => {
                let mut producer = self.views.get(name).map_or(Identity::default(), |view| view.producer);
                producer.epoch -= i16::from(now == 3 && producer.epoch > 0);
                producer
            }
        }
    }

    fn of(&self, dice: &mut Dice, name: &str, joins: bool) -> TransactionOf {
        let Identity { id: producer_id, epoch } = self.identity(dice, name);
        let number = self.views.get(name).map_or(0, |view| view.number + u64::from(joins && !view.open));
        let number = match dice.below(20) {
            0 => number.saturating_sub(1),
            1 => number + 1,
            _ => number,
        };
        TransactionOf { transactional_id: name.to_owned(), producer_id, epoch, number }
    }

    /// Gives a batch its producer.
    pub(super) fn batch(&mut self, dice: &mut Dice, at: (Uuid, u32), batch: BatchMeta) -> BatchMeta {
        if dice.per_mille(60)
            && let Some(again) = self.last.get(&at)
        {
            return *again;
        }
        let part =
            |name: &&&'static str| self.views.get(**name).is_some_and(|view| view.partitions.contains(&at));
        let parts: Vec<_> = NAMES.iter().filter(part).copied().collect();
        let added = !parts.is_empty() && dice.per_mille(700);
        let name = *dice.pick(if added { &parts } else { &NAMES });
        let Identity { id, epoch } = self.identity(dice, name);
        let (known, next) = self.next.get(&(at.0, at.1, id)).copied().unwrap_or((epoch, 0));
        let mut sequence = if known == epoch { next } else { 0 };
        if dice.per_mille(40) {
            sequence = dice.below(9) as i32;
        }
        self.next.insert((at.0, at.1, id), (epoch, sequence.wrapping_add(batch.offsets as i32).max(0)));
        let joins = match dice.below(20) {
            0 => Joins::Nothing,
            _ if added && dice.per_mille(600) => Joins::Added,
            1 => Joins::Added,
            _ => Joins::Adds,
        };
        if let Some(view) = self.views.get_mut(name).filter(|_| joins == Joins::Adds) {
            view.begin();
            view.partitions.push(at);
        }
        let producer = if dice.per_mille(990) { Some(Producer { id, epoch, sequence }) } else { None };
        let batch = BatchMeta { producer, joins, ..batch };
        self.last.insert(at, batch);
        batch
    }
}
