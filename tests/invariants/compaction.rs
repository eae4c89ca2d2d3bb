//! The compactor, seen from a reader: whatever it merges, gathers, indexes, expires or compacts by key, what is read is what was
//! written, and what is gone was to go.
//!
//! One partition, its records kept beside the log one by one; time is moved by the test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use object_store::path::Path;
use strandline_compactor::plan::Policy;
use strandline_compactor::{Compactor, Config, Done, Turn};
use strandline_core::env::{Clock, Env};
use strandline_core::manifest::journal::Options;
use strandline_core::manifest::{
    Append, BatchMeta, Change, EndTransaction, InitProducer, Joins, Journal, Outcome, Producer, TransactionOf,
};
use strandline_core::record::{BatchHeader, RecordBuilder, records};
use strandline_core::rope::Rope;
use strandline_core::store::{Provider, Store};
use strandline_reader::{FetchLimits, FetchPartition, Isolation, OffsetFound, OffsetSpec, Reader};
use strandline_tests::Watched;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// 2026-01-01, when every test begins.
const EPOCH_MS: i64 = 1_767_225_600_000;
const TOMBSTONES_MS: i64 = 60_000;

/// Follows the time that the test moves.
#[derive(Debug)]
struct TestClock {
    begun: Instant,
    dice: Mutex<Rng>,
}

impl Clock for TestClock {
    fn wall_ms(&self) -> i64 {
        EPOCH_MS + self.begun.elapsed().as_millis() as i64
    }

    fn boot_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn entropy(&self) -> u128 {
        self.dice.lock().unwrap().u128(..)
    }
}

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    /// The transaction that it belongs to.
    of: Option<usize>,
}

struct World {
    watched: Watched,
    journal: Journal,
    topic: Uuid,
    /// By offset; the ends of transactions are not among them.
    written: BTreeMap<i64, Written>,
    /// What became of each transaction.
    decided: Vec<Option<bool>>,
    /// Of each producer: its epoch is 0 for ever, the next sequence number, the open transaction, how many there were.
    producers: Vec<(i64, i32, Option<usize>, u64)>,
    dice: Rng,
}

impl World {
    async fn start(seed: u64, configs: &[(&str, &str)]) -> World {
        let watched = Watched::default();
        let clock = TestClock { begun: Instant::now(), dice: Mutex::new(Rng::with_seed(!seed)) };
        let objects = Arc::new(watched.clone());
        let store = Store::new(objects, Path::default(), Provider::Memory, "memory:", Env::new(clock));
        let options = Options { tail_bytes: 2_000, ..Options::default() };
        let journal = Journal::open(store, options).await.unwrap();
        let configs = configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let topic = journal.create_topic("t", 1, configs).await.unwrap().unwrap();
        let mut producers = Vec::new();
        for number in 0..2 {
            let init = InitProducer {
                transactional_id: format!("p{number}"),
                timeout_ms: 900_000,
                known: None,
                begun: 0,
            };
            let outcomes = journal.propose(vec![Change::InitProducer(init)]).await.unwrap();
            let Some(Outcome::Producer(identity)) = outcomes.first() else { panic!("{outcomes:?}") };
            producers.push((identity.id, 0, None, 0));
        }
        let (written, decided) = Default::default();
        World { watched, journal, topic, written, decided, producers, dice: Rng::with_seed(seed) }
    }

    fn compactor(&mut self) -> Compactor {
        let dice = &mut self.dice;
        let policy = Policy {
            merge_bytes: dice.u64(200..2_000),
            merge_extents: dice.usize(2..8),
            merge_age_ms: 30_000,
            merge_slots: 20,
            large_bytes: dice.u64(100..1_000),
            chunk_least_bytes: dice.u64(300..2_000),
            chunk_bytes: dice.u64(500..4_000),
            chunk_extents: dice.usize(2..6),
            chunk_age_ms: 120_000,
            index_chunks: dice.usize(1..4),
            direct_chunks: dice.usize(2..20),
            job_extents: dice.usize(2..40),
            clean_least_bytes: dice.u64(0..500),
            clean_keys: dice.usize(1..20),
            block_bytes: dice.u64(1..300),
            leaf_chunks: dice.usize(2..4),
            read_ahead_bytes: dice.u64(1..2_000),
        };
        let expire_every = Duration::ZERO;
        Compactor::new(self.journal.clone(), Config { policy, expire_every, ..Config::default() })
    }

