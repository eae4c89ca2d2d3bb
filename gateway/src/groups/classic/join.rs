//! JoinGroup: new members, members that come again, static members that come back under a new id.
//!
//! Must not know when a generation is complete. Whoever joins is answered at once, or when the generation is.

use std::time::Duration;

use bytes::Bytes;
use strandline_core::limits::{MAX_GROUP_BYTES, MAX_GROUP_MEMBERS, MAX_GROUP_NAME_BYTES};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::join_group::{self, Response};
use tokio::time::Instant;

use super::member::Member;
use super::{Answer, Classic, Held, Joining, State, joining};
use crate::limits::GROUP_PENDING;

/// The first version in which a new member gets its id before it joins (KIP-394).
const ID_FIRST: i16 = 4;
/// The first version in which a leader can be told not to assign (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

impl Classic {
    /// A client wants to be a member.
    pub(in crate::groups) fn join(&mut self, now: Instant, joining: Joining) {
        let (ticket, id) = (joining.ticket, joining.request.member_id.clone());
        match self.try_join(now, joining) {
            Ok(()) => {}
            Err((code, Some(new_id))) => self.refuse_join(ticket, new_id, code),
            Err((code, None)) => self.refuse_join(ticket, id, code),
        }
    }

    fn try_join(&mut self, now: Instant, joining: Joining) -> Result<(), (ErrorCode, Option<String>)> {
        let refused = |code| (code, None);
        self.check_join(&joining).map_err(refused)?;
        let request = &joining.request;
        let (id, instance_id) = (request.member_id.clone(), request.group_instance_id.clone());
        if !id.is_empty() {
            if self.pending.remove(&id).is_some() {
                self.add(now, joining, id);
                return Ok(());
            }
            self.roll.check(&id, instance_id.as_deref()).map_err(refused)?;
            self.rejoin(now, joining, &id);
            return Ok(());
        }
        let new_id = joining::new_id(request, &joining.client_id, joining.dice);
        match instance_id.and_then(|instance| self.roll.instance(&instance).map(str::to_owned)) {
            Some(old_id) => self.replace(now, joining, &old_id, new_id),
            None if joining.version >= ID_FIRST && joining.request.group_instance_id.is_none() => {
                let until = now + session(&joining.request).min(GROUP_PENDING);
                self.pending.insert(new_id.clone(), until);
                self.grew();
                self.wake_at(until);
                return Err((ErrorCode::MemberIdRequired, Some(new_id)));
            }
            None => self.add(now, joining, new_id),
        }
        Ok(())
    }

