//! The uniform assignor: balanced and sticky.
//!
//! Must not know who holds what at the moment, only the targets so far. Invariants: where all members subscribe to the
//! same topics, no two loads differ by more than one and no partition moves that could stay; elsewhere no single move
//! would make two loads more alike.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::super::topics::Partitions;
use super::Subscriber;

pub(super) fn assign(members: &[Subscriber<'_>], topics: &BTreeMap<Uuid, u32>) -> Vec<Partitions> {
    let Some(first) = members.first() else { return Vec::new() };
    if members.iter().all(|member| member.topics == first.topics) {
        return same_topics(members, topics);
    }
    let mut loads = Loads::keep(members, topics);
    loads.place();
    loads.balance();
    loads.targets
}

/// The partitions of a target that are still there and still wanted.
fn valid<'a>(
    member: &'a Subscriber<'_>,
    topics: &'a BTreeMap<Uuid, u32>,
) -> impl Iterator<Item = (Uuid, u32)> {
    let there = |(topic, partition): &(Uuid, u32)| {
        member.topics.contains(topic) && topics.get(topic).is_some_and(|count| partition < count)
    };
    member.target.iter().copied().filter(move |of| there(of))
}

fn same_topics(members: &[Subscriber<'_>], topics: &BTreeMap<Uuid, u32>) -> Vec<Partitions> {
    let wanted = |topic: &&Uuid| members.first().is_some_and(|member| member.topics.contains(*topic));
    let mut free: Partitions = topics
        .keys()
        .filter(wanted)
        .flat_map(|topic| (0..topics[topic]).map(move |partition| (*topic, partition)))
        .collect();
    let (quota, mut larger) = (free.len() / members.len(), free.len() % members.len());
    let mut targets = Vec::with_capacity(members.len());
    for member in members {
        // Whoever has more than the quota keeps one more, as long as there are larger shares.
        let mut kept = Partitions::new();
        for of in valid(member, topics) {
            let room = kept.len() < quota || (kept.len() == quota && larger > 0);
            if room && free.remove(&of) {
                larger -= usize::from(kept.len() == quota);
                kept.insert(of);
            }
        }
        targets.push(kept);
    }
    let mut free = free.into_iter();
    // Dealt out in turns, so that the partitions of one topic spread over the members.
    for round in 0..=quota {
        for target in &mut targets {
            let larger_share = round == quota;
            if target.len() > round || (larger_share && larger == 0) {
                continue;
            }
            let Some(of) = free.next() else { return targets };
            target.insert(of);
            larger -= usize::from(larger_share);
        }
    }
    targets
}

/// Who has how much, while partitions are placed one by one.
struct Loads {
    /// Topics, the one with the fewest subscribers first: it has the least choice.
    topics: Vec<(Uuid, u32)>,
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    targets: Vec<Partitions>,
    placed: BTreeSet<(Uuid, u32)>,
}

impl Loads {
    fn keep(members: &[Subscriber<'_>], topics: &BTreeMap<Uuid, u32>) -> Loads {
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        let (mut targets, mut placed) = (Vec::with_capacity(members.len()), BTreeSet::new());
        for (at, member) in members.iter().enumerate() {
            for topic in member.topics.iter().filter(|topic| topics.contains_key(*topic)) {
                subscribers.entry(*topic).or_default().push(at);
            }
            targets.push(valid(member, topics).filter(|of| placed.insert(*of)).collect());
        }
        let mut order: Vec<(Uuid, u32)> = subscribers.keys().map(|topic| (*topic, topics[topic])).collect();
        order.sort_by_key(|(topic, _)| (subscribers[topic].len(), *topic));
        Loads { topics: order, subscribers, targets, placed }
    }

    /// The subscriber of the topic that has the least.
    fn least(&self, topic: &Uuid) -> Option<usize> {
        self.subscribers.get(topic)?.iter().copied().min_by_key(|&at| (self.targets[at].len(), at))
    }

    fn place(&mut self) {
        for (topic, count) in std::mem::take(&mut self.topics) {
            for partition in 0..count {
                if self.placed.contains(&(topic, partition)) {
                    continue;
                }
                if let Some(at) = self.least(&topic) {
                    self.targets[at].insert((topic, partition));
                }
            }
        }
    }

    /// Every move makes the sum of the squares of the loads smaller, so this ends.
    fn balance(&mut self) {
        loop {
            let mut by_load: Vec<usize> = (0..self.targets.len()).collect();
            by_load.sort_by_key(|&at| (std::cmp::Reverse(self.targets[at].len()), at));
            let moved = by_load.into_iter().fold(false, |moved, at| self.relieve(at) || moved);
            if !moved {
                return;
            }
        }
    }

    /// Moves what others would rather have away from this member.
    fn relieve(&mut self, from: usize) -> bool {
        let mut moved = false;
        let topics: BTreeSet<Uuid> = self.targets[from].iter().map(|(topic, _)| *topic).collect();
        for topic in topics {
            while let Some(to) = self.least(&topic) {
                if self.targets[to].len() + 1 >= self.targets[from].len() {
                    break;
                }
                let last = self.targets[from].range((topic, 0)..=(topic, u32::MAX)).next_back().copied();
                let Some(of) = last else { break };
                self.targets[from].remove(&of);
                self.targets[to].insert(of);
                moved = true;
            }
        }
        moved
    }
}
