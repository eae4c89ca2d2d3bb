//! Many nodes propose to one journal while requests fail in every way and nodes die.
//!
//! Producers behave as Kafka's clients do: at most five batches in flight, after an unclear answer the same batches again,
//! to another node. Afterwards the bucket alone is read and compared with every acknowledgement.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;
use crate::testing::{Dice, Gate, Rates, for_seeds_paused};

/// Batches of one producer that may be in flight, as in Kafka.
const IN_FLIGHT: usize = 5;
const PARTITIONS: u32 = 2;

struct World {
    seed: u64,
    bucket: Bucket,
    topic: Uuid,
    nodes: RefCell<Vec<Node>>,
    rates: RefCell<Rates>,
    /// Partition, offset and content of everything that was acknowledged.
    acknowledged: RefCell<Vec<(u32, i64, Token)>>,
}

#[derive(Clone)]
struct Node {
    machine: Machine,
    journal: Journal,
}

/// One client: an idempotent producer for each partition, and plain batches beside them.
struct Client {
    id: i64,
    dice: Dice,
    node: usize,
    /// For each partition, the batches to come and the next sequence number of the whole run.
    runs: Vec<Vec<Token>>,
    attempts: i32,
}

impl World {
    async fn new(seed: u64, dice: &mut Dice) -> World {
        let bucket = Bucket::new();
        let first = Machine::new(&bucket, seed << 8);
        let journal = open(&first).await.unwrap();
        let topic = journal.create_topic("t", PARTITIONS, BTreeMap::new()).await.unwrap().unwrap();
        let mut nodes = vec![Node { machine: first, journal }];
        for index in 1..dice.between(1, 3) {
            let machine = Machine::new(&bucket, seed << 8 | index);
            nodes.push(Node { journal: open(&machine).await.unwrap(), machine });
        }
        let rates = Rates::drawn(dice);
        nodes.iter().for_each(|node| node.machine.faults.set_rates(rates));
        let nodes = RefCell::new(nodes);
        World { seed, bucket, topic, nodes, rates: RefCell::new(rates), acknowledged: RefCell::default() }
    }

    fn node(&self, index: usize) -> Node {
        let nodes = self.nodes.borrow();
        nodes[index % nodes.len()].clone()
    }

    /// Nodes die and are replaced; checkpoints are written; in the end all faults stop.
    async fn disturb(&self, mut dice: Dice) {
        for round in 0..dice.below(6) {
            tokio::time::sleep(Duration::from_millis(dice.between(50, 4_000))).await;
            let index = dice.below(self.nodes.borrow().len() as u64) as usize;
            let victim = self.node(index);
            if dice.per_mille(400) {
                let manifest = victim.journal.view(Manifest::clone);
                write(&self.bucket, &paths::checkpoint(manifest.applied), checkpoint::encode(&manifest))
                    .await;
                if dice.per_mille(500) {
                    write(&self.bucket, paths::LATEST, manifest.applied.to_string()).await;
                }
            }
            if dice.per_mille(600) {
                victim.machine.faults.set_gate(Gate::Cut);
                let machine = Machine::new(&self.bucket, self.seed << 8 | 0x80 | round);
                machine.faults.set_rates(*self.rates.borrow());
                let journal = loop {
                    match open(&machine).await {
                        Ok(journal) => break journal,
                        Err(_) => sleep_s(1).await,
                    }
                };
                self.nodes.borrow_mut()[index] = Node { machine, journal };
            }
        }
        sleep_s(20).await;
        *self.rates.borrow_mut() = Rates::default();
        self.nodes.borrow().iter().for_each(|node| node.machine.faults.set_rates(Rates::default()));
    }

    /// Whatever was acknowledged before a node is asked for the end is there afterwards.
    async fn watch(&self, mut dice: Dice) {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(dice.between(10, 1_500))).await;
            let node = self.node(dice.draw() as usize);
            let before = self.acknowledged.borrow().len();
            if !matches!(timeout(Duration::from_secs(60), node.journal.catch_up()).await, Ok(Ok(_))) {
                continue;
            }
            for (partition, offset, token) in self.acknowledged.borrow().iter().take(before) {
                let end = node.journal.view(|m| m.partition(&self.topic, *partition).unwrap().high_watermark);
                assert!(
                    end > *offset,
                    "{token:?} was acknowledged at {offset}, a node that caught up ends at {end}"
                );
            }
        }
    }

    fn acknowledge(&self, partition: u32, token: Token, placed: Result<Placed, Void>) {
        let placed = placed.unwrap_or_else(|void| panic!("{token:?} was refused: {void}"));
        self.acknowledged.borrow_mut().push((partition, placed.base_offset, token));
    }

    async fn check(&self) {
        let folded = cold_fold(&self.bucket).await;
        let expected = checkpoint::encode(&folded);
        let fresh = Machine::new(&self.bucket, self.seed << 8 | 0xff);
        let fresh = Node { journal: open(&fresh).await.unwrap(), machine: fresh };
        let nodes: Vec<_> = self.nodes.borrow().iter().cloned().chain([fresh]).collect();
        for node in nodes {
            node.journal.catch_up().await.unwrap();
            assert_eq!(
                node.journal.view(checkpoint::encode),
                expected,
                "every node folds to the same manifest"
            );
            node.journal.close().await;
        }
        let mut logs = Vec::new();
        for partition in 0..PARTITIONS {
            let log = read_log(&self.bucket, &folded, self.topic, partition).await;
            let unique: BTreeSet<_> = log.values().collect();
            assert_eq!(unique.len(), log.len(), "every batch is there at most once");
            logs.push(log);
        }
        for (partition, offset, token) in self.acknowledged.borrow().iter() {
            let there = logs[*partition as usize].get(offset);
            assert_eq!(there, Some(token), "what was acknowledged is there");
        }
    }
}

