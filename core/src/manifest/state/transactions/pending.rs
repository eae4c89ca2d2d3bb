//! Groups and offsets that open transactions are going to commit, counted, and found by their group.
//!
//! Must not know what decides a transaction. Invariant: the counts and the index are what the transactions hold, so that a
//! checkpoint needs neither.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::super::super::commit::group::CommitOffsets;
use super::super::groups::CommittedOffset;
use super::Transactions;
use crate::limits::{MAX_PENDING_BYTES, MAX_PENDING_OFFSETS};

/// By topic and partition.
pub(super) type Offsets = BTreeMap<(Uuid, u32), CommittedOffset>;

/// What all open transactions hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pending {
    offsets: usize,
    /// Of metadata, and of the names of groups for each transaction that names them.
    bytes: usize,
    /// The transactional ids that hold some of a group.
    by_group: BTreeMap<String, BTreeSet<String>>,
}

impl Pending {
    /// Whether these may come, as if all of them were new, for a group of which the transaction knows nothing yet.
    pub(super) fn has_room(&self, commit: &CommitOffsets) -> bool {
        let bytes: usize = commit.offsets.iter().map(|of| of.metadata.len()).sum();
        self.offsets + commit.offsets.len() <= MAX_PENDING_OFFSETS
            && self.has_bytes(bytes + commit.group.len())
    }

    /// Whether so many more may be kept.
    pub(super) fn has_bytes(&self, bytes: usize) -> bool {
        self.bytes + bytes <= MAX_PENDING_BYTES
    }

    /// A group takes part in a transaction.
    pub(super) fn named(&mut self, group: &str) {
        self.bytes += group.len();
    }

    /// `held`: what the transaction has of the group so far.
    pub(super) fn insert(&mut self, id: &str, commit: &CommitOffsets, held: &mut Offsets, now_ms: i64) {
        for of in &commit.offsets {
            let committed = CommittedOffset::new(of, now_ms);
            self.bytes += committed.metadata.len();
            match held.insert((of.topic, of.partition), committed) {
                Some(replaced) => self.bytes -= replaced.metadata.len(),
                None => self.offsets += 1,
            }
        }
        self.index(id, &commit.group, held);
    }

    /// A transaction holds these.
    pub(super) fn count(&mut self, id: &str, groups: &BTreeMap<String, Offsets>) {
        for (group, held) in groups {
            self.offsets += held.len();
            self.bytes += group.len();
            self.bytes += held.values().map(|offset| offset.metadata.len()).sum::<usize>();
            self.index(id, group, held);
        }
    }

    /// A transaction holds these no longer.
    pub(super) fn discount(&mut self, id: &str, groups: &BTreeMap<String, Offsets>) {
        for (group, held) in groups {
            self.offsets -= held.len();
            self.bytes -= group.len();
            self.bytes -= held.values().map(|offset| offset.metadata.len()).sum::<usize>();
            self.index(id, group, &Offsets::new());
        }
    }

    fn remove(&mut self, id: &str, group: &str, held: &mut Offsets, partitions: &[(Uuid, u32)]) {
        for removed in partitions.iter().filter_map(|at| held.remove(at)) {
            self.offsets -= 1;
            self.bytes -= removed.metadata.len();
        }
        self.index(id, group, held);
    }

    fn index(&mut self, id: &str, group: &str, held: &Offsets) {
        if !held.is_empty() {
            self.by_group.entry(group.to_owned()).or_default().insert(id.to_owned());
        } else if let Some(ids) = self.by_group.get_mut(group) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_group.remove(group);
            }
        }
    }
}

impl Transactions {
    /// The partitions in which open transactions may still commit offsets of the group.
    pub(in crate::manifest) fn pending(&self, group: &str) -> BTreeSet<(Uuid, u32)> {
        let holders = self.pending.by_group.get(group).into_iter().flatten();
        let held = holders.filter_map(|id| self.by_id.get(id)?.groups.get(group));
        held.flat_map(BTreeMap::keys).copied().collect()
    }

    /// Offsets of the group were committed or deleted in these partitions after transactions had named theirs: what came
    /// last stands, although the transactions are decided later.
    pub(in crate::manifest) fn supersede(&mut self, group: &str, partitions: &[(Uuid, u32)]) {
        if partitions.is_empty() {
            return;
        }
        let Transactions { by_id, pending, .. } = self;
        let holders = pending.by_group.get(group).cloned().unwrap_or_default();
        for id in holders {
            let held = by_id.get_mut(&id).and_then(|transaction| transaction.groups.get_mut(group));
            if let Some(held) = held {
                pending.remove(&id, group, held, partitions);
            }
        }
    }
}
