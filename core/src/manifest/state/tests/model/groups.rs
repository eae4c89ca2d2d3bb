//! Groups in random histories: a model of plain maps, and an author who knows most of what he should and lies at times.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::manifest::commit::group::{CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup};
use crate::manifest::{Change, Manifest, Outcome, Void};
use crate::testing::Dice;

const WEEK_MS: i64 = 7 * 24 * super::HOUR_MS;
pub(super) const NAMES: [&str; 3] = ["readers", "writers", "others"];
const MEMBERS: [&str; 4] = ["one", "two", "three", "four"];

#[derive(Default)]
pub(super) struct Groups(BTreeMap<String, Group>);

/// The last update as it was, the members that came of all of them, and the last commit of every offset.
struct Group {
    last: Option<UpdateGroup>,
    version: u64,
    changed_ms: i64,
    members: BTreeMap<String, GroupMember>,
    offsets: BTreeMap<(Uuid, u32), (OffsetCommit, i64)>,
}

impl Groups {
    pub(super) fn update(&mut self, update: &UpdateGroup, slot: u64, now_ms: i64) -> Outcome {
        let held = self.0.get(&update.group);
        if held.map_or(0, |group| group.version) != update.seen_version {
            return Outcome::Void(Void::GroupChanged);
        }
        let epoch = held.and_then(|group| group.last.as_ref()).map_or(0, |last| last.epoch);
        if held.is_some() && update.epoch < epoch {
            return Outcome::Void(Void::Malformed);
        }
        let (mut members, offsets) = match self.0.remove(&update.group) {
            Some(group) => (group.members, group.offsets),
            None => Default::default(),
        };
        match update.replace {
            true => members.clear(),
            false => members.retain(|id, _| !update.remove.contains(id)),
        }
        members.extend(update.put.iter().cloned().map(|member| (member.id.clone(), member)));
        let last = Some(update.clone());
        let group = Group { last, version: slot, changed_ms: now_ms, members, offsets };
        self.0.insert(update.group.clone(), group);
        Outcome::GroupVersion(slot)
    }

    /// `width`: partitions of a topic.
    pub(super) fn commit(
        &mut self,
        commit: &CommitOffsets,
        width: impl Fn(&Uuid) -> usize,
        slot: u64,
        now_ms: i64,
    ) -> Outcome {
        if !self.0.contains_key(&commit.group) && commit.epoch < 0 {
            let group = Group {
                last: None,
                version: slot,
                changed_ms: now_ms,
                members: BTreeMap::new(),
                offsets: BTreeMap::new(),
            };
            self.0.insert(commit.group.clone(), group);
        }
        let Some(group) = self.0.get_mut(&commit.group) else {
            return Outcome::Void(Void::IllegalGeneration);
        };
        if let Some(void) = group.refuses(commit) {
            return Outcome::Void(void);
        }
        let kept = commit.offsets.iter().filter(|one| (one.partition as usize) < width(&one.topic));
        group.offsets.extend(kept.map(|one| ((one.topic, one.partition), (one.clone(), now_ms))));
        Outcome::Applied
    }

    /// Whether offsets may wait for a transaction. Who says nothing of himself is not asked (KIP-447).
    pub(super) fn awaits(&self, commit: &CommitOffsets) -> Result<(), Void> {
        let silent = commit.epoch < 0 && commit.member.is_empty() && commit.instance_id.is_none();
        match self.0.get(&commit.group) {
            _ if silent => Ok(()),
            Some(group) => group.refuses(commit).map_or(Ok(()), Err),
            None if commit.epoch < 0 => Ok(()),
            None => Err(Void::IllegalGeneration),
        }
    }

    /// A transaction was committed; the group may be gone, or never have been there.
    pub(super) fn receive(&mut self, group: &str, one: OffsetCommit, slot: u64, now_ms: i64) {
        let new = || Group {
            last: None,
            version: slot,
            changed_ms: now_ms,
            members: BTreeMap::new(),
            offsets: BTreeMap::new(),
        };
        let group = self.0.entry(group.to_owned()).or_insert_with(new);
        group.offsets.insert((one.topic, one.partition), (one, now_ms));
    }

