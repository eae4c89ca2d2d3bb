//! Years of plans, carried out on the manifest alone: what is written how often, and how large the manifest gets.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use fastrand::Rng;
use strandline_core::chunk::Format;
use strandline_core::index::Branch;
use strandline_core::manifest::{
    Append, BatchMeta, Change, Commit, CommitId, Compacted, IndexChunks, Joins, ObjectName, Outcome, Swap,
    SwapOutput, SwapRun, checkpoint, state,
};
use ulid::Ulid;

use super::*;

const EPOCH_MS: i64 = 1_767_225_600_000;

/// A cluster that is nothing but its manifest.
struct World {
    manifest: Manifest,
    dice: Rng,
    counter: u64,
    now_ms: i64,
    ingested: u64,
    merged: u64,
    gathered: u64,
    chunks: u64,
    most_extents: usize,
}

impl World {
    fn new(seed: u64, topics: u32, partitions: u32) -> World {
        let mut world = World {
            manifest: Manifest::default(),
            dice: Rng::with_seed(seed),
            counter: 0,
            now_ms: EPOCH_MS,
            ingested: 0,
            merged: 0,
            gathered: 0,
            chunks: 0,
            most_extents: 0,
        };
        for number in 0..topics {
            let (id, name) = (Uuid::from_u128(u128::from(number) + 1), format!("t{number}"));
            let configs = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
            world.fold(vec![Change::CreateTopic { id, name, partitions, configs }]);
        }
        world
    }

    fn fold(&mut self, changes: Vec<Change>) -> Vec<Outcome> {
        self.counter += 1;
        let id = CommitId { incarnation: Ulid::from_parts(1, 1), counter: self.counter };
        let commit = Commit { id, oldest_open: self.counter, timestamp_ms: self.now_ms, changes };
        let slot = self.manifest.applied + 1;
        state::apply(&mut self.manifest, slot, &commit, 100)
    }

    fn ulid(&mut self) -> Ulid {
        Ulid::from_parts(self.now_ms as u64, self.dice.u128(..))
    }

    /// One flush of so many bytes, over so many partitions, inline or as one segment.
    fn flush(&mut self, bytes: u64, over: &[(Uuid, u32)]) {
        let segment = (bytes > MIB as u64).then(|| self.ulid());
        let share = (bytes / over.len() as u64).max(100) as u32;
        let mut at = 0;
        let appends = over.iter().map(|(topic, partition)| {
            let (producer, joins) = (None, Joins::Nothing);
            let batch = BatchMeta { bytes: share, offsets: 1, max_timestamp: self.now_ms, producer, joins };
            let (topic, partition, batches) = (*topic, *partition, vec![batch]);
            let append = Append { topic, partition, segment, at, crc: 0, batches };
            at += u64::from(share);
            Change::Append(append)
        });
        let appends = appends.collect();
        self.fold(appends);
        self.ingested += u64::from(share) * over.len() as u64;
    }

    /// Carries out everything that is planned, until nothing is.
    fn compact(&mut self, policy: &Policy) {
        self.most_extents = self.most_extents.max(self.manifest.extents());
        for _ in 0..100 {
            let jobs = plan(&self.manifest, policy, self.now_ms);
            if jobs.is_empty() {
                return;
            }
            for job in jobs {
                let change = self.carry_out(&job, policy);
                let outcomes = self.fold(vec![change]);
                let held = match &outcomes[0] {
                    Outcome::Swapped(runs) => runs.iter().all(Result::is_ok),
                    outcome => *outcome == Outcome::Applied,
                };
                assert!(held, "{outcomes:?}");
            }
        }
        panic!("there is always something to do");
    }

    fn carry_out(&mut self, job: &Job, policy: &Policy) -> Change {
        let name = self.ulid();
        match job {
            Job::Merge(runs) => {
                self.merged += job.bytes();
                let all: Vec<_> = runs.iter().flat_map(|run| &run.extents).collect();
                assert!(all.iter().all(|extent| is_raw(extent)), "merged a second time");
                assert!(all.len() <= policy.job_extents);
                let largest = all.iter().map(|extent| u64::from(extent.bytes)).max().unwrap();
                assert!(job.bytes() <= policy.merge_bytes + largest);
                let runs = runs.iter().map(|run| swap_run(run, ObjectName::Merged(name))).collect();
                Change::Swap(Swap { runs })
            }
            Job::Chunk(run) => {
                self.gathered += job.bytes();
                self.chunks += 1;
                assert!(!run.extents.iter().any(is_chunk), "gathered a second time");
                let largest = run.extents.iter().map(|extent| u64::from(extent.bytes)).max().unwrap();
                assert!(job.bytes() <= policy.chunk_bytes + largest);
                Change::Swap(Swap { runs: vec![swap_run(run, ObjectName::Chunk(name, Format::Batches))] })
            }
            Job::Index(topic, partition, count) => {
                let found = self.manifest.partition(topic, *partition).unwrap();
                let absorbed = &found.extents[..*count];
                let before = found.index;
                let root = Branch {
                    id: name,
                    base_offset: 0,
                    end_offset: absorbed.last().unwrap().end_offset(),
                    chunks: before.map_or(0, |index| index.chunks) + *count as u64,
                    bytes: before.map_or(0, |index| index.bytes) + sum(absorbed),
                    max_timestamp: self.now_ms,
                };
                Change::IndexChunks(IndexChunks {
                    topic: *topic,
                    partition: *partition,
                    replaces: before.map(|index| index.id),
                    absorbs: absorbed.iter().map(|extent| extent.object.into()).collect(),
                    root,
                })
            }
            Job::Clean(..) => panic!("no topic is compacted by key"),
        }
    }
}

