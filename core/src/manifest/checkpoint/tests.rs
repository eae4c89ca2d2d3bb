//! Checkpoints and commits that somebody else wrote: contradictions are refused, and nothing ever panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::partition::{AbortedWire, ProducerWire};
use super::*;
use crate::chunk::Format;
use crate::index::Branch;
use crate::manifest::commit::history::{
    Compacted, Expire, IndexChunks, ObjectName, Swap, SwapOutput, SwapRun,
};
use crate::manifest::commit::transaction::{EndTransaction, InitProducer, Joins, TransactionOf};
use crate::manifest::commit::wire::history::BranchWire;
use crate::manifest::commit::{Append, BatchMeta, Change, Commit, CommitId, Outcome, Producer};
use crate::manifest::state::{Partition, Transaction, apply};
use crate::object::PREFIX_BYTES;
use crate::rope::Rope;
use crate::testing::{Dice, for_seeds};

/// A little of everything.
fn changes() -> Vec<Change> {
    let id = Uuid::from_u128(3);
    let producer = Some(Producer { id: 5, epoch: 2, sequence: 0 });
    let batch = BatchMeta {
        bytes: 70,
        offsets: 3,
        max_timestamp: 1_700_000_000_000,
        producer,
        joins: Default::default(),
    };
    let (plain, segment) = (BatchMeta { producer: None, ..batch }, Some(Ulid::from_parts(u64::MAX >> 16, 1)));
    let append =
        Append { topic: id, partition: 0, segment: None, at: 0, crc: 1, batches: vec![batch, plain] };
    vec![
        Change::CreateTopic {
            id,
            name: "topic".into(),
            partitions: 2,
            configs: [("retention.ms".to_owned(), "1000".to_owned())].into(),
        },
        Change::Append(append.clone()),
        Change::Append(Append { segment, at: 96, partition: 1, ..append.clone() }),
        Change::Append(Append { segment, at: 400, batches: vec![plain, batch], ..append }),
        Change::AllocateProducerIds { count: 7 },
        Change::Tick,
    ]
}

/// Of partition 1 the first extent becomes a chunk and goes into an index, the second a chunk, the third a merged segment.
fn rewrites() -> Vec<Change> {
    let (topic, partition) = (Uuid::from_u128(3), 1);
    let id = |n| Ulid::from_parts(u64::MAX >> 16, n);
    let output = |object, offsets| SwapOutput { object, at: 7, bytes: 9, offsets, max_timestamp: -5 };
    let (first, second) =
        (ObjectName::Chunk(id(2), Format::Batches), ObjectName::Chunk(id(3), Format::Parquet));
    let outputs = vec![output(first, 6), output(second, 3), output(ObjectName::Merged(id(4)), 3)];
    let inputs = vec![ObjectName::Segment(id(1)); 3];
    let root = Branch { id: id(5), base_offset: 0, end_offset: 6, chunks: 1, bytes: 9, max_timestamp: -5 };
    vec![
        Change::Swap(Swap { runs: vec![SwapRun { topic, partition, base_offset: 0, inputs, outputs }] }),
        Change::IndexChunks(IndexChunks { topic, partition, replaces: None, absorbs: vec![first], root }),
        Change::Expire(Expire { topic, partition, before: 2, retention_ms: 1_000, retention_bytes: -1 }),
        Change::Compacted(Compacted { topic, partition, upto: 7, tombstones_ms: -5 }),
    ]
}

fn commit(counter: u64) -> Commit {
    let id = CommitId { incarnation: Ulid::from_parts(4, 4), counter };
    Commit { id, oldest_open: counter, timestamp_ms: 1_700_000_000_000, changes: changes() }
}

fn manifest() -> Manifest {
    let mut manifest = Manifest::default();
    for slot in 1..4 {
        apply(&mut manifest, slot, &commit(slot), 200);
    }
    manifest
}

fn with_rewrites() -> Manifest {
    let mut manifest = manifest();
    let outcomes = apply(&mut manifest, 4, &Commit { changes: rewrites(), ..commit(4) }, 200);
    let applied = Outcome::Applied;
    assert_eq!(outcomes, [Outcome::Swapped(vec![Ok(())]), applied.clone(), applied.clone(), applied]);
    manifest
}

/// Changes some bytes of the header, and makes length and checksum hold again.
fn tamper(dice: &mut Dice, object: &[u8], payload_at: usize) -> Vec<u8> {
    let mut header = object[PREFIX_BYTES..payload_at].to_vec();
    for _ in 0..dice.between(1, 4) {
        let at = dice.below(header.len() as u64) as usize;
        match dice.below(4) {
            0 => header[at] = dice.draw() as u8,
            1 => header[at] ^= 1 << dice.below(8),
            2 => drop(header.remove(at)),
            _ => header.insert(at, *dice.pick(&[0, 1, 0x7f, 0x80, 0xff])),
        }
    }
    let mut tampered = object[..PREFIX_BYTES].to_vec();
    tampered[8..12].copy_from_slice(&(header.len() as u32).to_be_bytes());
    tampered[12..16].copy_from_slice(&crc32c::crc32c(&header).to_be_bytes());
    tampered.extend(header);
    tampered.extend(&object[payload_at..]);
    tampered
}

