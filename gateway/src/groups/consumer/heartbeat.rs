//! ConsumerGroupHeartbeat: a member says that it lives, joins, changes or leaves.
//!
//! Must not know how partitions are shared out, nor the other protocol. Invariant: a request that is refused has changed
//! nothing.

use std::collections::BTreeMap;

use strandline_core::limits::MAX_GROUP_MEMBERS;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::{Assignment, Request, Response, TopicPartitions};
use tokio::time::Instant;
use uuid::Uuid;

use super::assignor::Assignor;
use super::member::{JOIN, LEAVE_STATIC, Member, Step};
use super::topics::Partitions;
use super::{ConsumerGroup, HEARTBEAT_INTERVAL, Refusal, refuse, request};
use crate::groups::Caller;
use crate::limits::MAX_PATTERNS_PER_GROUP;

impl ConsumerGroup {
    /// A member says that it lives, joins, changes or leaves.
    ///
    /// # Errors
    /// The refusal; nothing has changed.
    pub(crate) fn heartbeat(
        &mut self,
        request: &Request,
        client: &Caller,
        now: Instant,
    ) -> Result<Response, Refusal> {
        if request.member_epoch < JOIN {
            return self.leave(request);
        }
        if self.converts && request.member_epoch != JOIN {
            return Err(refuse(ErrorCode::GroupIdNotFound, format!("Group {} not found.", self.name)));
        }
        let owned = request::owned(request);
        let (before, replaced) = self.sender(request, owned.as_ref())?;
        let mut member = before.clone();
        self.apply(&mut member, request, client)?;
        // Whatever it spoke before.
        member.classic = None;
        if let Some(id) = replaced {
            self.members.remove(&id);
            self.timers.remove(&id);
        }
        let subscribes = before.id.is_empty() || member.names != before.names || member.regex != before.regex;
        member.id.clone_from(&request.member_id);
        self.members.put(member);
        self.renew(subscribes);
        let stale = request.member_epoch != JOIN && request.member_epoch != before.epoch;
        // What a member with a lost answer says was true before that answer, not after it.
        let owned = owned.filter(|_| !stale);
        let changed = self.reconcile(&request.member_id, owned.as_ref());
        self.keep_alive(&request.member_id, now);
        Ok(self.answer(request, changed))
    }

    /// The member that a request comes from, as it was before, and the id of one whose place it takes. An empty id: new.
    fn sender(
        &self,
        request: &Request,
        owned: Option<&Partitions>,
    ) -> Result<(Member, Option<String>), Refusal> {
        let id = &request.member_id;
        let joins = request.member_epoch == JOIN;
        let known = match &request.instance_id {
            None => self.members.get(id),
            Some(instance_id) => self.members.instance(instance_id, id),
        };
        match known {
            None if !joins => Err(self.unknown(id)),
            // A dynamic member does not become a static one under the same id, nor another static one.
            None if self.members.get(id).is_some() => {
                let message = format!("Member {id} has another InstanceId, or none.");
                Err(refuse(ErrorCode::InvalidRequest, message))
            }
            None if self.members.len() >= MAX_GROUP_MEMBERS => {
                let message =
                    format!("The consumer group has reached its maximum of {MAX_GROUP_MEMBERS} members.");
                Err(refuse(ErrorCode::GroupMaxSizeReached, message))
            }
            None => Ok((Member::default(), None)),
            Some(member) if member.id != *id && joins => self.replacement(member, request),
            Some(member) if member.id != *id => Err(self.fenced_instance(request)),
            Some(member) if joins || member.accepts(request.member_epoch, owned) => {
                Ok((member.clone(), None))
            }
            Some(member) => {
                let (than, sent, epoch) = match request.member_epoch > member.epoch {
                    true => ("greater", request.member_epoch, member.epoch),
                    false => ("smaller", request.member_epoch, member.epoch),
                };
                let message = format!(
                    "The consumer group member has a {than} member epoch ({sent}) than the one known by the group \
                     coordinator ({epoch}). The member must abandon all its partitions and rejoin."
                );
                Err(refuse(ErrorCode::FencedMemberEpoch, message))
            }
        }
    }

