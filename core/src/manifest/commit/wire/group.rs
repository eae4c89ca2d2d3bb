//! The shapes of group changes on disk, some of them also part of checkpoints.
//!
//! Must not know the fold. Invariant: tags keep their meaning for ever; fields are only added.

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::super::group::{CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup};
use super::array;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Group {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(uint64, tag = "2")]
    seen_version: u64,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(string, tag = "4")]
    protocol_type: String,
    #[prost(string, tag = "5")]
    protocol: String,
    #[prost(int32, tag = "6")]
    epoch: i32,
    #[prost(string, tag = "7")]
    leader: String,
    #[prost(bytes = "bytes", tag = "8")]
    state: Bytes,
    #[prost(bool, tag = "9")]
    replace: bool,
    #[prost(message, repeated, tag = "10")]
    put: Vec<Member>,
    #[prost(string, repeated, tag = "11")]
    remove: Vec<String>,
}

/// Also part of a checkpoint.
#[derive(Clone, PartialEq, Message)]
pub(in crate::manifest) struct Member {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(sint32, tag = "2")]
    epoch: i32,
    #[prost(string, optional, tag = "3")]
    instance_id: Option<String>,
    #[prost(string, tag = "4")]
    client_id: String,
    #[prost(string, tag = "5")]
    client_host: String,
    #[prost(int32, tag = "6")]
    session_timeout_ms: i32,
    #[prost(int32, tag = "7")]
    rebalance_timeout_ms: i32,
    #[prost(bytes = "bytes", tag = "8")]
    subscription: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    assignment: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Offsets {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    member: String,
    #[prost(sint32, tag = "3")]
    epoch: i32,
    #[prost(string, optional, tag = "4")]
    instance_id: Option<String>,
    #[prost(message, repeated, tag = "5")]
    offsets: Vec<Offset>,
}

#[derive(Clone, PartialEq, Message)]
struct Offset {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(int64, tag = "3")]
    offset: i64,
    #[prost(sint32, tag = "4")]
    leader_epoch: i32,
    #[prost(string, tag = "5")]
    metadata: String,
}

impl From<&UpdateGroup> for Group {
    fn from(update: &UpdateGroup) -> Group {
        Group {
            group: update.group.clone(),
            seen_version: update.seen_version,
            kind: kind_number(update.kind),
            protocol_type: update.protocol_type.clone(),
            protocol: update.protocol.clone(),
            epoch: update.epoch,
            leader: update.leader.clone(),
            state: update.state.clone(),
            replace: update.replace,
            put: update.put.iter().map(Member::from).collect(),
            remove: update.remove.clone(),
        }
    }
}

impl From<&GroupMember> for Member {
    fn from(member: &GroupMember) -> Member {
        let GroupMember { id, epoch, instance_id, client_id, client_host, .. } = member.clone();
        Member {
            id,
            epoch,
            instance_id,
            client_id,
            client_host,
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            subscription: member.subscription.clone(),
            assignment: member.assignment.clone(),
        }
    }
}

impl From<&CommitOffsets> for Offsets {
    fn from(commit: &CommitOffsets) -> Offsets {
        let offset = |offset: &OffsetCommit| Offset {
            topic: Bytes::copy_from_slice(offset.topic.as_bytes()),
            partition: offset.partition,
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: offset.metadata.clone(),
        };
        Offsets {
            group: commit.group.clone(),
            member: commit.member.clone(),
            epoch: commit.epoch,
            instance_id: commit.instance_id.clone(),
            offsets: commit.offsets.iter().map(offset).collect(),
        }
    }
}

/// The number of a kind on disk.
pub(in crate::manifest) fn kind_number(kind: GroupKind) -> u32 {
    match kind {
        GroupKind::Simple => 0,
        GroupKind::Classic => 1,
        GroupKind::Consumer => 2,
    }
}

/// The kind with this number.
pub(in crate::manifest) fn numbered_kind(number: u32) -> Result<GroupKind, &'static str> {
    match number {
        0 => Ok(GroupKind::Simple),
        1 => Ok(GroupKind::Classic),
        2 => Ok(GroupKind::Consumer),
        _ => Err("a group of a kind that this program does not know"),
    }
}

impl TryFrom<Group> for UpdateGroup {
    type Error = &'static str;

    fn try_from(wire: Group) -> Result<UpdateGroup, &'static str> {
        Ok(UpdateGroup {
            group: wire.group,
            seen_version: wire.seen_version,
            kind: numbered_kind(wire.kind)?,
            protocol_type: wire.protocol_type,
            protocol: wire.protocol,
            epoch: wire.epoch,
            leader: wire.leader,
            state: wire.state,
            replace: wire.replace,
            put: wire.put.into_iter().map(GroupMember::from).collect(),
            remove: wire.remove,
        })
    }
}

impl From<Member> for GroupMember {
    fn from(wire: Member) -> GroupMember {
        GroupMember {
            id: wire.id,
            epoch: wire.epoch,
            instance_id: wire.instance_id,
            client_id: wire.client_id,
            client_host: wire.client_host,
            session_timeout_ms: wire.session_timeout_ms,
            rebalance_timeout_ms: wire.rebalance_timeout_ms,
            subscription: wire.subscription,
            assignment: wire.assignment,
        }
    }
}

impl TryFrom<Offsets> for CommitOffsets {
    type Error = &'static str;

    fn try_from(wire: Offsets) -> Result<CommitOffsets, &'static str> {
        let offset = |wire: Offset| {
            Ok(OffsetCommit {
                topic: Uuid::from_bytes(array(&wire.topic, "a topic id is not 16 bytes")?),
                partition: wire.partition,
                offset: wire.offset,
                leader_epoch: wire.leader_epoch,
                metadata: wire.metadata,
            })
        };
        Ok(CommitOffsets {
            group: wire.group,
            member: wire.member,
            epoch: wire.epoch,
            instance_id: wire.instance_id,
            offsets: wire.offsets.into_iter().map(offset).collect::<Result<_, &'static str>>()?,
        })
    }
}
