//! Groups in a checkpoint.
//!
//! Must not know the group protocols. Invariant: canonical, like the rest of the checkpoint: by name, members by id,
//! offsets by topic and partition.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::super::commit::group::GroupMember;
use super::super::commit::wire::group::{Member, kind_number, numbered_kind};
use super::super::state::{CommittedOffset, Group, Groups};

#[derive(Clone, PartialEq, Message)]
pub(super) struct GroupWire {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(string, tag = "3")]
    protocol_type: String,
    #[prost(string, tag = "4")]
    protocol: String,
    #[prost(int32, tag = "5")]
    epoch: i32,
    #[prost(string, tag = "6")]
    leader: String,
    #[prost(bytes = "bytes", tag = "7")]
    state: Bytes,
    #[prost(uint64, tag = "8")]
    version: u64,
    #[prost(int64, tag = "9")]
    changed_ms: i64,
    #[prost(message, repeated, tag = "10")]
    members: Vec<Member>,
    #[prost(message, repeated, tag = "11")]
    topics: Vec<TopicOffsets>,
}

/// The committed offsets of one topic, in columns.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicOffsets {
    #[prost(bytes = "vec", tag = "1")]
    topic: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    partitions: Vec<u32>,
    #[prost(int64, repeated, tag = "3")]
    offsets: Vec<i64>,
    #[prost(sint32, repeated, tag = "4")]
    leader_epochs: Vec<i32>,
    #[prost(int64, repeated, tag = "5")]
    committed_ms: Vec<i64>,
    #[prost(string, repeated, tag = "6")]
    metadata: Vec<String>,
}

pub(super) fn encode(groups: &Groups) -> Vec<GroupWire> {
    let group = |(name, group): (&String, &Group)| GroupWire {
        name: name.clone(),
        kind: kind_number(group.kind),
        protocol_type: group.protocol_type.clone(),
        protocol: group.protocol.clone(),
        epoch: group.epoch,
        leader: group.leader.clone(),
        state: group.state.clone(),
        version: group.version,
        changed_ms: group.changed_ms,
        members: group.members.values().map(Member::from).collect(),
        topics: encode_offsets(&group.offsets),
    };
    groups.by_name.iter().map(group).collect()
}

pub(super) fn encode_offsets(committed: &BTreeMap<(Uuid, u32), CommittedOffset>) -> Vec<TopicOffsets> {
    let mut topics: Vec<TopicOffsets> = Vec::new();
    for ((topic, partition), committed) in committed {
        if topics.last().is_none_or(|last| last.topic != topic.as_bytes()) {
            topics.push(TopicOffsets { topic: topic.as_bytes().to_vec(), ..TopicOffsets::default() });
        }
        let Some(of) = topics.last_mut() else { continue };
        of.partitions.push(*partition);
        of.offsets.push(committed.offset);
        of.leader_epochs.push(committed.leader_epoch);
        of.committed_ms.push(committed.committed_ms);
        of.metadata.push(committed.metadata.clone());
    }
    topics
}

pub(super) fn decode(wire: Vec<GroupWire>) -> Option<Groups> {
    let count = wire.len();
    let mut groups = Groups::default();
    for wire in wire {
        let mut group = Group {
            kind: numbered_kind(wire.kind).ok()?,
            protocol_type: wire.protocol_type,
            protocol: wire.protocol,
            epoch: wire.epoch,
            leader: wire.leader,
            state: wire.state,
            version: wire.version,
            changed_ms: wire.changed_ms,
            ..Group::default()
        };
        group.members = wire
            .members
            .into_iter()
            .map(GroupMember::from)
            .map(|member| (member.id.clone(), member))
            .collect();
        for topic in wire.topics {
            decode_offsets(topic, &mut group.offsets)?;
        }
        groups.insert(wire.name, group);
    }
    (groups.by_name.len() == count).then_some(groups)
}

pub(super) fn decode_offsets(
    wire: TopicOffsets,
    into: &mut BTreeMap<(Uuid, u32), CommittedOffset>,
) -> Option<()> {
    let count = wire.partitions.len();
    let columns =
        [wire.offsets.len(), wire.leader_epochs.len(), wire.committed_ms.len(), wire.metadata.len()];
    if columns.iter().any(|column| *column != count) {
        return None;
    }
    let topic = Uuid::from_slice(&wire.topic).ok()?;
    let columns = wire.partitions.into_iter().zip(wire.offsets).zip(wire.leader_epochs);
    for (((partition, offset), leader_epoch), (committed_ms, metadata)) in
        columns.zip(wire.committed_ms.into_iter().zip(wire.metadata))
    {
        let committed = CommittedOffset { offset, leader_epoch, metadata, committed_ms };
        into.insert((topic, partition), committed);
    }
    Some(())
}
