//! D1, J2, J3 and J7 as a scrub sees them: a whole log is clean, and every kind of damage is named, alone.
//!
//! - `world`: a log as ingest writes one, and hands to damage it with
//! - `damage`: one kind of damage after the other
//! - `history`: the same for chunks and the index over them
//! - `moving`: a bucket that changes meanwhile, ranges, interruptions, a store that does not answer
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod damage;
mod history;
mod moving;
mod world;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::*;
use crate::manifest::Partition;
use crate::manifest::state::apply;
use crate::manifest::{Change, Commit, Outcome, checkpoint};
use crate::paths;
use crate::testing::for_seeds_paused;
use world::World;

fn go(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What is found, in short: kind, key, first and last offset.
type Short = (Kind, String, Option<(i64, i64)>);

fn short(findings: &[Finding]) -> Vec<Short> {
    let offsets = |finding: &Finding| finding.records.as_ref().and_then(|records| records.offsets);
    findings.iter().map(|finding| (finding.kind, finding.key.clone(), offsets(finding))).collect()
}

fn assert_clean(report: &Report) {
    assert_eq!((short(&report.faults), short(&report.warnings)), (vec![], vec![]), "{report:#?}");
    assert_eq!((report.verdict, &report.go_on), (Verdict::Clean, &None), "{report:#?}");
    assert_eq!(report.unchecked, []);
}

/// Everything is looked at, and nothing is asked of the store but to read.
#[test]
fn a_whole_log_is_clean() {
    for_seeds_paused(10, |seed| async move {
        let world = World::new(seed).await;
        let machine = world.machine();
        let report = scrub(&machine.store, &Options::default(), &go).await.unwrap();
        assert_clean(&report);
        let manifest = world.manifest();
        assert_eq!((report.tail, report.floor), (manifest.applied, 0));
        assert_eq!(report.journal.slots, Some((1, manifest.applied)));
        assert_eq!(report.journal.folded_from, Some(0));
        assert_eq!(report.journal.slots_read, manifest.applied);
        assert_eq!(report.journal.checkpoints_compared, 3);
        assert_eq!(report.data.segments, world.segments().await.len() as u64);
        assert_eq!(report.data.extents, world.segment_extents().len() as u64);
        assert_eq!((report.orphans, report.unknown.count), (Some(Orphans::default()), Count::default()));
        assert_eq!(report.not_checked, Vec::<String>::new());
        let asked = machine.faults.take_log();
        assert!(
            asked.iter().all(|asked| asked.starts_with("get ") || asked.starts_with("list ")),
            "{asked:?}"
        );
    });
}

/// The checkpoints that nodes write by themselves, and more slots than are read side by side.
#[tokio::test(start_paused = true)]
async fn a_long_log_is_clean() {
    let mut world = World::new(1).await;
    for _ in 0..1_100 {
        world.append_inline().await;
    }
    world.settle().await;
    let report = world.scrub(&Options { concurrency: 3, ..Options::default() }).await;
    assert_clean(&report);
    assert_eq!(report.journal.checkpoints_compared, 3 + 2, "those of the nodes are met too");
}

/// Deleted records are looked for nowhere, what is left is, and what only they needed is an orphan; groups and all that
/// befell topics fold as the checkpoints say, also from a checkpoint on.
#[test]
fn a_log_with_deleted_records_and_groups_is_clean() {
    for_seeds_paused(10, |seed| async move {
        let mut world = World::new(seed).await;
        let had = world.segments().await.len();
        world.befall().await;
        let left: BTreeSet<_> = world.segment_extents().iter().map(|extent| extent.object).collect();
        assert!(left.len() < had, "some segments are needed no more");
        let report = world.scrub(&Options::default()).await;
        assert_clean(&report);
        assert_eq!(report.journal.checkpoints_compared, 5);
        assert_eq!(report.data.segments, left.len() as u64);
        assert_eq!(report.orphans.unwrap().young.objects, (world.segments().await.len() - left.len()) as u64);
        let floor = world.checkpoints().await[3];
        world.trim(floor).await;
        assert_clean(&world.scrub(&Options::default()).await);
        // A checkpoint that has lost a committed offset is not what the slots fold to.
        let last = *world.checkpoints().await.last().unwrap();
        let mut other = world.manifest();
        assert_eq!(other.applied, last);
        let commit = Commit {
            id: crate::manifest::CommitId { incarnation: ulid::Ulid::nil(), counter: 1 },
            oldest_open: 1,
            timestamp_ms: 0,
            changes: vec![Change::DeleteOffsets {
                group: "readers".to_owned(),
                partitions: vec![(world.topics[0], 0)],
            }],
        };
        assert_eq!(apply(&mut other, last, &commit, 0), [Outcome::Applied]);
        world.put(&paths::checkpoint(last), checkpoint::encode(&other)).await;
        let report = world.scrub(&Options::default()).await;
        assert_eq!(short(&report.faults), [(Kind::CheckpointDiffers, paths::checkpoint(last), None)]);
    });
}

/// Deleted records: extents below the start are gone, and the first one that is left may begin below it.
#[test]
fn a_log_with_deleted_records_is_clean() {
    for_seeds_paused(10, |seed| async move {
        let mut world = World::new(seed).await;
        world.delete_records().await;
        world.append_inline().await;
        world.append_segment().await;
        world.checkpoint().await;
        let report = world.scrub(&Options::default()).await;
        assert_clean(&report);
        assert_eq!(report.data.extents, world.segment_extents().len() as u64);
        assert!(
            report.orphans.is_some_and(|orphans| orphans.young.objects > 0),
            "segments lost their extents"
        );
        let manifest = world.manifest();
        let mut partitions = manifest.topics().flat_map(|topic| &topic.partitions);
        let begins_below = |p: &Partition| p.extents.first().is_some_and(|e| e.base_offset < p.log_start);
        assert!(partitions.any(begins_below));
    });
}

/// With a floor, slots below it are gone but for those that extents point into.
#[test]
fn a_trimmed_log_is_clean() {
    for_seeds_paused(10, |seed| async move {
        let world = World::new(seed).await;
        let floor = world.checkpoints().await[1];
        let left = world.trim(floor).await;
        let report = world.scrub(&Options::default()).await;
        assert_clean(&report);
        assert_eq!((report.floor, report.journal.slots), (floor, Some((floor, report.tail))));
        assert_eq!(report.journal.folded_from, Some(floor));
        assert_eq!(report.data.slots, left, "old slots with records in them were looked at");
        assert_eq!(report.not_checked.len(), 1, "the first checkpoint could not be compared: {report:?}");
    });
}

/// Nothing is there but the cluster.
#[tokio::test(start_paused = true)]
async fn an_empty_cluster_is_clean() {
    let world = World::empty(1).await;
    let report = world.scrub(&Options::default()).await;
    assert_clean(&report);
    assert_eq!((report.tail, report.journal.slots), (0, None));
}

/// Nothing at all is there: that is no cluster, and not a clean one.
#[tokio::test(start_paused = true)]
async fn no_cluster_is_an_error() {
    let machine = crate::testing::Machine::new(&crate::testing::Bucket::new(), 1);
    let error = scrub(&machine.store, &Options::default(), &go).await.unwrap_err();
    assert_eq!(error.kind(), crate::Kind::NotFound);
}
