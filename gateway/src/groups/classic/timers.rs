//! What happens when nothing happens: sessions end, waits are over.
//!
//! Must not know the clock. Invariant: time in which this node stood still is nobody's silence.

use std::time::Duration;

use tokio::time::Instant;

use super::{Classic, Initial, State};
use crate::limits::{GROUP_TIMER_LATE, INITIAL_REBALANCE_DELAY};

impl Classic {
    /// To be called before any request is looked at, and when [`Classic::due`] has come.
    pub(in crate::groups) fn tick(&mut self, now: Instant) {
        let Some(due) = self.check_at.filter(|due| *due <= now) else { return };
        let late = now - due;
        if late > GROUP_TIMER_LATE {
            self.shift(late);
        }
        self.pending.retain(|_, until| *until > now);
        let silent = self.roll.iter().filter(|member| member.deadline <= now && !member.waits());
        let silent: Vec<String> = silent.map(|member| member.id.clone()).collect();
        for id in silent {
            self.remove(&id);
        }
        if self.sync_until.is_some_and(|until| until <= now) {
            self.sync_until = None;
            let lazy = self.roll.iter().filter(|member| !member.synced && member.syncing.is_none());
            let lazy: Vec<String> = lazy.map(|member| member.id.clone()).collect();
            for id in lazy {
                self.remove(&id);
            }
        }
        self.after_removal(now);
        self.end_wait(now);
        self.check_at = self.next();
    }

    /// The wait for members is over, or goes on because more of them are coming.
    fn end_wait(&mut self, now: Instant) {
        let State::Preparing { until, initial } = self.state else { return };
        if until > now {
            return;
        }
        if let Some(Initial { latest, grew: true }) = initial
            && now < latest
        {
            let until = latest.min(now + INITIAL_REBALANCE_DELAY.0);
            let initial = Some(Initial { latest, grew: false });
            self.state = State::Preparing { until, initial };
            return;
        }
        self.complete_join(now);
    }

    /// Somebody came, or is about to.
    pub(super) fn grew(&mut self) {
        if let State::Preparing { initial: Some(initial), .. } = &mut self.state {
            initial.grew = true;
        }
    }

    fn shift(&mut self, by: Duration) {
        for member in self.roll.iter_mut() {
            member.deadline += by;
        }
        for until in self.pending.values_mut() {
            *until += by;
        }
        if let Some(until) = &mut self.sync_until {
            *until += by;
        }
        if let State::Preparing { until, initial } = &mut self.state {
            *until += by;
            if let Some(initial) = initial {
                initial.latest += by;
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let sessions = self.roll.iter().filter(|member| !member.waits()).map(|member| member.deadline);
        let wait = match self.state {
            State::Preparing { until, .. } => Some(until),
            State::Empty | State::Completing { .. } | State::Stable => None,
        };
        sessions.chain(self.pending.values().copied()).chain(wait).chain(self.sync_until).min()
    }
}
