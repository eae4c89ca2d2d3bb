//! Members that speak the classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) in a group whose coordinator
//! assigns: a JoinGroup says what its member holds, and SyncGroup brings what it is to hold.
//!
//! Must not know how partitions are shared out. Invariant: what such a member holds changes only by its JoinGroup: it is
//! asked for one (`REBALANCE_IN_PROGRESS`) until it holds what it is to hold.

mod join;

use bytes::Bytes;
use strandline_kafka::consumer_protocol::{self, Assignment};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{consumer_group_heartbeat, leave_group, sync_group};
use tokio::time::Instant;
use uuid::Uuid;

use super::member::{Classic, Member, Step};
use super::{ConsumerGroup, PROTOCOL_TYPE, heartbeat};

pub(crate) use join::ClassicJoin;

impl ConsumerGroup {
    /// SyncGroup: what the member is to hold.
    ///
    /// # Errors
    /// What it has to hear; 27: to join again first.
    pub(crate) fn sync(
        &mut self,
        request: &sync_group::Request,
        now: Instant,
    ) -> Result<sync_group::Response, ErrorCode> {
        let id = request.member_id.as_str();
        let member = self.classic(id, request.generation_id, request.group_instance_id.as_deref())?;
        // One that is giving partitions up has joined, and is told what it keeps.
        if self.epoch > member.epoch && member.step != Step::Unrevoked {
            return Err(ErrorCode::RebalanceInProgress);
        }
        let protocol = member.protocol().map(|(name, _)| name.clone()).unwrap_or_default();
        let differs = |said: &Option<String>, is: &str| {
            said.as_ref().is_some_and(|said| !said.is_empty() && said != is)
        };
        if differs(&request.protocol_type, PROTOCOL_TYPE) || differs(&request.protocol_name, &protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let assignment = self.assignment_bytes(member);
        self.has_synced(id);
        self.keep_alive(id, now);
        Ok(sync_group::Response {
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(protocol),
            assignment,
            ..sync_group::Response::default()
        })
    }

    /// Heartbeat: the member lives.
    ///
    /// # Errors
    /// What it has to hear; 27: to join again.
    pub(crate) fn classic_heartbeat(
        &mut self,
        id: &str,
        generation: i32,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let member = self.classic(id, generation, instance_id)?;
        let free = || {
            let mut lacking = member.target.difference(&member.assigned);
            lacking.any(|of| !self.members.holds_other(of, id))
        };
        let must_join = self.epoch > member.epoch
            || match member.step {
                Step::Stable => false,
                Step::Unrevoked => true,
                Step::Unreleased => free(),
            };
        self.keep_alive(id, now);
        match must_join {
            true => {
                self.ask_to_join(id, now);
                Err(ErrorCode::RebalanceInProgress)
            }
            false => Ok(()),
        }
    }

    /// Whether a member may commit offsets now; counts as its heartbeat. The fold decides: this only finds the words for
    /// one that speaks the classic protocol.
    ///
    /// # Errors
    /// What to answer in place of committing.
    pub(crate) fn admit_commit(
        &mut self,
        id: &str,
        generation: i32,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if self.members.get(id).is_some_and(|member| member.classic.is_some()) {
            self.classic(id, generation, instance_id)?;
            self.keep_alive(id, now);
        }
        Ok(())
    }

    /// LeaveGroup, of members of either protocol: administrators send it too. One result each.
    pub(crate) fn leave_group(
        &mut self,
        members: Vec<leave_group::Member>,
    ) -> Vec<leave_group::MemberResponse> {
        let leave = |member: leave_group::Member| {
            let left = self.leave_one(&member.member_id, member.group_instance_id.as_deref());
            leave_group::MemberResponse {
                error_code: left.err().unwrap_or(ErrorCode::None).code(),
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
            }
        };
        members.into_iter().map(leave).collect()
    }

    fn leave_one(&mut self, id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        let holder = instance_id.and_then(|instance_id| self.members.instance(instance_id, id));
        let id = match holder {
            // An administrator takes a static member out, and does not know its id.
            Some(holder) if id.is_empty() => holder.id.clone(),
            _ => self.known(id, instance_id)?.id.clone(),
        };
        self.remove(&id);
        Ok(())
    }

    /// A member that is who it says it is.
    fn known(&self, id: &str, instance_id: Option<&str>) -> Result<&Member, ErrorCode> {
        if let Some(instance_id) = instance_id {
            let holder = self.members.instance(instance_id, id).ok_or(ErrorCode::UnknownMemberId)?;
            if holder.id != id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        self.members.get(id).ok_or(ErrorCode::UnknownMemberId)
    }

    /// The same of one that speaks the classic protocol, and knows its epoch as its generation.
    fn classic(&self, id: &str, generation: i32, instance_id: Option<&str>) -> Result<&Member, ErrorCode> {
        let member = self.known(id, instance_id)?;
        match &member.classic {
            None => Err(ErrorCode::UnknownMemberId),
            Some(_) if generation != member.epoch => Err(ErrorCode::IllegalGeneration),
            Some(_) => Ok(member),
        }
    }

    /// What a member of the classic protocol is to hold, in the form in which leaders of classic groups say it. Topics
    /// that are gone, or that it does not ask for, are left out.
    pub(super) fn assignment_bytes(&self, member: &Member) -> Bytes {
        let names = self.view.names();
        let of = |topic: consumer_group_heartbeat::TopicPartitions| {
            let topic_name = names.get(&Uuid::from_bytes(topic.topic_id))?;
            let partitions = topic.partitions;
            Some(consumer_protocol::TopicPartitions { topic: (*topic_name).to_owned(), partitions })
        };
        let topics = heartbeat::assignment(&member.assigned).topic_partitions;
        let assigned_partitions = topics.into_iter().filter_map(of).collect();
        let version = member.protocol().and_then(|(_, data)| consumer_protocol::subscription(data).ok());
        let version = version.map_or(0, |(version, _)| version);
        let assignment = Assignment { assigned_partitions, user_data: None };
        // It holds no more than 32 bits can count.
        consumer_protocol::encode_assignment(version, &assignment).unwrap_or_default()
    }

    /// Whether all members of the classic protocol speak this one; `but`: one that is not asked.
    pub(super) fn all_speak(&self, but: &str, protocol: &str) -> bool {
        let others = self.members.iter().filter(|member| member.id != but);
        let speaks = |classic: &Classic| classic.protocols.iter().any(|(name, _)| name == protocol);
        others.filter_map(|member| member.classic.as_ref()).all(speaks)
    }
}
