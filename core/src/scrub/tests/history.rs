//! Chunks and the index over them: a compacted log is clean, and every kind of damage is named, alone.

use bytes::{Bytes, BytesMut};
use ulid::Ulid;
use uuid::Uuid;

use super::*;
use crate::chunk::{ChunkId, Format, Writer};
use crate::index::{Branch, Entry, Node};
use crate::manifest::{Extent, IndexChunks, ObjectName, Outcome, Swap, SwapOutput, SwapRun};
use crate::record::{BatchHeader, RecordBuilder};
use crate::rope::Rope;
use crate::testing::Dice;

/// A log whose first partition is compacted, but for its end.
struct Compacted {
    world: World,
    topic: Uuid,
    /// In order; the last two are extents.
    chunks: Vec<Entry>,
    root: Branch,
    leaves: Vec<Branch>,
}

const EXTENTS: usize = 2;

impl Compacted {
    async fn new(seed: u64) -> Compacted {
        let mut world = World::new(seed).await;
        let topic = world.topics[0];
        let count = world.manifest().partition(&topic, 0).unwrap().extents.len() - 3;
        let mut chunks = Vec::new();
        let mut dice = Dice::new(seed);
        let mut left = count;
        while left > 0 {
            let some = (dice.between(1, 3) as usize).min(left);
            chunks.push(gather(&world, topic, chunks.len(), some).await);
            left -= some;
        }
        let indexed = &chunks[..chunks.len() - EXTENTS];
        let mut leaves = Vec::new();
        for leaf in indexed.chunks(3) {
            leaves.push(node(&world, topic, Node::Leaf(leaf.to_vec())).await);
        }
        assert!(leaves.len() > 2);
        let root = node(&world, topic, Node::Inner(leaves.clone())).await;
        let change = IndexChunks {
            topic,
            partition: 0,
            replaces: None,
            absorbs: indexed.iter().map(|entry| name(&entry.chunk)).collect(),
            root,
        };
        propose(&world, Change::IndexChunks(change)).await;
        world.append_inline().await;
        world.checkpoint().await;
        Compacted { world, topic, chunks, root, leaves }
    }

    fn index_key(&self, id: Ulid) -> String {
        paths::index(self.topic, 0, id)
    }

    /// Something in the index, not at its beginning.
    fn indexed(&self) -> &Entry {
        &self.chunks[4]
    }

    async fn delete_before(&self, before: i64) {
        propose(&self.world, Change::DeleteRecords { topic: self.topic, partition: 0, before }).await;
    }
}

fn name(chunk: &ChunkId) -> ObjectName {
    ObjectName::Chunk(chunk.id, chunk.format)
}

async fn propose(world: &World, change: Change) {
    let outcomes = world.journal.propose(vec![change]).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Applied) || outcomes[0] == Outcome::Swapped(vec![Ok(())]));
}

fn fresh(world: &World) -> Ulid {
    world.journal.env().ulid(world.journal.env().wall_ms())
}

async fn node(world: &World, topic: Uuid, node: Node) -> Branch {
    let id = fresh(world);
    world.put(&paths::index(topic, 0, id), node.encode(topic, 0, id)).await;
    node.branch(id).unwrap()
}

/// The batches of an extent, with their real base offsets.
async fn batches(world: &World, extent: &Extent) -> Vec<(BatchHeader, Bytes)> {
    let body = Rope::from(Bytes::from(world.get(&extent.object.key()).await));
    let (mut at, mut offset) = (extent.at as usize, extent.base_offset);
    let mut found = Vec::new();
    while at < (extent.at + u64::from(extent.bytes)) as usize {
        let batch = BatchHeader::at(&body, at).unwrap();
        let mut bytes = BytesMut::from(&body.slice(at..at + batch.bytes).unwrap().to_bytes()[..]);
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        at += batch.bytes;
        found.push((BatchHeader { base_offset: offset, ..batch }, bytes.freeze()));
        offset += i64::from(batch.offsets);
    }
    found
}