    async fn append(&mut self) {
        let number = self.dice.usize(..2);
        let in_transaction = self.dice.u8(..3) == 0;
        let mut builder = RecordBuilder::default();
        let mut fresh = Vec::new();
        for _ in 0..self.dice.usize(1..6) {
            let timestamp = self.journal.stamp_ms() - self.dice.i64(0..2_000);
            let key = Bytes::from(format!("key-{}", self.dice.u8(..9)));
            let value = (self.dice.u8(..4) > 0).then(|| Bytes::from(format!("{:0>9}", self.dice.u64(..))));
            builder.push(timestamp, Some(&key), value.as_deref());
            fresh.push(Written { timestamp, key: Some(key), value, of: None });
        }
        let (id, sequence, ..) = self.producers[number];
        let batch = match in_transaction {
            true => builder.finish_in_transaction(id, 0, sequence),
            false => builder.finish(),
        };
        let header = BatchHeader::check(&batch).unwrap();
        let meta = BatchMeta {
            bytes: header.bytes as u32,
            offsets: header.offsets,
            max_timestamp: header.max_timestamp,
            producer: in_transaction.then_some(Producer { id, epoch: 0, sequence }),
            joins: if in_transaction { Joins::Adds } else { Joins::Nothing },
        };
        let rope = Rope::from(batch);
        let append = Append {
            topic: self.topic,
            partition: 0,
            segment: None,
            at: 0,
            crc: rope.crc32c(),
            batches: vec![meta],
        };
        let answer = self.journal.propose_with(vec![Change::Append(append)], rope).await.unwrap();
        let outcomes = answer.await.unwrap();
        let Some(Outcome::Appended(placed)) = outcomes.first() else { panic!("{outcomes:?}") };
        let base_offset = placed[0].unwrap().base_offset;
        if in_transaction {
            let producer = &mut self.producers[number];
            producer.1 += header.offsets as i32;
            let of = *producer.2.get_or_insert_with(|| {
                self.decided.push(None);
                producer.3 += 1;
                self.decided.len() - 1
            });
            fresh.iter_mut().for_each(|record| record.of = Some(of));
        }
        self.written.extend((base_offset..).zip(fresh));
    }

    async fn decide(&mut self) {
        let number = self.dice.usize(..2);
        let (producer_id, _, open, count) = self.producers[number];
        let Some(open) = open else { return };
        let commit = self.dice.bool();
        let of =
            TransactionOf { transactional_id: format!("p{number}"), producer_id, epoch: 0, number: count };
        let end = EndTransaction { of, commit, bump: false, if_due: false };
        let outcomes = self.journal.propose(vec![Change::EndTransaction(end)]).await.unwrap();
        assert!(matches!(outcomes.first(), Some(Outcome::Producer(_))), "{outcomes:?}");
        self.producers[number].2 = None;
        self.decided[open] = Some(commit);
    }

    fn is_committed(&self, record: &Written) -> bool {
        record.of.is_none_or(|of| self.decided[of] == Some(true))
    }

    fn is_aborted(&self, record: &Written) -> bool {
        record.of.is_some_and(|of| self.decided[of] == Some(false))
    }

    /// First offset, last stable offset, high watermark.
    fn bounds(&self) -> (i64, i64, i64) {
        self.journal.view(|manifest| {
            let partition = manifest.partition(&self.topic, 0).unwrap();
            (partition.log_start, partition.last_stable_offset(), partition.high_watermark)
        })
    }

    /// Everything that a fresh node reads from the first offset on, as Kafka's consumers do.
    async fn read(&mut self, isolation: Isolation) -> BTreeMap<i64, Written> {
        let store = Store::new(
            Arc::new(self.watched.clone()),
            Path::default(),
            Provider::Memory,
            "memory:",
            self.journal.env().clone(),
        );
        let journal = Journal::open(store, Options { tail_bytes: 0, ..Options::default() }).await.unwrap();
        let cache_bytes = if self.dice.bool() { 0 } else { 1 << 24 };
        let reader = Reader::start(journal.clone(), strandline_reader::Config { cache_bytes });
        let (mut offset, stable, high) = self.bounds();
        let end = if isolation == Isolation::ReadCommitted { stable } else { high };
        let mut found = BTreeMap::new();
        while offset < end {
            let max_bytes = self.dice.usize(1..3_000);
            let limits = FetchLimits { min_bytes: 0, max_bytes, max_wait: Duration::ZERO, isolation };
            let wanted = FetchPartition { topic: self.topic, partition: 0, offset, max_bytes };
            let fetched = reader.fetch(&[wanted], limits).await.pop().unwrap().unwrap();
            let aborted: Vec<_> =
                fetched.aborted.iter().map(|one| (one.first_offset, one.producer_id)).collect();
            let before = offset;
            offset = take(&fetched.batches, offset, aborted, &mut found);
            assert!(offset > before, "a fetch at {before} gave nothing, the end is {end}");
        }
        journal.close().await;
        found
    }

