//! What topics keep, the administrator who changes his mind about it, compactors that come too late, and whether
//! compaction comes to rest.
//!
//! Must not know how anything is compacted.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use strandline_compactor::{Compactor, Config, Done, Turn};
use strandline_core::manifest::commit::{ConfigChange, ConfigOp};
use strandline_core::manifest::{Change, Manifest, ObjectName, Swap, SwapOutput, SwapRun};
use tokio::time::{sleep, timeout};
use ulid::Ulid;
use uuid::Uuid;

use crate::compactor::{Duty, NEVER};
use crate::plan::{Compacting, around, chance, pick};
use crate::world::World;

/// How long compaction may go on when nothing else happens.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// The age at which an object that nobody refers to may be gone, and an hour.
const TOO_LATE_MS: u64 = 25 * 3_600_000;
/// Passes of one compactor after which nothing may be left.
const PASSES: u32 = 20;

/// The settings of a node's compactor.
pub(crate) fn config(plan: &Compacting) -> Config {
    Config {
        policy: plan.policy.clone(),
        bytes_per_second: None,
        look_every: plan.look_every,
        expire_every: plan.expire_every,
        // Else the collector does it, which expects nobody else to move the floor.
        sweep_every: plan.sweep_every.unwrap_or(NEVER),
    }
}

/// What a topic of this name keeps from its creation on: names and values of configs.
pub(crate) fn drawn(world: &World, name: &str) -> Vec<(String, String)> {
    let Some(compacting) = &world.plan.compacting else { return Vec::new() };
    if world.plan.keyed(name).is_some() {
        return by_key(compacting.expires, &mut world.retention_dice());
    }
    let read_later = world.plan.copying.is_some_and(|copying| copying.reads(name));
    if read_later || !compacting.expires {
        return vec![ms("-1")];
    }
    let dice = &mut *world.retention_dice();
    match dice.u32(0..10) {
        0..3 => vec![ms("-1")],
        3..6 => vec![some_ms(dice)],
        6..8 => vec![ms("-1"), some_bytes(dice)],
        8..9 => vec![some_ms(dice), some_bytes(dice)],
        _ => Vec::new(),
    }
}

/// The last record of each key, perhaps for a while only.
fn by_key(expires: bool, dice: &mut Rng) -> Vec<(String, String)> {
    let mut configs = Vec::new();
    let mut set = |name: &str, value: &str| configs.push((name.to_owned(), value.to_owned()));
    set("min.cleanable.dirty.ratio", pick(dice, &["0", "0.3"]));
    set("segment.ms", pick(dice, &["1", "2000", "20000"]));
    set("delete.retention.ms", pick(dice, &["1000", "20000", "3600000", "864000000"]));
    if chance(dice, 200) {
        set("min.compaction.lag.ms", pick(dice, &["1000", "10000"]));
    }
    if !expires || chance(dice, 700) {
        set("cleanup.policy", "compact");
        return configs;
    }
    set("cleanup.policy", "compact,delete");
    configs.extend(if dice.bool() {
        [some_ms(dice)].to_vec()
    } else {
        [ms("-1"), some_bytes(dice)].to_vec()
    });
    configs
}

fn ms(value: &str) -> (String, String) {
    ("retention.ms".to_owned(), value.to_owned())
}

fn some_ms(dice: &mut Rng) -> (String, String) {
    ms(pick(dice, &["1500", "8000", "60000", "7200000"]))
}

fn some_bytes(dice: &mut Rng) -> (String, String) {
    ("retention.bytes".to_owned(), pick(dice, &["400", "4000", "40000"]).to_owned())
}

