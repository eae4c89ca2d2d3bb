//! Groups in the fold, case by case: who may commit offsets, when a change of members holds, what is forgotten and when.
//!
//! Must not know the group protocols.

use bytes::Bytes;

use super::*;
use crate::limits::{MAX_GROUP_BYTES, MAX_GROUP_NAME_BYTES, MAX_OFFSET_METADATA_BYTES, OFFSETS_RETENTION};
use crate::manifest::{CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup};

const RETENTION_MS: i64 = OFFSETS_RETENTION.as_millis() as i64;

/// A fold of the level that knows groups.
fn fold() -> Fold {
    let mut fold = Fold::new();
    assert_eq!(fold.change(Change::FeatureLevel { level: 2 }), Outcome::Applied);
    fold
}

impl Fold {
    /// One change in a commit of this time.
    fn at(&mut self, timestamp_ms: i64, change: Change) -> Outcome {
        self.counter += 1;
        let commit = Commit { timestamp_ms, ..commit(1, self.counter, self.counter, vec![change]) };
        self.commit(&commit).remove(0)
    }

    fn version(&self) -> u64 {
        self.manifest.group("g").map_or(0, |group| group.version)
    }

    /// The group `g` has these members now.
    fn members(&mut self, kind: GroupKind, epoch: i32, put: Vec<GroupMember>) -> Outcome {
        let seen_version = self.version();
        self.change(Change::UpdateGroup(UpdateGroup { kind, put, ..update(seen_version, epoch) }))
    }

    fn offset(&self, group: &str, partition: u32) -> Option<i64> {
        self.manifest.group(group)?.offsets.get(&(TOPIC, partition)).map(|committed| committed.offset)
    }
}

fn update(seen_version: u64, epoch: i32) -> UpdateGroup {
    UpdateGroup {
        group: "g".to_owned(),
        seen_version,
        kind: GroupKind::Classic,
        protocol_type: "consumer".to_owned(),
        protocol: "range".to_owned(),
        epoch,
        leader: String::new(),
        state: Bytes::from_static(b"state"),
        replace: true,
        put: Vec::new(),
        remove: Vec::new(),
    }
}

fn member(id: &str, epoch: i32) -> GroupMember {
    GroupMember { id: id.to_owned(), epoch, assignment: Bytes::from_static(b"all"), ..GroupMember::default() }
}

fn offsets_of(group: &str, member: &str, epoch: i32, offset: i64) -> CommitOffsets {
    let of =
        OffsetCommit { topic: TOPIC, partition: 0, offset, leader_epoch: 0, metadata: "here".to_owned() };
    let (group, member) = (group.to_owned(), member.to_owned());
    CommitOffsets { group, member, epoch, instance_id: None, offsets: vec![of] }
}

fn offset(member: &str, epoch: i32, offset: i64) -> Change {
    Change::CommitOffsets(offsets_of("g", member, epoch, offset))
}

fn static_offset(member: &str, instance_id: &str) -> Change {
    let instance_id = Some(instance_id.to_owned());
    Change::CommitOffsets(CommitOffsets { instance_id, ..offsets_of("g", member, 1, 5) })
}

#[test]
fn offsets_of_a_stale_generation_are_void() {
    let mut fold = fold();
    assert_eq!(fold.change(offset("a", 3, 9)), Outcome::Void(Void::IllegalGeneration), "no such group");
    assert_eq!(
        fold.members(GroupKind::Classic, 3, vec![member("a", 3), member("b", 3)]),
        Outcome::GroupVersion(4)
    );
    assert_eq!(fold.change(offset("a", 3, 10)), Outcome::Applied);
    assert_eq!(fold.members(GroupKind::Classic, 4, vec![member("a", 4)]), Outcome::GroupVersion(6));
    for epoch in [3, 5, 0, i32::MAX] {
        assert_eq!(fold.change(offset("a", epoch, 11)), Outcome::Void(Void::IllegalGeneration), "{epoch}");
    }
    assert_eq!(fold.change(offset("b", 4, 11)), Outcome::Void(Void::UnknownMember), "it was left out");
    assert_eq!(fold.offset("g", 0), Some(10));
    assert_eq!(fold.change(offset("a", 4, 12)), Outcome::Applied);
    assert_eq!(fold.offset("g", 0), Some(12));
}

