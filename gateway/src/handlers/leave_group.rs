//! LeaveGroup: members go without waiting for the end of their sessions.
//!
//! Must not know how members agree. Invariant: one result a member, in the order of the request.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::leave_group::{Member, Request, Response};

use crate::metrics;
use crate::session::Session;

/// The first version that takes several members.
const BATCHED: i16 = 3;

/// Which of the members are out.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let members = match version >= BATCHED {
        true => request.members,
        false => vec![Member { member_id: request.member_id, ..Member::default() }],
    };
    let failed = |code: ErrorCode| Response {
        error_code: metrics::failed(ApiKey::LeaveGroup, code),
        ..Response::default()
    };
    let members = match session.groups.leave(&request.group_id, members).await {
        Ok(members) => members,
        Err(code) => return failed(code),
    };
    for member in &members {
        metrics::failed_code(ApiKey::LeaveGroup, member.error_code);
    }
    match version >= BATCHED {
        true => Response { members, ..Response::default() },
        false => {
            let error_code = members.first().map_or(0, |member| member.error_code);
            Response { error_code, ..Response::default() }
        }
    }
}
