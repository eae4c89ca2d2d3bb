//! From one generation to the next.
//!
//! Must not know requests. Invariant: a generation begins with the members that joined it, and those static ones whose
//! session goes on.

use strandline_kafka::error::ErrorCode;
use tokio::time::Instant;

use super::member::Member;
use super::{Answer, Classic, Initial, State, Ticket};
use crate::limits::INITIAL_REBALANCE_DELAY;

impl Classic {
    /// All members are to join again.
    pub(super) fn begin_rebalance(&mut self, now: Instant) {
        let longest = self.roll.rebalance_timeout();
        let (until, initial) = match self.state {
            State::Preparing { .. } => return,
            State::Empty => {
                let (delay, most) = INITIAL_REBALANCE_DELAY;
                (now + delay, Some(Initial { latest: now + most.min(longest), grew: false }))
            }
            State::Completing { .. } => {
                let waiting = self.roll.iter_mut().filter_map(|member| member.syncing.take());
                for ticket in waiting.collect::<Vec<_>>() {
                    self.refuse_sync(ticket, ErrorCode::RebalanceInProgress);
                }
                (now + longest, None)
            }
            State::Stable => (now + longest, None),
        };
        self.state = State::Preparing { until, initial };
        self.sync_until = None;
        self.wake_at(until);
    }

    /// A member is gone; what follows from it is up to [`Classic::after_removal`].
    pub(super) fn remove(&mut self, id: &str) {
        self.refuse(id, ErrorCode::UnknownMemberId);
        self.roll.remove(id);
        if self.leader == id {
            self.leader = self.roll.iter().next().map(|member| member.id.clone()).unwrap_or_default();
        }
        self.removed = true;
    }

    /// Members may be gone: the others have to know, or have only waited for them.
    pub(super) fn after_removal(&mut self, now: Instant) {
        if std::mem::take(&mut self.removed) && self.state != State::Empty {
            self.begin_rebalance(now);
        }
        self.complete_if_all_joined(now);
    }

    /// Nobody has to be waited for.
    pub(super) fn complete_if_all_joined(&mut self, now: Instant) {
        let waiting = matches!(self.state, State::Preparing { initial: None, .. });
        if waiting && self.roll.joining() == self.roll.len() && self.pending.is_empty() {
            self.complete_join(now);
        }
    }

    /// The wait is over: whoever has joined is in.
    pub(super) fn complete_join(&mut self, now: Instant) {
        let missing = |member: &&Member| member.joining.is_none() && member.instance_id.is_none();
        let missing: Vec<String> = self.roll.iter().filter(missing).map(|member| member.id.clone()).collect();
        for id in missing {
            self.remove(&id);
        }
        self.removed = false;
        if self.roll.is_empty() {
            return self.become_empty();
        }
        let leads = self.roll.get(&self.leader).is_some_and(|member| member.joining.is_some());
        if !leads {
            let joined = self.roll.iter().find(|member| member.joining.is_some());
            let Some(id) = joined.map(|member| member.id.clone()) else {
                // Static members that are away: their sessions end, or they come.
                let until = now + self.roll.rebalance_timeout();
                self.state = State::Preparing { until, initial: None };
                return self.wake_at(until);
            };
            self.leader = id;
        }
        self.begin_generation(now);
    }

    fn begin_generation(&mut self, now: Instant) {
        self.generation = self.generation.saturating_add(1);
        self.protocol = self.roll.elect();
        self.state = State::Completing { save: None };
        let until = now + self.roll.rebalance_timeout();
        self.sync_until = Some(until);
        self.wake_at(until);
        let members: Vec<(String, Option<Ticket>)> =
            self.roll.iter().map(|member| (member.id.clone(), member.joining)).collect();
        for (id, ticket) in members {
            self.roll.take_joining(&id);
            if let Some(member) = self.roll.get_mut(&id) {
                member.synced = false;
                member.named = true;
            }
            if let Some(ticket) = ticket {
                let response = self.joined(&id, id == self.leader);
                self.answers.push((ticket, Answer::Join(response)));
                self.touch(now, &id);
            }
        }
    }

    fn become_empty(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.state = State::Empty;
        self.sync_until = None;
        self.protocol.clear();
        self.leader.clear();
        // A group that never had a generation leaves no trace.
        if self.known {
            self.want_save();
        }
    }
}