/// Writes a chunk of `count` extents from the `from`th on.
async fn gather(world: &World, topic: Uuid, from: usize, count: usize) -> Entry {
    let manifest = world.manifest();
    let extents = &manifest.partition(&topic, 0).unwrap().extents[from..from + count];
    let (base_offset, end_offset) = (extents[0].base_offset, extents[count - 1].end_offset());
    let chunk = ChunkId { topic, partition: 0, base_offset, id: fresh(world), format: Format::Batches };
    let (mut writer, header) = Writer::new(chunk, 400);
    let mut body = BytesMut::from(&header[..]);
    for extent in extents {
        for (header, bytes) in batches(world, extent).await {
            writer.push(&header, std::slice::from_ref(&bytes)).unwrap();
            body.extend_from_slice(&bytes);
        }
    }
    let (footer, end) = writer.finish(vec![], end_offset).unwrap();
    body.extend_from_slice(&end);
    world.put(&chunk.key(), body.freeze()).await;
    let output = SwapOutput {
        object: name(&chunk),
        at: chunk.run_at(),
        bytes: footer.bytes as u32,
        offsets: (end_offset - base_offset) as u32,
        max_timestamp: footer.max_timestamp,
    };
    let inputs = extents.iter().map(|extent| extent.object.into()).collect();
    let run = SwapRun { topic, partition: 0, base_offset, inputs, outputs: vec![output] };
    propose(world, Change::Swap(Swap { runs: vec![run] })).await;
    Entry::new(chunk, &footer)
}

async fn faults(world: &World) -> Vec<Short> {
    let report = world.scrub(&Options::default()).await;
    assert_eq!(short(&report.warnings), []);
    short(&report.faults)
}

/// What is said of a chunk as a whole.
fn whole(kind: Kind, entry: &Entry) -> Short {
    (kind, entry.chunk.key(), Some((entry.chunk.base_offset, entry.end_offset - 1)))
}

/// Everything is looked at; in any shards, each once.
#[test]
fn a_compacted_log_is_clean() {
    for_seeds_paused(10, |seed| async move {
        let log = Compacted::new(seed).await;
        let report = log.world.scrub(&Options::default()).await;
        assert_clean(&report);
        assert_eq!(report.not_checked, Vec::<String>::new());
        let nodes = log.leaves.len() as u64 + 1;
        assert_eq!((report.data.chunks, report.data.index_nodes), (log.chunks.len() as u64, nodes));
        let mut parts = (0, 0);
        for shards in [0..=0x3f, 0x40..=0x9f, 0xa0..=0xff_u8] {
            let options = Options { shards: Some(shards), ..Options::default() };
            let report = log.world.scrub(&options).await;
            assert_eq!(short(&report.faults), []);
            parts = (parts.0 + report.data.chunks, parts.1 + report.data.index_nodes);
        }
        assert_eq!(parts, (log.chunks.len() as u64, nodes));
        let quick = log.world.scrub(&Options { quick: true, ..Options::default() }).await;
        assert_eq!((short(&quick.faults), quick.data.chunks), (vec![], log.chunks.len() as u64));
    });
}

/// Chunks are missing, in the index and as extents; a listing is enough to see it.
#[tokio::test(start_paused = true)]
async fn chunks_that_are_gone() {
    let log = Compacted::new(1).await;
    let (indexed, extent) = (log.indexed(), log.chunks.last().unwrap());
    log.world.delete(&indexed.chunk.key()).await;
    log.world.delete(&extent.chunk.key()).await;
    for quick in [false, true] {
        let report = log.world.scrub(&Options { quick, ..Options::default() }).await;
        let mut found = short(&report.faults);
        found.sort();
        let mut expected = [indexed, extent].map(|entry| whole(Kind::ChunkMissing, entry));
        expected.sort();
        assert_eq!(found, expected);
        assert!(report.faults.iter().all(|fault| fault.invariant == "D1"));
        assert_eq!(report.faults[0].records.as_ref().unwrap().topic, "a");
    }
}

