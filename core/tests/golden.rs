//! Buckets that earlier versions wrote are read for ever.
//!
//! `golden/v1` holds one object of every kind in format version 1, below the keys that they have in a bucket. Those
//! files are never written again. What a new version adds gets a folder of its own: raise `NEWEST`, extend the history
//! below, and run this test once with `STRANDLINE_WRITE_GOLDEN=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use strandline_core::env::Env;
use strandline_core::manifest::journal::Options;
use strandline_core::manifest::state::apply;
use strandline_core::manifest::{
    Append, BatchMeta, Change, Commit, CommitId, Journal, Manifest, ObjectId, Outcome, Producer, Void,
    checkpoint,
};
use strandline_core::object::{self, Shape};
use strandline_core::record::RecordBuilder;
use strandline_core::rope::Rope;
use strandline_core::segment::{Segment, read_header};
use strandline_core::store::Store;
use strandline_core::{Kind, paths};
use ulid::Ulid;
use uuid::Uuid;

const NEWEST: &str = "v1";
const EPOCH_MS: i64 = 1_767_225_600_000;
const CLUSTER_ID: &str = "0123456789abcdef0123456789abcdef";
const ORDERS: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);
const GONE: Uuid = Uuid::from_u128(0x9999_aaaa_bbbb_cccc_dddd_eeee_ffff_0000);
/// The checkpoint and the floor lie at this slot.
const CHECKPOINT: u64 = 4;

#[derive(Clone, PartialEq, prost::Message)]
struct FloorWire {
    #[prost(uint64, tag = "1")]
    slot: u64,
}

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn ulid(n: u64) -> Ulid {
    Ulid::from_parts(EPOCH_MS as u64 + n, 0xabcd_ef00 + u128::from(n))
}

/// One batch of two records, and what the fold needs to know of it.
fn batch(producer: Option<Producer>) -> (Bytes, BatchMeta) {
    let mut builder = RecordBuilder::default();
    builder.push(EPOCH_MS, Some(b"key"), Some(b"value"));
    builder.push(EPOCH_MS + 5, None, Some(b""));
    let bytes = match producer {
        Some(Producer { id, epoch, sequence }) => builder.finish_as(id, epoch, sequence),
        None => builder.finish(),
    };
    let meta = BatchMeta { bytes: bytes.len() as u32, offsets: 2, max_timestamp: EPOCH_MS + 5, producer };
    (bytes, meta)
}

fn producer(epoch: i16, sequence: i32) -> Option<Producer> {
    Some(Producer { id: 1_000, epoch, sequence })
}

fn segment() -> Segment {
    let runs = [(ORDERS, 0), (ORDERS, 1)];
    Segment::new(
        ulid(7),
        runs.map(|(topic, partition)| (topic, partition, vec![batch(None).0, batch(producer(3, 2)).0])),
    )
}

/// Five slots that hold every kind of change with every field set.
fn history() -> Vec<(Commit, Vec<Bytes>)> {
    let create = |id, name: &str, configs: &[(&str, &str)]| Change::CreateTopic {
        id,
        name: name.to_owned(),
        partitions: 2,
        configs: configs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
    };
    let (first, plain) = (batch(producer(3, 0)), batch(None));
    let crc = crc32c::crc32c_append(crc32c::crc32c(&first.0), &plain.0);
    let inline =
        Append { topic: ORDERS, partition: 0, segment: None, at: 0, crc, batches: vec![first.1, plain.1] };
    let segment = segment();
    let in_segment = segment.runs.iter().map(|run| {
        let batches = vec![batch(None).1, batch(producer(3, 2)).1];
        Change::Append(Append {
            topic: run.topic,
            partition: run.partition,
            segment: Some(segment.id),
            at: run.at,
            crc: run.crc,
            batches,
        })
    });
    let later = batch(producer(3, 4));
    let crc = crc32c::crc32c(&later.0);
    let overtaken = Append { batches: vec![later.1], partition: 1, crc, ..inline.clone() };
    let commit = |node, counter, oldest_open, changes: Vec<Change>| {
        let id = CommitId { incarnation: ulid(node), counter };
        Commit { id, oldest_open, timestamp_ms: EPOCH_MS + counter as i64, changes }
    };
    let created = vec![
        create(ORDERS, "orders", &[("retention.ms", "604800000"), ("cleanup.policy", "delete")]),
        create(GONE, "gone", &[]),
        Change::AllocateProducerIds { count: 1_000 },
        Change::FeatureLevel { level: 1 },
    ];
    vec![
        (commit(1, 1, 1, created), vec![]),
        (commit(1, 2, 2, vec![Change::Append(inline)]), vec![first.0, plain.0]),
        // Counter 1 of this proposer has not come yet: its batch is refused.
        (commit(2, 2, 1, vec![Change::Append(overtaken), Change::Tick]), vec![batch(producer(3, 4)).0]),
        (commit(2, 1, 1, vec![Change::DeleteTopic { id: GONE }]), vec![]),
        (commit(1, 3, 3, in_segment.collect()), vec![]),
    ]
}

fn fold(upto: u64) -> (Manifest, Vec<Outcome>) {
    let (mut manifest, mut outcomes) = (Manifest::default(), vec![]);
    for (slot, (commit, payload)) in (1..=upto).zip(history()) {
        let payload_at = (commit.encode(payload.clone()).len() - Rope::new(payload).len()) as u64;
        outcomes.extend(apply(&mut manifest, slot, &commit, payload_at));
    }
    (manifest, outcomes)
}

