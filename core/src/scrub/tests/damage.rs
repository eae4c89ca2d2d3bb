//! Each kind of damage alone gives exactly its finding.

use super::world::extents;
use super::*;
use crate::manifest::{Commit, Extent, ObjectId, checkpoint};
use crate::object::PREFIX_BYTES;
use crate::rope::Rope;
use crate::testing::Dice;

fn none() -> Vec<Short> {
    Vec::new()
}

/// The report of a whole scrub; its faults are these and no others, and there are no warnings.
async fn assert_faults(world: &World, expected: &[Short]) -> Report {
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.faults), expected, "{report:#?}");
    assert_eq!(short(&report.warnings), none(), "{report:#?}");
    let verdict = if expected.is_empty() { Verdict::Clean } else { Verdict::Damaged };
    assert_eq!(report.verdict, verdict);
    report
}

fn on(kind: Kind, key: impl Into<String>) -> Short {
    (kind, key.into(), None)
}

/// A slot in the middle with records in it, and the first of its extents.
fn slot_with_records(world: &World) -> (u64, Extent) {
    let manifest = world.manifest();
    let half = manifest.applied / 2;
    let inside = extents(&manifest).find(|(_, _, extent)| match extent.object {
        ObjectId::Slot(slot) => slot > half,
        _ => false,
    });
    let extent = *inside.unwrap().2;
    let ObjectId::Slot(slot) = extent.object else { unreachable!() };
    (slot, extent)
}

/// The first extent of a segment in the middle.
fn segment_extent(world: &World) -> Extent {
    let all = world.segment_extents();
    all[all.len() / 2]
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_gone() {
    let world = World::new(1).await;
    let (slot, _) = slot_with_records(&world);
    world.delete(&paths::slot(slot)).await;
    let report = assert_faults(&world, &[on(Kind::SlotMissing, paths::slot(slot))]).await;
    assert_eq!((report.faults[0].invariant, report.faults[0].slots), ("J3", Some((slot, slot))));
}

/// One finding for slots side by side; and the fold goes on at the next checkpoint.
#[tokio::test(start_paused = true)]
async fn several_slots_that_are_gone() {
    let world = World::new(2).await;
    let checkpoint = world.checkpoints().await[1];
    for slot in checkpoint - 1..=checkpoint + 1 {
        world.delete(&paths::slot(slot)).await;
    }
    let report = assert_faults(&world, &[on(Kind::SlotMissing, paths::slot(checkpoint - 1))]).await;
    assert_eq!(report.faults[0].slots, Some((checkpoint - 1, checkpoint + 1)));
    assert!(report.orphans.is_some(), "the third checkpoint leads on to the tail");
    assert_eq!(report.journal.checkpoints_compared, 1);
}

/// The journal ends before a checkpoint says that it does.
#[tokio::test(start_paused = true)]
async fn an_end_that_is_gone() {
    let world = World::new(3).await;
    let tail = world.manifest().applied;
    world.checkpoint().await;
    world.delete(&paths::slot(tail)).await;
    world.delete(&paths::slot(tail - 1)).await;
    let report = assert_faults(&world, &[on(Kind::SlotMissing, paths::slot(tail - 1))]).await;
    assert_eq!(report.tail, tail);
}

/// Behind the last checkpoint, a proposer's later commits show that the slot was folded.
#[tokio::test(start_paused = true)]
async fn a_slot_near_the_end_that_is_gone() {
    let world = World::new(4).await;
    let tail = world.manifest().applied;
    world.delete(&paths::slot(tail - 2)).await;
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.faults), [on(Kind::SlotMissing, paths::slot(tail - 2))]);
}

/// The same place, but nothing shows that anybody ever folded it: proposers may die.
#[tokio::test(start_paused = true)]
async fn a_slot_that_was_never_filled() {
    let world = World::new(5).await;
    let tail = world.manifest().applied;
    world.delete(&paths::slot(tail - 1)).await;
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.warnings), [on(Kind::OpenEnd, paths::slot(tail - 1))]);
    assert_eq!((report.verdict, report.tail), (Verdict::Clean, tail - 2));
}

/// Any bit of a slot's header.
#[test]
fn a_damaged_slot() {
    for_seeds_paused(20, |seed| async move {
        let world = World::new(6).await;
        let (slot, _) = slot_with_records(&world);
        let key = paths::slot(slot);
        let body = Rope::from(bytes::Bytes::from(world.get(&key).await));
        let (_, payload_at) = Commit::decode(&key, &body).unwrap();
        let mut dice = Dice::new(seed);
        let at = PREFIX_BYTES as u64 + dice.below(payload_at - PREFIX_BYTES as u64);
        world.flip(&key, at as usize, dice.below(8) as u8).await;
        let report = assert_faults(&world, &[on(Kind::SlotDamaged, &key)]).await;
        assert_eq!(report.faults[0].slots, Some((slot, slot)));
    });
}

