//! SyncGroup: the leader assigns, everybody gets its share once the generation is saved.
//!
//! Must not know what is assigned.

use bytes::Bytes;
use strandline_core::mutation::{self, Mutation};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::sync_group::{Request, Response};
use tokio::time::Instant;

use super::{Answer, Classic, State, Ticket};

impl Classic {
    /// A member asks for its assignment; the leader brings those of all.
    pub(in crate::groups) fn sync(&mut self, now: Instant, ticket: Ticket, request: Request) {
        if let Err(code) = self.try_sync(now, ticket, request) {
            self.refuse_sync(ticket, code);
        }
    }

    fn try_sync(&mut self, now: Instant, ticket: Ticket, request: Request) -> Result<(), ErrorCode> {
        let id = request.member_id.as_str();
        self.check_member(id, request.generation_id, request.group_instance_id.as_deref())?;
        let differs = |said: &Option<String>, is: &String| {
            said.as_ref().is_some_and(|said| !said.is_empty() && said != is)
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        self.touch(now, id);
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            State::Stable => {
                self.give(id, ticket);
                Ok(())
            }
            State::Completing { save } => {
                if let Some(member) = self.roll.get_mut(id)
                    && let Some(before) = member.syncing.replace(ticket)
                {
                    self.refuse_sync(before, ErrorCode::RebalanceInProgress);
                }
                if save.is_none() && self.leader == id {
                    self.assign(now, request);
                }
                Ok(())
            }
        }
    }

    /// Members that the leader did not think of get nothing.
    fn assign(&mut self, now: Instant, request: Request) {
        let ids: Vec<String> = self.roll.iter().map(|member| member.id.clone()).collect();
        for id in ids {
            self.roll.assign(&id, Bytes::new());
        }
        for assigned in request.assignments {
            // The frame is large, and would live as long as the smallest slice of it.
            self.roll.assign(&assigned.member_id, Bytes::copy_from_slice(&assigned.assignment));
        }
        let save = self.want_save();
        self.state = State::Completing { save: Some(save) };
        if mutation::is(Mutation::AssignedBeforeFold) {
            self.complete_generation(now);
        }
    }

    /// What was to be saved is decided in the fold.
    pub(in crate::groups) fn saved(&mut self, now: Instant, save: u64) {
        self.known = true;
        let (ready, held) = std::mem::take(&mut self.held).into_iter().partition(|held| held.save <= save);
        self.held = held;
        for held in ready {
            self.touch(now, &held.answer.member_id);
            self.answers.push((held.ticket, Answer::Join(held.answer)));
        }
        if matches!(self.state, State::Completing { save: Some(waited) } if waited <= save) {
            self.complete_generation(now);
        }
    }

    fn complete_generation(&mut self, now: Instant) {
        self.state = State::Stable;
        let waiting: Vec<(String, Ticket)> = self
            .roll
            .iter_mut()
            .filter_map(|member| Some((member.id.clone(), member.syncing.take()?)))
            .collect();
        for (id, ticket) in waiting {
            self.touch(now, &id);
            self.give(&id, ticket);
        }
    }

    fn give(&mut self, id: &str, ticket: Ticket) {
        let Some(member) = self.roll.get_mut(id) else { return };
        member.synced = true;
        let response = Response {
            protocol_type: Some(self.protocol_type.clone()),
            protocol_name: Some(self.protocol.clone()),
            assignment: member.assignment.clone(),
            ..Response::default()
        };
        self.answers.push((ticket, Answer::Sync(response)));
    }
}
