//! Members that are silent, or do not do in time what they were asked to, are gone.
//!
//! Must not know the clock.

use tokio::time::Instant;

use super::ConsumerGroup;
use super::member::Step;

/// When a member is gone unless something happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    session: Instant,
    /// The epoch in which it must give up partitions, and until when.
    pub(super) rebalance: Option<(i32, Instant)>,
    /// When a member of the classic protocol must have joined again, or asked for its assignment.
    asked: Option<Instant>,
}

impl ConsumerGroup {
    /// All members have a whole session before them.
    pub(crate) fn revive(&mut self, now: Instant) {
        self.timers.clear();
        self.next = None;
        let ids: Vec<String> = self.members.iter().map(|member| member.id.clone()).collect();
        ids.iter().for_each(|id| self.keep_alive(id, now));
    }

    pub(super) fn keep_alive(&mut self, id: &str, now: Instant) {
        let Some(member) = self.members.get(id) else { return };
        let timer = self.timers.get(id);
        let old = timer.and_then(|timer| timer.rebalance);
        let asked = timer.and_then(|timer| timer.asked).filter(|_| member.classic.is_some());
        let limit = member.patience();
        let rebalance = (member.step == Step::Unrevoked).then(|| {
            // Each epoch has its own time; a heartbeat that gives nothing up does not prolong it.
            old.filter(|(epoch, _)| *epoch == member.epoch).unwrap_or((member.epoch, now + limit))
        });
        self.set(id, Timer { session: now + member.session(), rebalance, asked });
    }

    /// A member of the classic protocol was asked to join again, and has its time for that from the first time on.
    pub(super) fn ask_to_join(&mut self, id: &str, now: Instant) {
        if self.timers.get(id).is_some_and(|timer| timer.asked.is_none()) {
            self.ask_to_sync(id, now);
        }
    }

    /// It has joined, and is to ask for its assignment.
    pub(super) fn ask_to_sync(&mut self, id: &str, now: Instant) {
        let asked = self.members.get(id).map(|member| now + member.patience());
        if let Some(timer) = self.timers.get(id).copied() {
            self.set(id, Timer { asked, ..timer });
        }
    }

    /// It did what it was asked to.
    pub(super) fn has_synced(&mut self, id: &str) {
        if let Some(timer) = self.timers.get_mut(id) {
            timer.asked = None;
        }
    }

    fn set(&mut self, id: &str, timer: Timer) {
        self.next = Some(self.next.map_or(timer.first(), |next| next.min(timer.first())));
        self.timers.insert(id.to_owned(), timer);
    }

    /// When [`expire`](ConsumerGroup::expire) is to be called, at the latest; `None`: there are no members.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Removes members that were silent for a session, or did not give up partitions in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        let over = self.timers.iter().filter(|(_, timer)| timer.first() <= now);
        let over: Vec<String> = over.map(|(id, _)| id.clone()).collect();
        over.iter().for_each(|id| self.remove(id));
        self.next = self.timers.values().map(Timer::first).min();
    }
}

impl Timer {
    fn first(&self) -> Instant {
        let rebalance = self.rebalance.map(|(_, until)| until);
        rebalance.into_iter().chain(self.asked).fold(self.session, Instant::min)
    }
}
