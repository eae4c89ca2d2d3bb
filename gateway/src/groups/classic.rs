//! The classic protocol as a state machine: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! Must not know tasks, sockets or the journal: the time comes with every call, answers and what is to be saved are taken
//! from it afterwards. Invariant: a generation has one list of members, one protocol and one set of assignments, and
//! nobody gets an assignment before the generation is saved.
//!
//! Modules stand in the order in which they import:
//!
//! - `joining`: whether a JoinGroup may be taken at all, whatever the group
//! - `join`: JoinGroup, with static members (KIP-345) and ids that are handed out first (KIP-394)
//! - `sync`: SyncGroup, and what happens once a generation is saved
//! - `leave`: LeaveGroup, and clients that vanish
//! - `timers`: what happens when nothing happens
//! - `rebalance`: from one generation to the next
//! - `saved`: from and to the manifest
//! - `roll`: the members, and what they have in common
//! - `member`: one member
//! - `subscription`: a member's protocols, as the manifest keeps them

mod join;
pub(super) mod joining;
mod sync;
mod leave;
mod timers;
mod rebalance;
mod saved;
mod roll;
mod member;
pub(crate) mod subscription;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use strandline_core::mutation::{self, Mutation};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{join_group, sync_group};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Live, LiveMember};
use crate::limits::GROUP_PENDING_BYTES;
pub(super) use saved::{Save, initial_state};

use roll::Roll;

/// Names a request that waits for its answer.
pub(super) type Ticket = u64;

/// The answer to a request that waited.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// To JoinGroup.
    Join(join_group::Response),
    /// To SyncGroup.
    Sync(sync_group::Response),
}

/// A JoinGroup request and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    /// To be answered under this.
    pub(super) ticket: Ticket,
    /// Of the request.
    pub(super) version: i16,
    /// As the client calls itself.
    pub(super) client_id: String,
    /// Where it connects from.
    pub(super) client_host: String,
    /// Makes a new member's id one that nobody else has.
    pub(super) dice: Uuid,
    /// What it asks.
    pub(super) request: join_group::Request,
}

/// Where the group stands, as in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No members.
    Empty,
    /// Members (re)join: until all are there, or until the deadline.
    Preparing {
        until: Instant,
        /// The first generation of an empty group.
        initial: Option<Initial>,
    },
    /// All have joined; the leader is to assign.
    Completing {
        /// The save that completes the generation; none: the leader has not assigned yet.
        save: Option<u64>,
    },
    /// Every member has an assignment.
    Stable,
}

/// The wait for more members before the first generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Initial {
    /// No longer than this.
    latest: Instant,
    /// Whether somebody came since the wait was prolonged last.
    grew: bool,
}

/// An answer that waits for a save of a group that is otherwise stable.
#[derive(Debug)]
struct Held {
    save: u64,
    ticket: Ticket,
    answer: join_group::Response,
}

/// One group.
#[derive(Debug)]
pub(super) struct Classic {
    name: String,
    state: State,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    roll: Roll,
    /// Ids that were handed out (KIP-394), and until when they may be used.
    pending: BTreeMap<String, Instant>,
    /// Members of the current generation that did not ask for their assignment by then are gone.
    sync_until: Option<Instant>,
    /// Whether the manifest knows the group.
    known: bool,
    /// Members are gone, and nothing was made of it yet.
    removed: bool,
    saves: u64,
    queued: Option<Save>,
    held: Vec<Held>,
    answers: Vec<(Ticket, Answer)>,
    /// Nothing happens by itself before this.
    check_at: Option<Instant>,
}

impl Classic {
    /// Answers that are ready.
    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// When [`Classic::tick`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.check_at
    }

    /// Bytes that the members take.
    pub(super) fn bytes(&self) -> usize {
        self.roll.bytes() + self.pending.len() * GROUP_PENDING_BYTES
    }

    /// No members, nobody on the way to become one, nothing to save or to answer.
    pub(super) fn is_idle(&self) -> bool {
        self.roll.is_empty()
            && self.pending.is_empty()
            && self.state == State::Empty
            && self.queued.is_none()
            && self.held.is_empty()
    }

    /// Kafka's name of the state.
    pub(super) fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing { .. } => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }

    /// For those who look.
    pub(super) fn live(&self) -> Live {
        let stable = self.state == State::Stable;
        let members = self.roll.iter().map(|member| LiveMember {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(&self.protocol) } else { Default::default() },
            assignment: if stable { member.assignment.clone() } else { Default::default() },
        });
        Live {
            state: self.state_name(),
            protocol_type: self.protocol_type.clone(),
            protocol: if stable { self.protocol.clone() } else { String::new() },
            members: members.collect(),
        }
    }

    /// A member says that it lives.
    ///
    /// # Errors
    /// What it has to hear: 27 that it must rejoin.
    pub(super) fn heartbeat(
        &mut self,
        now: Instant,
        member: &str,
        generation: i32,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        self.check_member(member, generation, instance_id)?;
        self.touch(now, member);
        match self.state {
            State::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::Completing { .. } | State::Stable => Ok(()),
        }
    }

    /// Whether offsets may be committed; a member that does so lives.
    ///
    /// # Errors
    /// What the client has to hear.
    pub(super) fn admit_commit(
        &mut self,
        now: Instant,
        member: &str,
        generation: i32,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.roll.is_empty() {
            return Ok(());
        }
        match mutation::is(Mutation::StaleGenerationCommits) {
            true => self.roll.check(member, instance_id)?,
            false => self.check_member(member, generation, instance_id)?,
        }
        self.touch(now, member);
        match self.state {
            State::Completing { .. } => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::Preparing { .. } | State::Stable => Ok(()),
        }
    }

    fn check_member(&self, id: &str, generation: i32, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        self.roll.check(id, instance_id)?;
        match generation == self.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// A member's session begins anew.
    fn touch(&mut self, now: Instant, id: &str) {
        if let Some(member) = self.roll.get_mut(id) {
            member.deadline = now + member.session;
            let deadline = member.deadline;
            self.wake_at(deadline);
        }
    }

    fn wake_at(&mut self, at: Instant) {
        self.check_at = Some(self.check_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Everybody who waits hears this.
    pub(super) fn refuse_all(&mut self, code: ErrorCode) {
        let ids: Vec<String> = self.roll.iter().map(|member| member.id.clone()).collect();
        for id in ids {
            self.refuse(&id, code);
        }
    }

    /// What a member waits for is answered with this.
    fn refuse(&mut self, id: &str, code: ErrorCode) {
        if let Some(ticket) = self.roll.take_joining(id) {
            self.refuse_join(ticket, id.to_owned(), code);
        }
        if let Some(ticket) = self.roll.get_mut(id).and_then(|member| member.syncing.take()) {
            self.refuse_sync(ticket, code);
        }
        let of_member = |held: &mut Held| held.answer.member_id == id;
        for held in self.held.extract_if(.., of_member).collect::<Vec<_>>() {
            self.refuse_join(held.ticket, held.answer.member_id, code);
        }
    }

    fn refuse_join(&mut self, ticket: Ticket, member_id: String, code: ErrorCode) {
        let response =
            join_group::Response { error_code: code.code(), member_id, ..join_group::Response::default() };
        self.answers.push((ticket, Answer::Join(response)));
    }

    fn refuse_sync(&mut self, ticket: Ticket, code: ErrorCode) {
        let response = sync_group::Response { error_code: code.code(), ..sync_group::Response::default() };
        self.answers.push((ticket, Answer::Sync(response)));
    }
}
