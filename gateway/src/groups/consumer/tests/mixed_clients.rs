//! Random groups of clients of both protocols, with lost requests and answers, crashes, new coordinators and groups that
//! become classic and back: no partition has two owners at any time, and once all is quiet each has one.

use std::collections::BTreeMap;

use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{leave_group, sync_group};

use super::super::HEARTBEAT_INTERVAL;
use super::super::topics::Partitions;
use super::clients::Consumer;
use super::mixed_kit::{Old, in_words};
use super::{Bench, id_of};

const TOPICS: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Join,
    Sync,
    Stable,
}

#[derive(Debug)]
struct Client {
    old: Old,
    phase: Phase,
    /// What it was told last; it still holds more until it has given that up.
    told: Partitions,
}

impl Client {
    /// Out of the group: nothing is its own any more.
    fn reset(&mut self) {
        (self.old.id, self.old.generation, self.old.holds) = (String::new(), -1, Partitions::new());
        (self.phase, self.told) = (Phase::Join, Partitions::new());
    }

    fn give_up(&mut self) {
        if self.phase == Phase::Stable && self.old.holds != self.told {
            self.old.holds.clone_from(&self.told);
            self.phase = Phase::Join;
        }
    }
}

struct Play {
    bench: Bench,
    new: BTreeMap<String, Consumer>,
    old: BTreeMap<u32, Client>,
    dice: fastrand::Rng,
    born: u32,
    /// No more faults.
    quiet: bool,
    /// How often the group became a classic one.
    downgrades: u32,
}

impl Play {
    fn new(seed: u64) -> Play {
        Play {
            bench: Bench::new(&[("a", 3), ("b", 4)]),
            new: BTreeMap::new(),
            old: BTreeMap::new(),
            dice: fastrand::Rng::with_seed(seed),
            born: 0,
            quiet: false,
            downgrades: 0,
        }
    }

