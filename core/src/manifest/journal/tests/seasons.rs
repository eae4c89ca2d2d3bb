//! Weeks go by: nodes sleep for hours or days in the middle of anything, clocks jump, and the journal is trimmed under them.
//!
//! What is deleted is kept aside, so that in the end the whole history can be folded and compared.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use tokio::time::timeout;

use super::*;
use crate::testing::{Dice, Gate, contents, for_seeds_paused};

const DAY_MS: i64 = 86_400_000;

struct World {
    bucket: Bucket,
    topic: Uuid,
    nodes: Vec<(Machine, Journal)>,
    awake: RefCell<Vec<bool>>,
    dice: RefCell<Dice>,
    /// Slots that were deleted.
    aside: InMemory,
    /// By how much all clocks were moved: sleeping through it would take the retries of those that are held.
    passed_ms: Cell<i64>,
    /// Floors, and when they were set.
    floors: RefCell<Vec<(u64, i64)>>,
    next_sequence: Cell<i32>,
    acknowledged: RefCell<Vec<(i64, Token)>>,
}

impl World {
    async fn new(seed: u64) -> World {
        let (bucket, mut dice) = (Bucket::new(), Dice::new(seed));
        let mut nodes = vec![];
        for index in 0..dice.between(2, 4) {
            let machine = Machine::new(&bucket, seed << 8 | index);
            let journal = open(&machine).await.unwrap();
            nodes.push((machine, journal));
        }
        let topic = nodes[0].1.create_topic("t", 1, BTreeMap::new()).await.unwrap().unwrap();
        let awake = RefCell::new(vec![true; nodes.len()]);
        let dice = RefCell::new(dice);
        let (passed_ms, floors, acknowledged, next_sequence) = Default::default();
        let aside = InMemory::new();
        World { bucket, topic, nodes, awake, dice, aside, passed_ms, floors, next_sequence, acknowledged }
    }

    async fn pass(&self, minutes: i64) {
        let by_ms = minutes * 60_000;
        self.passed_ms.set(self.passed_ms.get() + by_ms);
        for (machine, _) in &self.nodes {
            machine.clock.move_wall(by_ms);
            machine.clock.move_boot(by_ms);
        }
        sleep_s(30).await;
    }

    /// From 1 to `sides`.
    fn roll(&self, sides: u64) -> u64 {
        self.dice.borrow_mut().between(1, sides)
    }

    /// One at least stays awake.
    fn change_who_sleeps(&self) {
        let mut dice = self.dice.borrow_mut();
        let mut awake = self.awake.borrow_mut();
        for (index, (machine, _)) in self.nodes.iter().enumerate() {
            let wakes = index == 0 || dice.per_mille(400);
            if wakes && !awake[index] {
                // Suspended, restored, or simply slow: whatever its clocks say now.
                let jump = |dice: &mut Dice| *dice.pick(&[0, 0, 1, -1, 50]) * dice.below(3_600_000) as i64;
                machine.clock.move_wall(jump(&mut dice));
                machine.clock.move_boot(jump(&mut dice));
            }
            machine.faults.set_gate(if wakes { Gate::Open } else { Gate::Held });
            awake[index] = wakes;
        }
    }

    fn pick_awake(&self) -> usize {
        let awake = self.awake.borrow();
        let awake: Vec<_> = (0..awake.len()).filter(|index| awake[*index]).collect();
        *self.dice.borrow_mut().pick(&awake)
    }

    /// A batch is sent until it is acknowledged: at times to a sleeper first, which does not answer.
    async fn append(&self) {
        let sequence = self.next_sequence.replace(self.next_sequence.get() + 1);
        let token = Token { writer: 1, sequence, offsets: 1 };
        let mut node = self.dice.borrow_mut().below(self.nodes.len() as u64) as usize;
        loop {
            let appends = Appends::default().add(self.topic, 0, true, &[token]);
            let answer = appends.hand_over(&self.nodes[node].1).await.unwrap();
            if let Ok(Ok(mut outcomes)) = timeout(Duration::from_secs(30), answer).await {
                let placed = placed(outcomes.remove(0)).remove(0);
                let placed = placed.unwrap_or_else(|void| panic!("{token:?} was refused: {void}"));
                self.acknowledged.borrow_mut().push((placed.base_offset, token));
                return;
            }
            node = self.pick_awake();
        }
    }