#[test]
fn chunks_that_are_cut() {
    for_seeds_paused(10, |seed| async move {
        let log = Compacted::new(seed).await;
        let entry = log.indexed();
        let key = entry.chunk.key();
        let body = log.world.get(&key).await;
        let run_end = (entry.at + entry.bytes) as usize;
        let mut dice = Dice::new(seed);
        let keep = dice.below(body.len() as u64) as usize;
        log.world.put(&key, body[..keep].to_vec()).await;
        let kind = if keep < run_end + 8 { Kind::ChunkTruncated } else { Kind::ChunkDamaged };
        assert_eq!(faults(&log.world).await, [whole(kind, entry)]);
        log.world.put(&key, [body.as_slice(), b"more"].concat()).await;
        assert_eq!(faults(&log.world).await, [whole(Kind::ChunkDamaged, entry)]);
    });
}

/// Any bit of a chunk: it is met, and the offsets are those of the batch or block that is hit, or all of them.
#[test]
fn every_bit_of_a_chunk_counts() {
    for_seeds_paused(60, |seed| async move {
        let log = Compacted::new(seed % 3).await;
        let mut dice = Dice::new(seed);
        let entry = dice.pick(&log.chunks).clone();
        let key = entry.chunk.key();
        let run = entry.at..entry.at + entry.bytes;
        let at = dice.below(log.world.get(&key).await.len() as u64);
        // A later version is not damage.
        let version = |frame: u64| (frame + 4..frame + 6).contains(&at);
        let at = if version(0) || version(run.end) { 9 } else { at };
        log.world.flip(&key, at as usize, dice.below(8) as u8).await;
        let report = log.world.scrub(&Options::default()).await;
        let [fault] = &report.faults[..] else { panic!("bit at {at} of {key}: {report:#?}") };
        let (first, last) = fault.records.as_ref().unwrap().offsets.unwrap();
        let kind = if run.contains(&at) { Kind::RunDamaged } else { Kind::ChunkDamaged };
        assert_eq!((fault.kind, &fault.key), (kind, &key));
        match entry.positions.iter().rev().find(|position| run.contains(&at) && position.at <= at) {
            Some(block) => assert!(block.offset <= first && last < entry.end_offset, "{fault:?}"),
            None => assert_eq!((first, last), (entry.chunk.base_offset, entry.end_offset - 1)),
        }
    });
}

/// A chunk that is whole, and another than the index means: by its offsets, by its positions.
#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_another() {
    let log = Compacted::new(2).await;
    let entry = log.indexed();
    let rewrite = async |block_bytes: u64, backwards: bool, end_offset: i64| {
        let body = Rope::from(Bytes::from(log.world.get(&entry.chunk.key()).await));
        let (mut writer, header) = Writer::new(entry.chunk, block_bytes);
        let mut out = BytesMut::from(&header[..]);
        let mut at = entry.at as usize;
        while at < (entry.at + entry.bytes) as usize {
            let batch = BatchHeader::at(&body, at).unwrap();
            let bytes = body.slice(at..at + batch.bytes).unwrap().to_bytes();
            writer.push(&batch, std::slice::from_ref(&bytes)).unwrap();
            let mut bytes = BytesMut::from(&bytes[..]);
            if backwards {
                bytes[..8].copy_from_slice(&(batch.base_offset - 1).to_be_bytes());
            }
            out.extend_from_slice(&bytes);
            at += batch.bytes;
        }
        let (_, end) = writer.finish(vec![], end_offset).unwrap();
        out.extend_from_slice(&end);
        out.freeze()
    };
    let key = entry.chunk.key();
    let before = log.world.get(&key).await;
    let cases = [
        (rewrite(400, false, entry.end_offset + 1).await, Kind::ExtentMismatch),
        (rewrite(1, false, entry.end_offset).await, Kind::ExtentMismatch),
        // Its blocks no longer hold what their checksums say.
        (rewrite(400, true, entry.end_offset).await, Kind::RunDamaged),
    ];
    assert!(entry.positions.len() > 1 || before.len() < 900, "a choice of blocks");
    for (body, kind) in cases {
        log.world.put(&key, body).await;
        let found = faults(&log.world).await;
        assert!(
            !found.is_empty() && found.iter().all(|fault| fault.0 == kind && fault.1 == key),
            "{found:?}"
        );
        log.world.put(&key, before.clone()).await;
    }
    assert_eq!(faults(&log.world).await, []);
}