/// Changes what these topics keep, now and then.
pub(crate) async fn alter(world: Arc<World>, topics: Vec<Uuid>, mut dice: Rng) {
    while !world.at_work().await {
        sleep(around(&mut dice, Duration::from_secs(4))).await;
        let topic = topics[dice.usize(0..topics.len())];
        let (name, value) = match dice.u32(0..12) {
            0..4 => some_ms(&mut dice),
            4..6 => ms("-1"),
            6..8 => some_bytes(&mut dice),
            8..9 => ("retention.bytes".to_owned(), "-1".to_owned()),
            // None of the two: everything stays.
            9..10 => ("cleanup.policy".to_owned(), String::new()),
            _ => ("cleanup.policy".to_owned(), "delete".to_owned()),
        };
        let op = if chance(&mut dice, 150) { ConfigOp::Delete } else { ConfigOp::Set(value) };
        let changes = vec![ConfigChange { name, op }];
        propose(&world, |_| Some(Change::AlterConfigs { topic, replace: false, changes }), &mut dice).await;
    }
}

/// A compactor that was suspended for more than a day between its last write and its proposal: what it wrote may be gone.
pub(crate) async fn awake(world: Arc<World>, mut dice: Rng) {
    while !world.at_work().await {
        sleep(around(&mut dice, Duration::from_secs(12))).await;
        let entropy = dice.u128(..);
        let late = |manifest: &Manifest| {
            let id = Ulid::from_parts(u64::try_from(manifest.now_ms).ok()? - TOO_LATE_MS, entropy);
            let partitions = manifest.topics().flat_map(|topic| {
                (0..).zip(&topic.partitions).map(|(number, partition)| (topic.id, number, partition))
            });
            let (topic, partition, of) = partitions.max_by_key(|(.., of)| of.extents.len())?;
            let extent = of.extents.first()?;
            let output = SwapOutput {
                object: ObjectName::Merged(id),
                at: 0,
                bytes: extent.bytes,
                offsets: extent.offsets,
                max_timestamp: extent.max_timestamp,
            };
            let (base_offset, inputs) = (extent.base_offset, vec![extent.object.into()]);
            let run = SwapRun { topic, partition, base_offset, inputs, outputs: vec![output] };
            Some(Change::Swap(Swap { runs: vec![run] }))
        };
        propose(&world, late, &mut dice).await;
    }
}

/// Through any node. Whatever comes of it: the oracle knows what must.
async fn propose(world: &World, change: impl FnOnce(&Manifest) -> Option<Change>, dice: &mut Rng) {
    let machine = &world.machines[dice.usize(0..world.machines.len())];
    let Some(journal) = machine.journal() else { return };
    if let Some(change) = journal.view(change) {
        let _ = timeout(Duration::from_secs(5), journal.propose(vec![change])).await;
    }
}

/// When nobody writes any more and nothing fails, compactors find nothing more to do, and agree about it.
pub(crate) async fn comes_to_rest(world: &World) {
    let Some(plan) = &world.plan.compacting else { return };
    let quiet = (plan.look_every + plan.expire_every) * 5;
    let begun = world.bucket.last_slot();
    let settled = async {
        let mut last = begun;
        loop {
            sleep(quiet).await;
            let now = world.bucket.last_slot();
            if now == last {
                return;
            }
            last = now;
        }
    };
    if timeout(PATIENCE, settled).await.is_err() {
        let slots = world.bucket.last_slot() - begun;
        world.violated("J10", format!("compaction does not come to rest: {slots} slots in {PATIENCE:?}"));
    }
    world.compact(Duty::Seldom);
    for machine in &world.machines {
        let Some(journal) = machine.journal() else { continue };
        let mut compactor = Compactor::new(journal, config(plan));
        let mut passes = 0;
        loop {
            let pass = timeout(Duration::from_secs(60), compactor.pass(Turn::Busy, |_| {})).await;
            // A clock that is behind comes to the time at which something expires, or a tombstone may go.
            match pass {
                Ok(Ok(done)) if done == Done::default() => break,
                Ok(Ok(done)) if done.expired + done.cleaned > 0 && passes < PASSES => passes += 1,
                _ => {
                    let what = format!("{} goes on where everything was done: {pass:?}", machine.name);
                    world.violated("J10", what);
                    break;
                }
            }
        }
    }
}