    /// Of each key, the last record that is decided and committed, below the last stable offset.
    fn latest(&self) -> BTreeMap<&[u8], i64> {
        let (_, stable, _) = self.bounds();
        let decided =
            self.written.iter().filter(|(offset, record)| **offset < stable && self.is_committed(record));
        decided.map(|(offset, record)| (record.key.as_deref().unwrap(), *offset)).collect()
    }
}

/// The records from `offset` on, and where it goes on: what an aborted transaction wrote is left out up to its marker.
fn take(
    pieces: &[Bytes],
    mut offset: i64,
    mut aborted: Vec<(i64, i64)>,
    found: &mut BTreeMap<i64, Written>,
) -> i64 {
    let mut all = BytesMut::new();
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    let mut rest = all.freeze();
    let mut aborting = BTreeSet::new();
    while !rest.is_empty() {
        let header = BatchHeader::at(&Rope::from(rest.clone()), 0).unwrap();
        let batch = rest.split_to(header.bytes);
        let end = header.base_offset + i64::from(header.offsets);
        aborted.retain(|(first, id)| {
            let begins = *first < end;
            if begins {
                aborting.insert(*id);
            }
            !begins
        });
        if header.control() {
            // Version and type: 0 is an abort.
            if records(&batch).unwrap()[0].key.as_deref() == Some(&[0, 0, 0, 0]) {
                aborting.remove(&header.producer_id);
            }
        } else if !(header.transactional() && aborting.contains(&header.producer_id)) {
            for record in records(&batch).unwrap() {
                let at = header.base_offset + i64::from(record.offset_delta);
                let (timestamp, key, value) = (record.timestamp, record.key, record.value);
                if at >= offset {
                    assert!(found.insert(at, Written { timestamp, key, value, of: None }).is_none());
                }
            }
        }
        offset = offset.max(end);
    }
    offset
}

/// What was read is what was written.
fn same(world: &World, found: &BTreeMap<i64, Written>) {
    for (offset, record) in found {
        let original = Written { of: None, ..world.written[offset].clone() };
        assert_eq!(*record, original, "at offset {offset}");
    }
}

/// Runs a pass; what it did.
async fn pass(compactor: &mut Compactor) -> Done {
    compactor.pass(Turn::Busy, |_| {}).await.unwrap()
}

fn for_seeds(count: u64, one: impl AsyncFn(u64)) {
    for seed in 0..count {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        println!("seed {seed}");
        runtime.block_on(one(seed));
    }
}

/// Merged segments, chunks, indexes: each record is where it was, before, between and after, live and for a fresh node, with
/// and without transactions; and lookups by time find what they found.
#[test]
fn what_is_written_anew_reads_as_before() {
    reads_as_before("batches", |_, _| false);
}

/// The same where chunks are Parquet files; what was aborted is not in them.
#[test]
fn what_is_written_in_columns_reads_as_before() {
    reads_as_before("parquet", |world, record| world.is_aborted(record));
}

