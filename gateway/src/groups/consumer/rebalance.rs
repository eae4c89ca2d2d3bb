//! From one epoch to the next: who is to hold what, and the next step of a member towards it.
//!
//! Must not know requests. Invariant: a partition is given to a member only if nobody else holds it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::ConsumerGroup;
use super::assignor::{Assignor, Subscriber};
use super::member::Member;
use super::topics::{self, Partitions};

impl ConsumerGroup {
    /// A new epoch if members or topics ask for it, and a new target for a new epoch.
    pub(super) fn renew(&mut self, subscribes: bool) {
        let pending = self.epoch > self.state.assignment_epoch;
        let orphaned = self.members.any_new() && std::mem::take(&mut self.orphaned);
        let subscribes = subscribes || orphaned;
        if !(subscribes || self.view_changed || pending) {
            return;
        }
        let (of_members, topics) = self.subscriptions();
        let topics_hash = topics::hash(&topics);
        let differs = topics_hash != self.state.topics_hash;
        (self.state.topics_hash, self.view_changed) = (topics_hash, false);
        // An epoch without a target takes whatever the topics have become meanwhile.
        if subscribes || (differs && !pending) {
            self.bump();
        }
        if self.epoch > self.state.assignment_epoch {
            self.retarget(&of_members, &topics);
            self.state.assignment_epoch = self.epoch;
        }
    }

    pub(super) fn bump(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Topics of each member, in the order of the members, and the partitions of all of them.
    fn subscriptions(&self) -> (Vec<BTreeSet<Uuid>>, BTreeMap<Uuid, u32>) {
        let (mut of_members, mut topics) = (Vec::with_capacity(self.members.len()), BTreeMap::new());
        for member in self.members.iter() {
            let seen: BTreeMap<Uuid, u32> = self
                .view
                .of(&member.names, &member.regex)
                .map(|topic| (topic.id, topic.partitions))
                .collect();
            of_members.push(seen.keys().copied().collect());
            topics.extend(seen);
        }
        (of_members, topics)
    }

    fn retarget(&mut self, of_members: &[BTreeSet<Uuid>], topics: &BTreeMap<Uuid, u32>) {
        let subscriber = |(member, topics)| {
            let Member { id, instance_id, target, .. }: &Member = member;
            Subscriber { id, instance_id: instance_id.as_deref(), topics, target }
        };
        let subscribers: Vec<_> = self.members.iter().zip(of_members).map(subscriber).collect();
        let targets = self.assignor().assign(&subscribers, topics);
        let changed: Vec<Member> = self
            .members
            .iter()
            .zip(targets)
            .filter(|(member, target)| member.target != *target)
            .map(|(member, target)| Member { target, ..member.clone() })
            .collect();
        changed.into_iter().for_each(|member| self.members.put(member));
    }

    /// The one that most members ask for; the default if none does.
    pub(super) fn assignor(&self) -> Assignor {
        let votes = |of: Assignor| self.members.iter().filter(|member| member.assignor == Some(of)).count();
        let best = Assignor::ALL.into_iter().rev().max_by_key(|of| votes(*of));
        best.filter(|of| votes(*of) > 0).unwrap_or_default()
    }

    /// Takes a member one step on. Whether what it is to hold has changed.
    pub(super) fn reconcile(&mut self, id: &str, owned: Option<&Partitions>) -> bool {
        let Some(before) = self.members.get(id) else { return false };
        let mut member = before.clone();
        member.reconcile(self.state.assignment_epoch, owned, |of| self.members.holds_other(of, id));
        let changed = member.assigned != before.assigned;
        self.members.put(member);
        changed
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.timers.remove(id);
        if self.members.remove(id).is_none() {
            return;
        }
        // The group is about to be a classic one: its members are to know the epoch as their generation.
        match self.members.len() > 0 && !self.members.any_new() {
            true => self.orphaned = true,
            false => self.bump(),
        }
    }
}