/// Any bit of the records inside a slot; the offsets are those of the batch that is hit.
#[test]
fn damaged_records_inside_a_slot() {
    for_seeds_paused(40, |seed| async move {
        let world = World::new(7).await;
        let (slot, extent) = slot_with_records(&world);
        let mut dice = Dice::new(seed);
        let at = extent.at + dice.below(u64::from(extent.bytes));
        world.flip(&paths::slot(slot), at as usize, dice.below(8) as u8).await;
        let report = world.scrub(&Options::default()).await;
        let [fault] = &report.faults[..] else { panic!("{report:#?}") };
        assert_eq!((fault.kind, &fault.key), (Kind::InlineRunDamaged, &paths::slot(slot)));
        let (first, last) = fault.records.as_ref().unwrap().offsets.unwrap();
        assert!(first < extent.end_offset() && last >= extent.base_offset, "{fault:?}");
        assert_eq!(short(&report.warnings), none());
    });
}

/// A slot that is older than anything that is folded, and that extents still point into.
#[tokio::test(start_paused = true)]
async fn damage_below_the_floor() {
    let world = World::new(8).await;
    let floor = world.checkpoints().await[1];
    world.trim(floor).await;
    let manifest = world.manifest();
    let below = |extent: &&Extent| matches!(extent.object, ObjectId::Slot(slot) if slot < floor);
    let mut old = extents(&manifest).map(|(_, _, extent)| extent).filter(below);
    let (one, other) = (old.next().unwrap(), old.find(|e| e.object > ObjectId::Slot(5)).unwrap());
    assert_ne!(one.object, other.object);
    world.flip(&one.object.key(), one.at as usize + 70, 0).await;
    world.delete(&other.object.key()).await;
    let report = world.scrub(&Options::default()).await;
    let mut found: Vec<_> = report.faults.iter().map(|f| (f.kind, f.invariant, f.key.clone())).collect();
    found.sort();
    assert_eq!(
        found,
        [(Kind::SlotMissing, "D1", other.object.key()), (Kind::InlineRunDamaged, "D1", one.object.key()),]
    );
}

/// Below the floor, a slot that nobody refers to may hold anything: a sleeper may have won it.
#[tokio::test(start_paused = true)]
async fn a_dead_slot_is_no_fault() {
    let world = World::new(9).await;
    let floor = world.checkpoints().await[1];
    world.trim(floor).await;
    world.put(&paths::slot(1), "anything").await;
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.faults), none());
    assert_eq!(report.verdict, Verdict::Clean);
}

/// Below a floor under which nothing was deleted yet, or was filled anew: the fold from the beginning says so, no more.
#[tokio::test(start_paused = true)]
async fn a_dead_slot_that_was_filled_anew_is_no_fault() {
    let world = World::new(9).await;
    let floor = world.checkpoints().await[1];
    world.floor(0, floor).await;
    let manifest = world.manifest();
    let used = |slot: &u64| extents(&manifest).any(|(_, _, e)| e.object == ObjectId::Slot(*slot));
    let dead = (5..floor).find(|slot| !used(slot)).unwrap();
    world.put(&paths::slot(dead), world.get(&paths::slot(3)).await).await;
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.faults), none());
    assert!(report.warnings.iter().all(|warning| warning.kind == Kind::HistoryDiffers), "{report:#?}");
    assert_eq!((report.warnings.is_empty(), report.verdict), (false, Verdict::Clean));
}

/// Any bit of a checkpoint that the checksum covers, or the checksum itself.
#[test]
fn a_damaged_checkpoint() {
    for_seeds_paused(20, |seed| async move {
        let world = World::new(10).await;
        let key = paths::checkpoint(world.checkpoints().await[1]);
        let mut dice = Dice::new(seed);
        let bytes = world.get(&key).await.len() as u64;
        world.flip(&key, dice.between(12, bytes - 1) as usize, dice.below(8) as u8).await;
        assert_faults(&world, &[on(Kind::CheckpointDamaged, key)]).await;
    });
}

/// Intact, of the right slot, but not what the journal gives: the next checkpoint tells that it is the wrong one.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_another_state() {
    let (world, other) = (World::new(11).await, World::new(12).await);
    let slot = world.checkpoints().await[1];
    let mut another = other.manifest();
    another.applied = slot;
    world.put(&paths::checkpoint(slot), checkpoint::encode(&another)).await;
    let report = assert_faults(&world, &[on(Kind::CheckpointDiffers, paths::checkpoint(slot))]).await;
    assert!(report.faults[0].what.contains("next checkpoint agrees"), "{report:#?}");
}

