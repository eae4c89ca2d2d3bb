//! Groups, folded a second time: who is a member, which offsets are committed, what has expired.
//!
//! Shares nothing with the production fold but the form of changes.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_core::manifest::commit::group::{CommitOffsets, GroupKind, GroupMember, UpdateGroup};
use strandline_core::manifest::{self, Manifest, Outcome, Void};
use uuid::Uuid;

/// How long offsets of a group without members are kept.
const RETENTION_MS: i64 = 7 * 86_400_000;

#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<String, Group>);

#[derive(Debug, Default)]
struct Group {
    kind: GroupKind,
    protocol: (String, String),
    epoch: i32,
    leader: String,
    state: Bytes,
    version: u64,
    changed_ms: i64,
    members: BTreeMap<String, GroupMember>,
    offsets: BTreeMap<(Uuid, u32), Committed>,
}

#[derive(Debug)]
struct Committed {
    offset: i64,
    leader_epoch: i32,
    metadata: String,
    at_ms: i64,
}

impl Groups {
    pub(super) fn update(&mut self, update: &UpdateGroup, slot: u64, now_ms: i64) -> Outcome {
        let (version, epoch) =
            self.0.get(&update.group).map_or((0, i32::MIN), |group| (group.version, group.epoch));
        if version != update.seen_version {
            return Outcome::Void(Void::GroupChanged);
        }
        if update.epoch < epoch {
            return Outcome::Void(Void::Malformed);
        }
        let group = self.0.entry(update.group.clone()).or_default();
        group.members.retain(|id, _| !update.replace && !update.remove.contains(id));
        for member in &update.put {
            group.members.insert(member.id.clone(), member.clone());
        }
        group.kind = update.kind;
        group.protocol = (update.protocol_type.clone(), update.protocol.clone());
        group.epoch = update.epoch;
        group.leader = update.leader.clone();
        group.state = update.state.clone();
        (group.version, group.changed_ms) = (slot, now_ms);
        Outcome::GroupVersion(slot)
    }

    /// `there`: whether the log has a partition.
    pub(super) fn commit(
        &mut self,
        commit: &CommitOffsets,
        there: impl Fn(Uuid, u32) -> bool,
        slot: u64,
        now_ms: i64,
    ) -> Outcome {
        let allowed = match self.0.get(&commit.group) {
            Some(group) => group.allows(commit),
            None if commit.epoch < 0 => Ok(()),
            None => Err(Void::IllegalGeneration),
        };
        if let Err(void) = allowed {
            return Outcome::Void(void);
        }
        self.put(commit, there, slot, now_ms);
        Outcome::Applied
    }

    /// Whether a transaction may bring these: whoever names a member must be it.
    pub(super) fn would_take(&self, commit: &CommitOffsets) -> Result<(), Void> {
        let nobody = commit.epoch < 0 && commit.member.is_empty() && commit.instance_id.is_none();
        match self.0.get(&commit.group) {
            Some(_) if nobody => Ok(()),
            Some(group) => group.allows(commit),
            None if commit.epoch < 0 => Ok(()),
            None => Err(Void::IllegalGeneration),
        }
    }

    /// Those of a committed transaction, which nobody can refuse any more.
    pub(super) fn take(
        &mut self,
        commit: &CommitOffsets,
        there: impl Fn(Uuid, u32) -> bool,
        slot: u64,
        now_ms: i64,
    ) {
        if commit.offsets.iter().any(|one| there(one.topic, one.partition)) {
            self.put(commit, there, slot, now_ms);
        }
    }

    fn put(&mut self, commit: &CommitOffsets, there: impl Fn(Uuid, u32) -> bool, slot: u64, now_ms: i64) {
        let group = self.0.entry(commit.group.clone()).or_insert_with(|| Group {
            version: slot,
            changed_ms: now_ms,
            ..Group::default()
        });
        for one in &commit.offsets {
            if there(one.topic, one.partition) {
                let committed = Committed {
                    offset: one.offset,
                    leader_epoch: one.leader_epoch,
                    metadata: one.metadata.clone(),
                    at_ms: now_ms,
                };
                group.offsets.insert((one.topic, one.partition), committed);
            }
        }
    }

