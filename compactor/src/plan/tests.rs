//! Years of plans, carried out on the manifest alone: what is written how often, and how large the manifest gets.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use fastrand::Rng;
use strandline_core::chunk::Format;
use strandline_core::index::Branch;
use strandline_core::manifest::{
    Append, BatchMeta, Change, Commit, CommitId, IndexChunks, Joins, ObjectName, Outcome, Swap, SwapOutput,
    SwapRun, checkpoint, state,
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