/// Batches that were written as they are, and not in order: all checksums hold.
#[test]
fn offsets_must_ascend() {
    use crate::scrub::batches::{RunCheck, Span};
    let batch = |base_offset: i64| {
        let mut records = RecordBuilder::default();
        records.push(0, None, None);
        records.push(0, None, None);
        let mut bytes = BytesMut::from(&records.finish()[..]);
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes
    };
    let check = |offsets: &[i64]| {
        let bytes: Vec<u8> = offsets.iter().flat_map(|offset| batch(*offset)).collect();
        let span = Span { at: 7, bytes: bytes.len() as u64, offsets: 10, from: Some(100) };
        let mut check = RunCheck::new(7, span.bytes, Some(crc32c::crc32c(&bytes)), vec![span]);
        check.feed(&bytes);
        check.finish().is_none()
    };
    for (offsets, holds) in [
        (&[100, 102, 108][..], true),
        (&[100, 105], true),
        (&[101, 105], false),
        (&[100, 101], false),
        (&[100, 106, 104], false),
        (&[100, 109], false),
        (&[99, 102], false),
    ] {
        assert_eq!(check(offsets), holds, "{offsets:?}");
    }
}

/// A node that is gone or damaged, by any bit: its chunks are not called orphans, the others are still looked at.
#[test]
fn nodes_that_are_gone_or_damaged() {
    for_seeds_paused(20, |seed| async move {
        let log = Compacted::new(seed % 4).await;
        let mut dice = Dice::new(seed);
        let branch = *dice.pick(&[log.root, log.leaves[0], log.leaves[1], *log.leaves.last().unwrap()]);
        let key = log.index_key(branch.id);
        let gone = dice.per_mille(300);
        let kind = match gone {
            true => Kind::IndexMissing,
            false => Kind::IndexDamaged,
        };
        match gone {
            true => log.world.delete(&key).await,
            false => {
                let at = dice.below(log.world.get(&key).await.len() as u64);
                // A later version is not damage.
                let at = if (4..6).contains(&at) { 9 } else { at };
                log.world.flip(&key, at as usize, dice.below(8) as u8).await;
            }
        }
        let report = log.world.scrub(&Options::default()).await;
        let offsets = Some((branch.base_offset, branch.end_offset - 1));
        assert_eq!(short(&report.faults), [(kind, key, offsets)]);
        let below = if branch == log.root { log.chunks.len() - EXTENTS } else { branch.chunks as usize };
        assert_eq!(report.data.chunks, (log.chunks.len() - below) as u64);
        assert_eq!(report.orphans.unwrap().young.objects, left_over(&log.world).await);
    });
}

/// Segments that lost their extents to chunks.
async fn left_over(world: &World) -> u64 {
    let used: BTreeSet<_> = world.segment_extents().iter().map(|extent| extent.object.key()).collect();
    world.segments().await.iter().filter(|key| !used.contains(*key)).count() as u64
}

