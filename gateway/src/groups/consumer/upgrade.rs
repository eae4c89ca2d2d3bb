//! A classic group whose members get their partitions from the coordinator from now on: the first member that speaks the
//! new protocol has come, and the others go on as they are (Kafka's migration policy `bidirectional`).
//!
//! Must not know who asks. Invariant: what the members were assigned they hold, and nobody holds what another does; a
//! group of which that cannot be told stays what it is.

use std::collections::BTreeSet;

use strandline_core::manifest::{Group, GroupMember};
use strandline_kafka::consumer_protocol;
use strandline_kafka::error::ErrorCode;
use tokio::time::Instant;

use super::member::{Classic, Member};
use super::members::Members;
use super::records::State;
use super::topics::{Partitions, Topic};
use super::{ConsumerGroup, PROTOCOL_TYPE, Refusal, refuse};
use crate::groups::classic::subscription;

impl ConsumerGroup {
    /// The group as it is to become; `topic` finds topics by their names. Nothing of it is in the manifest yet.
    ///
    /// # Errors
    /// The group stays a classic one: its members do not read topics, or what they say cannot be understood, or they use
    /// an assignor of which nobody else knows what it does.
    pub(crate) fn upgrade(
        name: &str,
        group: &Group,
        topic: impl Fn(&str) -> Option<Topic>,
        now: Instant,
    ) -> Result<ConsumerGroup, Refusal> {
        let refused = |why: &str| {
            let message = format!("Classic group {name} cannot become a consumer group: {why}.");
            refuse(ErrorCode::GroupIdNotFound, message)
        };
        if !group.members.is_empty() && group.protocol_type != PROTOCOL_TYPE {
            return Err(refused("its members are not consumers"));
        }
        let read = |member| read(member, group.epoch, &topic).map_err(refused);
        let members = group.members.values().map(read).collect::<Result<Vec<Member>, Refusal>>()?;
        let mut held = BTreeSet::new();
        if !members.iter().flat_map(|member| &member.assigned).all(|of| held.insert(*of)) {
            return Err(refused("a partition is assigned to two members"));
        }
        let state = State { assignment_epoch: group.epoch, ..State::default() };
        Ok(ConsumerGroup::of(name, Some(group), state, Members::found(members), now))
    }
}

fn read(
    member: &GroupMember,
    epoch: i32,
    topic: impl Fn(&str) -> Option<Topic>,
) -> Result<Member, &'static str> {
    let unreadable = "the subscription of a member cannot be read";
    let protocols = subscription::decode(&member.subscription);
    let (_, first) = protocols.first().ok_or(unreadable)?;
    let (_, subscribed) = consumer_protocol::subscription(first).map_err(|_| unreadable)?;
    let told = consumer_protocol::assignment(&member.assignment)
        .map_err(|_| "the assignment of a member cannot be read")?;
    if told.user_data.is_some_and(|data| !data.is_empty()) {
        return Err("it uses an assignor of its own");
    }
    let mut assigned = Partitions::new();
    for of in told.assigned_partitions {
        // What is not there is nobody's.
        let Some(topic) = topic(&of.topic) else { continue };
        let numbers = of.partitions.into_iter().filter_map(|number| u32::try_from(number).ok());
        let numbers = numbers.filter(|number| *number < topic.partitions);
        assigned.extend(numbers.map(|number| (topic.id, number)));
    }
    Ok(Member {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rack: subscribed.rack_id,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        names: subscribed.topics.into_iter().collect(),
        epoch,
        previous_epoch: epoch,
        target: assigned.clone(),
        assigned,
        classic: Some(Classic { session_ms: member.session_timeout_ms, protocols }),
        ..Member::default()
    })
}