#[test]
fn members_of_the_newer_protocol_have_epochs_of_their_own() {
    let mut fold = fold();
    fold.members(GroupKind::Consumer, 7, vec![member("a", 7), member("b", 5)]);
    assert_eq!(fold.change(offset("b", 5, 1)), Outcome::Applied);
    assert_eq!(fold.change(offset("b", 7, 2)), Outcome::Void(Void::StaleMemberEpoch));
    assert_eq!(fold.change(offset("c", 7, 2)), Outcome::Void(Void::UnknownMember));
    assert_eq!(fold.offset("g", 0), Some(1));
}

#[test]
fn a_member_that_was_replaced_is_fenced() {
    let mut fold = fold();
    let named = |id, instance: &str| GroupMember { instance_id: Some(instance.to_owned()), ..member(id, 1) };
    fold.members(GroupKind::Classic, 1, vec![named("a2", "one"), member("b", 1)]);
    assert_eq!(fold.change(static_offset("a1", "one")), Outcome::Void(Void::FencedInstance));
    assert_eq!(fold.change(static_offset("a2", "two")), Outcome::Void(Void::UnknownMember));
    assert_eq!(fold.change(static_offset("a2", "one")), Outcome::Applied);
    assert_eq!(
        fold.change(offset("a2", 1, 6)),
        Outcome::Applied,
        "as of clients that leave the instance out"
    );
}

/// Simple consumers, Flink, MirrorMaker and tools commit so (generation -1, no member).
#[test]
fn without_a_generation_offsets_are_committed_only_while_there_are_no_members() {
    let mut fold = fold();
    assert_eq!(fold.change(offset("", -1, 3)), Outcome::Applied, "it makes the group");
    let group = fold.manifest.group("g").cloned().unwrap();
    assert_eq!((group.kind, group.version, group.protocol_type.as_str()), (GroupKind::Simple, 3, ""));
    fold.members(GroupKind::Classic, 1, vec![member("a", 1)]);
    assert_eq!(fold.change(offset("", -1, 4)), Outcome::Void(Void::UnknownMember));
    assert_eq!(fold.change(offset("a", -1, 4)), Outcome::Void(Void::IllegalGeneration));
    assert_eq!(fold.offset("g", 0), Some(3), "members find what was committed before them");
    fold.members(GroupKind::Classic, 2, vec![]);
    assert_eq!(fold.change(offset("", -1, 5)), Outcome::Applied);
    assert_eq!(fold.change(offset("a", 2, 6)), Outcome::Void(Void::UnknownMember), "a late one");
    assert_eq!(fold.offset("g", 0), Some(5));
}