/// Every object of the bucket, by its key.
fn objects() -> BTreeMap<String, Bytes> {
    let cluster = format!("{{\n  \"format\": 1,\n  \"cluster_id\": \"{CLUSTER_ID}\"\n}}");
    let mut objects = BTreeMap::from([
        (paths::CLUSTER.to_owned(), cluster.into()),
        (paths::LATEST.to_owned(), CHECKPOINT.to_string().into()),
        (paths::checkpoint(CHECKPOINT), checkpoint::encode(&fold(CHECKPOINT).0)),
        (paths::floor(0), object::encode(Shape::Floor, &FloorWire { slot: CHECKPOINT })),
        (paths::segment(segment().id), segment().body.to_bytes()),
    ]);
    for (slot, (commit, payload)) in (1..).zip(history()) {
        objects.insert(paths::slot(slot), commit.encode(payload).to_bytes());
    }
    objects
}

/// The golden bucket of a version, in a folder of its own, as a store.
fn open_store(version: &str) -> (tempfile::TempDir, Store) {
    let copy = tempfile::tempdir().unwrap();
    for key in objects().keys() {
        let to = copy.path().join(key);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(folder(version).join(key), to).unwrap();
    }
    let store = Store::open(&format!("file:{}", copy.path().display()), Env::system()).unwrap();
    (copy, store)
}

#[test]
fn golden_files_are_written_once() {
    if std::env::var_os("STRANDLINE_WRITE_GOLDEN").is_none() {
        return;
    }
    for (key, object) in objects() {
        let path = folder(NEWEST).join(key);
        assert!(!path.exists(), "{} is there already: golden files never change", path.display());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, object).unwrap();
    }
}

#[tokio::test]
async fn every_object_of_version_1_means_what_it_meant() {
    let (_copy, store) = open_store("v1");
    for (slot, (commit, payload)) in (1..).zip(history()) {
        let key = paths::slot(slot);
        let object = store.get(&key).await.unwrap();
        let (decoded, payload_at) = Commit::decode(&key, &object).unwrap();
        assert_eq!(decoded, commit, "slot {slot}");
        let there = object.slice(payload_at as usize..object.len()).unwrap();
        assert_eq!(there.to_bytes(), Rope::new(payload).to_bytes(), "slot {slot}");
    }
    let written = segment();
    let key = paths::segment(written.id);
    let object = store.get(&key).await.unwrap();
    assert_eq!(read_header(&key, &object.to_bytes()).unwrap(), (written.id, written.runs));
    let key = paths::checkpoint(CHECKPOINT);
    let decoded = checkpoint::decode(&key, &store.get(&key).await.unwrap().to_bytes()).unwrap();
    assert_eq!(decoded, fold(CHECKPOINT).0);
}

/// From the checkpoint and from the first slot on, and the log goes on where it stopped.
#[tokio::test]
async fn a_bucket_of_version_1_opens() {
    for from_checkpoint in [true, false] {
        let (_copy, store) = open_store("v1");
        if !from_checkpoint {
            for key in [paths::LATEST, &paths::checkpoint(CHECKPOINT), &paths::floor(0)] {
                store.delete(key).await.unwrap();
            }
        }
        let journal = Journal::open(store, Options::default()).await.unwrap();
        assert_eq!(journal.cluster_id(), CLUSTER_ID);
        let (expected, outcomes) = fold(5);
        assert!(outcomes.contains(&Outcome::Appended(vec![Err(Void::OutOfOrderSequence)])));
        assert_eq!(journal.view(Manifest::clone), expected);
        journal.view(|manifest| {
            let topic = manifest.topic_named("orders").unwrap();
            assert_eq!((topic.id, topic.configs.len(), manifest.topics().count()), (ORDERS, 2, 1));
            let extents =
                topic.partitions[0].extents.iter().map(|extent| (extent.base_offset, extent.object));
            assert_eq!(
                extents.collect::<Vec<_>>(),
                [(0, ObjectId::Slot(2)), (4, ObjectId::Segment(segment().id))]
            );
        });
        let (bytes, meta) = batch(producer(3, 2));
        let crc = crc32c::crc32c(&bytes);
        let known = Append { topic: ORDERS, partition: 0, segment: None, at: 0, crc, batches: vec![meta] };
        let answer = journal.propose_with(vec![Change::Append(known)], bytes.into()).await.unwrap();
        let Outcome::Appended(placed) = answer.await.unwrap().remove(0) else { panic!() };
        assert_eq!(placed[0].unwrap().base_offset, 6, "a batch that version 1 knew is known again");
        assert_eq!(journal.allocate_producer_id().await.unwrap(), 1_000);
        journal.close().await;
    }
}

/// The floor's object is understood: without the checkpoint that it demands, the bucket does not open.
#[tokio::test]
async fn a_floor_of_version_1_is_obeyed() {
    let (_copy, store) = open_store("v1");
    store.delete(&paths::checkpoint(CHECKPOINT)).await.unwrap();
    assert_eq!(Journal::open(store, Options::default()).await.unwrap_err().kind(), Kind::Corrupt);
}
