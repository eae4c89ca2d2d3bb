//! The reader over all that a compactor may make of a partition: the same batches, found in the same way, at the same price.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod replay;
mod world;

use std::cmp::Reverse;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use strandline_core::chunk::AbortedSpan;
use strandline_core::manifest::journal::Options;
use strandline_core::record::BatchHeader;
use strandline_core::rope::Rope;
use strandline_core::{limits, paths};

use super::*;
use crate::history::Run;
use world::{Batch, PRODUCERS, World};

const BOTH: [Isolation; 2] = [Isolation::ReadUncommitted, Isolation::ReadCommitted];
const MIB: usize = limits::MIB;

/// Runs `one` for many seeds; says which seed failed. `STRANDLINE_SEED` runs a single one.
fn for_seeds<F: Future<Output = ()>>(count: u64, one: impl Fn(u64) -> F) {
    let only = std::env::var("STRANDLINE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in only.map_or(0..count, |seed| seed..seed + 1) {
        let run = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(one(seed));
        };
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            eprintln!("failed with STRANDLINE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

impl World {
    fn reader(&self, cache_bytes: usize) -> Reader {
        Reader::start(self.journal.clone(), Config { cache_bytes })
    }

    fn wanted(&self, offset: i64, max_bytes: usize) -> FetchPartition {
        FetchPartition { topic: self.topic, partition: 0, offset, max_bytes }
    }

    async fn fetch(
        &self,
        reader: &Reader,
        offset: i64,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<Fetched, ReadError> {
        let limits = FetchLimits { min_bytes: 0, max_bytes: 64 * MIB, max_wait: Duration::ZERO, isolation };
        reader.fetch(&[self.wanted(offset, max_bytes)], limits).await.pop().unwrap()
    }

    /// Offset of the first record of what is given out from `offset` on.
    async fn first(&self, reader: &Reader, offset: i64) -> i64 {
        let fetched = self.fetch(reader, offset, 1, Isolation::ReadUncommitted).await.unwrap();
        batches_of(&fetched)[0].base_offset
    }

    /// One step of the life of a partition.
    async fn step(&mut self) {
        let extents = self.partition().extents;
        let chunks = extents.iter().take_while(|extent| Run::from(*extent).is_chunk()).count();
        let leaf = self.dice.usize(1..4);
        match self.dice.u8(..16) {
            0..5 => self.append().await,
            5..8 => {
                let (id, commit) = (self.dice.usize(..PRODUCERS), self.dice.bool());
                self.end_transaction(id, commit).await;
            }
            8..10 => self.merge().await,
            10..13 => {
                self.block_bytes = self.dice.u64(1..2_000);
                let thin = self.dice.bool();
                self.chunk_some(thin).await;
            }
            13 if chunks > 0 => {
                let count = self.dice.usize(1..=chunks);
                self.index(count, leaf).await;
            }
            14 => self.recompact(leaf).await,
            15 if self.dice.u8(..4) == 0 => {
                let strandline_core::manifest::Partition { log_start, high_watermark, .. } = self.partition();
                let before = self.dice.i64(log_start..=high_watermark.min(log_start + 20));
                self.delete_before(before).await;
            }
            _ => {}
        }
    }
}

/// The batches of an answer.
fn batches_of(fetched: &Fetched) -> Vec<BatchHeader> {
    let rope = Rope::new(fetched.batches.iter().cloned());
    let mut at = 0;
    let mut found = Vec::new();
    while at < rope.len() {
        found.push(BatchHeader::at(&rope, at).unwrap());
        at += found.last().unwrap().bytes;
    }
    found
}

/// What a pull must give: whole batches from the one that holds the offset on, as many as fit, and the transactions among
/// them that were aborted.
fn right(world: &World, offset: i64, upto: i64, most_bytes: usize) -> (Vec<Bytes>, Vec<AbortedSpan>) {
    let (mut bytes, mut first, mut end) = (0, None, 0);
    let mut given = Vec::new();
    // The log may start inside a batch that is not decided.
    let there = |batch: &&Batch| batch.end_offset > offset && batch.base_offset < upto && offset < upto;
    for batch in world.batches.iter().filter(there) {
        if bytes > 0 && bytes + batch.bytes.len() > most_bytes {
            break;
        }
        bytes += batch.bytes.len();
        first = first.or(Some(batch.base_offset));
        end = batch.end_offset;
        given.push(batch.bytes.clone());
    }
    let among =
        |span: &&AbortedSpan| first.is_some_and(|first| span.last_offset >= first) && span.first_offset < end;
    let mut aborted: Vec<_> = world.aborted.iter().filter(among).copied().collect();
    aborted.sort_by_key(|span| span.first_offset);
    (given, aborted)
}

fn spans(fetched: &Fetched) -> Vec<AbortedSpan> {
    let span = |one: &strandline_core::manifest::Aborted| AbortedSpan {
        producer_id: one.producer_id,
        first_offset: one.first_offset,
        last_offset: one.last_offset,
    };
    fetched.aborted.iter().map(span).collect()
}

/// Pulls at every offset give what is there (K5).
async fn pulls_are_right(world: &mut World, reader: &Reader, exact: bool) {
    let partition = world.partition();
    for isolation in BOTH {
        let upto = match isolation {
            Isolation::ReadUncommitted => partition.high_watermark,
            Isolation::ReadCommitted => partition.last_stable_offset(),
        };
        for offset in partition.log_start..=partition.high_watermark {
            let most_bytes = *world.dice.choice(&[1, 150, 400, 2_000, MIB]).unwrap();
            let fetched = world.fetch(reader, offset, most_bytes, isolation).await.unwrap();
            let (given, aborted) = right(world, offset, upto, most_bytes);
            let got = Rope::new(fetched.batches.iter().cloned());
            let what = format!("{isolation:?} at {offset} of {partition:?}");
            if !exact {
                assert_eq!(got.is_empty(), given.is_empty(), "{what}");
                continue;
            }
            assert_eq!(got, Rope::new(given), "{what}");
            let aborted = if isolation == Isolation::ReadCommitted { aborted } else { Vec::new() };
            assert_eq!(spans(&fetched), aborted, "{what}");
        }
        // From the first offset to the last, as a consumer goes.
        let mut offset = partition.log_start;
        let mut all = Vec::new();
        while offset < upto {
            let most_bytes = world.dice.usize(1..1_000);
            let fetched = world.fetch(reader, offset, most_bytes, isolation).await.unwrap();
            assert!(
                fetched.next_offset > offset,
                "{isolation:?}: nothing comes at {offset} of {partition:?}"
            );
            all.extend(fetched.batches.iter().cloned());
            offset = fetched.next_offset;
        }
        let (given, _) = right(world, partition.log_start, upto, usize::MAX);
        assert_eq!(Rope::new(all), Rope::new(given), "{isolation:?} {partition:?}");
    }
}

/// Offsets by time are those of the records that are there (K9).
async fn lookups_are_right(world: &mut World, reader: &Reader) {
    let partition = world.partition();
    for isolation in BOTH {
        let end = match isolation {
            Isolation::ReadUncommitted => partition.high_watermark,
            Isolation::ReadCommitted => partition.last_stable_offset(),
        };
        let offsets = partition.log_start..end;
        let records = world.batches.iter().filter(|batch| !batch.control).flat_map(|batch| &batch.records);
        let records: Vec<(i64, i64)> =
            records.filter(|(offset, _)| offsets.contains(offset)).copied().collect();
        let found = |at: OffsetSpec| reader.offset_at(world.topic, 0, at, isolation);
        assert_eq!(found(OffsetSpec::Earliest).await.unwrap().offset, partition.log_start);
        assert_eq!(found(OffsetSpec::Latest).await.unwrap().offset, end);
        let answer = |record: Option<&(i64, i64)>| {
            let (offset, timestamp) = record.copied().unwrap_or((-1, -1));
            OffsetFound { offset, timestamp }
        };
        let max = records.iter().max_by_key(|(offset, timestamp)| (*timestamp, Reverse(*offset)));
        let what = format!("{isolation:?} of {partition:?}");
        assert_eq!(found(OffsetSpec::MaxTimestamp).await.unwrap(), answer(max), "{what}");
        for timestamp in (990..1_330).step_by(7).chain([0, i64::MAX]) {
            let first = records.iter().find(|record| record.1 >= timestamp);
            let at = found(OffsetSpec::Timestamp(timestamp)).await.unwrap();
            assert_eq!(at, answer(first), "{timestamp}: {what}");
        }
    }
}

/// Whatever mix of slots, segments, merged segments, chunks and index levels a partition is, wherever its log starts: what is
/// read of it is what is there, for readers that know nothing as for those that remember how it was.
#[test]
fn history_reads_as_it_is() {
    for_seeds(24, |seed| async move {
        let mut world = World::new(seed).await;
        let warm = world.reader(64 * MIB);
        for _ in 0..5 {
            for _ in 0..world.dice.usize(5..25) {
                world.step().await;
            }
            let cold = world.reader(64 * MIB);
            for reader in [&warm, &cold] {
                pulls_are_right(&mut world, reader, true).await;
                lookups_are_right(&mut world, reader).await;
            }
            let forgetful = world.reader(0);
            pulls_are_right(&mut world, &forgetful, false).await;
        }
    });
}

/// A partition of so many chunks, of one batch each, in an index with leaves of `leaf` chunks.
async fn indexed(chunks: usize, leaf: usize) -> World {
    let mut world = World::new(1).await;
    for _ in 0..chunks {
        world.append_plain(10).await;
        let last = world.partition().extents.len() - 1;
        world.chunk(last, 1).await;
    }
    world.index(chunks, leaf).await;
    world
}

/// A lookup by offset or time costs two nodes and a block, whoever asks again pays the block at most, and those at the end of
/// the log pay nothing.
#[tokio::test(start_paused = true)]
async fn lookups_cost_two_nodes_at_most() {
    let mut world = indexed(40, 8).await;
    world.append_plain(10).await;
    let objects = world.objects.clone();
    let gets = || (objects.gets("index"), objects.gets("chunk"));
    let reader = world.reader(64 * MIB);
    let since = |before: (usize, usize)| (gets().0 - before.0, gets().1 - before.1);

    let before = gets();
    assert_eq!(world.first(&reader, 40).await, 40, "the tail");
    assert_eq!(since(before), (0, 0));

    let asked = (0..20).map(|_| world.first(&reader, 12));
    assert_eq!(join_all(asked).await, [12; 20]);
    let (nodes, _) = since(before);
    assert_eq!(nodes, 2, "however many ask");
    world.first(&reader, 9).await;
    assert_eq!(since(before).0, 2, "of the same leaf");
    world.first(&reader, 30).await;
    assert_eq!(since(before).0, 3, "of another leaf");

    for at in [OffsetSpec::MaxTimestamp, OffsetSpec::Timestamp(20)] {
        // What is read ahead of pulls is none of it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, reader) = (gets(), world.reader(64 * MIB));
        let found = reader.offset_at(world.topic, 0, at, Isolation::ReadUncommitted).await.unwrap();
        assert_eq!(found.offset, if at == OffsetSpec::MaxTimestamp { 40 } else { 20 });
        assert!(since(before).0 <= 2 && since(before).1 <= 1, "{at:?}: {:?}", since(before));
    }
}

/// Whoever scans finds the next leaf at hand, and never waits for it twice.
#[tokio::test(start_paused = true)]
async fn a_scan_reads_across_leaves() {
    let world = indexed(40, 8).await;
    let reader = world.reader(64 * MIB);
    let before = (world.objects.gets("index"), world.objects.gets("chunk"));
    let mut offset = 0;
    while offset < 40 {
        offset = world.fetch(&reader, offset, 1, Isolation::ReadUncommitted).await.unwrap().next_offset;
        tokio::time::sleep(Duration::from_millis(1)).await;
        if offset == 1 {
            assert_eq!(world.objects.gets("index") - before.0, 3, "root, leaf, and the next one ahead");
        }
    }
    assert_eq!(world.objects.gets("index") - before.0, 6);
    assert_eq!(world.objects.gets("chunk") - before.1, 40);
}

/// To jump into a long chunk reads about a block of it, by offset and by time, in the index or not.
#[tokio::test(start_paused = true)]
async fn a_jump_into_a_long_chunk_reads_a_block_or_two() {
    let mut world = World::new(1).await;
    for _ in 0..160 {
        world.append_plain(100 * limits::KIB).await;
    }
    world.chunk(0, 160).await;
    for indexed in [false, true] {
        if indexed {
            world.index(1, 8).await;
        }
        let ways = [None, Some(OffsetSpec::Timestamp(100)), Some(OffsetSpec::MaxTimestamp)];
        for at in ways {
            let (reader, before) = (world.reader(64 * MIB), world.objects.gets("chunk"));
            let found = match at {
                None => world.first(&reader, 100).await,
                Some(at) => {
                    reader.offset_at(world.topic, 0, at, Isolation::ReadUncommitted).await.unwrap().offset
                }
            };
            assert_eq!(found, if at == Some(OffsetSpec::MaxTimestamp) { 159 } else { 100 });
            tokio::time::sleep(Duration::from_secs(1)).await;
            let gets = world.objects.gets("chunk") - before - usize::from(!indexed);
            assert!(gets <= 2, "{gets} blocks of 8 for {at:?}, indexed: {indexed}");
        }
    }
}

/// A scan by small pulls makes few requests: neighbouring blocks come together, and each of them once.
#[tokio::test(start_paused = true)]
async fn a_scan_reads_several_blocks_at_once() {
    let mut world = World::new(1).await;
    for _ in 0..300 {
        world.append_plain(100 * limits::KIB).await;
    }
    world.chunk(0, 300).await;
    for pull_bytes in [300 * limits::KIB, MIB, 5 * MIB] {
        let (reader, before) = (world.reader(128 * MIB), world.objects.gets("chunk"));
        let mut offset = 0;
        while offset < 300 {
            let fetched = world.fetch(&reader, offset, pull_bytes, Isolation::ReadUncommitted).await.unwrap();
            let (batches, aborted) = right(&world, offset, 300, pull_bytes);
            assert_eq!(Rope::new(fetched.batches), Rope::new(batches), "from {offset}");
            assert!(aborted.is_empty());
            offset = fetched.next_offset;
            // In memory everything is there at once, and what reads ahead would never have its turn.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let gets = world.objects.gets("chunk") - before;
        assert!((4..=5).contains(&gets), "{gets} requests for 15 blocks, by pulls of {pull_bytes}");
    }
}

/// At the end of a partition, where compaction left nothing, a pull waits for the next record; it neither spins, nor lets other
/// partitions wait.
#[tokio::test(start_paused = true)]
async fn a_gap_at_the_end_is_waited_at() {
    let mut world = World::new(1).await;
    for _ in 0..6 {
        world.append_plain(10).await;
    }
    world.batches.truncate(3);
    world.chunk(0, 6).await;
    let reader = world.reader(64 * MIB);
    for offset in [4, 3] {
        let limits = FetchLimits {
            min_bytes: 1,
            max_bytes: 1,
            max_wait: Duration::from_secs(30),
            isolation: Isolation::ReadUncommitted,
        };
        let before = (Instant::now(), world.objects.gets("chunk"));
        let fetched = reader.fetch(&[world.wanted(offset, MIB)], limits).await.pop().unwrap().unwrap();
        assert_eq!((fetched.bytes, fetched.next_offset), (0, 6));
        assert_eq!(before.0.elapsed(), Duration::from_secs(30));
        assert!(world.objects.gets("chunk") - before.1 <= 2);
        // What another partition has is given out at once.
        let other = FetchPartition { partition: 1, ..world.wanted(0, MIB) };
        world.append_to(1, 10).await;
        let answers = reader.fetch(&[world.wanted(offset, MIB), other], limits).await;
        assert!(answers[1].as_ref().unwrap().bytes > 0);
        assert_eq!(before.0.elapsed(), Duration::from_secs(30));
    }
    world.append_plain(10).await;
    assert_eq!(world.first(&reader, 4).await, 6);
}

/// A node that still knows what is no longer there asks for a newer manifest, and finds what took its place.
#[tokio::test(start_paused = true)]
async fn what_was_replaced_is_found_again() {
    for at in 0..3 {
        let mut world = indexed(6, 2).await;
        let stale = Journal::open(world.objects.store(), Options { tail_bytes: 0, ..Options::default() });
        let stale = stale.await.unwrap();
        let reader = Reader::start(stale, Config { cache_bytes: 64 * MIB });
        if at == 1 {
            // It has all nodes at hand.
            world.first(&reader, 1).await;
        }
        let old = world.partition().index.unwrap();
        let chunks: Vec<String> = world.entries.iter().map(|entry| entry.chunk.key()).collect();
        world.rewrite().await;
        world.index(0, 3).await;
        for key in chunks.into_iter().chain([paths::index(world.topic, 0, old.id)]) {
            world.objects.remove(&key).await;
        }
        if at == 2 {
            let at = OffsetSpec::Timestamp(3);
            let found = reader.offset_at(world.topic, 0, at, Isolation::ReadUncommitted).await;
            assert_eq!(found.unwrap().offset, 3);
        }
        for offset in 0..6 {
            assert_eq!(world.first(&reader, offset).await, offset);
        }
    }
}

/// Damaged nodes, footers and offsets are errors, never other records than there were.
#[tokio::test(start_paused = true)]
async fn damaged_history_is_an_error() {
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 0x40;
    let world = indexed(2, 8).await;
    let root = paths::index(world.topic, 0, world.partition().index.unwrap().id);
    let corrupt = async |world: &World, offset| {
        let reader = world.reader(64 * MIB);
        let fetched = world.fetch(&reader, offset, MIB, Isolation::ReadUncommitted).await;
        matches!(fetched, Err(ReadError::Corrupt(_)))
    };
    let first = world.entries[0].clone();
    let damages =
        [(root, 40), (first.chunk.key(), first.at as usize), (first.chunk.key(), first.at as usize + 61)];
    for (key, at) in damages {
        world.objects.damage(&key, flip(at)).await;
        assert!(corrupt(&world, 0).await, "{key} at {at}");
        world.objects.damage(&key, flip(at)).await;
        assert!(!corrupt(&world, 0).await, "{key}: nobody remembers");
    }
    let mut world = World::new(1).await;
    for _ in 0..4 {
        world.append_plain(10).await;
    }
    world.chunk(0, 4).await;
    let extent = world.partition().extents[0];
    let second = extent.at as usize + extent.bytes as usize / 2;
    // The offsets of a batch are in the order of those before it.
    world.objects.damage(&extent.object.key(), |bytes| bytes[second + 7] = 0).await;
    assert!(corrupt(&world, 0).await);
    world.objects.damage(&extent.object.key(), |bytes| bytes[second + 7] = 2).await;
    world.objects.damage(&extent.object.key(), flip(extent.at as usize + extent.bytes as usize + 20)).await;
    assert!(corrupt(&world, 2).await, "the footer");
    assert!(!corrupt(&world, 0).await, "which nobody needs who begins at the start");
}