/// Two coordinators that do not know of each other cannot undo what the other did.
#[test]
fn a_change_of_members_holds_only_against_the_version_that_was_seen() {
    let mut fold = fold();
    let change = |seen_version, epoch, put| {
        Change::UpdateGroup(UpdateGroup { put, replace: false, ..update(seen_version, epoch) })
    };
    assert_eq!(
        fold.change(change(1, 1, vec![])),
        Outcome::Void(Void::GroupChanged),
        "there is no such group"
    );
    assert_eq!(fold.change(change(0, 1, vec![member("a", 1)])), Outcome::GroupVersion(4));
    for stale in [0, 3, 5] {
        let lost = fold.change(change(stale, 2, vec![member("b", 2)]));
        assert_eq!(lost, Outcome::Void(Void::GroupChanged), "{stale}");
    }
    // Offsets do not change the version, or every commit would undo a rebalance.
    assert_eq!(fold.change(offset("a", 1, 1)), Outcome::Applied);
    assert_eq!(fold.change(change(4, 2, vec![member("b", 2)])), Outcome::GroupVersion(9));
    assert_eq!(fold.manifest.group("g").unwrap().members.len(), 2, "who is not named stays");
    assert_eq!(
        fold.change(change(9, 1, vec![])),
        Outcome::Void(Void::Malformed),
        "the generation never falls"
    );
    let away = UpdateGroup { replace: false, remove: vec!["a".to_owned(), "x".to_owned()], ..update(9, 2) };
    assert_eq!(fold.change(Change::UpdateGroup(away)), Outcome::GroupVersion(11));
    assert_eq!(fold.manifest.group("g").unwrap().members.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn two_changes_in_one_commit_do_not_share_a_version_that_both_saw() {
    let mut fold = fold();
    let first = UpdateGroup { put: vec![member("a", 1)], ..update(0, 1) };
    let second = UpdateGroup { put: vec![member("b", 1)], ..update(0, 1) };
    let both = commit(9, 1, 1, vec![Change::UpdateGroup(first), Change::UpdateGroup(second)]);
    assert_eq!(fold.commit(&both), [Outcome::GroupVersion(3), Outcome::Void(Void::GroupChanged)]);
}

#[test]
fn a_group_with_members_cannot_be_deleted() {
    let mut fold = fold();
    let delete = || Change::DeleteGroup { group: "g".to_owned() };
    assert_eq!(fold.change(delete()), Outcome::Void(Void::UnknownGroup));
    fold.members(GroupKind::Classic, 1, vec![member("a", 1)]);
    fold.change(offset("a", 1, 5));
    assert_eq!(fold.change(delete()), Outcome::Void(Void::GroupNotEmpty));
    fold.members(GroupKind::Classic, 2, vec![]);
    assert_eq!(fold.change(delete()), Outcome::Applied);
    assert!(fold.manifest.group("g").is_none());
    let late = fold.change(Change::UpdateGroup(update(1, 3)));
    assert_eq!(late, Outcome::Void(Void::GroupChanged), "nor does a late change bring it back");
}

#[test]
fn offsets_are_forgotten_one_by_one_and_with_their_topic() {
    let mut fold = fold();
    let other = Uuid::from_u128(2);
    fold.change(create(other, "u"));
    let of = |topic, partition| OffsetCommit {
        topic,
        partition,
        offset: i64::from(partition),
        leader_epoch: -1,
        metadata: String::new(),
    };
    // Neither the partition 2 nor the topic 3 exists: nothing is kept of them, and the rest holds.
    let offsets = vec![of(TOPIC, 0), of(TOPIC, 1), of(other, 0), of(other, 2), of(Uuid::from_u128(3), 0)];
    let commit = CommitOffsets { offsets, ..offsets_of("g", "", -1, 0) };
    assert_eq!(fold.change(Change::CommitOffsets(commit)), Outcome::Applied);
    let kept =
        |fold: &Fold| -> Vec<_> { fold.manifest.group("g").unwrap().offsets.keys().copied().collect() };
    assert_eq!(kept(&fold), [(TOPIC, 0), (TOPIC, 1), (other, 0)]);

    let delete = |group: &str, partitions| Change::DeleteOffsets { group: group.to_owned(), partitions };
    assert_eq!(fold.change(delete("h", vec![])), Outcome::Void(Void::UnknownGroup));
    assert_eq!(fold.change(delete("g", vec![(TOPIC, 1), (TOPIC, 9)])), Outcome::Applied);
    assert_eq!(kept(&fold), [(TOPIC, 0), (other, 0)]);
    fold.change(Change::DeleteTopic { id: TOPIC });
    assert_eq!(kept(&fold), [(other, 0)]);
    assert_eq!(fold.change(create(Uuid::from_u128(4), "t")), Outcome::Applied);
    assert_eq!(kept(&fold), [(other, 0)], "a topic that takes the name begins without offsets");
}

#[test]
fn offsets_expire_a_week_after_their_commit_or_the_last_member() {
    let mut fold = fold();
    let simple = |group: &str| Change::CommitOffsets(offsets_of(group, "", -1, 1));
    fold.at(HOUR_MS, simple("simple"));
    fold.at(HOUR_MS, Change::UpdateGroup(UpdateGroup { put: vec![member("a", 1)], ..update(0, 1) }));
    fold.at(HOUR_MS, offset("a", 1, 1));

    fold.at(RETENTION_MS + HOUR_MS - 1, Change::Tick);
    assert!(fold.manifest.group("simple").is_some());
    fold.at(RETENTION_MS + HOUR_MS, Change::Tick);
    assert!(fold.manifest.group("simple").is_none(), "a week is over");
    let later = 3 * RETENTION_MS;
    fold.at(later, Change::Tick);
    assert_eq!(fold.offset("g", 0), Some(1), "a group with members forgets nothing, however silent");

    let (seen, left) = (fold.version(), later + HOUR_MS);
    fold.at(left, Change::UpdateGroup(update(seen, 2)));
    fold.at(left + RETENTION_MS - HOUR_MS, Change::Tick);
    assert_eq!(fold.offset("g", 0), Some(1), "counted from the end of its last member");
    fold.at(left + RETENTION_MS, Change::Tick);
    assert!(fold.manifest.group("g").is_none());
    assert_eq!(fold.manifest.groups, Groups::default(), "the counts too are as at the beginning");
}

/// Programs of level 1 did not forget: a journal of theirs must fold to what they made of it.
#[test]
fn nothing_expires_before_the_level_is_raised() {
    let mut fold = Fold::new();
    fold.at(0, Change::CommitOffsets(offsets_of("g", "", -1, 1)));
    fold.at(10 * RETENTION_MS, Change::Tick);
    assert_eq!(fold.offset("g", 0), Some(1));
    fold.change(Change::FeatureLevel { level: 2 });
    fold.at(11 * RETENTION_MS, Change::Tick);
    assert_eq!(fold.offset("g", 0), None);
}

#[test]
fn limits_hold() {
    let mut fold = fold();
    let name = "n".repeat(MAX_GROUP_NAME_BYTES + 1);
    let long = Change::CommitOffsets(offsets_of(&name, "", -1, 0));
    assert_eq!(fold.change(long), Outcome::Void(Void::Malformed));
    let mut chatty = offsets_of("g", "", -1, 0);
    chatty.offsets[0].metadata = "m".repeat(MAX_OFFSET_METADATA_BYTES + 1);
    assert_eq!(fold.change(Change::CommitOffsets(chatty)), Outcome::Void(Void::Malformed));
    for group in [name, String::new()] {
        let nameless = UpdateGroup { group, ..update(0, 1) };
        assert_eq!(fold.change(Change::UpdateGroup(nameless)), Outcome::Void(Void::Malformed));
    }
    let heavy = |id, bytes| GroupMember { subscription: Bytes::from(vec![0; bytes]), ..member(id, 1) };
    let half = MAX_GROUP_BYTES / 2;
    assert_eq!(fold.members(GroupKind::Classic, 1, vec![heavy("a", half - 100)]), Outcome::GroupVersion(7));
    let both = vec![heavy("a", half), heavy("b", half)];
    assert_eq!(fold.members(GroupKind::Classic, 1, both), Outcome::Void(Void::LimitReached));
    assert_eq!(fold.manifest.group("g").unwrap().members.len(), 1, "what was refused left nothing behind");
}

/// Nodes are compared by these bytes: what a checkpoint holds is all of a group, and says it in one way only.
#[test]
fn a_checkpoint_holds_groups_whole() {
    let mut fold = fold();
    let whole = GroupMember {
        id: "a".to_owned(),
        epoch: 2,
        instance_id: Some(String::new()),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        subscription: Bytes::from_static(b"s"),
        assignment: Bytes::from_static(b"a"),
    };
    let leader = "a".to_owned();
    let put = vec![whole, member("b", 2)];
    fold.at(5, Change::UpdateGroup(UpdateGroup { leader, put, ..update(0, 2) }));
    fold.at(6, offset("a", 2, i64::MAX));
    fold.at(7, Change::CommitOffsets(offsets_of("", "", -1, -5)));
    for kind in [GroupKind::Simple, GroupKind::Classic, GroupKind::Consumer] {
        let seen = fold.version();
        fold.change(Change::UpdateGroup(UpdateGroup { kind, replace: false, ..update(seen, 2) }));
        let bytes = checkpoint::encode(&fold.manifest);
        let decoded = checkpoint::decode("checkpoint/x", &bytes).unwrap();
        assert_eq!(decoded, fold.manifest, "the counts that limits go by are among it");
        assert_eq!(checkpoint::encode(&decoded), bytes);
    }
    // The decoded one folds on as the other does.
    let group = fold.manifest.group("g").unwrap();
    assert_eq!((group.members.len(), group.offsets.len(), group.changed_ms), (2, 1, 7));
}
