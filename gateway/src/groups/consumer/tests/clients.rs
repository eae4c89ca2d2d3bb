//! Random groups of clients that follow the protocol, with lost requests and answers, crashes and new coordinators: no
//! partition has two owners at any time, and once all is quiet each has one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::consumer_group_heartbeat::{Request, Response};

use super::super::describe;
use super::super::topics::Partitions;
use super::super::{HEARTBEAT_INTERVAL, Refusal, SESSION_TIMEOUT};
use super::{Bench, id_of, join, owned, told};

const TOPICS: [&str; 4] = ["a1", "a2", "b1", "b2"];

#[derive(Debug, Clone, Default)]
pub(super) struct Consumer {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) names: Vec<String>,
    pub(super) regex: String,
    pub(super) epoch: i32,
    pub(super) told: Partitions,
    pub(super) holds: Partitions,
    pub(super) said: Option<Partitions>,
    /// The last answer did not come.
    pub(super) unsure: bool,
}

impl Consumer {
    pub(super) fn request(&mut self) -> Request {
        let full = self.unsure || self.epoch == 0;
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut request = Request {
            instance_id: self.instance.clone(),
            subscribed_topic_regex: Some(self.regex.clone()),
            topic_partitions: owned(&self.holds),
            member_epoch: self.epoch,
            ..join(&self.id, &names)
        };
        if !full {
            (request.rebalance_timeout_ms, request.subscribed_topic_names) = (-1, None);
            request.subscribed_topic_regex = None;
            if self.said.as_ref() == Some(&self.holds) {
                request.topic_partitions = None;
            }
        }
        self.said = Some(self.holds.clone());
        self.unsure = true;
        request
    }

    /// New partitions are taken at once, others are given up later.
    pub(super) fn hear(&mut self, answer: Result<Response, Refusal>) {
        self.unsure = false;
        match answer {
            Ok(response) => {
                self.epoch = response.member_epoch;
                if let Some(assignment) = response.assignment {
                    self.told = told(&assignment);
                    self.holds.extend(self.told.iter().copied());
                }
            }
            Err(refusal) => {
                let fenced = [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId];
                assert!(fenced.contains(&refusal.code), "{refusal:?}");
                (self.epoch, self.told, self.holds) = (0, Partitions::new(), Partitions::new());
            }
        }
    }

    pub(super) fn give_up(&mut self) {
        self.holds = &self.holds & &self.told;
    }
}

struct Play {
    bench: Bench,
    consumers: BTreeMap<String, Consumer>,
    dice: fastrand::Rng,
    born: u32,
}

impl Play {
    fn new(seed: u64) -> Play {
        let bench = Bench::new(&[("a1", 3), ("b1", 4)]);
        Play { bench, consumers: BTreeMap::new(), dice: fastrand::Rng::with_seed(seed), born: 0 }
    }

    fn subscription(&mut self) -> (Vec<String>, String) {
        match self.dice.u32(0..4) {
            0 => (Vec::new(), "a.*".to_owned()),
            1 => (vec!["b1".to_owned()], String::new()),
            _ => (TOPICS.map(str::to_owned).to_vec(), String::new()),
        }
    }

    fn any(&mut self) -> Option<String> {
        self.dice.choice(self.consumers.keys().cloned().collect::<Vec<_>>())
    }

    fn enter(&mut self) {
        self.born += 1;
        let id = format!("m{}", self.born);
        let instance = self.dice.bool().then(|| format!("i{}", self.born));
        let (names, regex) = self.subscription();
        let consumer = Consumer { id: id.clone(), instance, names, regex, ..Consumer::default() };
        self.consumers.insert(id, consumer);
    }

    /// Some heartbeats in one commit, which may fail: then another node has the group, and nobody got an answer.
    fn beat(&mut self, ids: &BTreeSet<String>) {
        let mut answers = Vec::new();
        for id in ids {
            let Some(consumer) = self.consumers.get_mut(id) else { continue };
            let request = consumer.request();
            match self.dice.u32(0..20) {
                0 => {}
                _ => answers.push((id.clone(), self.bench.begin(&request))),
            }
        }
        if self.dice.u32(0..20) == 0 {
            self.bench.reload();
            return;
        }
        self.bench.commit();
        for (id, answer) in answers {
            if self.dice.u32(0..10) != 0 {
                self.consumers.get_mut(&id).unwrap().hear(answer);
            }
            self.check();
        }
        if self.dice.u32(0..50) == 0 {
            self.bench.reload();
        }
    }