    /// A static member comes back under a new id, if the old one has left for a while, or speaks the protocol in which
    /// nobody can say so.
    fn replacement(&self, old: &Member, request: &Request) -> Result<(Member, Option<String>), Refusal> {
        if old.epoch != LEAVE_STATIC && old.classic.is_none() {
            let message = format!(
                "Static member {} with instance id {} cannot join the group because the instance id is owned by {} member.",
                request.member_id,
                request.instance_id.as_deref().unwrap_or_default(),
                old.id,
            );
            return Err(refuse(ErrorCode::UnreleasedInstanceId, message));
        }
        Ok((old.renamed(&request.member_id), Some(old.id.clone())))
    }

    /// What the request says of its member; nulls mean that nothing has changed.
    pub(super) fn apply(
        &self,
        member: &mut Member,
        request: &Request,
        client: &Caller,
    ) -> Result<(), Refusal> {
        let joins = request.member_epoch == JOIN;
        if request.instance_id.is_some() {
            member.instance_id.clone_from(&request.instance_id);
        }
        if request.rack_id.is_some() || joins {
            member.rack.clone_from(&request.rack_id);
        }
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(name) = &request.server_assignor {
            member.assignor = Assignor::named(name);
        }
        if let Some(names) = &request.subscribed_topic_names {
            member.names = names.iter().cloned().collect();
        }
        if let Some(regex) = request.subscribed_topic_regex.as_ref().filter(|regex| **regex != member.regex) {
            if self.wanted(Some(request)).patterns.len() > MAX_PATTERNS_PER_GROUP {
                let message = format!("A group has at most {MAX_PATTERNS_PER_GROUP} regular expressions.");
                return Err(refuse(ErrorCode::InvalidRegularExpression, message));
            }
            member.regex.clone_from(regex);
        }
        if joins {
            member.client_id.clone_from(&client.client_id);
            member.client_host.clone_from(&client.client_host);
        }
        Ok(())
    }

    fn answer(&self, request: &Request, changed: bool) -> Response {
        // A member that lost an answer tells everything, and is told everything.
        let full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let member = self.members.get(&request.member_id);
        let tell = request.member_epoch == JOIN || full || changed;
        Response {
            member_id: Some(request.member_id.clone()),
            member_epoch: member.map_or(0, |member| member.epoch),
            heartbeat_interval_ms: HEARTBEAT_INTERVAL.as_millis() as i32,
            assignment: member.filter(|_| tell).map(|member| assignment(&member.assigned)),
            ..Response::default()
        }
    }

    fn leave(&mut self, request: &Request) -> Result<Response, Refusal> {
        if self.converts {
            return Err(refuse(ErrorCode::GroupIdNotFound, format!("Group {} not found.", self.name)));
        }
        let id = &request.member_id;
        let member = match &request.instance_id {
            None => self.members.get(id).ok_or_else(|| self.unknown(id))?,
            Some(instance_id) => self.members.instance(instance_id, id).ok_or_else(|| self.unknown(id))?,
        };
        if member.id != *id {
            return Err(self.fenced_instance(request));
        }
        if request.member_epoch == LEAVE_STATIC {
            // It comes back soon: nothing moves until its session is over.
            let away = Member {
                epoch: LEAVE_STATIC,
                step: Step::Stable,
                revoking: Partitions::new(),
                ..member.clone()
            };
            self.members.put(away);
            if let Some(timer) = self.timers.get_mut(id) {
                timer.rebalance = None;
            }
        } else {
            self.remove(id);
        }
        Ok(Response {
            member_id: Some(id.clone()),
            member_epoch: request.member_epoch,
            ..Response::default()
        })
    }

    pub(super) fn unknown(&self, id: &str) -> Refusal {
        let message = format!("Member {id} is not a member of group {}.", self.name);
        refuse(ErrorCode::UnknownMemberId, message)
    }

    pub(super) fn fenced_instance(&self, request: &Request) -> Refusal {
        let message = format!(
            "Static member {} with instance id {} was fenced by another member.",
            request.member_id,
            request.instance_id.as_deref().unwrap_or_default(),
        );
        refuse(ErrorCode::FencedInstanceId, message)
    }
}

pub(super) fn assignment(partitions: &Partitions) -> Assignment {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(*topic).or_default().push(partition.cast_signed());
    }
    let topic = |(topic, partitions): (Uuid, _)| TopicPartitions { topic_id: topic.into_bytes(), partitions };
    Assignment { topic_partitions: topics.into_iter().map(topic).collect() }
}