    /// Nobody hears of these; each must be there once or not at all.
    async fn append_unheard(&self) {
        let (node, sequence) = {
            let mut dice = self.dice.borrow_mut();
            (dice.below(self.nodes.len() as u64) as usize, dice.draw() as i32 & i32::MAX)
        };
        let token = Token { writer: -1, sequence, offsets: 1 };
        drop(Appends::default().add(self.topic, 0, false, &[token]).hand_over(&self.nodes[node].1).await);
    }

    async fn read(&self) {
        let (_, journal) = &self.nodes[self.pick_awake()];
        journal.catch_up().await.unwrap();
        let end = journal.view(|manifest| manifest.partition(&self.topic, 0).unwrap().high_watermark);
        let acknowledged = self.acknowledged.borrow().iter().map(|(offset, _)| *offset).max().unwrap_or(-1);
        assert!(end > acknowledged, "{acknowledged} was acknowledged, a node that caught up ends at {end}");
    }

    /// The collector: a checkpoint and a floor at it; what lay below a floor for a day goes.
    async fn collect(&self) {
        let (_, journal) = &self.nodes[self.pick_awake()];
        journal.catch_up().await.unwrap();
        let manifest = journal.view(Manifest::clone);
        write(&self.bucket, &paths::checkpoint(manifest.applied), checkpoint::encode(&manifest)).await;
        let k = self.floors.borrow().len() as u64;
        write(&self.bucket, &paths::floor(k), floor_object(manifest.applied)).await;
        self.floors.borrow_mut().push((manifest.applied, self.passed_ms.get()));
        let old = |set: &i64| self.passed_ms.get() - set >= DAY_MS;
        let below = self.floors.borrow().iter().filter(|(_, set)| old(set)).map(|(floor, _)| *floor).max();
        for slot in 1..below.unwrap_or(0) {
            let key = paths::slot(slot);
            let Some(object) = body(&self.bucket, &key).await else { continue };
            // A dead slot that a sleeper won has another content; the first one counts.
            if body(&self.aside, &key).await.is_none() {
                write(&self.aside, &key, object.to_bytes()).await;
            }
            self.bucket.delete(&Path::from(key)).await.unwrap();
        }
    }

    async fn check(&self, seed: u64) {
        for (key, object) in contents(&self.bucket, "journal").await {
            if body(&self.aside, &key).await.is_none() {
                write(&self.aside, &key, object).await;
            }
        }
        let folded = cold_fold(&self.aside).await;
        let expected = checkpoint::encode(&folded);
        let machine = Machine::new(&self.bucket, seed << 8 | 0xff);
        machine.clock.move_wall(self.passed_ms.get());
        let fresh = (machine.clone(), open(&machine).await.unwrap());
        for (_, journal) in self.nodes.iter().chain([&fresh]) {
            journal.catch_up().await.unwrap();
            assert_eq!(journal.view(checkpoint::encode), expected, "one history, one manifest");
        }
        let log = read_log(&self.aside, &folded, self.topic, 0).await;
        assert_eq!(
            log.values().collect::<BTreeSet<_>>().len(),
            log.len(),
            "every batch is there at most once"
        );
        for (offset, token) in self.acknowledged.borrow().iter() {
            assert_eq!(log.get(offset), Some(token), "what was acknowledged is there");
        }
    }
}

/// J1, J2, J4, J5, J7 while slots are deleted under sleepers.
#[test]
fn sleepers_never_fork_the_history() {
    for_seeds_paused(100, |seed| async move {
        let world = World::new(seed).await;
        for _ in 0..world.roll(10) {
            world.change_who_sleeps();
            for _ in 0..world.roll(6) {
                match world.roll(10) {
                    1..=5 => world.append().await,
                    6 | 7 => world.append_unheard().await,
                    8 | 9 => world.read().await,
                    _ => world.collect().await,
                }
            }
            world.collect().await;
            let minutes = *world.dice.borrow_mut().pick(&[1, 50, 90, 60 * 23, 60 * 25, 60 * 49]);
            world.pass(minutes).await;
            world.collect().await;
        }
        world.awake.borrow_mut().fill(true);
        world.nodes.iter().for_each(|(machine, _)| machine.faults.set_gate(Gate::Open));
        sleep_s(120).await;
        timeout(Duration::from_secs(600), world.check(seed)).await.expect("everything is decided in the end");
    });
}