#[test]
fn tampered_objects_never_panic() {
    let commit_4 = Commit { changes: changes().into_iter().chain(rewrites()).collect(), ..commit(4) };
    let (checkpoint, commit_4) =
        (encode(&with_rewrites()), commit_4.encode([Bytes::from(vec![0; 140])]).to_bytes());
    let commit_at = commit_4.len() - 140;
    for_seeds(4_000, |seed| {
        let mut dice = Dice::new(seed);
        let tampered = tamper(&mut dice, &checkpoint, checkpoint.len());
        let mut manifest = manifest();
        if let Ok(mut decoded) = decode("checkpoint/x", &tampered) {
            assert_eq!(decode("checkpoint/x", &encode(&decoded)).unwrap(), decoded);
            let slot = decoded.applied.saturating_add(1);
            apply(&mut decoded, slot, &commit(9), 300);
            let deletions = decoded.topics().map(|topic| Change::DeleteTopic { id: topic.id }).collect();
            apply(&mut decoded, slot, &Commit { changes: deletions, ..commit(10) }, 300);
            assert_eq!((decoded.extents(), decoded.topics().count()), (0, 0));
        }
        let tampered = Rope::from(Bytes::from(tamper(&mut dice, &commit_4, commit_at)));
        if let Ok((decoded, payload_at)) = Commit::decode("journal/x", &tampered) {
            apply(&mut manifest, 4, &decoded, payload_at);
            apply(&mut manifest, 5, &commit(5), 300);
            assert_eq!(decode("checkpoint/x", &encode(&manifest)).unwrap(), manifest);
        }
    });
}

#[test]
fn contradictions_are_refused() {
    type Break = fn(&mut ManifestWire);
    fn partition(wire: &mut ManifestWire) -> &mut PartitionWire {
        &mut wire.topics[0].partitions[0]
    }
    fn producer(wire: &mut ManifestWire) -> &mut ProducerWire {
        &mut partition(wire).producers[0]
    }
    let table: Vec<(&str, Break)> = vec![
        ("two topics with one id", |wire| {
            let twin = TopicWire { name: "other".into(), ..wire.topics[0].clone() };
            wire.topics.push(twin);
        }),
        ("two topics with one name", |wire| {
            let twin = TopicWire { id: vec![9; 16], ..wire.topics[0].clone() };
            wire.topics.push(twin);
        }),
        ("a topic id that is too short", |wire| wire.topics[0].id.truncate(15)),
        ("an incarnation that is too long", |wire| wire.seen[0].incarnation.push(0)),
        ("half a segment id", |wire| wire.ids.truncate(8)),
        ("a segment that is not listed", |wire| partition(wire).objects[0] = 8),
        ("columns of different length", |wire| partition(wire).at.clear()),
        ("more offsets than the high watermark", |wire| partition(wire).offsets[0] += 1),
        ("an extent without offsets", |wire| partition(wire).offsets[0] = 0),
        ("an extent without bytes", |wire| partition(wire).bytes[0] = 0),
        ("a negative log start", |wire| partition(wire).log_start = -1),
        ("a log start beyond the end", |wire| partition(wire).log_start = 1_000),
        ("the lowest high watermark", |wire| partition(wire).high_watermark = i64::MIN),
        ("a producer without batches", |wire| {
            let batches = producer(wire);
            batches.sequences.clear();
            batches.offsets.clear();
            batches.base_offsets.clear();
        }),
        ("a producer's batch without offsets", |wire| producer(wire).offsets[0] = 0),
        ("a negative sequence number", |wire| producer(wire).sequences[0] = -1),
        ("an epoch out of range", |wire| producer(wire).epoch = 40_000),
        // What would overflow later (see the fuzz target `checkpoint`).
        ("an extent whose end is no number", |wire| partition(wire).at[0] = u64::MAX),
        ("the highest slot that there is", |wire| wire.applied = u64::MAX - 1),
        ("a negative producer id to come", |wire| wire.next_producer_id = -1),
    ];
    let good = encode(&manifest());
    for (what, break_it) in table {
        let (mut wire, _): (ManifestWire, usize) = object::decode("x", Shape::Checkpoint, &good).unwrap();
        break_it(&mut wire);
        let object = object::encode(Shape::Checkpoint, &wire);
        assert!(matches!(decode("x", &object), Err(Error::Corrupt { .. })), "{what}");
    }
    assert_eq!(decode("x", &good).unwrap(), manifest());
}