    fn topics(&mut self) -> Vec<&'static str> {
        if self.dice.u32(0..4) == 0 { vec!["b"] } else { TOPICS.to_vec() }
    }

    fn enter_new(&mut self) {
        self.born += 1;
        let id = format!("n{}", self.born);
        let names = self.topics().into_iter().map(str::to_owned).collect();
        self.new.insert(id.clone(), Consumer { id, names, ..Consumer::default() });
    }

    fn enter_old(&mut self) {
        self.born += 1;
        let cooperative = self.dice.bool();
        let mut old = Old::new(cooperative, &self.topics());
        old.instance = (self.dice.u32(0..4) == 0).then(|| format!("i{}", self.born));
        let client = Client { old, phase: Phase::Join, told: Partitions::new() };
        self.old.insert(self.born, client);
    }

    /// What was decided is in the manifest, or another coordinator goes on without it. Whether answers may go out.
    fn commit(&mut self) -> bool {
        let classic = self.bench.is_classic();
        if self.fails(20) {
            self.reload();
            return false;
        }
        self.bench.commit();
        self.downgrades += u32::from(!classic && self.bench.is_classic());
        true
    }

    /// One time in so many.
    fn fails(&mut self, in_so_many: u32) -> bool {
        !self.quiet && self.dice.u32(0..in_so_many) == 0
    }

    fn reload(&mut self) {
        if !self.bench.is_classic() {
            self.bench.reload();
        }
    }

    fn beat_new(&mut self, id: &str) {
        let Some(mut consumer) = self.new.remove(id) else { return };
        if self.bench.is_classic() {
            // There is no such member in a classic group; by coming it makes it another one.
            if consumer.epoch != 0 {
                consumer = Consumer { id: consumer.id, names: consumer.names, ..Consumer::default() };
            }
            self.bench.upgrade().unwrap();
        }
        let request = consumer.request();
        let answer = self.bench.begin(&request);
        if self.commit() && !self.fails(10) {
            consumer.hear(answer);
        }
        self.new.insert(id.to_owned(), consumer);
        self.undo_upgrade();
    }

    /// A group that was to become another one and did not is what it was.
    fn undo_upgrade(&mut self) {
        if self.bench.is_classic() {
            self.bench.upgrade().unwrap();
        }
    }

    fn act(&mut self, number: u32) {
        let Some(mut client) = self.old.remove(&number) else { return };
        match client.phase {
            // Classic members share out on their own; that is not played here.
            _ if self.bench.is_classic() => {
                let epoch = self.bench.durable.as_ref().unwrap().epoch;
                if client.phase != Phase::Join && client.old.generation != epoch {
                    client.reset();
                }
            }
            Phase::Join => self.join(&mut client, number),
            Phase::Sync => self.sync(&mut client),
            Phase::Stable => {
                let Old { id, instance, generation, .. } = &client.old;
                let heard =
                    self.bench.group.classic_heartbeat(id, *generation, instance.as_deref(), self.bench.now);
                if self.commit() && !self.fails(10) {
                    match heard {
                        Ok(()) => {}
                        Err(ErrorCode::RebalanceInProgress) => client.phase = Phase::Join,
                        Err(_) => client.reset(),
                    }
                }
            }
        }
        self.old.insert(number, client);
    }

    fn join(&mut self, client: &mut Client, number: u32) {
        if !client.old.cooperative {
            client.old.holds = Partitions::new();
        }
        self.born += 1;
        let answer = self.bench.begin_join(client.old.request(), &format!("o{number}-{}", self.born));
        if !self.commit() || self.fails(10) {
            return;
        }
        let required = ErrorCode::MemberIdRequired.code();
        match answer.error_code {
            0 => {
                (client.old.id, client.old.generation) = (answer.member_id, answer.generation_id);
                client.phase = Phase::Sync;
            }
            code if code == required => client.old.id = answer.member_id,
            _ => client.reset(),
        }
    }

    fn sync(&mut self, client: &mut Client) {
        let request = sync_group::Request {
            generation_id: client.old.generation,
            member_id: client.old.id.clone(),
            group_instance_id: client.old.instance.clone(),
            ..sync_group::Request::default()
        };
        let answer = self.bench.group.sync(&request, self.bench.now);
        if !self.commit() || self.fails(10) {
            client.phase = Phase::Join;
            return;
        }
        match answer {
            Ok(response) => {
                client.told = in_words(&response.assignment);
                client.old.holds.extend(client.told.iter().copied());
                client.phase = Phase::Stable;
            }
            Err(ErrorCode::RebalanceInProgress) => client.phase = Phase::Join,
            Err(_) => client.reset(),
        }
    }

    fn leave(&mut self) {
        if self.dice.bool() {
            let Some(id) = self.dice.choice(self.new.keys().cloned().collect::<Vec<_>>()) else { return };
            let mut consumer = self.new.remove(&id).unwrap();
            if !self.bench.is_classic() && self.dice.bool() {
                consumer.holds = Partitions::new();
                let request =
                    super::Request { member_epoch: -1, topic_partitions: None, ..consumer.request() };
                let _ = self.bench.begin(&request);
                self.commit();
            }
            return;
        }
        let Some(number) = self.dice.choice(self.old.keys().copied().collect::<Vec<_>>()) else { return };
        let client = self.old.remove(&number).unwrap();
        if !self.bench.is_classic() && self.dice.bool() {
            let member = leave_group::Member { member_id: client.old.id, ..Default::default() };
            self.bench.group.leave_group(vec![member]);
            self.commit();
        }
    }

    fn step(&mut self) {
        match self.dice.u32(0..40) {
            0 if self.new.len() < 3 => self.enter_new(),
            1 | 2 if self.old.len() < 4 => self.enter_old(),
            3 | 4 => self.leave(),
            5 => {
                let name = TOPICS[self.dice.usize(0..2)];
                let partitions = self.bench.topics[name].partitions;
                self.bench.create(name, (partitions + 1).min(8));
            }
            6 => self.reload(),
            7 if !self.bench.is_classic() => {
                let classic = self.bench.is_classic();
                self.bench.later(HEARTBEAT_INTERVAL / 2);
                self.downgrades += u32::from(!classic && self.bench.is_classic());
            }
            8..=14 => {
                self.new.values_mut().for_each(Consumer::give_up);
                self.old.values_mut().for_each(Client::give_up);
            }
            15..=24 => {
                if let Some(id) = self.dice.choice(self.new.keys().cloned().collect::<Vec<_>>()) {
                    self.beat_new(&id);
                }
            }
            _ => {
                if let Some(number) = self.dice.choice(self.old.keys().copied().collect::<Vec<_>>()) {
                    self.act(number);
                }
            }
        }
        self.check();
    }

    /// Also that members which are silent for too long, and lose what they hold without knowing it, are not played: time
    /// passes only so slowly.
    fn check(&mut self) {
        let group = self.bench.durable.as_ref();
        let lives = |id: &String| group.is_some_and(|group| group.members.contains_key(id));
        let mut all = BTreeMap::new();
        let new = self.new.values().map(|of| (&of.id, &of.holds));
        let old = self.old.values().map(|of| (&of.old.id, &of.old.holds));
        for (id, holds) in new.chain(old).filter(|(id, _)| lives(id)) {
            for of in holds {
                let other = all.insert(*of, id.clone());
                assert_eq!(other, None, "{id} has {of:?}, too");
            }
        }
    }

    /// No more faults: everything comes to rest with every partition in one hand.
    fn rest(&mut self) {
        self.quiet = true;
        self.enter_new();
        for _ in 0..60 {
            if !self.bench.is_classic() {
                self.bench.later(HEARTBEAT_INTERVAL / 2);
            }
            for id in self.new.keys().cloned().collect::<Vec<_>>() {
                self.new.get_mut(&id).unwrap().give_up();
                self.beat_new(&id);
            }
            for number in self.old.keys().copied().collect::<Vec<_>>() {
                self.old.get_mut(&number).unwrap().give_up();
                self.act(number);
                self.act(number);
                self.act(number);
            }
            self.check();
        }
        assert!(!self.bench.is_classic());
        let wants = |name: &str| {
            let new = self.new.values().flat_map(|of| &of.names);
            new.chain(self.old.values().flat_map(|of| &of.old.topics)).any(|of| of == name)
        };
        let wanted = self.bench.topics.iter().filter(|(name, _)| wants(name));
        let wanted: Partitions =
            wanted.flat_map(|(name, topic)| (0..topic.partitions).map(|of| (id_of(name), of))).collect();
        let new = self.new.values().flat_map(|of| of.holds.iter().copied());
        let held: Partitions = new.chain(self.old.values().flat_map(|of| of.old.holds.clone())).collect();
        assert_eq!(held, wanted);
    }
}

#[test]
fn no_partition_has_two_owners_of_either_protocol() {
    let mut downgrades = 0;
    for seed in 0..60 {
        let mut play = Play::new(seed);
        for _ in 0..400 {
            play.step();
        }
        play.rest();
        downgrades += play.downgrades;
    }
    assert!(downgrades > 60, "{downgrades}");
}
