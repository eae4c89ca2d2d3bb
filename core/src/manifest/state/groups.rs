//! Consumer groups in the fold: members, epochs, committed offsets.
//!
//! Must not know the group protocols. A change of members holds only against the version that its proposer saw, and
//! offsets are committed only by a member whose epoch is the current one, so that a coordinator or a member that was away
//! can undo nothing. Offsets belong to topic ids: a topic that takes an old name begins without any.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use uuid::Uuid;

use super::super::commit::Void;
use super::super::commit::group::{CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup};
use super::Manifest;
use crate::limits::{
    MAX_GROUP_BYTES, MAX_GROUP_MEMBERS, MAX_GROUP_NAME_BYTES, MAX_GROUP_OFFSETS, MAX_GROUPS,
    MAX_GROUPS_BYTES, MAX_OFFSET_METADATA_BYTES, OFFSETS_RETENTION,
};
use crate::mutation::{self, Mutation};

/// One consumer group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// How its members agree.
    pub kind: GroupKind,
    /// `consumer`, `connect` and so on; empty: it never had members.
    pub protocol_type: String,
    /// What its members agreed on.
    pub protocol: String,
    /// The generation of a classic group, the epoch of the other kind. Never falls.
    pub epoch: i32,
    /// The leader's member id.
    pub leader: String,
    /// What else its coordinator must find again.
    pub state: Bytes,
    /// The slot of the last change of its members: no two changes of a group have the same.
    pub version: u64,
    /// By id.
    pub members: BTreeMap<String, GroupMember>,
    /// Journal time of the last change of its members.
    pub changed_ms: i64,
    /// By topic and partition.
    pub offsets: BTreeMap<(Uuid, u32), CommittedOffset>,
}

/// Where a group goes on in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record to read.
    pub offset: i64,
    /// As the client sent it; -1: none.
    pub leader_epoch: i32,
    /// As the client sent it.
    pub metadata: String,
    /// Journal time of the commit.
    pub committed_ms: i64,
}

impl CommittedOffset {
    pub(super) fn new(commit: &OffsetCommit, committed_ms: i64) -> CommittedOffset {
        CommittedOffset {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata: commit.metadata.clone(),
            committed_ms,
        }
    }
}

impl Group {
    fn bytes(&self) -> usize {
        self.state.len() + self.members.values().map(GroupMember::bytes).sum::<usize>()
    }

    fn metadata_bytes(&self) -> usize {
        self.offsets.values().map(|offset| offset.metadata.len()).sum()
    }

    /// Whether offsets may be committed with these credentials.
    ///
    /// # Errors
    /// Why not, as Kafka's coordinator decides it.
    pub fn check_member(&self, member: &str, epoch: i32, instance_id: Option<&str>) -> Result<(), Void> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        if let Some(instance_id) = instance_id {
            let holder = self.members.values().find(|held| held.instance_id.as_deref() == Some(instance_id));
            match holder {
                None => return Err(Void::UnknownMember),
                Some(holder) if holder.id != member => return Err(Void::FencedInstance),
                Some(_) => {}
            }
        }
        let known = self.members.get(member).ok_or(Void::UnknownMember)?;
        match self.kind {
            _ if known.epoch == epoch => Ok(()),
            _ if mutation::is(Mutation::StaleGenerationCommits) => Ok(()),
            GroupKind::Consumer => Err(Void::StaleMemberEpoch),
            GroupKind::Simple | GroupKind::Classic => Err(Void::IllegalGeneration),
        }
    }
}

/// All groups of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Groups {
    pub(in crate::manifest) by_name: BTreeMap<String, Group>,
    bytes: usize,
    offsets: usize,
}

impl Groups {
    /// For a checkpoint.
    pub(in crate::manifest) fn insert(&mut self, name: String, group: Group) {
        self.bytes += group.bytes() + group.metadata_bytes();
        self.offsets += group.offsets.len();
        self.by_name.insert(name, group);
    }

    fn remove(&mut self, name: &str) {
        if let Some(group) = self.by_name.remove(name) {
            self.bytes -= group.bytes() + group.metadata_bytes();
            self.offsets -= group.offsets.len();
        }
    }

