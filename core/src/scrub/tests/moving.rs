//! A bucket that changes meanwhile, ranges and interruptions, a store that does not answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use ulid::Ulid;

use super::world::extents;
use super::*;
use crate::manifest::{Change, Commit, CommitId, Extent, ObjectId};
use crate::testing::{Bucket, Rates};

/// In the middle of a scrub, where nothing can be waited for.
fn put_now(bucket: &Bucket, key: &str, body: Bytes) {
    bucket.put(&Path::from(key), body.into()).now_or_never().unwrap().unwrap();
}

fn delete_now(bucket: &Bucket, key: &str) {
    bucket.delete(&Path::from(key)).now_or_never().unwrap().unwrap();
}

/// A commit of another process.
fn foreign(changes: Vec<Change>) -> Bytes {
    let id = CommitId { incarnation: Ulid::from_parts(5, 55), counter: 1 };
    Commit { id, oldest_open: 1, timestamp_ms: 0, changes }.encode([]).to_bytes()
}

/// Does something once the data part begins.
fn at_data(act: impl Fn() + Send + Sync) -> impl Fn(&Progress) -> ControlFlow<()> + Send + Sync {
    let done = AtomicU64::new(0);
    move |progress| {
        if progress.part == Part::Data && done.fetch_add(1, Ordering::Relaxed) == 0 {
            act();
        }
        ControlFlow::Continue(())
    }
}

/// A topic is deleted and its segments are collected while they are looked at: not a fault. The same without the topic's
/// deletion is one.
#[tokio::test(start_paused = true)]
async fn what_is_collected_meanwhile_is_not_missing() {
    for topic_goes in [true, false] {
        let world = World::new(1).await;
        let tail = world.manifest().applied;
        let keys = world.segments().await;
        let (bucket, topic) = (world.bucket.clone(), world.topics[0]);
        let watch = at_data(move || {
            if topic_goes {
                put_now(&bucket, &paths::slot(tail + 1), foreign(vec![Change::DeleteTopic { id: topic }]));
            }
            keys.iter().for_each(|key| delete_now(&bucket, key));
        });
        let options = Options { concurrency: 1, ..Options::default() };
        let report = scrub(&world.machine().store, &options, &watch).await.unwrap();
        let missing = report.faults.iter().filter(|fault| fault.kind == Kind::SegmentMissing).count() as u64;
        match topic_goes {
            true => assert_clean(&report),
            false => assert_eq!(missing, report.faults.len() as u64),
        }
        let gone = if topic_goes { report.data.moved } else { missing };
        assert!(gone >= report.data.segments - 9 && gone > 0, "{report:#?}");
        assert_eq!(report.tail, tail, "later slots are not judged");
    }
}

/// The floor moves past slots that are still to be read, and they go.
#[tokio::test(start_paused = true)]
async fn slots_that_the_floor_passes_meanwhile_are_not_missing() {
    let world = World::new(2).await;
    let slots = world.checkpoints().await;
    world.trim(slots[0]).await;
    let machine = world.machine();
    let options = Options { concurrency: 1, ..Options::default() };
    let manifest = world.manifest();
    let used: BTreeSet<_> = extents(&manifest).map(|(_, _, extent)| extent.object).collect();
    let gone: Vec<_> =
        (slots[0]..slots[1]).filter(|slot| !used.contains(&ObjectId::Slot(*slot))).map(paths::slot).collect();
    assert!(!gone.is_empty());
    let floor = {
        world.floor(1, slots[1]).await;
        let floor = world.get(&paths::floor(1)).await;
        world.delete(&paths::floor(1)).await;
        Bytes::from(floor)
    };
    let bucket = world.bucket.clone();
    let watch = move |progress: &Progress| {
        if progress.part == Part::Journal && progress.done == 1 {
            put_now(&bucket, &paths::floor(1), floor.clone());
            gone.iter().for_each(|key| delete_now(&bucket, key));
        }
        ControlFlow::Continue(())
    };
    let report = scrub(&machine.store, &options, &watch).await.unwrap();
    assert_clean(&report);
}

