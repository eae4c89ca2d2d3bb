//! DescribeGroups: state and members of groups of the classic protocol.
//!
//! Must not know what members tell each other: their subscriptions and assignments go out as they came in.

use strandline_core::Error;
use strandline_core::manifest::GroupKind;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::describe_groups::{Group, Member, Request, Response};

use crate::errors;
use crate::group_view::{self, GroupView};
use crate::groups::LiveMember;
use crate::limits::GROUP_ANSWER_BYTES;
use crate::metrics;
use crate::node::GROUP_OPERATIONS;
use crate::session::Session;
use crate::topics;

/// The first version that says of an unknown group that it is not there.
const NOT_FOUND: i16 = 6;

/// Each group once, however often it is named.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let known = session.journal.refresh().await.map(|_| ());
    let mut left = GROUP_ANSWER_BYTES;
    let mut groups = Vec::new();
    for name in topics::once(request.groups.iter().map(String::as_str)) {
        let mut group = match look_up(session, name, &known, &mut left).await {
            Ok(group) => describe(group),
            Err((ErrorCode::GroupIdNotFound, why)) => dead(version, why),
            Err((code, why)) => Group { error_message: Some(why), ..failed(code) },
        };
        group.group_id = name.to_owned();
        if request.include_authorized_operations && group.error_code == ErrorCode::None.code() {
            group.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(group);
    }
    Response { groups, ..Response::default() }
}

async fn look_up(
    session: &Session,
    name: &str,
    known: &Result<(), Error>,
    left: &mut usize,
) -> Result<GroupView, (ErrorCode, String)> {
    if !session.nodes.coordinates(name).await {
        return Err((ErrorCode::NotCoordinator, "another node looks after the group".to_owned()));
    }
    if let Err(error) = known {
        return Err((errors::group(error), errors::journal_text(error)));
    }
    let Some(group) = GroupView::of(session, name).await else {
        return Err((ErrorCode::GroupIdNotFound, format!("Group {name} not found.")));
    };
    if group.kind == GroupKind::Consumer {
        return Err((ErrorCode::GroupIdNotFound, format!("Group {name} is not a classic group.")));
    }
    match left.checked_sub(group.bytes()) {
        Some(rest) => *left = rest,
        None => return Err((ErrorCode::InvalidRequest, "ask for fewer groups at once".to_owned())),
    }
    Ok(group)
}

/// Up to version 5 a group that is not there is simply dead.
fn dead(version: i16, why: String) -> Group {
    let group_state = group_view::DEAD.to_owned();
    match version >= NOT_FOUND {
        true => Group { group_state, error_message: Some(why), ..failed(ErrorCode::GroupIdNotFound) },
        false => Group { group_state, ..Group::default() },
    }
}

fn failed(code: ErrorCode) -> Group {
    Group { error_code: metrics::failed(ApiKey::DescribeGroups, code), ..Group::default() }
}

fn describe(group: GroupView) -> Group {
    // Only a group whose members have agreed has anything to show of what they agreed on.
    let stable = group.state == group_view::STABLE;
    let member = |member: LiveMember| Member {
        member_id: member.id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: if stable { member.metadata } else { Default::default() },
        member_assignment: if stable { member.assignment } else { Default::default() },
    };
    Group {
        group_state: group.state.to_owned(),
        protocol_type: group.protocol_type,
        protocol_data: if stable { group.protocol } else { String::new() },
        members: group.members.into_iter().map(member).collect(),
        ..Group::default()
    }
}