fn swap_run(run: &Run, object: ObjectName) -> SwapRun {
    let output = SwapOutput {
        object,
        at: 0,
        bytes: run.bytes() as u32,
        offsets: run.extents.iter().map(|extent| extent.offsets).sum(),
        max_timestamp: run.extents.iter().map(|extent| extent.max_timestamp).max().unwrap(),
    };
    SwapRun {
        topic: run.topic,
        partition: run.partition,
        base_offset: run.extents[0].base_offset,
        inputs: run.extents.iter().map(|extent| extent.object.into()).collect(),
        outputs: vec![output],
    }
}

const TOPIC: Uuid = Uuid::from_u128(1);

/// Nothing is ever worth anything.
fn never() -> Policy {
    Policy {
        merge_bytes: u64::MAX,
        merge_extents: usize::MAX,
        merge_age_ms: i64::MAX,
        merge_slots: u64::MAX,
        large_bytes: u64::MAX,
        chunk_least_bytes: u64::MAX,
        chunk_bytes: u64::MAX,
        chunk_extents: usize::MAX,
        chunk_age_ms: i64::MAX,
        index_chunks: usize::MAX,
        direct_chunks: usize::MAX,
        clean_least_bytes: u64::MAX,
        ..Policy::default()
    }
}

impl World {
    /// What is worth doing: kind, and number of extents.
    fn planned(&self, policy: Policy) -> Vec<(&'static str, usize)> {
        let jobs = plan(&self.manifest, &policy, self.now_ms);
        let extents = |job: &Job| match job {
            Job::Merge(runs) => runs.iter().map(|run| run.extents.len()).sum(),
            Job::Chunk(run) => run.extents.len(),
            Job::Index(.., count) => *count,
            Job::Clean(..) => 0,
        };
        jobs.iter().map(|job| (job.kind(), extents(job))).collect()
    }

    /// Merges, or gathers, everything that is there.
    fn write_anew(&mut self, job: impl Fn(Run) -> Job) {
        let extents = self.manifest.partition(&TOPIC, 0).unwrap().extents.iter();
        let extents = extents.filter(|extent| !is_chunk(extent)).copied().collect();
        let change = self.carry_out(&job(Run { topic: TOPIC, partition: 0, extents }), &Policy::default());
        self.fold(vec![change]);
    }
}

/// Each bound alone is enough for a merge, and one less is not.
#[test]
fn memory_bounds_what_a_job_holds() {
    assert_eq!(Policy::default().within(MEMORY_BYTES_DEFAULT), Policy::default());
    for memory in [0, MEMORY_BYTES_MIN, 100 << 20, 1 << 40] {
        let Policy { merge_bytes, read_ahead_bytes, clean_keys, .. } = Policy::default().within(memory);
        let uploads = ((UPLOAD_PARTS_AT_ONCE + 1) * UPLOAD_PART_BYTES) as u64;
        let keys = clean_keys as u64 * KEY_BYTES;
        let held = uploads + read_ahead_bytes + keys.max(merge_bytes);
        assert!(held <= memory.max(MEMORY_BYTES_MIN), "{held} of {memory}");
        assert!(merge_bytes >= 12 << 20 && read_ahead_bytes >= 8 << 20 && clean_keys >= 100_000, "{memory}");
    }
}

