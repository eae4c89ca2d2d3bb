//! What the task of a group is asked, and what it answers where the members speak the other protocol.
//!
//! Must not know the state of a group.

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{consumer_group_heartbeat, heartbeat, join_group, leave_group, sync_group};
use tokio::sync::oneshot;

use super::consumer::Refusal;
use super::{Caller, Live};

/// The answer to a ConsumerGroupHeartbeat.
pub(super) type Beaten = Result<consumer_group_heartbeat::Response, Refusal>;

/// What a task is asked.
pub(super) enum Message {
    /// JoinGroup.
    Join {
        caller: Caller,
        version: i16,
        request: join_group::Request,
        reply: oneshot::Sender<join_group::Response>,
    },
    /// SyncGroup.
    Sync { request: sync_group::Request, reply: oneshot::Sender<sync_group::Response> },
    /// Heartbeat.
    Heartbeat { request: heartbeat::Request, reply: oneshot::Sender<Result<(), ErrorCode>> },
    /// LeaveGroup.
    Leave { members: Vec<leave_group::Member>, reply: oneshot::Sender<Vec<leave_group::MemberResponse>> },
    /// ConsumerGroupHeartbeat.
    Beat { caller: Caller, request: consumer_group_heartbeat::Request, reply: oneshot::Sender<Beaten> },
    /// OffsetCommit.
    Commit {
        member: String,
        generation: i32,
        instance_id: Option<String>,
        reply: oneshot::Sender<Result<(), ErrorCode>>,
    },
    /// DescribeGroups.
    Describe { reply: oneshot::Sender<Live> },
    /// The group is this node's now.
    Wake,
}

impl Message {
    /// The group has no such member, or its members agree in another way.
    pub(super) fn refuse(self, group: &str) {
        // Whoever asked may be gone.
        match self {
            Message::Join { reply, request, .. } => {
                let error_code = ErrorCode::InconsistentGroupProtocol.code();
                let member_id = request.member_id;
                let _ = reply.send(join_group::Response { error_code, member_id, ..Default::default() });
            }
            Message::Sync { reply, .. } => {
                let error_code = ErrorCode::UnknownMemberId.code();
                let _ = reply.send(sync_group::Response { error_code, ..Default::default() });
            }
            Message::Heartbeat { reply, .. } => drop(reply.send(Err(ErrorCode::UnknownMemberId))),
            Message::Leave { members, reply } => {
                let unknown = |member: leave_group::Member| leave_group::MemberResponse {
                    member_id: member.member_id,
                    group_instance_id: member.group_instance_id,
                    error_code: ErrorCode::UnknownMemberId.code(),
                };
                drop(reply.send(members.into_iter().map(unknown).collect()));
            }
            Message::Beat { reply, .. } => {
                let message = format!("Group {group} is not a consumer group.");
                drop(reply.send(Err(Refusal { code: ErrorCode::GroupIdNotFound, message })));
            }
            // The fold knows.
            Message::Commit { reply, .. } => drop(reply.send(Ok(()))),
            Message::Describe { .. } | Message::Wake => {}
        }
    }
}
