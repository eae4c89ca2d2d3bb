//! JoinGroup of a member of the classic protocol: it joins, comes again with what it still holds, or comes back under a new
//! id as a static member. It is answered at once, and nobody leads.
//!
//! Must not know the other requests of the protocol.

use std::collections::BTreeSet;

use bytes::Bytes;
use strandline_core::limits::{MAX_GROUP_BYTES, MAX_GROUP_MEMBERS, MAX_GROUP_NAME_BYTES};
use strandline_kafka::consumer_protocol;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::Request;
use strandline_kafka::messages::join_group::{self, Response};
use tokio::time::Instant;

use super::super::member::{Classic, JOIN, Member};
use super::super::topics::{Partitions, Wanted};
use super::super::{ConsumerGroup, PROTOCOL_TYPE, request};
use crate::groups::Caller;
use crate::groups::classic::joining;
use crate::limits::MAX_REBALANCE_TIMEOUT;

/// The first version in which a new member gets its id before it joins (KIP-394).
const ID_FIRST: i16 = 4;

/// A JoinGroup that was read: what it asks for, and what its member holds.
#[derive(Debug)]
pub(crate) struct ClassicJoin {
    caller: Caller,
    /// Of a member that has none yet.
    new_id: String,
    version: i16,
    /// The heartbeat that it stands for.
    like: Request,
    spoken: Classic,
    owned: Vec<consumer_protocol::TopicPartitions>,
    /// In which it was assigned that; negative: it was not, or does not say.
    generation: i32,
}

/// What a member hears that does not join, and under which id.
type Refused = (ErrorCode, String);

impl ClassicJoin {
    /// Reads a request; `new_id` is for a member that has none yet.
    ///
    /// # Errors
    /// What the client has to hear, whatever the group.
    pub(crate) fn read(
        caller: Caller,
        version: i16,
        new_id: String,
        request: join_group::Request,
    ) -> Result<ClassicJoin, ErrorCode> {
        joining::check(&request)?;
        let inconsistent = ErrorCode::InconsistentGroupProtocol;
        if request.protocol_type != PROTOCOL_TYPE || request.member_id.len() > MAX_GROUP_NAME_BYTES {
            return Err(inconsistent);
        }
        let first = request.protocols.first().ok_or(inconsistent)?;
        let (_, subscription) = consumer_protocol::subscription(&first.metadata).map_err(|_| inconsistent)?;
        let like = Request {
            group_id: request.group_id,
            member_id: request.member_id,
            member_epoch: JOIN,
            instance_id: request.group_instance_id,
            rack_id: subscription
                .rack_id
                .filter(|rack| !rack.is_empty() && rack.len() <= MAX_GROUP_NAME_BYTES),
            rebalance_timeout_ms: match request.rebalance_timeout_ms {
                milliseconds if milliseconds > 0 => {
                    milliseconds.min(MAX_REBALANCE_TIMEOUT.as_millis() as i32)
                }
                _ => request.session_timeout_ms,
            },
            subscribed_topic_names: Some(subscription.topics),
            subscribed_topic_regex: Some(String::new()),
            ..Request::default()
        };
        request::check_subscription(&like).map_err(|_| inconsistent)?;
        // The frame is large, and would live as long as the smallest slice of it.
        let own =
            |protocol: join_group::Protocol| (protocol.name, Bytes::copy_from_slice(&protocol.metadata));
        let protocols = request.protocols.into_iter().map(own).collect();
        let spoken = Classic { session_ms: request.session_timeout_ms, protocols };
        let (owned, generation) = (subscription.owned_partitions, subscription.generation_id);
        Ok(ClassicJoin { caller, new_id, version, like, spoken, owned, generation })
    }
}

impl ConsumerGroup {
    /// Which topics to look up before a member joins: also those that it still holds.
    pub(crate) fn wanted_to_join(&self, join: &ClassicJoin) -> Wanted {
        let mut wanted = self.wanted(Some(&join.like));
        wanted.names.extend(join.owned.iter().map(|of| of.topic.clone()));
        wanted
    }

