//! A group's durable form: members and state as the manifest keeps them, and back.
//!
//! Must not know what they mean. Invariant: what is encoded is decoded alike by every later version; fields are only
//! added.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use strandline_core::manifest::{Group, GroupMember};
use uuid::Uuid;

use super::assignor::Assignor;
use super::member::{Classic, Member, Step};
use super::topics::Partitions;
use crate::groups::classic::subscription;

/// What a group knows beside its members.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct State {
    /// The group epoch that the targets were made for.
    #[prost(int32, tag = "1")]
    pub(super) assignment_epoch: i32,
    /// Of the subscribed topics, their ids and partitions, at the group's epoch.
    #[prost(fixed64, tag = "2")]
    pub(super) topics_hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Subscription {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
    #[prost(string, tag = "2")]
    regex: String,
    #[prost(string, optional, tag = "3")]
    rack: Option<String>,
    /// Empty: any.
    #[prost(string, tag = "4")]
    assignor: String,
    /// The protocols of a member that speaks the classic one, as a classic group keeps them.
    #[prost(bytes = "bytes", optional, tag = "5")]
    classic: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
struct Assignment {
    #[prost(int32, tag = "1")]
    previous_epoch: i32,
    /// 0: stable; 1: unrevoked; 2: unreleased.
    #[prost(uint32, tag = "2")]
    step: u32,
    #[prost(message, repeated, tag = "3")]
    assigned: Vec<TopicPartitions>,
    #[prost(message, repeated, tag = "4")]
    revoking: Vec<TopicPartitions>,
    #[prost(message, repeated, tag = "5")]
    target: Vec<TopicPartitions>,
}

#[derive(Clone, PartialEq, Message)]
struct TopicPartitions {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, repeated, tag = "2")]
    partitions: Vec<u32>,
}

/// What the manifest keeps of a member.
pub(super) fn encode(member: &Member) -> GroupMember {
    let subscription = Subscription {
        names: member.names.iter().cloned().collect(),
        regex: member.regex.clone(),
        rack: member.rack.clone(),
        assignor: member.assignor.map(|assignor| assignor.name().to_owned()).unwrap_or_default(),
        classic: member.classic.as_ref().map(|classic| subscription::encode(&classic.protocols)),
    };
    let assignment = Assignment {
        previous_epoch: member.previous_epoch,
        step: match member.step {
            Step::Stable => 0,
            Step::Unrevoked => 1,
            Step::Unreleased => 2,
        },
        assigned: by_topic(&member.assigned),
        revoking: by_topic(&member.revoking),
        target: by_topic(&member.target),
    };
    GroupMember {
        id: member.id.clone(),
        epoch: member.epoch,
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        session_timeout_ms: member.session().as_millis() as i32,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        subscription: subscription.encode_to_vec().into(),
        assignment: assignment.encode_to_vec().into(),
    }
}

/// The member that the manifest keeps. `None`: nobody wrote this.
pub(super) fn decode(member: &GroupMember) -> Option<Member> {
    let subscription = Subscription::decode(member.subscription.clone()).ok()?;
    let assignment = Assignment::decode(member.assignment.clone()).ok()?;
    Some(Member {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rack: subscription.rack,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        names: subscription.names.into_iter().collect(),
        regex: subscription.regex,
        assignor: Assignor::named(&subscription.assignor),
        epoch: member.epoch,
        previous_epoch: assignment.previous_epoch,
        step: match assignment.step {
            0 => Step::Stable,
            1 => Step::Unrevoked,
            2 => Step::Unreleased,
            _ => return None,
        },
        assigned: partitions(&assignment.assigned)?,
        revoking: partitions(&assignment.revoking)?,
        target: partitions(&assignment.target)?,
        classic: subscription.classic.as_ref().map(|protocols| Classic {
            session_ms: member.session_timeout_ms,
            protocols: subscription::decode(protocols),
        }),
    })
}

/// Whether a member of such a group speaks the classic protocol, so that its epoch is a generation to it.
pub(crate) fn speaks_classic(member: &GroupMember) -> bool {
    Subscription::decode(member.subscription.clone()).is_ok_and(|subscription| subscription.classic.is_some())
}

/// All members and the state of a group. `None`: nobody wrote this.
pub(super) fn decode_group(group: &Group) -> Option<(State, Vec<Member>)> {
    let members = group.members.values().map(decode).collect::<Option<_>>()?;
    Some((State::decode(group.state.clone()).ok()?, members))
}

fn by_topic(partitions: &Partitions) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<Uuid, Vec<u32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(*partition);
    }
    let topic = |(topic, partitions): (Uuid, Vec<u32>)| TopicPartitions {
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        partitions,
    };
    topics.into_iter().map(topic).collect()
}

fn partitions(topics: &[TopicPartitions]) -> Option<Partitions> {
    let mut partitions = Partitions::new();
    for of in topics {
        let topic = Uuid::from_slice(&of.topic).ok()?;
        partitions.extend(of.partitions.iter().map(|partition| (topic, *partition)));
    }
    Some(partitions)
}