#[test]
fn a_merge_is_worth_it_by_bytes_by_number_and_by_age() {
    let mut world = World::new(1, 1, 1);
    for _ in 0..3 {
        world.flush(1_000, &[(TOPIC, 0)]);
    }
    assert_eq!(world.planned(never()), []);
    let all = [("merge", 3)];
    assert_eq!(world.planned(Policy { merge_bytes: 3_000, ..never() }), all);
    assert_eq!(world.planned(Policy { merge_bytes: 3_001, ..never() }), []);
    assert_eq!(world.planned(Policy { merge_extents: 3, ..never() }), all);
    assert_eq!(world.planned(Policy { merge_extents: 4, ..never() }), []);
    // The first of them lies two commits back.
    assert_eq!(world.planned(Policy { merge_slots: 2, ..never() }), all);
    assert_eq!(world.planned(Policy { merge_slots: 3, ..never() }), []);
    let two = Policy { merge_extents: 3, job_extents: 2, ..never() };
    assert_eq!(world.planned(two), [("merge", 2), ("merge", 1)], "a job is bounded");
    world.flush(2 * MIB as u64, &[(TOPIC, 0)]);
    world.now_ms += 5_000;
    world.fold(vec![Change::Tick]);
    assert_eq!(world.planned(Policy { merge_age_ms: 5_000, ..never() }), [("merge", 4)]);
    assert_eq!(world.planned(Policy { merge_age_ms: 5_001, ..never() }), []);
}

/// Small extents wait for their merge; what is merged, or large, goes into a chunk.
#[test]
fn a_chunk_is_worth_it_by_bytes_by_number_and_by_age() {
    let mut world = World::new(1, 1, 1);
    for _ in 0..3 {
        world.flush(1_000, &[(TOPIC, 0)]);
    }
    let by_bytes = Policy { chunk_least_bytes: 3_000, ..never() };
    assert_eq!(world.planned(by_bytes.clone()), [], "they are small, and not merged");
    assert_eq!(world.planned(Policy { large_bytes: 1_000, ..by_bytes.clone() }), [("chunk", 3)]);
    assert_eq!(world.planned(Policy { large_bytes: 1_001, ..by_bytes.clone() }), []);
    world.write_anew(|run| Job::Merge(vec![run]));
    assert_eq!(world.planned(by_bytes), [("chunk", 1)]);
    assert_eq!(world.planned(Policy { chunk_least_bytes: 3_001, ..never() }), []);
    assert_eq!(world.planned(Policy { chunk_extents: 1, ..never() }), [("chunk", 1)]);
    assert_eq!(world.planned(Policy { chunk_extents: 2, ..never() }), []);
    world.now_ms += 5_000;
    world.flush(1_000, &[(TOPIC, 0)]);
    assert_eq!(world.planned(Policy { chunk_age_ms: 5_000, ..never() }), [("chunk", 1)]);
    assert_eq!(world.planned(Policy { chunk_age_ms: 5_001, ..never() }), []);
}

/// As many chunks as the policy says; fewer where all partitions together have too many.
#[test]
fn an_index_is_worth_it_by_its_chunks_and_by_those_of_all() {
    let mut world = World::new(1, 1, 1);
    for _ in 0..3 {
        world.flush(1_000, &[(TOPIC, 0)]);
        world.write_anew(Job::Chunk);
    }
    let index =
        |index_chunks, direct_chunks| world.planned(Policy { index_chunks, direct_chunks, ..never() });
    assert_eq!(index(3, usize::MAX), [("index", 3)]);
    assert_eq!(index(4, usize::MAX), []);
    assert_eq!((index(12, 3), index(13, 3)), (vec![("index", 3)], vec![]), "a quarter");
    assert_eq!(index(usize::MAX, 1), [("index", 3)], "any");
    let again = Policy { chunk_least_bytes: 0, chunk_extents: 1, large_bytes: 0, ..never() };
    assert_eq!(world.planned(again.clone()), [], "nothing is gathered a second time");
    world.flush(1_000, &[(TOPIC, 0)]);
    world.flush(1_000, &[(TOPIC, 0)]);
    let second = *world.manifest.partition(&TOPIC, 0).unwrap().extents.last().unwrap();
    let run = Run { topic: TOPIC, partition: 0, extents: vec![second] };
    let change = world.carry_out(&Job::Chunk(run), &Policy::default());
    world.fold(vec![change]);
    assert_eq!(world.planned(again), [("chunk", 1)], "up to the next chunk");
}