    pub(super) fn delete(&mut self, name: &str) -> Outcome {
        match self.0.get(name) {
            None => Outcome::Void(Void::UnknownGroup),
            Some(group) if !group.members.is_empty() => Outcome::Void(Void::GroupNotEmpty),
            Some(_) => {
                self.0.remove(name);
                Outcome::Applied
            }
        }
    }

    pub(super) fn delete_offsets(&mut self, name: &str, partitions: &[(Uuid, u32)]) -> Outcome {
        let Some(group) = self.0.get_mut(name) else { return Outcome::Void(Void::UnknownGroup) };
        for partition in partitions {
            group.offsets.remove(partition);
        }
        Outcome::Applied
    }

    pub(super) fn forget(&mut self, topic: Uuid) {
        for group in self.0.values_mut() {
            group.offsets.retain(|(of, _), _| *of != topic);
        }
    }

    /// KIP-211.
    pub(super) fn expire(&mut self, now_ms: i64) {
        for group in self.0.values_mut().filter(|group| group.members.is_empty()) {
            let had_members = group.last.as_ref().is_some_and(|last| !last.protocol_type.is_empty());
            let since = if had_members { group.changed_ms } else { 0 };
            group.offsets.retain(|_, (_, at_ms)| now_ms - since.max(*at_ms) < WEEK_MS);
        }
        self.0.retain(|_, group| {
            let idle = group.members.is_empty() && group.offsets.is_empty();
            !idle || now_ms - group.changed_ms < WEEK_MS
        });
    }

    pub(super) fn check(&self, manifest: &Manifest) {
        assert!(manifest.groups().map(|(name, _)| name).eq(self.0.keys()));
        for ((name, group), model) in manifest.groups().zip(self.0.values()) {
            assert_eq!((group.version, group.changed_ms), (model.version, model.changed_ms), "{name}");
            assert_eq!(group.members, model.members, "{name}");
            let last = model.last.as_ref();
            assert_eq!(group.kind, last.map_or(GroupKind::Simple, |last| last.kind));
            assert_eq!(group.epoch, last.map_or(0, |last| last.epoch));
            assert_eq!(group.leader, last.map_or("", |last| &last.leader));
            assert_eq!(group.protocol, last.map_or("", |last| &last.protocol));
            assert_eq!(group.protocol_type, last.map_or("", |last| &last.protocol_type));
            assert_eq!(group.state, last.map_or(Bytes::new(), |last| last.state.clone()));
            let offsets = group.offsets.iter().map(|((topic, partition), one)| {
                let (topic, partition, metadata) = (*topic, *partition, one.metadata.clone());
                let (offset, leader_epoch) = (one.offset, one.leader_epoch);
                (OffsetCommit { topic, partition, offset, leader_epoch, metadata }, one.committed_ms)
            });
            assert!(offsets.eq(model.offsets.values().cloned()), "{name}: {:?}", group.offsets);
        }
    }
}

impl Group {
    fn refuses(&self, commit: &CommitOffsets) -> Option<Void> {
        if commit.epoch < 0 && self.members.is_empty() {
            return None;
        }
        let holder = self
            .members
            .values()
            .find(|member| member.instance_id.is_some() && member.instance_id == commit.instance_id);
        match (&commit.instance_id, holder) {
            (Some(_), None) => return Some(Void::UnknownMember),
            (Some(_), Some(holder)) if holder.id != commit.member => return Some(Void::FencedInstance),
            _ => {}
        }
        let Some(member) = self.members.get(&commit.member) else { return Some(Void::UnknownMember) };
        let kind = self.last.as_ref().map_or(GroupKind::Simple, |last| last.kind);
        (member.epoch != commit.epoch).then_some(match kind {
            GroupKind::Consumer => Void::StaleMemberEpoch,
            _ => Void::IllegalGeneration,
        })
    }
}