/// Parts add up to the whole, and each finds the damage that lies in it.
#[test]
fn ranges_add_up() {
    for_seeds_paused(5, |seed| async move {
        let world = World::new(seed).await;
        let whole = world.scrub(&Options::default()).await;
        let tail = whole.tail;
        let extent = world.segment_extents()[3];
        world.flip(&extent.object.key(), extent.at as usize + 80, 3).await;
        let shard = match extent.object {
            ObjectId::Segment(id) => id.0 as u8,
            _ => unreachable!(),
        };
        let (mut segments, mut hits) = (0, 0);
        for (first, last) in [(0, 0x3f), (0x40, 0x9f), (0xa0, 0xff)] {
            let report = world.scrub(&Options { shards: Some(first..=last), ..Options::default() }).await;
            assert_eq!(report.data.slots + report.data.extents > 0, report.data.extent_bytes > 0);
            segments += report.data.segments;
            let hit = (first..=last).contains(&shard);
            assert_eq!(report.faults.len(), usize::from(hit), "{report:#?}");
            hits += report.faults.len();
            assert!(!report.not_checked.is_empty(), "what was left out is said");
        }
        assert_eq!((segments, hits), (whole.data.segments, 1));

        let cut = tail / 2;
        let bad = world.checkpoints().await[2];
        world.flip(&paths::checkpoint(bad), 40, 0).await;
        for (slots, found) in [(0..=cut, cut >= bad), (cut + 1..=u64::MAX, bad > cut)] {
            let report = world.scrub(&Options { slots: Some(slots), ..Options::default() }).await;
            assert_eq!(!report.faults.is_empty(), found, "{report:#?}");
            assert_eq!(report.data.segments, 0);
        }
    });
}

/// Data alone needs the manifest: old slots with records in them are data then.
#[tokio::test(start_paused = true)]
async fn data_alone_looks_at_old_slots_too() {
    let world = World::new(3).await;
    let newest = world.checkpoints().await[2];
    let manifest = world.manifest();
    let old = |extent: &&Extent| matches!(extent.object, ObjectId::Slot(slot) if slot <= newest);
    let extent = extents(&manifest).map(|(_, _, extent)| extent).find(old).unwrap();
    let options = Options { shards: Some(0..=255), ..Options::default() };
    let report = world.scrub(&options).await;
    assert_clean(&report);
    assert!(report.data.slots > 0);
    world.flip(&extent.object.key(), extent.at as usize + 70, 0).await;
    let report = world.scrub(&options).await;
    let found = short(&report.faults);
    assert_eq!((found.len(), found[0].0, &found[0].1), (1, Kind::InlineRunDamaged, &extent.object.key()));
}

/// Stopped every few objects, it comes to the same end by going on again and again.
#[test]
fn an_interrupted_scrub_goes_on_where_it_stopped() {
    for_seeds_paused(5, |seed| async move {
        let world = World::new(seed).await;
        let slots = world.checkpoints().await;
        let segments = world.segments().await;
        for key in &segments {
            let end = world.get(key).await.len() - 1;
            world.flip(key, end, 3).await;
        }
        world.put(&paths::checkpoint(slots[1]), world.get(&paths::checkpoint(slots[0])).await).await;
        let whole: BTreeSet<_> = short(&world.scrub(&Options::default()).await.faults).into_iter().collect();
        // Some last runs hold only batches that the fold refused: nobody reads those.
        assert!(whole.len() > segments.len() / 2, "{whole:?}");
        // Fewer steps than there are between two checkpoints would never come past a doubt.
        for steps in [32, 37, 45] {
            assert_eq!(in_steps(&world, steps).await, whole, "{steps} steps at a time");
        }
    });
}

