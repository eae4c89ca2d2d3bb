//! ConsumerGroupDescribe: state and members of groups whose coordinator assigns (KIP-848).
//!
//! Must not know how groups assign. What is described is durable, so a live coordinator knows no more than the manifest.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_describe::{Group, Request, Response};

use crate::errors;
use crate::groups::consumer;
use crate::limits::DESCRIBED_PER_REQUEST;
use crate::metrics;
use crate::node::GROUP_OPERATIONS;
use crate::session::Session;
use crate::topics;

/// Each group once.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let caught_up = session.catch_up().await;
    let ids = topics::once(request.group_ids.iter().map(String::as_str));
    let operations = request.include_authorized_operations.then_some(GROUP_OPERATIONS);
    let describe = |(at, id): (usize, &str)| match &caught_up {
        _ if id.is_empty() => failed(id, ErrorCode::InvalidGroupId, "GroupId can't be empty.".to_owned()),
        _ if at >= DESCRIBED_PER_REQUEST => {
            let why = format!("a request may name at most {DESCRIBED_PER_REQUEST} groups");
            failed(id, ErrorCode::PolicyViolation, why)
        }
        _ if !session.nodes.is_coordinator(id) => {
            failed(id, ErrorCode::NotCoordinator, ErrorCode::NotCoordinator.to_string())
        }
        Err(error) => failed(id, ErrorCode::CoordinatorNotAvailable, errors::journal_text(error)),
        Ok(()) => match session.journal.view(|manifest| consumer::describe(id, manifest)) {
            Some(group) => Group { authorized_operations: operations.unwrap_or(i32::MIN), ..group },
            None => failed(id, ErrorCode::GroupIdNotFound, format!("Group {id} not found.")),
        },
    };
    let groups = ids.into_iter().enumerate().map(describe).collect();
    Response { groups, ..Response::default() }
}

fn failed(id: &str, code: ErrorCode, why: String) -> Group {
    Group {
        error_code: metrics::failed(ApiKey::ConsumerGroupDescribe, code),
        error_message: Some(why),
        group_id: id.to_owned(),
        ..Group::default()
    }
}