/// The last one: nothing tells who is right.
#[tokio::test(start_paused = true)]
async fn the_last_checkpoint_of_another_state() {
    let world = World::new(13).await;
    let slots = world.checkpoints().await;
    let older = world.get(&paths::checkpoint(slots[1])).await;
    world.put(&paths::checkpoint(slots[2]), older).await;
    let report = assert_faults(&world, &[on(Kind::CheckpointDiffers, paths::checkpoint(slots[2]))]).await;
    assert!(report.faults[0].what.contains(&format!("slot {}", slots[1])), "{report:#?}");
}

/// Both still decode: only the fold shows it, and later checkpoints that it is the journal that was changed.
#[tokio::test(start_paused = true)]
async fn two_slots_that_changed_places() {
    let world = World::new(14).await;
    let slots = world.checkpoints().await;
    let (one, other) = (paths::slot(slots[0] + 2), paths::slot(slots[0] + 3));
    let bodies = (world.get(&one).await, world.get(&other).await);
    world.put(&one, bodies.1).await;
    world.put(&other, bodies.0).await;
    let report = assert_faults(&world, &[on(Kind::HistoryDiffers, paths::checkpoint(slots[1]))]).await;
    assert_eq!(report.faults[0].slots, Some((slots[0] + 1, slots[1])));
}

/// The floor has moved; the checkpoints that nodes could start from are gone.
#[tokio::test(start_paused = true)]
async fn no_checkpoint_above_the_floor() {
    let world = World::new(15).await;
    let slots = world.checkpoints().await;
    world.trim(slots[1]).await;
    world.delete(&paths::checkpoint(slots[1])).await;
    world.delete(&paths::checkpoint(slots[2])).await;
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.faults), [on(Kind::CheckpointMissing, paths::checkpoint(slots[1]))]);
    assert_eq!((report.faults[0].invariant, report.orphans), ("J7", None));
}

#[tokio::test(start_paused = true)]
async fn floors_that_cannot_be() {
    let world = World::new(16).await;
    let slots = world.checkpoints().await;
    world.floor(0, slots[1]).await;
    world.floor(1, slots[0]).await;
    assert_faults(&world, &[on(Kind::FloorMisplaced, paths::floor(1))]).await;

    world.delete(&paths::floor(0)).await;
    assert_faults(&world, &[on(Kind::FloorMissing, paths::floor(0))]).await;

    world.floor(0, slots[0]).await;
    world.flip(&paths::floor(0), 16, 1).await;
    assert_faults(&world, &[on(Kind::FloorDamaged, paths::floor(0))]).await;

    world.floor(0, slots[0]).await;
    world.floor(1, 1_000_000).await;
    assert_faults(&world, &[on(Kind::FloorMisplaced, "floor")]).await;
}

#[tokio::test(start_paused = true)]
async fn the_hint_is_only_a_hint() {
    let world = World::new(17).await;
    for harmless in ["1", "17\n", "99999"] {
        world.put(paths::LATEST, harmless).await;
        assert_faults(&world, &[]).await;
    }
    world.delete(paths::LATEST).await;
    assert_faults(&world, &[]).await;
    world.put(paths::LATEST, "what").await;
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.warnings), [on(Kind::HintDamaged, paths::LATEST)]);
    assert_eq!(report.verdict, Verdict::Clean);
}

#[tokio::test(start_paused = true)]
async fn the_object_that_makes_a_cluster() {
    let world = World::new(18).await;
    world.put(paths::CLUSTER, "{}").await;
    assert_faults(&world, &[on(Kind::Cluster, paths::CLUSTER)]).await;
    world.delete(paths::CLUSTER).await;
    assert_faults(&world, &[on(Kind::Cluster, paths::CLUSTER)]).await;
}

