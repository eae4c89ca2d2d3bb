//! The reader: one GET however many ask, never damaged or missing bytes, never out of range for what exists.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use strandline_core::manifest::Journal;
use strandline_core::manifest::journal::Options;
use strandline_ingest::Config;
use strandline_reader::{FetchLimits, FetchPartition, Fetched, Isolation, OffsetSpec, ReadError, Reader};
use uuid::Uuid;

use crate::{Writer, batch};

const MIB: usize = 1 << 20;
const NOW: FetchLimits = FetchLimits {
    min_bytes: 0,
    max_bytes: MIB,
    max_wait: Duration::ZERO,
    isolation: Isolation::ReadUncommitted,
};

/// A node with nothing in memory on the writer's store.
async fn cold(writer: &Writer) -> Reader {
    let journal =
        Journal::open(writer.store.store(), Options { tail_bytes: 0, ..Options::default() }).await.unwrap();
    Reader::start(journal, strandline_reader::Config { cache_bytes: 64 * MIB })
}

async fn fetch(reader: &Reader, topic: Uuid, offset: i64, max_bytes: usize) -> Result<Fetched, ReadError> {
    let wanted = FetchPartition { topic, partition: 0, offset, max_bytes };
    reader.fetch(&[wanted], NOW).await.pop().unwrap()
}

async fn segments_of(batches: usize, bytes: usize) -> Writer {
    let writer = Writer::start(1, Config { inline_max_bytes: 0, ..Config::default() }).await;
    let mut appends = Vec::new();
    for _ in 0..batches {
        appends.push(writer.append(0, batch(bytes)).await);
    }
    for append in join_all(appends).await {
        append.unwrap();
    }
    writer
}

fn base_offset(fetched: &Fetched) -> i64 {
    i64::from_be_bytes(*fetched.batches[0].first_chunk().unwrap())
}

/// Fifty readers of the same cold records cost one GET.
#[tokio::test(start_paused = true)]
async fn a_block_is_fetched_once_however_many_ask() {
    let writer = segments_of(1, 1_000).await;
    let reader = cold(&writer).await;
    let before = writer.store.count("get segment");
    writer.store.hold("get segment");
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { fetch(&reader, writer.topic, 0, MIB).await.unwrap().bytes })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    writer.store.release();
    for bytes in join_all(asked).await {
        assert_eq!(bytes.unwrap(), batch(1_000).len());
    }
    assert_eq!(writer.store.count("get segment") - before, 1);
}

/// A consumer that asks for an offset inside a flush, or for fewer bytes than a batch has, gets whole batches all the same.
#[tokio::test(start_paused = true)]
async fn a_pull_always_moves_on_by_whole_batches() {
    let writer = segments_of(10, 300_000).await;
    let reader = cold(&writer).await;
    let one = batch(300_000).len();
    for offset in [0, 4, 9, 3] {
        let fetched = fetch(&reader, writer.topic, offset, 1).await.unwrap();
        assert_eq!((base_offset(&fetched), fetched.bytes), (offset, one));
    }
    let fetched = fetch(&reader, writer.topic, 2, MIB).await.unwrap();
    assert_eq!((base_offset(&fetched), fetched.bytes, fetched.high_watermark), (2, 3 * one, 10));
}

/// What is written by this process is read without asking the store.
#[tokio::test(start_paused = true)]
async fn the_tail_is_in_memory() {
    for inline_max_bytes in [0, MIB] {
        let writer = Writer::start(1, Config { inline_max_bytes, ..Config::default() }).await;
        let reader = Reader::start(writer.journal.clone(), Default::default());
        writer.append(0, batch(1_000)).await.await.unwrap();
        let before = writer.store.count("");
        assert_eq!(fetch(&reader, writer.topic, 0, MIB).await.unwrap().bytes, batch(1_000).len());
        assert_eq!(writer.store.count(""), before);
    }
}

/// A flipped bit in the bucket is an error, never a record.
#[tokio::test(start_paused = true)]
async fn damaged_bytes_are_never_given_out() {
    let writer = segments_of(1, 1_000).await;
    let key = writer.store.keys("segment").await.remove(0);
    writer.store.damage(&key, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let reader = cold(&writer).await;
    assert!(matches!(fetch(&reader, writer.topic, 0, MIB).await, Err(ReadError::Corrupt(_))));
    writer.store.damage(&key, |bytes| bytes.truncate(bytes.len() - 10)).await;
    assert!(matches!(fetch(&cold(&writer).await, writer.topic, 0, MIB).await, Err(ReadError::Corrupt(_))));
}

/// What was damaged on its way only is whole when it is asked for again: nobody remembers the damage.
#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_not_remembered() {
    let writer = segments_of(3, 1_000).await;
    let key = writer.store.keys("segment").await.remove(0);
    let reader = cold(&writer).await;
    let flip = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
    writer.store.damage(&key, flip).await;
    assert!(matches!(fetch(&reader, writer.topic, 0, MIB).await, Err(ReadError::Corrupt(_))));
    writer.store.damage(&key, flip).await;
    assert_eq!(fetch(&reader, writer.topic, 0, MIB).await.unwrap().bytes, 3 * batch(1_000).len());
}