#[test]
fn objects_and_indexes_that_contradict_their_partitions_are_refused() {
    type Break = fn(&mut PartitionWire);
    fn index(wire: &mut PartitionWire) -> &mut BranchWire {
        wire.index.as_mut().unwrap()
    }
    let table: Vec<(&str, Break)> = vec![
        ("a kind that nobody knows", |wire| wire.kinds[1] = 4),
        ("an object without a kind", |wire| wire.kinds.truncate(1)),
        ("a kind without an object", |wire| wire.kinds.push(0)),
        ("a root that is not named", |wire| index(wire).id.clear()),
        ("a gap after the index", |wire| index(wire).end_offset -= 1),
        ("extents that are in the index, too", |wire| index(wire).end_offset += 1),
        ("an index that leaves out what is there", |wire| index(wire).base_offset = 3),
        ("an index from before there was anything", |wire| index(wire).base_offset = -1),
        ("an index without chunks", |wire| index(wire).chunks = 0),
        ("an index of which nothing is there", |wire| wire.log_start = 6),
        ("compacted beyond the end", |wire| wire.compacted = wire.high_watermark + 1),
        ("compacted up to before there was anything", |wire| wire.compacted = -1),
        ("a transaction of which the index tells", |wire| {
            let (first_offset, last_offset, last_stable) = (2, 5, 12);
            wire.aborted.push(AbortedWire { producer_id: 1, first_offset, last_offset, last_stable });
        }),
    ];
    let manifest = with_rewrites();
    let good = encode(&manifest);
    for (what, break_it) in table {
        let (mut wire, _): (ManifestWire, usize) = object::decode("x", Shape::Checkpoint, &good).unwrap();
        break_it(&mut wire.topics[0].partitions[1]);
        let object = object::encode(Shape::Checkpoint, &wire);
        assert!(matches!(decode("x", &object), Err(Error::Corrupt { .. })), "{what}");
    }
    assert_eq!(decode("x", &good).unwrap(), manifest);
}

/// One transaction was aborted, another is open, both in partition 0.
fn with_transactions() -> Manifest {
    let mut manifest = manifest();
    let init = |id: &str| {
        let (transactional_id, timeout_ms) = (id.to_owned(), 1_000);
        Change::InitProducer(InitProducer { transactional_id, timeout_ms, known: None, begun: 0 })
    };
    let first = manifest.next_producer_id;
    let batch = |id| BatchMeta {
        bytes: 70,
        offsets: 3,
        max_timestamp: 0,
        producer: Some(Producer { id, epoch: 0, sequence: 0 }),
        joins: Joins::Adds,
    };
    let batches = vec![batch(first), batch(first + 1)];
    let topic = Uuid::from_u128(3);
    let append = Append { topic, partition: 0, segment: None, at: 0, crc: 1, batches };
    let of = TransactionOf { transactional_id: "a".into(), producer_id: first, epoch: 0, number: 1 };
    let end = EndTransaction { of, commit: false, bump: false, if_due: false };
    let changes = vec![init("a"), init("b"), Change::Append(append), Change::EndTransaction(end)];
    apply(&mut manifest, 4, &Commit { changes, ..commit(4) }, 200);
    manifest
}

#[test]
fn transactions_that_contradict_their_partitions_are_refused() {
    type Break = fn(&mut Manifest);
    fn partition(manifest: &mut Manifest) -> &mut Partition {
        manifest.partition_mut(&Uuid::from_u128(3), 0).unwrap()
    }
    fn open(manifest: &mut Manifest) -> &mut Transaction {
        manifest.transactions.by_id.get_mut("b").unwrap()
    }
    let table: Vec<(&str, Break)> = vec![
        ("one that begins beyond the end", |manifest| {
            let end = partition(manifest).high_watermark;
            open(manifest).partitions.values_mut().for_each(|first| *first = Some(end));
        }),
        ("a producer that has two names", |manifest| open(manifest).producer.id -= 1),
        ("a producer that is still to come", |manifest| open(manifest).producer.id += 1),
        ("one that was aborted before it began", |manifest| {
            let aborted = &mut partition(manifest).aborted[0];
            aborted.first_offset = aborted.last_offset;
        }),
        ("one that began before there was anything", |manifest| {
            partition(manifest).aborted[0].first_offset = -1;
        }),
        ("one that was aborted beyond the end", |manifest| {
            let partition = partition(manifest);
            partition.aborted[0].last_offset = partition.high_watermark;
        }),
        ("one that should be forgotten", |manifest| {
            let partition = partition(manifest);
            partition.log_start = partition.high_watermark;
        }),
        ("two that ended at once", |manifest| {
            let twin = partition(manifest).aborted[0];
            partition(manifest).aborted.push(twin);
        }),
    ];
    let good = with_transactions();
    assert_eq!(decode("x", &encode(&good)).unwrap(), good);
    for (what, break_it) in table {
        let mut broken = good.clone();
        break_it(&mut broken);
        assert!(matches!(decode("x", &encode(&broken)), Err(Error::Corrupt { .. })), "{what}");
    }
}

/// Every bit counts: a checkpoint or a commit with one flipped bit is not taken.
#[test]
fn no_flipped_bit_is_taken() {
    let (checkpoint, commit) =
        (encode(&with_rewrites()), commit(4).encode([Bytes::from(vec![0; 140])]).to_bytes());
    for bit in 0..checkpoint.len() * 8 {
        let mut flipped = checkpoint.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode("x", &flipped).is_err(), "bit {bit} of the checkpoint");
    }
    for bit in 0..(commit.len() - 140) * 8 {
        let mut flipped = commit.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Commit::decode("x", &Rope::from(Bytes::from(flipped))).is_err(), "bit {bit} of the commit");
    }
}
