//! Moves the floor and deletes what the floor allows: slots, old checkpoints, orphans.
//!
//! A second collector beside that of the compactor, never both in one run. It looks at the bucket directly, without faults,
//! but goes by the rules: what it deletes is what the worst collector that keeps them would.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use strandline_core::chunk::ChunkId;
use strandline_core::manifest::{Change, Journal, Manifest, ObjectId, Outcome};
use strandline_core::object::{self, Shape};
use strandline_core::paths;
use tokio::time::{sleep, timeout};
use ulid::Ulid;

use crate::bucket::{Bucket, slot_of};
use crate::plan::chance;
use crate::tree::Tree;
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
            self.collect().await;
        }
    }

    async fn collect(&mut self) {
        if chance(&mut self.dice, 500) {
            self.move_floor().await;
        }
        let Some(journal) = self.newest().await else { return };
        self.delete_slots(&journal).await;
        self.delete_checkpoints().await;
        if chance(&mut self.dice, 400) {
            self.delete_orphans(&journal).await;
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

    /// What no commit names, and none can name any more: after a `Tick`, what is older than a day of journal time.
    async fn delete_orphans(&mut self, journal: &Journal) {
        let ticked = timeout(Duration::from_secs(30), journal.propose(vec![Change::Tick])).await;
        let Ok(Ok(outcomes)) = ticked else { return };
        if outcomes != [Outcome::Applied] {
            return;
        }
        let manifest = journal.view(Manifest::clone);
        let used = match reachable(&self.world.bucket, &manifest).await {
            Ok(used) => used,
            Err(why) => return self.world.violated("D1", why),
        };
        for folder in ["segment", "chunk", "index"] {
            for key in self.world.bucket.keys(folder).await {
                let Some(id) = id_of(&key) else { continue };
                let dead = id.timestamp_ms() as i64 + (DAY.as_millis() as i64) < manifest.now_ms;
                if dead && !used.contains(&key) {
                    self.world.trace.note("collector", format_args!("deletes {key}"));
                    self.world.bucket.delete(&key).await;
                }
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

/// The name of a segment, a chunk or a node of an index.
fn id_of(key: &str) -> Option<Ulid> {
    match ChunkId::from_key(key) {
        Some(chunk) => Some(chunk.id),
        None => Ulid::from_string(key.rsplit('/').next()?).ok(),
    }
}

/// The keys of everything that a manifest refers to, itself or through indexes.
async fn reachable(bucket: &Bucket, manifest: &Manifest) -> Result<BTreeSet<String>, String> {
    let mut found: BTreeSet<String> = extents(manifest).map(|object| object.key()).collect();
    for topic in manifest.topics() {
        for (number, partition) in (0..).zip(&topic.partitions) {
            let Some(root) = partition.index else { continue };
            let tree = Tree::read(bucket, topic.id, number, (root, partition.log_start)).await?;
            found.extend(tree.entries.iter().map(|entry| entry.chunk.key()));
            found.extend(tree.nodes);
        }
    }
    Ok(found)
}