/// Makes changes of groups as coordinators and members do, and as those do who were away.
#[derive(Default)]
pub(super) struct GroupsAuthor {
    /// Version, epoch and members' epochs as they were last seen.
    seen: BTreeMap<String, (u64, i32, Vec<GroupMember>)>,
}

impl GroupsAuthor {
    pub(super) fn look(&mut self, manifest: &Manifest) {
        let groups = manifest.groups().map(|(name, group)| {
            let members = group.members.values().cloned().collect();
            (name.to_owned(), (group.version, group.epoch, members))
        });
        self.seen = groups.collect();
    }

    pub(super) fn change(&mut self, dice: &mut Dice, topics: &[Uuid]) -> Change {
        let group = (*dice.pick(&NAMES)).to_owned();
        match dice.below(20) {
            0 => Change::DeleteGroup { group },
            1 => {
                let partitions = (0..3).map(|partition| (*dice.pick(topics), partition)).collect();
                Change::DeleteOffsets { group, partitions }
            }
            2..9 => Change::UpdateGroup(self.update(dice, group)),
            _ => Change::CommitOffsets(self.commit(dice, group, topics)),
        }
    }

    fn update(&self, dice: &mut Dice, group: String) -> UpdateGroup {
        let (version, epoch, _) = self.seen.get(&group).cloned().unwrap_or_default();
        let epoch = (epoch + dice.below(4) as i32 - i32::from(dice.per_mille(100)) * 2).max(-1);
        let kind = *dice.pick(&[GroupKind::Classic, GroupKind::Classic, GroupKind::Consumer]);
        let leaves_all = dice.per_mille(250);
        let put = if leaves_all { 0 } else { dice.below(4) };
        let some = |dice: &mut Dice, values: &[&str]| (*dice.pick(values)).to_owned();
        UpdateGroup {
            seen_version: if dice.per_mille(100) { dice.below(60) } else { version },
            kind,
            protocol_type: some(dice, &["consumer", "consumer", ""]),
            protocol: some(dice, &["", "range"]),
            epoch,
            leader: some(dice, &MEMBERS),
            state: Bytes::from(vec![7; dice.below(3) as usize]),
            replace: leaves_all || dice.per_mille(200),
            put: (0..put).map(|_| member(dice, epoch)).collect(),
            remove: (0..dice.below(2)).map(|_| some(dice, &MEMBERS)).collect(),
            group,
        }
    }

    pub(super) fn commit(&self, dice: &mut Dice, group: String, topics: &[Uuid]) -> CommitOffsets {
        let members = self.seen.get(&group).map(|(_, _, members)| members.clone()).unwrap_or_default();
        let epoch = *dice.pick(&[-1, -1, 0, 2, 5]);
        let who = match members.is_empty() || dice.per_mille(200) {
            true => member(dice, epoch),
            false => dice.pick(&members).clone(),
        };
        let offset = |dice: &mut Dice| OffsetCommit {
            topic: *dice.pick(topics),
            partition: dice.below(5) as u32,
            offset: dice.below(100) as i64,
            leader_epoch: dice.below(3) as i32 - 1,
            metadata: "m".repeat(dice.below(3) as usize),
        };
        CommitOffsets {
            group,
            member: who.id,
            epoch: who.epoch - i32::from(dice.per_mille(100)),
            instance_id: if dice.per_mille(800) { who.instance_id } else { Some("a".to_owned()) },
            offsets: (0..dice.between(1, 4)).map(|_| offset(dice)).collect(),
        }
    }
}

fn member(dice: &mut Dice, epoch: i32) -> GroupMember {
    GroupMember {
        id: (*dice.pick(&MEMBERS)).to_owned(),
        epoch,
        instance_id: dice.per_mille(300).then(|| (*dice.pick(&["a", "b"])).to_owned()),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        subscription: Bytes::from(vec![1; dice.below(9) as usize]),
        assignment: Bytes::from(vec![2; dice.below(9) as usize]),
    }
}
