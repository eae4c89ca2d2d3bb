//! Moves the floor and deletes what the floor allows: slots, old checkpoints, orphans.
//!
//! Stands in for the part of the compactor that does so, until there is one. It looks at the bucket directly, without
//! faults, but goes by the rules: what it deletes is what the worst collector that keeps them would.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use strandline_core::manifest::{Change, Journal, Manifest, ObjectId, Outcome};
use strandline_core::object::{self, Shape};
use strandline_core::paths;
use tokio::time::{sleep, timeout};
use ulid::Ulid;

use crate::bucket::slot_of;
use crate::plan::chance;
use crate::world::{Phase, World};

/// How long after the floor passed it a slot may be deleted, and how old an orphan must be.
const DAY: Duration = Duration::from_secs(86_400);

/// The content of a floor object: everything below this slot may go.
#[derive(Clone, PartialEq, prost::Message)]
struct Floor {
    #[prost(uint64, tag = "1")]
    slot: u64,
}

pub(crate) struct Collector {
    world: Arc<World>,
    dice: Rng,
    /// Every floor so far: its slot, and its key.
    floors: Vec<(u64, String)>,
}

impl Collector {
    pub(crate) fn new(world: Arc<World>, dice: Rng) -> Collector {
        Collector { world, dice, floors: Vec::new() }
    }

    /// Works at all times of the day, until the run ends.
    pub(crate) async fn run(mut self) {
        loop {
            let pause = match *self.world.phase.borrow() {
                Phase::Active => self.dice.u64(500..8_000),
                Phase::Rest => self.dice.u64(3_600_000..10 * 3_600_000),
                Phase::Ending => return,
            };
            let mut phase = self.world.phase.subscribe();
            // Whatever the time of day, a change of it is a good moment.
            let _ = timeout(Duration::from_millis(pause), phase.changed()).await;
            if chance(&mut self.dice, 500) {
                self.move_floor().await;
            }
            let Some(journal) = self.newest().await else { continue };
            self.delete_slots(&journal).await;
            self.delete_checkpoints().await;
            if chance(&mut self.dice, 400) {
                self.delete_orphans(&journal).await;
            }
        }
    }

    /// A journal that has read to the end.
    async fn newest(&mut self) -> Option<Journal> {
        let machine = &self.world.machines[self.dice.usize(0..self.world.machines.len())];
        if machine.sleeps() {
            return None;
        }
        let journal = machine.journal()?;
        timeout(Duration::from_secs(20), journal.catch_up()).await.ok()?.ok()?;
        Some(journal)
    }

    async fn checkpoints(&self) -> Vec<u64> {
        self.world
            .bucket
            .keys(paths::CHECKPOINTS)
            .await
            .iter()
            .filter_map(|key| paths::checkpoint_slot(key))
            .collect()
    }

    fn floor(&self) -> u64 {
        self.floors.last().map_or(0, |(slot, _)| *slot)
    }

    /// To a slot at or below a checkpoint that is durable.
    async fn move_floor(&mut self) {
        let floor = self.floor();
        let above: Vec<u64> = self.checkpoints().await.into_iter().filter(|slot| *slot > floor).collect();
        if above.is_empty() {
            return;
        }
        let checkpoint = above[self.dice.usize(0..above.len())];
        let slot = if self.dice.bool() { checkpoint } else { self.dice.u64(floor + 1..=checkpoint) };
        let key = paths::floor(self.floors.len() as u64);
        let body = object::encode(Shape::Floor, &Floor { slot });
        assert!(self.world.bucket.put_new(&key, body).await, "only the collector writes floors");
        self.world.trace.note("collector", format_args!("floor at {slot}, {key}"));
        self.floors.push((slot, key));
    }

    /// Slots that the floor passed a day ago, and into which no extent points, in any order and not all of them.
    async fn delete_slots(&mut self, journal: &Journal) {
        let now = tokio::time::Instant::now();
        let passed = self
            .floors
            .iter()
            .filter(|(_, key)| self.world.bucket.stamp(key).is_some_and(|stamp| now - stamp >= DAY));
        let Some(below) = passed.map(|(slot, _)| *slot).max() else { return };
        let used = journal.view(|manifest| {
            extents(manifest)
                .filter_map(|object| match object {
                    ObjectId::Slot(slot) => Some(slot),
                    _ => None,
                })
                .collect::<BTreeSet<u64>>()
        });
        let mut keys = self.world.bucket.keys("journal").await;
        self.dice.shuffle(&mut keys);
        for key in keys {
            let free = slot_of(&key).is_some_and(|slot| slot < below && !used.contains(&slot));
            if free && chance(&mut self.dice, 800) {
                self.world.trace.note("collector", format_args!("deletes {key}"));
                self.world.bucket.delete(&key).await;
            }
        }
    }

    /// Checkpoints below the floor are useless; some stay lying about.
    async fn delete_checkpoints(&mut self) {
        for slot in self.checkpoints().await {
            if slot < self.floor() && chance(&mut self.dice, 300) {
                self.world.bucket.delete(&paths::checkpoint(slot)).await;
            }
        }
    }

    /// Segments that no commit names, and none can name any more: after a `Tick`, those older than a day of journal time.
    async fn delete_orphans(&mut self, journal: &Journal) {
        let ticked = timeout(Duration::from_secs(30), journal.propose(vec![Change::Tick])).await;
        let Ok(Ok(outcomes)) = ticked else { return };
        if outcomes != [Outcome::Applied] {
            return;
        }
        let (now_ms, used) = journal.view(|manifest| {
            (manifest.now_ms, extents(manifest).map(|object| object.key()).collect::<BTreeSet<String>>())
        });
        for key in self.world.bucket.keys("segment").await {
            let Some(id) = key.rsplit('/').next().and_then(|id| Ulid::from_string(id).ok()) else { continue };
            let dead = id.timestamp_ms() as i64 + (DAY.as_millis() as i64) < now_ms;
            if dead && !used.contains(&key) {
                self.world.trace.note("collector", format_args!("deletes {key}"));
                self.world.bucket.delete(&key).await;
            }
        }
        // Whatever comes next, not at once.
        sleep(Duration::from_millis(1)).await;
    }
}

fn extents(manifest: &Manifest) -> impl Iterator<Item = ObjectId> {
    let partitions = manifest.topics().flat_map(|topic| &topic.partitions);
    partitions.flat_map(|partition| &partition.extents).map(|extent| extent.object)
}