/// One finding for the object, with the first extent that is hit.
#[tokio::test(start_paused = true)]
async fn a_segment_that_is_gone() {
    let world = World::new(19).await;
    let key = segment_extent(&world).object.key();
    world.delete(&key).await;
    let report = world.scrub(&Options::default()).await;
    let [fault] = &report.faults[..] else { panic!("{report:#?}") };
    assert_eq!((fault.kind, fault.invariant, &fault.key), (Kind::SegmentMissing, "D1", &key));
    assert!(fault.records.as_ref().unwrap().offsets.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_cut() {
    let world = World::new(20).await;
    let key = segment_extent(&world).object.key();
    let whole = world.get(&key).await;
    for left in [0, 3, 20, whole.len() / 2, whole.len() - 1] {
        world.put(&key, whole[..left].to_vec()).await;
        for quick in [false, true] {
            let report = world.scrub(&Options { quick, ..Options::default() }).await;
            let kinds: Vec<_> = report.faults.iter().map(|fault| (fault.kind, &fault.key)).collect();
            assert_eq!(
                kinds,
                [(Kind::SegmentTruncated, &key)],
                "{left} bytes left, quick {quick}: {report:#?}"
            );
        }
    }
    world.put(&key, [whole, b"more".to_vec()].concat()).await;
    assert_faults(&world, &[on(Kind::SegmentDamaged, &key)]).await;
}

/// Any bit that a checksum covers. What is hit decides what is said.
#[test]
fn a_damaged_segment() {
    for_seeds_paused(60, |seed| async move {
        let world = World::new(21).await;
        let extent = segment_extent(&world);
        let key = extent.object.key();
        let body = world.get(&key).await;
        let runs = crate::segment::read_header(&key, &body).unwrap().1;
        let mut dice = Dice::new(seed);
        let at = dice.between(12, body.len() as u64 - 1);
        world.flip(&key, at as usize, dice.below(8) as u8).await;
        let report = world.scrub(&Options::default()).await;
        let [fault] = &report.faults[..] else { panic!("byte {at}: {report:#?}") };
        let expected = if at < runs[0].at { Kind::SegmentDamaged } else { Kind::RunDamaged };
        assert_eq!((fault.kind, &fault.key), (expected, &key), "byte {at}");
        let Some(run) = runs.iter().find(|run| (run.at..run.at + u64::from(run.bytes)).contains(&at)) else {
            return;
        };
        let records = fault.records.as_ref().unwrap();
        assert_eq!((&records.topic_id, records.partition), (&run.topic.to_string(), run.partition));
        let (first, last) = records.offsets.unwrap();
        let manifest = world.manifest();
        let mut hit = extents(&manifest).filter(|(_, partition, extent)| {
            let inside = extent.object.key() == key && *partition == run.partition;
            inside && (extent.at..extent.at + u64::from(extent.bytes)).contains(&at)
        });
        if let Some((_, _, extent)) = hit.next() {
            assert!(first < extent.end_offset() && last >= extent.base_offset, "byte {at}: {fault:?}");
        }
        let quick = world.scrub(&Options { quick: true, ..Options::default() }).await;
        assert_eq!(short(&quick.faults), none(), "a quick scrub reads no records");
    });
}

/// Whole and intact, but another segment.
#[tokio::test(start_paused = true)]
async fn a_segment_in_the_place_of_another() {
    let world = World::new(22).await;
    let keys = world.segments().await;
    world.put(&keys[0], world.get(&keys[1]).await).await;
    let report = world.scrub(&Options::default()).await;
    assert!(report.faults.iter().all(|fault| fault.key == keys[0]), "{report:#?}");
    assert_eq!(report.faults[0].kind, Kind::SegmentDamaged, "{report:#?}");
}

/// Counted, by age; they and foreign objects are no faults.
#[tokio::test(start_paused = true)]
async fn orphans_and_foreign_objects() {
    let world = World::new(23).await;
    let now_ms = world.manifest().now_ms;
    let day_ms = 86_400_000;
    let mut old = world.orphan(now_ms - day_ms - 1).await;
    old += world.orphan(0).await;
    let young = world.orphan(now_ms - day_ms).await;
    for key in ["journal/7", "segment/zz/x", "segment/00/no-ulid", "checkpoint/x", "elsewhere/file", "file"] {
        world.put(key, "12345").await;
    }
    world.put("node/1", "a hint").await;
    let report = assert_faults(&world, &[]).await;
    let expected =
        Orphans { collectable: Count { objects: 2, bytes: old }, young: Count { objects: 1, bytes: young } };
    assert_eq!(report.orphans, Some(expected));
    assert_eq!(report.unknown.count, Count { objects: 6, bytes: 30 }, "{:?}", report.unknown);
    assert!(report.unknown.first.contains(&"elsewhere/file".to_owned()) && report.unknown.complete);
}

/// What later versions keep beside all this is neither unknown nor looked at.
#[tokio::test(start_paused = true)]
async fn what_this_version_does_not_know_is_said() {
    let world = World::new(24).await;
    world.put("inbox/x", "later").await;
    let report = assert_faults(&world, &[]).await;
    assert_eq!((report.not_checked.len(), report.unknown.count), (1, Count::default()));
}