    /// The group's new version: the slot.
    pub(super) fn update(&mut self, update: &UpdateGroup, slot: u64, now_ms: i64) -> Result<u64, Void> {
        let old = self.by_name.get(&update.group);
        if old.map_or(0, |group| group.version) != update.seen_version
            && !mutation::is(Mutation::GroupVersionIgnored)
        {
            return Err(Void::GroupChanged);
        }
        let name_fits = !update.group.is_empty() && update.group.len() <= MAX_GROUP_NAME_BYTES;
        if !name_fits || old.is_some_and(|group| update.epoch < group.epoch) {
            return Err(Void::Malformed);
        }
        let kept = old.filter(|_| !update.replace).map(|group| group.members.clone());
        let mut members = kept.unwrap_or_default();
        for id in &update.remove {
            members.remove(id);
        }
        members.extend(update.put.iter().map(|member| (member.id.clone(), member.clone())));
        let group = Group {
            kind: update.kind,
            protocol_type: update.protocol_type.clone(),
            protocol: update.protocol.clone(),
            epoch: update.epoch,
            leader: update.leader.clone(),
            state: update.state.clone(),
            version: slot,
            members,
            changed_ms: now_ms,
            offsets: BTreeMap::new(),
        };
        let (before, after) = (old.map_or(0, Group::bytes), group.bytes());
        let too_many = group.members.len() > MAX_GROUP_MEMBERS || after > MAX_GROUP_BYTES;
        let no_room = old.is_none() && self.by_name.len() >= MAX_GROUPS;
        if too_many || no_room || (after > before && self.bytes - before + after > MAX_GROUPS_BYTES) {
            return Err(Void::LimitReached);
        }
        self.bytes = self.bytes - before + after;
        // A group may have many offsets, and no change of its members touches them.
        let held = self.by_name.entry(update.group.clone()).or_default();
        let offsets = std::mem::take(&mut held.offsets);
        *held = Group { offsets, ..group };
        Ok(slot)
    }

    /// `exists`: whether a topic has a partition.
    pub(super) fn commit(
        &mut self,
        commit: &CommitOffsets,
        exists: impl Fn(&Uuid, u32) -> bool,
        slot: u64,
        now_ms: i64,
    ) -> Result<(), Void> {
        check_lengths(commit)?;
        match self.by_name.get(&commit.group) {
            Some(group) => group.check_member(&commit.member, commit.epoch, commit.instance_id.as_deref())?,
            None if commit.epoch >= 0 => return Err(Void::IllegalGeneration),
            None if self.by_name.len() >= MAX_GROUPS => return Err(Void::LimitReached),
            None => {}
        }
        self.check_room(commit)?;
        let new = || Group { version: slot, changed_ms: now_ms, ..Group::default() };
        let group = self.by_name.entry(commit.group.clone()).or_insert_with(new);
        let before = group.offsets.len();
        for of in commit.offsets.iter().filter(|of| exists(&of.topic, of.partition)) {
            let committed = CommittedOffset::new(of, now_ms);
            self.bytes += committed.metadata.len();
            let replaced = group.offsets.insert((of.topic, of.partition), committed);
            self.bytes -= replaced.map_or(0, |replaced| replaced.metadata.len());
        }
        self.offsets += group.offsets.len() - before;
        Ok(())
    }

    /// Whether there is room for the offsets.
    fn check_room(&self, commit: &CommitOffsets) -> Result<(), Void> {
        let held = self.by_name.get(&commit.group);
        let (mut new, mut growth) = (0, 0);
        for of in &commit.offsets {
            let old = held.and_then(|group| group.offsets.get(&(of.topic, of.partition)));
            new += usize::from(old.is_none());
            growth += of.metadata.len().saturating_sub(old.map_or(0, |old| old.metadata.len()));
        }
        // What replaces something is taken at the limit, too: nobody shall stand still for what others have left behind.
        let too_much = growth > 0 && self.bytes + growth > MAX_GROUPS_BYTES;
        if too_much || new > 0 && self.offsets + new > MAX_GROUP_OFFSETS {
            return Err(Void::LimitReached);
        }
        Ok(())
    }

    /// Whether a transaction may commit these later. Members of a group are checked now; whoever names none is not (KIP-447).
    /// Beyond the limits come at most those that are pending: they have limits of their own.
    pub(super) fn check_pending(&self, commit: &CommitOffsets) -> Result<(), Void> {
        check_lengths(commit)?;
        let named = commit.epoch >= 0 || !commit.member.is_empty() || commit.instance_id.is_some();
        match self.by_name.get(&commit.group) {
            Some(group) if named => {
                group.check_member(&commit.member, commit.epoch, commit.instance_id.as_deref())?;
            }
            None if commit.epoch >= 0 => return Err(Void::IllegalGeneration),
            None if self.by_name.len() >= MAX_GROUPS => return Err(Void::LimitReached),
            _ => {}
        }
        self.check_room(commit)
    }

