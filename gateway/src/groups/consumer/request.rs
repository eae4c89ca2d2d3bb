//! Whether a ConsumerGroupHeartbeat is one that Kafka would take, whatever the group.
//!
//! Must not know groups. Invariant: a request that passes is bounded in everything that the group would keep of it.

use std::collections::BTreeSet;

use strandline_core::limits::{MAX_GROUP_NAME_BYTES, MAX_TOPIC_NAME_CHARS};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::Request;
use uuid::Uuid;

use super::Refusal;
use super::assignor::Assignor;
use super::member::{JOIN, LEAVE, LEAVE_STATIC};
use super::topics::Partitions;
use crate::limits::{MAX_REBALANCE_TIMEOUT, MAX_SUBSCRIBED_NAMES};
use crate::pattern::pattern;

/// The first version in which the client makes up the member id.
const CLIENT_IDS: i16 = 1;

/// Checks a request on its own.
pub(crate) fn check(request: &Request, version: i16) -> Result<(), Refusal> {
    filled("GroupId", Some(&request.group_id))?;
    filled("InstanceId", request.instance_id.as_deref())?;
    filled("RackId", request.rack_id.as_deref())?;
    if request.member_epoch != JOIN || version >= CLIENT_IDS {
        filled("MemberId", Some(&request.member_id))?;
    }
    let texts = [Some(&request.group_id), Some(&request.member_id), request.instance_id.as_ref()];
    if texts.into_iter().chain([request.rack_id.as_ref()]).flatten().any(|of| of.len() > MAX_GROUP_NAME_BYTES)
    {
        return Err(invalid(format!("ids have at most {MAX_GROUP_NAME_BYTES} bytes.")));
    }
    match request.member_epoch {
        JOIN => check_join(request)?,
        LEAVE_STATIC if request.instance_id.is_none() => return Err(invalid("InstanceId can't be null.")),
        LEAVE_STATIC | LEAVE => {}
        ..LEAVE_STATIC => return Err(invalid("MemberEpoch is invalid.")),
        _ => {}
    }
    check_subscription(request)
}

fn check_join(request: &Request) -> Result<(), Refusal> {
    if request.rebalance_timeout_ms == -1 {
        return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
    }
    if request.topic_partitions.as_ref().is_none_or(|partitions| !partitions.is_empty()) {
        return Err(invalid("TopicPartitions must be empty when (re-)joining."));
    }
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        let what = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
        return Err(invalid(what));
    }
    Ok(())
}

pub(super) fn check_subscription(request: &Request) -> Result<(), Refusal> {
    let timeout = request.rebalance_timeout_ms;
    if timeout < -1 || i64::from(timeout) > MAX_REBALANCE_TIMEOUT.as_millis() as i64 {
        return Err(invalid("RebalanceTimeoutMs is out of range."));
    }
    let names = request.subscribed_topic_names.as_deref().unwrap_or_default();
    if names.len() > MAX_SUBSCRIBED_NAMES {
        return Err(invalid(format!("a member subscribes to at most {MAX_SUBSCRIBED_NAMES} topics.")));
    }
    if let Some(name) = names.iter().find(|name| name.len() > MAX_TOPIC_NAME_CHARS) {
        let message = format!("Topic name {} is too long.", name.escape_debug());
        return Err(Refusal { code: ErrorCode::InvalidTopicException, message });
    }
    if let Some(name) = request.server_assignor.as_ref().filter(|name| Assignor::named(name).is_none()) {
        let supported = Assignor::ALL.map(Assignor::name).join(", ");
        let message = format!("ServerAssignor {name} is not supported. Supported assignors: {supported}.");
        return Err(Refusal { code: ErrorCode::UnsupportedAssignor, message });
    }
    if let Some(text) = request.subscribed_topic_regex.as_ref().filter(|text| !text.is_empty()) {
        pattern(text).map_err(|why| Refusal {
            code: ErrorCode::InvalidRegularExpression,
            message: format!("SubscribedTopicRegex is not a valid regular expression: {why}."),
        })?;
    }
    Ok(())
}

/// What the member says it holds; partitions that cannot be are nobody's.
pub(super) fn owned(request: &Request) -> Option<Partitions> {
    let topics = request.topic_partitions.as_ref()?;
    let mut owned = BTreeSet::new();
    for of in topics {
        let id = Uuid::from_bytes(of.topic_id);
        owned.extend(of.partitions.iter().map(|partition| (id, partition.cast_unsigned())));
    }
    Some(owned)
}

fn filled(field: &str, value: Option<&str>) -> Result<(), Refusal> {
    match value {
        Some(value) if value.trim().is_empty() => Err(invalid(format!("{field} can't be empty."))),
        _ => Ok(()),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal { code: ErrorCode::InvalidRequest, message: message.into() }
}