    /// A member joins, or says what it holds. The topics were looked at for this.
    pub(crate) fn join(&mut self, join: ClassicJoin, now: Instant) -> Response {
        self.try_join(join, now).unwrap_or_else(refuse)
    }

    fn try_join(&mut self, mut join: ClassicJoin, now: Instant) -> Result<Response, Refused> {
        let (before, replaced) = self.joiner(&mut join)?;
        let id = join.like.member_id.clone();
        let refused = |code| (code, id.clone());
        let itself = replaced.as_ref().unwrap_or(&id);
        if !join.spoken.protocols.iter().any(|(name, _)| self.all_speak(itself, name)) {
            return Err(refused(ErrorCode::InconsistentGroupProtocol));
        }
        let mut member = before.clone();
        self.apply(&mut member, &join.like, &join.caller).map_err(|refusal| refused(refusal.code))?;
        member.id.clone_from(&id);
        let grows = join.spoken.bytes().saturating_sub(before.classic.as_ref().map_or(0, Classic::bytes));
        if grows > 0 && self.bytes() + grows > MAX_GROUP_BYTES {
            return Err(refused(ErrorCode::GroupMaxSizeReached));
        }
        (member.assignor, member.classic) = (None, Some(join.spoken));
        let subscribes = before.id.is_empty() || member.names != before.names || member.regex != before.regex;
        let owned = self.held(&join.owned);
        if let Some(old) = replaced {
            self.members.remove(&old);
            self.timers.remove(&old);
        }
        self.members.put(member);
        self.renew(subscribes);
        self.reconcile(&id, Some(&owned));
        self.keep_alive(&id, now);
        self.ask_to_sync(&id, now);
        let member = self.members.get(&id);
        Ok(Response {
            generation_id: member.map_or(0, |member| member.epoch),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: member.and_then(|member| Some(member.protocol()?.0.clone())),
            member_id: id,
            ..Response::default()
        })
    }

    /// The member that joins, as it was before, and the id of one whose place it takes. An empty id: new.
    fn joiner(&self, join: &mut ClassicJoin) -> Result<(Member, Option<String>), Refused> {
        let id = join.like.member_id.clone();
        let refused = |code| (code, id.clone());
        let instance_id = join.like.instance_id.clone();
        let holder = instance_id.as_ref().and_then(|of| self.members.instance(of, &id));
        if !id.is_empty() && (instance_id.is_some() || self.members.get(&id).is_some()) {
            let member = self.known(&id, instance_id.as_deref()).map_err(refused)?;
            return Ok((member.clone(), None));
        }
        if id.is_empty() {
            join.like.member_id.clone_from(&join.new_id);
        }
        if let Some(old) = holder {
            return Ok((old.renamed(&join.new_id), Some(old.id.clone())));
        }
        if id.is_empty() && instance_id.is_none() && join.version >= ID_FIRST {
            return Err((ErrorCode::MemberIdRequired, join.new_id.clone()));
        }
        // Whoever comes with an id has been given it, or was a member. If it goes on to hold something, it must hear first
        // that it is none any more.
        if !id.is_empty() && !join.owned.is_empty() && join.generation >= 0 {
            return Err(refused(ErrorCode::UnknownMemberId));
        }
        match self.members.len() >= MAX_GROUP_MEMBERS {
            true => Err(refused(ErrorCode::GroupMaxSizeReached)),
            false => Ok((Member::default(), None)),
        }
    }

    /// Partitions by the ids of their topics; those of topics that are gone are nobody's.
    fn held(&self, owned: &[consumer_protocol::TopicPartitions]) -> Partitions {
        let mut held = BTreeSet::new();
        for of in owned {
            let Some(topic) = self.view.named(&of.topic) else { continue };
            held.extend(of.partitions.iter().map(|partition| (topic.id, partition.cast_unsigned())));
        }
        held
    }
}

fn refuse((code, member_id): Refused) -> Response {
    Response { error_code: code.code(), member_id, ..Response::default() }
}