impl Client {
    fn new(id: i64, node: usize, mut dice: Dice) -> Client {
        // A new producer, one that was forgotten, one whose sequence numbers are about to wrap.
        let first = *dice.pick(&[0, 0, 17, i32::MAX - 20]);
        let batches = dice.between(10, 30);
        let runs = (0..i64::from(PARTITIONS)).map(|partition| {
            let writer = id * 10 + partition;
            let mut sequence = first;
            let run = (0..batches).map(|_| {
                let token = Token { writer, sequence, offsets: dice.between(1, 4) as u32 };
                sequence = ((i64::from(sequence) + i64::from(token.offsets)) % (1 << 31)) as i32;
                token
            });
            run.collect::<Vec<_>>()
        });
        Client { id, node, runs: runs.collect(), attempts: 0, dice }
    }

    /// Until everything is acknowledged.
    async fn run(mut self, world: &World) {
        let total = self.runs[0].len();
        let mut done = 0;
        while done < total {
            done = self.run_on_one_node(world, done).await;
            if done < total {
                self.node += 1;
                tokio::time::sleep(Duration::from_millis(self.dice.between(1, 300))).await;
            }
        }
    }

    /// Sends batches in order, several at once, until one is not answered clearly.
    async fn run_on_one_node(&mut self, world: &World, mut done: usize) -> usize {
        let node = world.node(self.node);
        let mut in_flight = VecDeque::new();
        let mut sent = done;
        loop {
            while sent < self.runs[0].len() && sent < done + IN_FLIGHT {
                let upto =
                    (sent + self.dice.between(1, 2) as usize).min(self.runs[0].len()).min(done + IN_FLIGHT);
                let plain = self.plain();
                let mut appends = Appends::default();
                for (partition, run) in self.runs.iter().enumerate() {
                    appends = appends.add(world.topic, partition as u32, true, &run[sent..upto]);
                }
                appends = appends.add(world.topic, 0, false, &[plain]);
                let Ok(answer) = appends.hand_over(&node.journal).await else { return done };
                in_flight.push_back((sent..upto, plain, answer));
                sent = upto;
            }
            let Some((batches, plain, answer)) = in_flight.pop_front() else { return done };
            // A client gives up on a node at some time; one that is gone never answers.
            let patience = if node.machine.faults.is_cut() { 1 } else { 120 };
            let Ok(Ok(outcomes)) = timeout(Duration::from_secs(patience), answer).await else { return done };
            done = batches.end;
            let mut outcomes: Vec<_> = outcomes.into_iter().map(placed).collect();
            world.acknowledge(0, plain, outcomes.pop().unwrap().remove(0));
            for (partition, placed) in outcomes.into_iter().enumerate() {
                for (token, placed) in self.runs[partition][batches.clone()].iter().zip(placed) {
                    world.acknowledge(partition as u32, *token, placed);
                }
            }
            if self.dice.per_mille(200) {
                tokio::time::sleep(Duration::from_millis(self.dice.between(1, 2_000))).await;
            }
        }
    }

    fn plain(&mut self) -> Token {
        self.attempts += 1;
        Token { writer: -self.id - 1, sequence: self.attempts, offsets: 1 }
    }
}

/// J2, J4, J5, J9 (reads after acknowledgements), J10, and no refusal of an idempotent producer that keeps its order.
#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    for_seeds_paused(200, |seed| async move {
        let mut dice = Dice::new(seed);
        let world = World::new(seed, &mut dice).await;
        let clients = (0..dice.between(2, 6) as i64).map(|id| {
            let node = dice.draw() as usize >> 1;
            Client::new(id, node, Dice::new(dice.draw())).run(&world)
        });
        let clients: Vec<_> = clients.collect();
        let (disturb, watch) = (world.disturb(Dice::new(dice.draw())), world.watch(Dice::new(dice.draw())));
        let all = async { tokio::join!(join_all(clients), disturb, watch) };
        timeout(Duration::from_secs(3_600), all)
            .await
            .expect("every proposal is decided after the faults stop");
        // What was still on its way lands.
        sleep_s(60).await;
        world.check().await;
    });
}