/// Everything that is found by going on after every so many steps.
async fn in_steps(world: &World, steps: u64) -> BTreeSet<Short> {
    let mut options = Options { concurrency: 2, ..Options::default() };
    let mut found = BTreeSet::new();
    for round in 1.. {
        let left = AtomicU64::new(steps);
        let watch = |_: &Progress| match left.fetch_sub(1, Ordering::Relaxed) {
            1 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let report = scrub(&world.machine().store, &options, &watch).await.unwrap();
        found.extend(short(&report.faults));
        assert!(round < 30, "it comes to an end");
        let Some(go_on) = report.go_on else {
            assert!(round > 1, "it was interrupted");
            break;
        };
        assert_ne!(report.verdict, Verdict::Clean);
        options.slots = go_on.from.map(|from| from..=go_on.to.unwrap_or(u64::MAX));
        options.shards = go_on.shard.map(|shard| {
            let (first, last) = shard.split_once("..").unwrap();
            u8::from_str_radix(first, 16).unwrap()..=u8::from_str_radix(last, 16).unwrap()
        });
    }
    found
}

/// Stopped while it was open whether a checkpoint or the journal is wrong, it does not guess.
#[tokio::test(start_paused = true)]
async fn a_scrub_that_stops_in_doubt_goes_on_before_it() {
    let world = World::new(1).await;
    let slots = world.checkpoints().await;
    world.put(&paths::checkpoint(slots[1]), world.get(&paths::checkpoint(slots[0])).await).await;
    let watch = |progress: &Progress| match progress.done == slots[1] + 1 {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let options = Options { slots: Some(0..=u64::MAX), ..Options::default() };
    let report = scrub(&world.machine().store, &options, &watch).await.unwrap();
    assert_eq!((short(&report.faults), report.verdict), (vec![], Verdict::Incomplete));
    let from = report.go_on.unwrap().from.unwrap();
    let report = world.scrub(&Options { slots: Some(from..=u64::MAX), ..Options::default() }).await;
    assert!(report.faults[0].what.contains("next checkpoint agrees"), "{report:#?}");
}

/// A store that fails now and then is asked again.
#[test]
fn passing_failures_are_not_seen() {
    for_seeds_paused(5, |seed| async move {
        let world = World::new(seed).await;
        let machine = world.machine();
        machine.faults.set_rates(Rates { get_refused: 100, slow: 20, ..Rates::default() });
        assert_clean(&scrub(&machine.store, &Options::default(), &go).await.unwrap());
    });
}

/// A store that stops answering, or refuses, is no damage; and it is not asked for ever.
#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_no_damage() {
    let world = World::new(4).await;
    let machine = world.machine();
    machine.faults.set_rates(Rates { get_refused: 1_000, ..Rates::default() });
    let error = scrub(&machine.store, &Options::default(), &go).await.unwrap_err();
    assert_eq!(error.kind(), crate::Kind::Unavailable);

    for denied in [true, false] {
        let machine = world.machine();
        let faults = std::sync::Arc::clone(&machine.faults);
        let watch = at_data(move || match denied {
            true => faults.set_denied(true),
            false => faults.set_rates(Rates { get_refused: 1_000, ..Rates::default() }),
        });
        let options = Options { concurrency: 1, ..Options::default() };
        let scrubbed = scrub(&machine.store, &options, &watch).await;
        // Listings are refused too when nothing is answered at all.
        let Ok(report) = scrubbed else { continue };
        assert_eq!((short(&report.faults), report.verdict), (vec![], Verdict::Incomplete), "{report:#?}");
        assert!(!report.unchecked.is_empty());
    }
}

/// Memory is bounded by shards: one at a time gives the same as all together.
#[tokio::test(start_paused = true)]
async fn shard_by_shard_gives_the_same() {
    let world = World::new(5).await;
    let whole = world.scrub(&Options::default()).await;
    let mut extents = 0;
    for shard in 0..=255 {
        let options = Options { shards: Some(shard..=shard), quick: true, ..Options::default() };
        extents += world.scrub(&options).await.data.extents;
    }
    let manifest = world.manifest();
    assert!(extents >= whole.data.extents && extents <= manifest.extents() as u64);
}