    fn leave(&mut self, id: &str) {
        let Some(mut consumer) = self.consumers.remove(id) else { return };
        let back = consumer.instance.is_some() && self.dice.bool();
        consumer.holds = Partitions::new();
        let request = Request {
            member_epoch: if back { -2 } else { -1 },
            topic_partitions: None,
            ..consumer.request()
        };
        let left = self.bench.begin(&request);
        self.bench.commit();
        if back && left.is_ok() {
            self.born += 1;
            let id = format!("m{}", self.born);
            let fresh =
                Consumer { id: id.clone(), epoch: 0, told: Partitions::new(), said: None, ..consumer };
            self.consumers.insert(id, fresh);
        }
    }

    fn step(&mut self) {
        match self.dice.u32(0..40) {
            0 | 1 if self.consumers.len() < 6 => self.enter(),
            2 => drop(self.any().map(|id| self.leave(&id))),
            // One that dies is gone a session later.
            3 if self.dice.bool() => {
                let id = self.any();
                id.map(|id| self.consumers.remove(&id));
            }
            4 => {
                let name = TOPICS[self.dice.usize(0..4)];
                let partitions = self.bench.topics.get(name).map_or(0, |topic| topic.partitions);
                match partitions < 8 {
                    true => self.bench.create(name, partitions + 1),
                    false => drop(self.bench.topics.remove(name)),
                }
            }
            5 => {
                let (names, regex) = self.subscription();
                if let Some(id) = self.any() {
                    let consumer = self.consumers.get_mut(&id).unwrap();
                    (consumer.names, consumer.regex, consumer.unsure) = (names, regex, true);
                }
            }
            6 => self.pass(),
            7..=15 => {
                if let Some(id) = self.any() {
                    self.consumers.get_mut(&id).unwrap().give_up();
                }
            }
            _ => {
                let ids = (0..3).filter_map(|_| self.any()).collect();
                self.beat(&ids);
            }
        }
        self.check();
    }

    /// A while in which everybody who lives is heard.
    fn pass(&mut self) {
        for _ in 0..10 {
            self.bench.later(SESSION_TIMEOUT / 9);
            let ids = self.consumers.keys().cloned().collect();
            self.consumers.values_mut().for_each(Consumer::give_up);
            self.beat(&ids);
        }
    }

    fn check(&self) {
        let mut all = BTreeMap::new();
        for consumer in self.consumers.values() {
            for of in &consumer.holds {
                let other = all.insert(*of, &consumer.id);
                assert_eq!(other, None, "{} has {of:?}, too", consumer.id);
            }
        }
    }

    /// No more faults: everything comes to rest with every partition in one hand.
    fn rest(&mut self) {
        for _ in 0..30 {
            self.bench.later(HEARTBEAT_INTERVAL);
            for consumer in self.consumers.values_mut() {
                consumer.give_up();
                let request = consumer.request();
                let answer = self.bench.begin(&request);
                self.bench.commit();
                consumer.hear(answer);
            }
            self.check();
        }
        let wanted = self.bench.topics.iter().filter(|(name, _)| {
            self.consumers
                .values()
                .any(|of| of.names.contains(*name) || (of.regex == "a.*" && name.starts_with('a')))
        });
        let wanted: Partitions =
            wanted.flat_map(|(name, topic)| (0..topic.partitions).map(|of| (id_of(name), of))).collect();
        let held: Partitions = self.consumers.values().flat_map(|of| of.holds.iter().copied()).collect();
        assert_eq!(held, wanted);
        let Some(group) = &self.bench.durable else { return };
        let expected = if self.consumers.is_empty() { "Empty" } else { "Stable" };
        assert_eq!(describe::state(group), Some(expected));
        assert_eq!(self.bench.group.state_name(), expected);
        let commits = self.bench.commits;
        self.bench.later(Duration::from_secs(1));
        for consumer in self.consumers.values_mut() {
            let request = consumer.request();
            consumer.hear(self.bench.begin(&request));
        }
        assert_eq!((self.bench.group.update(), self.bench.commits), (None, commits));
    }
}

#[test]
fn no_partition_has_two_owners_and_in_the_end_each_has_one() {
    for seed in 0..30 {
        let mut play = Play::new(seed);
        for _ in 0..300 {
            play.step();
        }
        play.rest();
    }
}