/// How many offsets a batch takes is believed only of one whose checksum holds, also where nobody wants its records.
#[tokio::test(start_paused = true)]
async fn a_damaged_batch_does_not_move_those_behind_it() {
    const LAST_OFFSET_DELTA: usize = 26;
    let writer = segments_of(3, 1_000).await;
    let key = writer.store.keys("segment").await.remove(0);
    let before_end = 3 * batch(1_000).len() - LAST_OFFSET_DELTA;
    writer.store.damage(&key, |bytes| *bytes.iter_mut().nth_back(before_end - 1).unwrap() ^= 1).await;
    let reader = cold(&writer).await;
    assert!(matches!(fetch(&reader, writer.topic, 2, MIB).await, Err(ReadError::Corrupt(_))));
    let at = reader.offset_at(writer.topic, 0, OffsetSpec::MaxTimestamp, Isolation::ReadUncommitted).await;
    assert!(matches!(at, Err(ReadError::Corrupt(_))), "{at:?}");
}

/// An object that is gone is an error that may pass, never an empty or short answer.
#[tokio::test(start_paused = true)]
async fn a_missing_object_is_not_an_empty_partition() {
    let writer = segments_of(1, 1_000).await;
    let key = writer.store.keys("segment").await.remove(0);
    writer.store.remove(&key).await;
    assert!(matches!(
        fetch(&cold(&writer).await, writer.topic, 0, MIB).await,
        Err(ReadError::Unavailable(_))
    ));
}

/// A node that has not heard of a record reads the journal to its end before it says that its offset is out of range (R9).
#[tokio::test(start_paused = true)]
async fn a_stale_node_is_never_out_of_range_for_what_exists() {
    let writer = Writer::start(1, Config::default()).await;
    let stale = cold(&writer).await;
    for _ in 0..3 {
        writer.append(0, batch(10)).await.await.unwrap();
    }
    assert_eq!(base_offset(&fetch(&stale, writer.topic, 2, MIB).await.unwrap()), 2);
    let fresh = writer.journal.create_topic("later", 1, Default::default()).await.unwrap().unwrap();
    assert_eq!(fetch(&stale, fresh, 0, MIB).await.unwrap().high_watermark, 0);
    writer.append(0, batch(10)).await.await.unwrap();
    assert_eq!(
        stale
            .offset_at(writer.topic, 0, OffsetSpec::Latest, Isolation::ReadUncommitted)
            .await
            .unwrap()
            .offset,
        4
    );
    let beyond = fetch(&stale, writer.topic, 5, MIB).await.unwrap_err();
    assert_eq!(beyond, ReadError::OutOfRange { log_start: 0, high_watermark: 4 });
}

/// A long poll waits for the bytes that were asked for, or for its time to be over.
#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_with_enough_bytes_or_in_time() {
    let writer = Writer::start(1, Config::default()).await;
    let reader = Reader::start(writer.journal.clone(), Default::default());
    let wanted = FetchPartition { topic: writer.topic, partition: 0, offset: 0, max_bytes: MIB };
    let limits = FetchLimits {
        min_bytes: 2 * batch(100).len(),
        max_bytes: MIB,
        max_wait: Duration::from_secs(30),
        isolation: Isolation::ReadUncommitted,
    };
    let begun = tokio::time::Instant::now();
    let waiting = tokio::spawn(async move { reader.fetch(&[wanted], limits).await.pop().unwrap().unwrap() });
    tokio::time::sleep(Duration::from_secs(1)).await;
    writer.append(0, batch(100)).await.await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "answered with too little");
    writer.append(0, batch(100)).await.await.unwrap();
    assert_eq!(waiting.await.unwrap().bytes, 2 * batch(100).len());
    assert!(begun.elapsed() < Duration::from_secs(3), "woken by the clock, not by the records");
}

/// Reading a long history through a small cache fetches each block about once: nothing that was read ahead is lost unread.
#[tokio::test(start_paused = true)]
async fn a_scan_reads_each_block_once() {
    let writer =
        Writer::start(12, Config { inline_max_bytes: 0, segment_bytes: 4 * MIB, ..Config::default() }).await;
    let payload: Bytes = batch(500_000);
    let mut appends = Vec::new();
    for i in 0..480_u32 {
        appends.push(writer.append(i % 12, payload.clone()).await);
    }
    for append in join_all(appends).await {
        append.unwrap();
    }
    let journal =
        Journal::open(writer.store.store(), Options { tail_bytes: 0, ..Options::default() }).await.unwrap();
    let reader = Reader::start(
        journal,
        strandline_reader::Config::of_cache(strandline_core::limits::CACHE_BYTES_DEFAULT),
    );
    let before = writer.store.count("get segment");
    let mut offsets = [0_i64; 12];
    while offsets.iter().any(|offset| *offset < 40) {
        let wanted: Vec<_> = (0..12)
            .map(|partition| FetchPartition {
                topic: writer.topic,
                partition,
                offset: offsets[partition as usize],
                max_bytes: MIB,
            })
            .collect();
        let limits = FetchLimits { max_bytes: 50 * MIB, ..NOW };
        for (offset, fetched) in offsets.iter_mut().zip(reader.fetch(&wanted, limits).await) {
            *offset += (fetched.unwrap().bytes / payload.len()) as i64;
        }
    }
    let gets = writer.store.count("get segment") - before;
    let blocks: u64 =
        writer.store.sizes("segment").await.values().map(|bytes| bytes.div_ceil(MIB as u64)).sum();
    assert!(gets as u64 <= blocks * 11 / 10, "{gets} GETs for {blocks} blocks");
}