/// Kafka's rules: the share of what is new, how old it is, how long it must wait and may wait; and tombstones that are due.
#[test]
fn compaction_by_key_is_worth_it_when_the_topic_says_so() {
    let mut world = World::new(1, 1, 1);
    for _ in 0..4 {
        world.flush(1_000, &[(TOPIC, 0)]);
    }
    let of = Retention {
        deletes: false,
        compacts: true,
        ms: -1,
        bytes: -1,
        tombstones_ms: 0,
        dirty_per_mille: 500,
        segment_ms: i64::MAX,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
    };
    let compact = |world: &mut World, upto, tombstones_ms| {
        let compacted = Compacted { topic: TOPIC, partition: 0, upto, tombstones_ms };
        world.fold(vec![Change::Compacted(compacted)]);
    };
    let worth = |world: &World, clean_least_bytes, of: Retention, age_ms| {
        let policy = Policy { clean_least_bytes, ..never() };
        let partition = world.manifest.partition(&TOPIC, 0).unwrap();
        is_worth_cleaning(&policy, of, partition, EPOCH_MS + age_ms)
    };
    compact(&mut world, 2, i64::MAX);
    assert!(worth(&world, 2_000, of, 0), "half of it is new, and that is enough");
    assert!(!worth(&world, 2_001, of, 0), "too little");
    assert!(!worth(&world, 2_000, Retention { dirty_per_mille: 501, ..of }, 0), "too small a share");
    let closed = Retention { segment_ms: 70, ..of };
    assert!(worth(&world, u64::MAX, closed, 70) && !worth(&world, u64::MAX, closed, 69), "old enough");
    assert!(
        !worth(&world, u64::MAX, Retention { dirty_per_mille: 501, ..closed }, 70),
        "and too small a share"
    );
    let waits = Retention { min_lag_ms: 90, ..of };
    assert!(worth(&world, 0, waits, 90) && !worth(&world, 0, waits, 89), "it must wait");
    let hurries = Retention { max_lag_ms: 80, dirty_per_mille: 1_000, ..of };
    assert!(worth(&world, u64::MAX, hurries, 80) && !worth(&world, u64::MAX, hurries, 79), "it may wait");
    compact(&mut world, 4, EPOCH_MS + 60);
    assert!(!worth(&world, 0, of, 59), "nothing is new");
    assert!(worth(&world, 0, of, 60), "a tombstone may go");
}

/// Whatever comes in, a record is written anew at most twice, once if its partition is busy; few extents are left; chunks are
/// large where there is enough for them.
#[test]
fn a_record_is_written_anew_at_most_twice() {
    let policy = Policy::default();
    let mib = MIB as u64;
    // Partitions, bytes of a flush, milliseconds between two of them, flushes.
    let worlds = [
        (1, 100 * mib, 1_000, 200),
        (10, 16 * mib, 160, 2_000),
        (10, mib / 2, 100, 5_000),
        (300, 4 * mib, 250, 3_000),
        (300, mib / 4, 100, 3_000),
        (3, 2_000, 60_000, 3_000),
    ];
    for (partitions, bytes, every_ms, flushes) in worlds {
        let mut world = World::new(7, 1, partitions);
        let all: Vec<_> = (0..partitions).map(|number| (Uuid::from_u128(1), number)).collect();
        for number in 0..flushes {
            world.now_ms += every_ms;
            let some = world.dice.usize(1..=all.len());
            world.flush(bytes, &all[..some]);
            if number % 40 == 0 {
                world.compact(&policy);
            }
        }
        world.compact(&policy);
        let World { ingested, merged, gathered, chunks, most_extents, .. } = world;
        let written = (merged + gathered) as f64 / ingested as f64;
        println!(
            "{partitions} partitions, {bytes} bytes every {every_ms} ms: written anew {written:.2} times, {chunks} chunks, at most {most_extents} extents"
        );
        assert!(merged <= ingested && gathered <= ingested, "written anew {written:.2} times");
        assert!(most_extents < policy.merge_extents + 40 * partitions as usize * 2, "{most_extents} extents");
        if bytes / u64::from(partitions) >= policy.large_bytes {
            assert!(merged < ingested / 10, "large runs need no merge");
            assert!(gathered / chunks.max(1) >= policy.chunk_least_bytes, "chunks are large");
        }
    }
}

/// A million chunks, in one partition or in thousands: the manifest names few of them itself.
#[test]
fn the_manifest_stays_small_with_a_million_chunks() {
    for (topics, partitions) in [(1, 1), (10, 100), (10, 1_000)] {
        let policy = Policy::default();
        let mut world = World::new(3, topics, partitions);
        let each = 1_000_000 / (topics * partitions);
        for number in 0..topics {
            for partition in 0..partitions {
                let of = (Uuid::from_u128(u128::from(number) + 1), partition);
                for _ in 0..each.min(40) {
                    // As if all the others had been taken into the index before: it is one root in any case.
                    world.flush(2 * MIB as u64, &[of]);
                    let partition = world.manifest.partition(&of.0, of.1).unwrap();
                    let extents = vec![*partition.extents.last().unwrap()];
                    let run = Run { topic: of.0, partition: of.1, extents };
                    let change = world.carry_out(&Job::Chunk(run), &policy);
                    world.fold(vec![change]);
                }
            }
            world.now_ms += 1_000;
            world.compact(&policy);
        }
        let bytes = checkpoint::encode(&world.manifest).len();
        println!(
            "{topics} topics of {partitions} partitions: {bytes} bytes, {} extents",
            world.manifest.extents()
        );
        assert!(bytes < 10 * MIB, "{bytes} bytes");
    }
}