    pub(super) fn delete(&mut self, name: &str) -> Outcome {
        match self.0.get(name).map(|group| group.members.len()) {
            None => Outcome::Void(Void::UnknownGroup),
            Some(0) => {
                self.0.remove(name);
                Outcome::Applied
            }
            Some(_) => Outcome::Void(Void::GroupNotEmpty),
        }
    }

    pub(super) fn delete_offsets(&mut self, name: &str, partitions: &[(Uuid, u32)]) -> Outcome {
        match self.0.get_mut(name) {
            None => Outcome::Void(Void::UnknownGroup),
            Some(group) => {
                group.offsets.retain(|of, _| !partitions.contains(of));
                Outcome::Applied
            }
        }
    }

    pub(super) fn topic_is_gone(&mut self, topic: Uuid) {
        for group in self.0.values_mut() {
            group.offsets.retain(|(of, _), _| *of != topic);
        }
    }

    pub(super) fn expire(&mut self, now_ms: i64) {
        let old = |ms: i64| now_ms - ms >= RETENTION_MS;
        self.0.retain(|_, group| {
            if !group.members.is_empty() {
                return true;
            }
            // Members that left count; those who only ever committed by hand never joined.
            let had_members = !group.protocol.0.is_empty();
            let (since, emptied) = (group.changed_ms, |ms: i64| old(ms));
            group.offsets.retain(|_, one| !emptied(one.at_ms) || (had_members && !emptied(since)));
            !group.offsets.is_empty() || !old(since)
        });
    }

    /// How the manifest's groups differ from these.
    pub(super) fn difference(&self, manifest: &Manifest) -> Option<String> {
        let theirs: BTreeMap<_, _> = manifest.groups().collect();
        if !theirs.keys().copied().eq(self.0.keys().map(String::as_str)) {
            return Some(format!(
                "the manifest has the groups {:?}, the oracle {:?}",
                theirs.keys(),
                self.0.keys()
            ));
        }
        let mut both =
            self.0.iter().filter_map(|(name, group)| Some((name, group, *theirs.get(name.as_str())?)));
        both.find_map(|(name, group, theirs)| {
            (!group.is(theirs))
                .then(|| format!("the group {name} is {theirs:?} in the manifest, the oracle says {group:?}"))
        })
    }
}

impl Group {
    fn allows(&self, commit: &CommitOffsets) -> Result<(), Void> {
        if self.members.is_empty() && commit.epoch < 0 {
            return Ok(());
        }
        if commit.instance_id.is_some() {
            let holds = |member: &&GroupMember| member.instance_id == commit.instance_id;
            match self.members.values().find(holds) {
                Some(holder) if holder.id == commit.member => {}
                Some(_) => return Err(Void::FencedInstance),
                None => return Err(Void::UnknownMember),
            }
        }
        match (self.members.get(&commit.member), self.kind) {
            (None, _) => Err(Void::UnknownMember),
            (Some(member), _) if member.epoch == commit.epoch => Ok(()),
            (Some(_), GroupKind::Consumer) => Err(Void::StaleMemberEpoch),
            (Some(_), _) => Err(Void::IllegalGeneration),
        }
    }

    fn is(&self, theirs: &manifest::Group) -> bool {
        let same = |(of, one): (&(Uuid, u32), &Committed)| {
            theirs.offsets.get(of).is_some_and(|other| {
                (other.offset, other.leader_epoch, &other.metadata, other.committed_ms)
                    == (one.offset, one.leader_epoch, &one.metadata, one.at_ms)
            })
        };
        (self.kind, self.epoch, self.version, self.changed_ms)
            == (theirs.kind, theirs.epoch, theirs.version, theirs.changed_ms)
            && (&self.protocol.0, &self.protocol.1) == (&theirs.protocol_type, &theirs.protocol)
            && (&self.leader, &self.state, &self.members) == (&theirs.leader, &theirs.state, &theirs.members)
            && self.offsets.len() == theirs.offsets.len()
            && self.offsets.iter().all(same)
    }
}