    /// Offsets of a transaction that is decided: nothing can refuse them any more, and nobody loses others for them.
    pub(super) fn take_over(
        &mut self,
        name: &str,
        offsets: impl IntoIterator<Item = ((Uuid, u32), CommittedOffset)>,
        slot: u64,
        now_ms: i64,
    ) {
        let mut offsets = offsets.into_iter().peekable();
        if offsets.peek().is_none() {
            return;
        }
        let new = || Group { version: slot, changed_ms: now_ms, ..Group::default() };
        let group = self.by_name.entry(name.to_owned()).or_insert_with(new);
        let before = group.offsets.len();
        for (at, committed) in offsets {
            let committed = CommittedOffset { committed_ms: now_ms, ..committed };
            self.bytes += committed.metadata.len();
            let replaced = group.offsets.insert(at, committed);
            self.bytes -= replaced.map_or(0, |replaced| replaced.metadata.len());
        }
        self.offsets += group.offsets.len() - before;
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), Void> {
        match self.by_name.get(name) {
            None => Err(Void::UnknownGroup),
            Some(group) if !group.members.is_empty() => Err(Void::GroupNotEmpty),
            Some(_) => {
                self.remove(name);
                Ok(())
            }
        }
    }

    pub(super) fn delete_offsets(&mut self, name: &str, partitions: &[(Uuid, u32)]) -> Result<(), Void> {
        let group = self.by_name.get_mut(name).ok_or(Void::UnknownGroup)?;
        for removed in partitions.iter().filter_map(|partition| group.offsets.remove(partition)) {
            self.offsets -= 1;
            self.bytes -= removed.metadata.len();
        }
        Ok(())
    }

    /// The topic is gone.
    pub(super) fn forget_topic(&mut self, topic: &Uuid) {
        for group in self.by_name.values_mut() {
            let of_topic: Vec<_> =
                group.offsets.range((*topic, 0)..=(*topic, u32::MAX)).map(|(of, _)| *of).collect();
            for removed in of_topic.iter().filter_map(|of| group.offsets.remove(of)) {
                self.offsets -= 1;
                self.bytes -= removed.metadata.len();
            }
        }
    }

    /// Forgets offsets of groups that have no members, a retention after the later of their commit and the last member's
    /// end (KIP-211), and then the groups that have nothing left.
    pub(super) fn expire(&mut self, now_ms: i64) {
        let before = now_ms.saturating_sub(OFFSETS_RETENTION.as_millis() as i64);
        let mut gone = BTreeSet::new();
        for (name, group) in self.by_name.iter_mut().filter(|(_, group)| group.members.is_empty()) {
            let (had, held) = (group.offsets.len(), group.metadata_bytes());
            // A group that never had members lives by its commits alone.
            let empty_since = if group.protocol_type.is_empty() { i64::MIN } else { group.changed_ms };
            group.offsets.retain(|_, offset| offset.committed_ms.max(empty_since) > before);
            self.offsets -= had - group.offsets.len();
            self.bytes -= held - group.metadata_bytes();
            if group.offsets.is_empty() && group.changed_ms <= before {
                gone.insert(name.clone());
            }
        }
        for name in gone {
            self.remove(&name);
        }
    }
}

fn check_lengths(commit: &CommitOffsets) -> Result<(), Void> {
    let fits = commit.group.len() <= MAX_GROUP_NAME_BYTES
        && commit.offsets.iter().all(|of| of.metadata.len() <= MAX_OFFSET_METADATA_BYTES);
    if fits { Ok(()) } else { Err(Void::Malformed) }
}

impl Manifest {
    /// What was committed last stands: a transaction that named an offset before this, and is decided after it, changes nothing.
    pub(super) fn commit_offsets(&mut self, commit: &CommitOffsets, slot: u64) -> Result<(), Void> {
        let topics = &self.topics;
        let exists = |topic: &Uuid, partition| {
            topics.get(topic).is_some_and(|topic| (partition as usize) < topic.partitions.len())
        };
        self.groups.commit(commit, exists, slot, self.now_ms)?;
        let partitions: Vec<_> = commit.offsets.iter().map(|of| (of.topic, of.partition)).collect();
        self.transactions.supersede(&commit.group, &partitions);
        Ok(())
    }

    pub(super) fn delete_offsets(&mut self, group: &str, partitions: &[(Uuid, u32)]) -> Result<(), Void> {
        self.groups.delete_offsets(group, partitions)?;
        self.transactions.supersede(group, partitions);
        Ok(())
    }

    pub(super) fn delete_group(&mut self, group: &str) -> Result<(), Void> {
        self.groups.delete(group)?;
        let partitions: Vec<_> = self.transactions.pending(group).into_iter().collect();
        self.transactions.supersede(group, &partitions);
        Ok(())
    }
}
