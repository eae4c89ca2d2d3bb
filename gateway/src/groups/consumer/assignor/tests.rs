//! Targets of random groups: complete, balanced, sticky.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::super::topics::Partitions;
use super::{Assignor, Subscriber};

#[derive(Debug, Clone, Default)]
struct Group {
    topics: BTreeMap<Uuid, u32>,
    members: BTreeMap<String, (BTreeSet<Uuid>, Partitions)>,
}

impl Group {
    fn assign(&mut self, assignor: Assignor) {
        let subscribers: Vec<_> = self
            .members
            .iter()
            .map(|(id, (topics, target))| Subscriber { id, instance_id: None, topics, target })
            .collect();
        let targets = assignor.assign(&subscribers, &self.topics);
        assert_eq!(targets.len(), self.members.len());
        for ((_, old), target) in self.members.values_mut().zip(targets) {
            *old = target;
        }
    }

    /// Every partition of a subscribed topic is with exactly one member, and that one subscribes to it.
    fn check_complete(&self) {
        let subscribed = |topic: &Uuid| self.members.values().any(|(topics, _)| topics.contains(topic));
        let topics = self.topics.iter().filter(|(topic, _)| subscribed(topic));
        let wanted: usize = topics.map(|(_, count)| *count as usize).sum();
        let mut given = Partitions::new();
        for (id, (topics, target)) in &self.members {
            for of in target {
                assert!(topics.contains(&of.0) && of.1 < self.topics[&of.0], "{id} has {of:?}");
                assert!(given.insert(*of), "{of:?} is given twice");
            }
        }
        assert_eq!(given.len(), wanted);
    }

    /// No partition would be better off with another subscriber.
    fn check_balance(&self) {
        for (_, target) in self.members.values() {
            for (topic, _) in target {
                let others = self.members.values().filter(|(topics, _)| topics.contains(topic));
                let least = others.map(|(_, target)| target.len()).min().unwrap();
                assert!(target.len() <= least + 1, "{} and {least}", target.len());
            }
        }
    }
}

fn topic(number: u64) -> Uuid {
    Uuid::from_u64_pair(1, number)
}

/// Changes something at random: members come and go, topics come, go and grow.
fn change(group: &mut Group, dice: &mut fastrand::Rng, same_topics: bool) {
    match dice.u32(0..6) {
        0 | 1 => {
            let id = format!("{:04}", dice.u32(0..10_000));
            let some = |dice: &mut fastrand::Rng| {
                (0..8).filter(|_| dice.bool()).map(topic).collect::<BTreeSet<Uuid>>()
            };
            let topics = match same_topics {
                true => (0..8).map(topic).collect(),
                false => some(dice),
            };
            let there = group.topics.keys().copied().collect();
            group.members.insert(id, (&topics & &there, Partitions::new()));
        }
        2 => {
            let ids: Vec<_> = group.members.keys().cloned().collect();
            dice.choice(ids).map(|id| group.members.remove(&id));
        }
        3 | 4 => {
            let topic = topic(dice.u64(0..8));
            *group.topics.entry(topic).or_default() += dice.u32(1..6);
            if same_topics {
                group.members.values_mut().for_each(|(topics, _)| topics.extend([topic]));
            }
        }
        _ => {
            let topic = topic(dice.u64(0..8));
            group.topics.remove(&topic);
            group.members.values_mut().for_each(|(topics, _)| topics.retain(|of| *of != topic));
        }
    }
}

#[test]
fn every_partition_goes_to_one_subscriber_and_loads_are_balanced() {
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut group = Group::default();
        let same_topics = seed % 2 == 0;
        for _ in 0..30 {
            change(&mut group, &mut dice, same_topics);
            let mut range = group.clone();
            range.assign(Assignor::Range);
            range.check_complete();
            group.assign(Assignor::Uniform);
            group.check_complete();
            group.check_balance();
            let again = group.clone();
            group.assign(Assignor::Uniform);
            assert_eq!(group.members, again.members, "nothing has changed, and something moved");
        }
    }
}

/// Where all subscribe to the same, a member that stays keeps as much as balance allows, so that the number of moves is
/// the least that there can be.
#[test]
fn no_partition_moves_that_could_stay() {
    for seed in 0..300 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut group = Group::default();
        for _ in 0..30 {
            change(&mut group, &mut dice, true);
            let before = group.clone();
            group.assign(Assignor::Uniform);
            let total: usize = group.members.values().map(|(_, target)| target.len()).sum();
            let Some(quota) = total.checked_div(group.members.len()) else { continue };
            let mut larger = total % group.members.len();
            let mut most = 0;
            for (topics, target) in before.members.values() {
                let there = |of: &&(Uuid, u32)| topics.contains(&of.0) && of.1 < group.topics[&of.0];
                let had = target.iter().filter(there).count();
                most += had.min(quota);
                if had > quota && larger > 0 {
                    (most, larger) = (most + 1, larger - 1);
                }
            }
            let kept = before.members.iter().map(|(id, (_, old))| (old & &group.members[id].1).len());
            assert_eq!(kept.sum::<usize>(), most, "seed {seed}");
        }
    }
}

#[test]
fn topics_spread_over_the_members() {
    let topics: BTreeMap<Uuid, u32> = (0..4).map(|number| (topic(number), 3)).collect();
    let all: BTreeSet<Uuid> = topics.keys().copied().collect();
    let member = |id: &str| (id.to_owned(), (all.clone(), Partitions::new()));
    let mut group = Group { topics, members: ["a", "b", "c"].map(member).into() };
    group.assign(Assignor::Uniform);
    for (_, target) in group.members.values() {
        assert_eq!(target.iter().map(|(topic, _)| *topic).collect::<BTreeSet<_>>(), all);
    }
}

#[test]
fn range_gives_the_same_numbers_to_the_same_member_and_static_members_come_first() {
    let topics = BTreeMap::from([(topic(1), 5), (topic(2), 5), (topic(3), 1)]);
    let (all, some): (BTreeSet<_>, BTreeSet<_>) =
        (topics.keys().copied().collect(), BTreeSet::from([topic(1), topic(2)]));
    let none = Partitions::new();
    let member = |id, instance_id, topics| Subscriber { id, instance_id, topics, target: &none };
    let members = [member("a", None, &some), member("b", None, &some), member("z", Some("i"), &all)];
    let targets = Assignor::Range.assign(&members, &topics);
    let of = |topic: Uuid, range: std::ops::Range<u32>| range.map(move |partition| (topic, partition));
    let both = |range: std::ops::Range<u32>| of(topic(1), range.clone()).chain(of(topic(2), range));
    assert_eq!(targets[0], both(2..4).collect());
    assert_eq!(targets[1], both(4..5).collect());
    assert_eq!(targets[2], both(0..2).chain(of(topic(3), 0..1)).collect());
}
