//! What ConsumerGroupDescribe says of a group, from its durable state alone.
//!
//! Must not know who coordinates it: any node that has read the journal to its end can say it.

use std::collections::BTreeMap;

use strandline_core::manifest::{Group, GroupKind, Manifest};
use strandline_kafka::messages::consumer_group_describe as wire;
use uuid::Uuid;

use super::member::Member;
use super::records::{self, State};
use super::topics::Partitions;

/// A member that speaks the classic protocol, as `member_type` has it.
const CLASSIC_MEMBER: i8 = 0;
/// One that speaks that of KIP-848.
const CONSUMER_MEMBER: i8 = 1;

/// The group as it is in this manifest. `None`: it is not there, or of another kind.
pub(crate) fn describe(name: &str, manifest: &Manifest) -> Option<wire::Group> {
    let group = manifest.group(name).filter(|group| group.kind == GroupKind::Consumer)?;
    let (state, members) = records::decode_group(group)?;
    Some(wire::Group {
        group_id: name.to_owned(),
        group_state: state_name(group, &state, &members).to_owned(),
        group_epoch: group.epoch,
        assignment_epoch: state.assignment_epoch,
        assignor_name: group.protocol.clone(),
        members: members.into_iter().map(|member| describe_member(member, manifest)).collect(),
        ..wire::Group::default()
    })
}

/// Kafka's name for the state of a group of this kind, as the manifest has it. `None`: nobody wrote this.
pub(crate) fn state(group: &Group) -> Option<&'static str> {
    let (state, members) = records::decode_group(group)?;
    Some(state_name(group, &state, &members))
}

fn state_name(group: &Group, state: &State, members: &[Member]) -> &'static str {
    match () {
        () if members.is_empty() => "Empty",
        () if group.epoch > state.assignment_epoch => "Assigning",
        () if !members.iter().all(|member| member.is_settled(state.assignment_epoch)) => "Reconciling",
        () => "Stable",
    }
}

fn describe_member(member: Member, manifest: &Manifest) -> wire::Member {
    wire::Member {
        assignment: assignment(&member.assigned, manifest),
        target_assignment: assignment(&member.target, manifest),
        member_id: member.id,
        instance_id: member.instance_id,
        rack_id: member.rack,
        member_epoch: member.epoch,
        client_id: member.client_id,
        client_host: member.client_host,
        subscribed_topic_names: member.names.into_iter().collect(),
        subscribed_topic_regex: Some(member.regex).filter(|regex| !regex.is_empty()),
        member_type: if member.classic.is_some() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

/// Without the topics that are gone.
fn assignment(partitions: &Partitions, manifest: &Manifest) -> wire::Assignment {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(partition.cast_signed());
    }
    let named = |(id, partitions): (Uuid, Vec<i32>)| {
        let topic_name = manifest.topic(&id)?.name.clone();
        Some(wire::TopicPartitions { topic_id: id.into_bytes(), topic_name, partitions })
    };
    wire::Assignment { topic_partitions: topics.into_iter().filter_map(named).collect() }
}