/// A leaf that is whole, but another than its parent says.
#[tokio::test(start_paused = true)]
async fn a_leaf_that_is_another() {
    let log = Compacted::new(5).await;
    let leaf = log.leaves[1];
    let other = Node::Leaf(log.chunks[3..5].to_vec());
    let key = log.index_key(leaf.id);
    log.world.put(&key, other.encode(log.topic, 0, leaf.id)).await;
    let offsets = Some((leaf.base_offset, leaf.end_offset - 1));
    assert_eq!(faults(&log.world).await, [(Kind::IndexDamaged, key, offsets)]);
}

/// What lies below the partition's start is looked for nowhere, and what is left over is counted.
#[tokio::test(start_paused = true)]
async fn what_is_left_over() {
    let log = Compacted::new(6).await;
    let before = left_over(&log.world).await;
    let (leaf, start) = (log.leaves[0], log.chunks[4].chunk.base_offset + 1);
    assert!(leaf.end_offset <= start);
    log.delete_before(start).await;
    log.world.checkpoint().await;
    let report = log.world.scrub(&Options::default()).await;
    assert_clean(&report);
    let dead = 4;
    assert_eq!(
        (report.data.chunks, report.data.index_nodes),
        (log.chunks.len() as u64 - 4, log.leaves.len() as u64)
    );
    assert_eq!(report.orphans.unwrap().young.objects, before + dead + 1);
    log.world.delete(&log.index_key(leaf.id)).await;
    for chunk in &log.chunks[..4] {
        log.world.delete(&chunk.chunk.key()).await;
    }
    let chunk = ChunkId { id: Ulid::from_parts(5, 5), ..log.chunks[0].chunk };
    log.world.put(&chunk.key(), "old").await;
    log.world.put(&log.index_key(Ulid::from_parts(5, 6)), "old").await;
    for key in ["chunk/x", "chunk/y/0/file", "index/x"] {
        log.world.put(key, "12345").await;
    }
    let report = log.world.scrub(&Options::default()).await;
    assert_clean(&report);
    let orphans = report.orphans.unwrap();
    assert_eq!((orphans.young.objects, orphans.collectable), (before, Count { objects: 2, bytes: 6 }));
    assert_eq!(report.unknown.count, Count { objects: 3, bytes: 15 });
}

/// What another index took the place of while it was looked at is not missing; chunks below it were not checked, and that
/// is said.
#[tokio::test(start_paused = true)]
async fn what_is_replaced_meanwhile_is_not_missing() {
    for replaced in [true, false] {
        let log = Compacted::new(7).await;
        let (leaf, chunk) = (log.index_key(log.leaves[1].id), log.chunks[6].chunk.key());
        let old = log.world.manifest();
        if replaced {
            let mut entries = log.chunks[3..log.chunks.len() - EXTENTS].to_vec();
            entries[3].chunk.id = fresh(&log.world);
            let new = node(&log.world, log.topic, Node::Leaf(entries)).await;
            let root = node(&log.world, log.topic, Node::Inner(vec![log.leaves[0], new])).await;
            let (topic, partition) = (log.topic, 0);
            let change = IndexChunks { topic, partition, replaces: Some(log.root.id), absorbs: vec![], root };
            propose(&log.world, Change::IndexChunks(change)).await;
        }
        log.world.delete(&leaf).await;
        log.world.delete(&chunk).await;
        let machine = log.world.machine();
        let options = Options::default();
        let ctx = Context::new(&machine.store, &options, &go);
        let mut findings = Findings::default();
        let slots = Default::default();
        let data = Data::new(&ctx, &old, &slots, &[]);
        let part = data.run(0..=255, &BTreeSet::new(), &mut findings).await.part;
        let missing = |key: &str| findings.faults.kept.iter().any(|fault| fault.key == key);
        assert_eq!((missing(&leaf), missing(&chunk)), (!replaced, !replaced));
        assert!(!replaced || part.moved >= 2);
        assert_eq!(findings.not_checked.iter().any(|what| what.contains(&leaf)), replaced);
    }
}
