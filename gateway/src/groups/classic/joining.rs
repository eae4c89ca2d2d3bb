//! What holds for every JoinGroup, and the ids of new members.
//!
//! Must not know groups. Invariant: a request that passes is bounded in everything but the size of what it says in its
//! protocols.

use std::collections::BTreeSet;
use std::time::Duration;

use strandline_core::limits::MAX_GROUP_NAME_BYTES;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::join_group;
use uuid::Uuid;

use crate::limits::{MAX_GROUP_PROTOCOLS, SESSION_TIMEOUT};

/// Checks a request on its own.
///
/// # Errors
/// What the client has to hear.
pub(in crate::groups) fn check(request: &join_group::Request) -> Result<(), ErrorCode> {
    let milliseconds = u64::try_from(request.session_timeout_ms).unwrap_or(0);
    let timeout = Duration::from_millis(milliseconds);
    if timeout < SESSION_TIMEOUT.0 || timeout > SESSION_TIMEOUT.1 {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    let fits = |text: &str| text.len() <= MAX_GROUP_NAME_BYTES;
    if !request.group_instance_id.as_deref().is_none_or(|id| !id.is_empty() && fits(id)) {
        return Err(ErrorCode::InvalidRequest);
    }
    let names: BTreeSet<&str> = request.protocols.iter().map(|protocol| protocol.name.as_str()).collect();
    let protocols_fit = !request.protocols.is_empty()
        && names.len() == request.protocols.len()
        && names.len() <= MAX_GROUP_PROTOCOLS
        && !request.protocol_type.is_empty()
        && fits(&request.protocol_type)
        && names.iter().all(|name| fits(name));
    match protocols_fit {
        true => Ok(()),
        false => Err(ErrorCode::InconsistentGroupProtocol),
    }
}

/// As Kafka makes them: readable, and one that nobody else has.
pub(in crate::groups) fn new_id(request: &join_group::Request, client_id: &str, dice: Uuid) -> String {
    let name = request.group_instance_id.as_deref().unwrap_or(client_id);
    let dice = dice.hyphenated().to_string();
    let mut id = name.to_owned();
    truncate(&mut id, MAX_GROUP_NAME_BYTES - dice.len() - 1);
    format!("{id}-{dice}")
}

/// Cuts a text, between two characters.
pub(in crate::groups) fn truncate(text: &mut String, bytes: usize) {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
