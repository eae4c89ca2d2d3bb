//! What version 4 added to the journal: swaps, index changes, expiries and how far partitions are compacted, with every kind of
//! object and every field set.

use strandline_core::chunk::{ChunkId, Format};
use strandline_core::index::Branch;
use strandline_core::manifest::{
    Change, Commit, CommitId, Compacted, Expire, IndexChunks, ObjectId, ObjectName, Swap, SwapOutput, SwapRun,
};
use ulid::Ulid;

use super::{EPOCH_MS, ORDERS, segment, ulid};

/// Kafka's default for `retention.ms`.
const WEEK_MS: i64 = 604_800_000;

/// Journal time at which the first tombstone of partition 0 may go.
pub(crate) const TOMBSTONES_MS: i64 = EPOCH_MS + 86_400_000;

const OLDER: u64 = 40;
const NEWER: u64 = 41;
const PARQUET: u64 = 42;
const MERGED: u64 = 43;

fn batches(n: u64) -> ObjectName {
    ObjectName::Chunk(ulid(n), Format::Batches)
}

fn parquet() -> ObjectName {
    ObjectName::Chunk(ulid(PARQUET), Format::Parquet)
}

fn output(object: ObjectName, at: u64, offsets: u32) -> SwapOutput {
    SwapOutput { object, at, bytes: 80 * offsets, offsets, max_timestamp: EPOCH_MS + 5 }
}

fn run(partition: u32, base_offset: i64, inputs: Vec<ObjectName>, outputs: Vec<SwapOutput>) -> SwapRun {
    SwapRun { topic: ORDERS, partition, base_offset, inputs, outputs }
}

/// The roots of partition 0, in order.
pub(crate) fn root(n: u64, end_offset: i64) -> Branch {
    Branch {
        id: ulid(50 + n),
        base_offset: 4 + n.min(1) as i64,
        end_offset,
        chunks: 1 + n,
        bytes: 700 + n,
        max_timestamp: EPOCH_MS + 5,
    }
}

fn index(replaces: Option<Ulid>, absorbs: Vec<ObjectName>, root: Branch) -> Change {
    Change::IndexChunks(IndexChunks { topic: ORDERS, partition: 0, replaces, absorbs, root })
}

fn expire(before: i64, retention_ms: i64, retention_bytes: i64) -> Change {
    Change::Expire(Expire { topic: ORDERS, partition: 0, before, retention_ms, retention_bytes })
}

fn compacted(partition: u32, upto: i64, tombstones_ms: i64) -> Change {
    Change::Compacted(Compacted { topic: ORDERS, partition, upto, tombstones_ms })
}

/// Where the records of partition 0 lie at the checkpoint, after the index.
pub(crate) fn at_checkpoint() -> [(i64, ObjectId); 3] {
    let chunk = |base_offset, n, format| {
        ObjectId::Chunk(ChunkId { topic: ORDERS, partition: 0, base_offset, id: ulid(n), format })
    };
    [
        (6, chunk(6, NEWER, Format::Batches)),
        (8, chunk(8, PARQUET, Format::Parquet)),
        (9, ObjectId::Merged(ulid(MERGED))),
    ]
}

/// Five slots more. In the end most of partition 0 is in an index, the rest of it and partition 1 in a merged segment.
pub(crate) fn history() -> Vec<Commit> {
    let in_segment = ObjectName::Segment(segment().id);
    let merged = ObjectName::Merged(ulid(MERGED));
    let (markers, old) =
        (vec![ObjectName::Slot(12), ObjectName::Marker, ObjectName::Marker], ObjectName::Slot(11));
    let chunks = vec![output(batches(OLDER), 64, 2), output(batches(NEWER), 64, 2), output(parquet(), 4, 1)];
    let runs = vec![
        run(0, 4, vec![in_segment, old], chunks),
        run(0, 9, markers, vec![output(merged, 900, 3)]),
        run(1, 0, vec![in_segment, ObjectName::Slot(14)], vec![output(merged, 100, 5)]),
        // Somebody was there before: the run above.
        run(1, 0, vec![in_segment], vec![output(merged, 100, 4)]),
        // What is not decided.
        run(1, 0, vec![merged], vec![output(batches(44), 64, 5)]),
    ];
    let slots = [
        vec![Change::FeatureLevel { level: 4 }, Change::Swap(Swap { runs })],
        vec![index(None, vec![batches(OLDER)], root(0, 6))],
        vec![Change::Tick, compacted(0, 8, TOMBSTONES_MS)],
        vec![
            index(None, vec![batches(NEWER)], root(1, 8)),
            index(Some(root(0, 6).id), vec![batches(NEWER), parquet()], root(1, 9)),
            expire(7, WEEK_MS, -1),
            expire(8, WEEK_MS, 1_000),
            expire(13, WEEK_MS, -1),
        ],
        vec![
            index(Some(root(1, 9).id), vec![], root(2, 9)),
            compacted(0, 7, i64::MAX),
            compacted(0, 13, i64::MAX),
            compacted(1, 4, -1),
            compacted(1, 4, i64::MAX),
        ],
    ];
    let commit = |(counter, changes)| {
        let id = CommitId { incarnation: ulid(5), counter };
        Commit { id, oldest_open: counter, timestamp_ms: EPOCH_MS + 300 + counter as i64, changes }
    };
    (1..).zip(slots).map(commit).collect()
}
