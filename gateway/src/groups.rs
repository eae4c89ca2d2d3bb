//! Consumer groups: one coordinator task for each group that is active here.
//!
//! Must not know sockets or frames. Invariant: what is kept here is soft. Whatever must survive the node was decided in
//! the fold before anybody heard of it, so that the next coordinator goes on where this one was.
//!
//! Modules stand in the order in which a request meets them:
//!
//! - `sweep`: groups whose coordinator this node has become without being asked
//! - `either`: the task of one group, in the protocol that its members speak
//! - `coordinator`: the task while members join and assign themselves
//! - `assigning`: the task while this node assigns (KIP-848)
//! - `active`: which groups are active, and how to reach their tasks
//! - `saving`: from a machine's wish to the fold's answer
//! - `message`: what a task is asked
//! - `consumer`: a group whose coordinator assigns (KIP-848), without any I/O
//! - `classic`: a group that assigns itself, by JoinGroup and SyncGroup, without any I/O

mod sweep;
mod either;
mod coordinator;
mod assigning;
mod active;
mod saving;
mod message;
pub(crate) mod consumer;
pub(crate) mod classic;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use strandline_core::env;
use strandline_core::limits::MAX_GROUP_NAME_BYTES;
use strandline_core::manifest::Journal;
use strandline_ingest::Ingest;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{consumer_group_heartbeat, heartbeat, join_group, leave_group, sync_group};
use tokio::sync::oneshot;

use crate::nodes::Nodes;
use crate::phase::{Phase, Phases};
use active::Active;
use consumer::Refusal;
use message::Message;

/// A group that is active on this node, as it is now: more than its last completed generation in the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    /// Kafka's name: `PreparingRebalance`, `CompletingRebalance`, `Stable`, `Empty`.
    pub(crate) state: &'static str,
    /// `consumer`, `connect` and so on; empty: not known yet.
    pub(crate) protocol_type: String,
    /// What the members agreed on; empty: nothing yet.
    pub(crate) protocol: String,
    /// In the order of their ids.
    pub(crate) members: Vec<LiveMember>,
}

/// A member of a group that is active here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveMember {
    /// Its id.
    pub(crate) id: String,
    /// `group.instance.id`.
    pub(crate) instance_id: Option<String>,
    /// As the client calls itself.
    pub(crate) client_id: String,
    /// Where it connects from.
    pub(crate) client_host: String,
    /// Its subscription in the group's protocol; empty while the group is between two generations.
    pub(crate) metadata: Bytes,
    /// What the leader assigned to it; empty while the group is between two generations.
    pub(crate) assignment: Bytes,
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// As the client calls itself.
    pub(crate) client_id: String,
    /// Where it connects from, as Kafka writes it: `/127.0.0.1`.
    pub(crate) client_host: String,
}

/// The groups of this node.
#[derive(Debug)]
pub(crate) struct Groups(Arc<Active>);

impl Groups {
    /// None is active yet. Must be called inside a tokio runtime.
    pub(crate) fn new(journal: Journal, ingest: Ingest, nodes: Arc<Nodes>, phases: Phases) -> Groups {
        let start = |seat, inbox| drop(env::spawn(either::run(seat, inbox)));
        let active = Arc::new(Active::new(start, journal, ingest, nodes, phases));
        env::spawn(sweep::run(Arc::clone(&active)));
        Groups(active)
    }

    /// JoinGroup: waits until the generation has its members.
    pub(crate) async fn join(
        &self,
        caller: Caller,
        version: i16,
        request: join_group::Request,
    ) -> join_group::Response {
        let (group, member_id) = (request.group_id.clone(), request.member_id.clone());
        let joined = self.ask(&group, |reply| Message::Join { caller, version, request, reply }).await;
        joined.unwrap_or_else(|code| join_group::Response {
            error_code: code.code(),
            member_id,
            ..join_group::Response::default()
        })
    }

    /// SyncGroup: waits until the generation is complete.
    pub(crate) async fn sync(&self, request: sync_group::Request) -> sync_group::Response {
        let group = request.group_id.clone();
        let synced = self.ask(&group, |reply| Message::Sync { request, reply }).await;
        synced.unwrap_or_else(|code| sync_group::Response { error_code: code.code(), ..Default::default() })
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// What the client has to hear.
    pub(crate) async fn heartbeat(&self, request: heartbeat::Request) -> Result<(), ErrorCode> {
        let group = request.group_id.clone();
        self.ask(&group, |reply| Message::Heartbeat { request, reply }).await?
    }

    /// LeaveGroup: one result a member.
    ///
    /// # Errors
    /// What the client has to hear if nobody could be asked.
    pub(crate) async fn leave(
        &self,
        group: &str,
        members: Vec<leave_group::Member>,
    ) -> Result<Vec<leave_group::MemberResponse>, ErrorCode> {
        self.ask(group, |reply| Message::Leave { members, reply }).await
    }

    /// ConsumerGroupHeartbeat, checked on its own: waits until what it changes is in the manifest.
    ///
    /// # Errors
    /// What the client has to hear.
    pub(crate) async fn consumer_heartbeat(
        &self,
        caller: Caller,
        request: consumer_group_heartbeat::Request,
    ) -> Result<consumer_group_heartbeat::Response, Refusal> {
        let group = request.group_id.clone();
        let answer = self.ask(&group, |reply| Message::Beat { caller, request, reply }).await;
        answer.unwrap_or_else(|code| Err(Refusal { code, message: code.to_string() }))
    }

    /// Whether a member may commit offsets now; counts as its heartbeat. The fold decides: this only says early what the
    /// client has to hear, and that the group is between two generations. A group that is not active here does not become
    /// so.
    ///
    /// # Errors
    /// What to answer in place of committing.
    pub(crate) async fn admit_commit(
        &self,
        group: &str,
        member: &str,
        generation: i32,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if !self.0.is_ours(group) {
            return Err(ErrorCode::NotCoordinator);
        }
        if self.0.state(group).is_none() {
            return Ok(());
        }
        let (member, instance_id) = (member.to_owned(), instance_id.map(str::to_owned));
        let commit = |reply| Message::Commit { member, generation, instance_id, reply };
        self.ask(group, commit).await?
    }

    /// The group as it is now; `None`: it is not active here, and the manifest says all.
    pub(crate) async fn describe(&self, group: &str) -> Option<Live> {
        self.0.state(group)?;
        self.ask(group, |reply| Message::Describe { reply }).await.ok()
    }

    /// [`Live::state`] alone, without asking the group's task.
    pub(crate) fn state(&self, group: &str) -> Option<&'static str> {
        self.0.state(group)
    }

    async fn ask<R>(
        &self,
        group: &str,
        message: impl FnOnce(oneshot::Sender<R>) -> Message,
    ) -> Result<R, ErrorCode> {
        if group.is_empty() || group.len() > MAX_GROUP_NAME_BYTES {
            return Err(ErrorCode::InvalidGroupId);
        }
        if self.0.phases.now() >= Phase::Stopping {
            return Err(ErrorCode::NotCoordinator);
        }
        self.0.prepare(group).await?;
        let (reply, answer) = oneshot::channel();
        Active::send(&self.0, group, message(reply))?;
        // The task ends when the group is another node's, and drops what it did not answer.
        answer.await.map_err(|_| ErrorCode::NotCoordinator)
    }
}