fn reads_as_before(format: &str, may_go: impl Fn(&World, &Written) -> bool) {
    let all = Mutex::new(Done::default());
    for_seeds(25, async |seed| {
        let configs = [("retention.ms", "-1"), ("strandline.archive.format", format)];
        let mut world = World::start(seed, &configs).await;
        let mut compactor = world.compactor();
        for _ in 0..12 {
            for _ in 0..world.dice.usize(1..15) {
                world.append().await;
                if world.dice.u8(..3) == 0 {
                    world.decide().await;
                }
            }
            sleep(Duration::from_secs(world.dice.u64(..60))).await;
            let done = pass(&mut compactor).await;
            {
                let mut all = all.lock().unwrap();
                all.merges += done.merges;
                all.chunks += done.chunks;
                all.indexes += done.indexes;
            }
            let found = world.read(Isolation::ReadUncommitted).await;
            same(&world, &found);
            for (offset, record) in &world.written {
                assert!(found.contains_key(offset) || may_go(&world, record), "{offset} is gone: {record:?}");
            }
            let committed = world.read(Isolation::ReadCommitted).await;
            same(&world, &committed);
            let (_, stable, _) = world.bounds();
            let expected = world.written.iter().filter(|(at, one)| **at < stable && world.is_committed(one));
            assert!(committed.keys().eq(expected.map(|(at, _)| at)), "{committed:?}");
            looked_up(&mut world, &found).await;
        }
        let parquet = world.watched.keys("chunk").await.iter().any(|key| key.ends_with(".parquet"));
        assert_eq!(parquet, format == "parquet");
    });
    let all = all.into_inner().unwrap();
    assert!(all.merges > 50 && all.chunks > 50 && all.indexes > 50, "{all:?}");
}

async fn looked_up(world: &mut World, found: &BTreeMap<i64, Written>) {
    let reader = Reader::start(world.journal.clone(), strandline_reader::Config { cache_bytes: 0 });
    let at = world.journal.stamp_ms() - world.dice.i64(-1_000..300_000);
    let since = found.iter().find(|(_, record)| record.timestamp >= at);
    let expected = since.map_or(OffsetFound { offset: -1, timestamp: -1 }, |(offset, record)| OffsetFound {
        offset: *offset,
        timestamp: record.timestamp,
    });
    let found = reader.offset_at(world.topic, 0, OffsetSpec::Timestamp(at), Isolation::ReadUncommitted).await;
    assert_eq!(found.unwrap(), expected, "first since {at}");
}

/// A record goes only because a later one of its key is decided and committed, because its transaction was aborted, or because
/// it is a tombstone and was one long enough. In the end one record a key is left, and no tombstone.
#[test]
fn compaction_by_key_leaves_the_last_of_each_key() {
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("segment.ms", "1"),
        ("delete.retention.ms", "60000"),
    ];
    for_seeds(40, async |seed| {
        let mut world = World::start(seed, &configs).await;
        let mut compactor = world.compactor();
        let mut first_cleaned: BTreeMap<i64, Instant> = BTreeMap::new();
        let mut cleaned = 0;
        for _ in 0..12 {
            for _ in 0..world.dice.usize(1..12) {
                world.append().await;
                if world.dice.u8(..3) == 0 {
                    world.decide().await;
                }
            }
            sleep(Duration::from_secs(world.dice.u64(1..40))).await;
            let begun = Instant::now();
            cleaned += pass(&mut compactor).await.cleaned;
            let found = world.read(Isolation::ReadUncommitted).await;
            same(&world, &found);
            let latest = world.latest();
            for (offset, record) in &world.written {
                let key = record.key.as_deref().unwrap();
                if record.value.is_none() {
                    first_cleaned.entry(*offset).or_insert(begun);
                }
                let superseded = latest.get(key).is_some_and(|last| last > offset);
                let over = first_cleaned
                    .get(offset)
                    .is_some_and(|at| at.elapsed().as_millis() as i64 >= TOMBSTONES_MS);
                let may_go = world.is_aborted(record) || superseded || over;
                assert!(found.contains_key(offset) || may_go, "offset {offset} is gone: {record:?}");
            }
            let committed = world.read(Isolation::ReadCommitted).await;
            same(&world, &committed);
            let (_, stable, _) = world.bounds();
            let expected = found.keys().filter(|at| **at < stable && world.is_committed(&world.written[*at]));
            assert!(committed.keys().eq(expected), "{committed:?}");
        }
        for _ in 0..2 {
            for number in 0..2 {
                while world.producers[number].2.is_some() {
                    world.decide().await;
                }
            }
        }
        for _ in 0..6 {
            world.journal.propose(vec![Change::Tick]).await.unwrap();
            cleaned += pass(&mut compactor).await.cleaned;
            sleep(Duration::from_secs(100)).await;
        }
        assert!(cleaned > 0);
        let found = world.read(Isolation::ReadUncommitted).await;
        same(&world, &found);
        let left: BTreeSet<i64> = found.keys().copied().collect();
        let expected: BTreeSet<i64> =
            world.latest().into_values().filter(|at| world.written[at].value.is_some()).collect();
        assert_eq!(left, expected);
    });
}