    fn check_join(&self, joining: &Joining) -> Result<(), ErrorCode> {
        let request = &joining.request;
        joining::check(request)?;
        let mut names = request.protocols.iter().map(|protocol| protocol.name.as_str());
        let common = self.roll.is_empty()
            || (request.protocol_type == self.protocol_type && self.roll.speaks_any(&mut names));
        if !common {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let known = self.roll.get(&request.member_id);
        let wanted: usize = request.protocols.iter().map(|p| p.name.len() + p.metadata.len()).sum();
        let bytes = self.roll.bytes() - known.map_or(0, Member::bytes) + wanted;
        let full = known.is_none()
            && !self.pending.contains_key(&request.member_id)
            && self.roll.len() + self.pending.len() >= MAX_GROUP_MEMBERS;
        match full || bytes > MAX_GROUP_BYTES {
            true => Err(ErrorCode::GroupMaxSizeReached),
            false => Ok(()),
        }
    }

    /// A new member.
    fn add(&mut self, now: Instant, joining: Joining, id: String) {
        if self.roll.is_empty() {
            self.protocol_type.clone_from(&joining.request.protocol_type);
            self.leader.clone_from(&id);
        }
        self.enter(now, joining, id, None);
        self.grew();
        self.begin_rebalance(now);
        self.complete_if_all_joined(now);
    }

    /// The member as its request describes it, in place of `old`; it waits for the next generation.
    fn enter(&mut self, now: Instant, joining: Joining, id: String, old: Option<Member>) {
        let Joining { ticket, client_id, client_host, request, .. } = joining;
        let session = session(&request);
        // The frame is large, and would live as long as the smallest slice of it.
        let own =
            |protocol: join_group::Protocol| (protocol.name, Bytes::copy_from_slice(&protocol.metadata));
        let (instance_id, assignment) = old.map(|old| (old.instance_id, old.assignment)).unwrap_or_default();
        let member = Member {
            named: !request.member_id.is_empty() || request.group_instance_id.is_some(),
            id,
            instance_id: instance_id.or(request.group_instance_id),
            client_id: cut(client_id),
            client_host,
            session,
            rebalance: match u64::try_from(request.rebalance_timeout_ms) {
                Ok(milliseconds) if milliseconds > 0 => Duration::from_millis(milliseconds),
                _ => session,
            },
            protocols: request.protocols.into_iter().map(own).collect(),
            assignment,
            deadline: now + session,
            joining: Some(ticket),
            syncing: None,
            synced: false,
        };
        self.wake_at(member.deadline);
        self.roll.insert(member);
    }

    /// A member joins again: it wants a new generation, or its client has not heard of the current one.
    fn rejoin(&mut self, now: Instant, joining: Joining, id: &str) {
        let Some(member) = self.roll.get(id) else { return };
        let request = &joining.request;
        let same = member.protocols.len() == request.protocols.len()
            && member
                .protocols
                .iter()
                .zip(&request.protocols)
                .all(|(had, has)| had.0 == has.name && had.1 == has.metadata);
        let is_leader = self.leader == id;
        let told = match self.state {
            State::Completing { .. } => same,
            // The leader comes again when it sees that something else is to be assigned.
            State::Stable => same && !is_leader,
            State::Empty | State::Preparing { .. } => false,
        };
        if told {
            let with_members = is_leader && !matches!(self.state, State::Stable);
            let response = self.joined(id, with_members);
            self.answers.push((joining.ticket, Answer::Join(response)));
            return self.touch(now, id);
        }
        // Its client has given up what it asked before.
        self.begin_rebalance(now);
        self.refuse(id, ErrorCode::RebalanceInProgress);
        let old = self.roll.remove(id);
        self.enter(now, joining, id.to_owned(), old);
        self.complete_if_all_joined(now);
    }

    /// A static member is back after a restart: it takes the place of its former self, and the group goes on as it was
    /// if all still agree on the protocol.
    fn replace(&mut self, now: Instant, joining: Joining, old_id: &str, id: String) {
        self.refuse(old_id, ErrorCode::FencedInstanceId);
        let old = self.roll.remove(old_id);
        let was_leader = self.leader == old_id;
        if was_leader {
            self.leader.clone_from(&id);
        }
        let (ticket, version) = (joining.ticket, joining.version);
        self.enter(now, joining, id.clone(), old);
        if self.state == State::Stable && self.roll.elect() == self.protocol {
            self.roll.take_joining(&id);
            if let Some(member) = self.roll.get_mut(&id) {
                member.synced = true;
            }
            let skip = was_leader && version >= SKIP_ASSIGNMENT;
            let mut response = self.joined(&id, skip);
            response.skip_assignment = skip;
            if was_leader && !skip {
                // Or it would assign anew, and its old clients would not hear of it.
                response.leader = old_id.to_owned();
            }
            let save = self.want_save();
            self.held.push(Held { save, ticket, answer: response });
            return;
        }
        self.begin_rebalance(now);
        self.complete_if_all_joined(now);
    }

    /// What a member is told of the current generation.
    pub(super) fn joined(&self, id: &str, with_members: bool) -> Response {
        let member = |member: &Member| join_group::Member {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(&self.protocol),
        };
        Response {
            generation_id: self.generation,
            protocol_type: Some(self.protocol_type.clone()),
            protocol_name: Some(self.protocol.clone()),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            members: if with_members { self.roll.iter().map(member).collect() } else { Vec::new() },
            ..Response::default()
        }
    }
}

fn session(request: &join_group::Request) -> Duration {
    Duration::from_millis(u64::try_from(request.session_timeout_ms).unwrap_or(0))
}

fn cut(mut text: String) -> String {
    joining::truncate(&mut text, MAX_GROUP_NAME_BYTES);
    text
}
