//! Buckets that earlier versions wrote are read for ever.
//!
//! `golden/v1` holds one object of every kind in format version 1, below the keys that they have in a bucket; `golden/v2`
//! goes on from there with the changes of feature level 2: groups, offsets, more partitions, configs, deleted records;
//! `golden/v3` with those of feature level 3: transactions; `golden/v4` with those of feature level 4: swaps, indexes,
//! expiries. What a swap or an index names is not there: a chunk and the nodes of an index lie beside them, on their own.
//! Those files are never written again. What a new version adds gets a folder of its own: raise `NEWEST`, extend the
//! history below, and run this test once with `STRANDLINE_WRITE_GOLDEN=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "golden/beside.rs"]
mod beside;
#[path = "golden/history.rs"]
mod history;
#[path = "golden/transactions.rs"]
mod transactions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use strandline_core::env::Env;
use strandline_core::manifest::commit::group::{
    CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup,
};
use strandline_core::manifest::commit::{ConfigChange, ConfigOp};
use strandline_core::manifest::journal::Options;
use strandline_core::manifest::state::apply;
use strandline_core::manifest::{
    Append, BatchMeta, Change, Commit, CommitId, Journal, Manifest, Marker, ObjectId, Outcome, Phase,
    Producer, Void, checkpoint,
};
use strandline_core::object::{self, Shape};
use strandline_core::record::RecordBuilder;
use strandline_core::rope::Rope;
use strandline_core::segment::{Segment, read_header};
use strandline_core::store::Store;
use strandline_core::{Kind, paths};
use ulid::Ulid;
use uuid::Uuid;

const NEWEST: &str = "v4";
const VERSIONS: [&str; 4] = ["v1", "v2", "v3", "v4"];
const EPOCH_MS: i64 = 1_767_225_600_000;
const CLUSTER_ID: &str = "0123456789abcdef0123456789abcdef";
const ORDERS: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);
const GONE: Uuid = Uuid::from_u128(0x9999_aaaa_bbbb_cccc_dddd_eeee_ffff_0000);
/// The checkpoint and the floor lie at this slot of each version.
fn checkpoint_of(version: &str) -> u64 {
    match version {
        "v1" => 4,
        "v2" => 8,
        "v3" => 14,
        _ => 18,
    }
}

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
    let meta = BatchMeta {
        bytes: bytes.len() as u32,
        offsets: 2,
        max_timestamp: EPOCH_MS + 5,
        producer,
        joins: Default::default(),
    };
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

/// The slots of a version.
fn history(version: &str) -> Vec<(Commit, Vec<Bytes>)> {
    let mut slots = history_1();
    if version != "v1" {
        slots.extend(history_2().into_iter().map(|commit| (commit, vec![])));
    }
    if version >= "v3" {
        slots.extend(transactions::history());
    }
    if version >= "v4" {
        slots.extend(history::history().into_iter().map(|commit| (commit, vec![])));
    }
    slots
}

/// Four slots more, with every kind of change of feature level 2 and every field set.
fn history_2() -> Vec<Commit> {
    let commit = |counter, changes: Vec<Change>| {
        let id = CommitId { incarnation: ulid(3), counter };
        Commit { id, oldest_open: counter, timestamp_ms: EPOCH_MS + 100 + counter as i64, changes }
    };
    let config = |name: &str, op| ConfigChange { name: name.to_owned(), op };
    let (elements, default) = ("compact".to_owned(), "delete".to_owned());
    let configs = vec![
        config("retention.ms", ConfigOp::Delete),
        config("max.message.bytes", ConfigOp::Set("2000000".to_owned())),
        config("cleanup.policy", ConfigOp::Append { elements: elements.clone(), default: default.clone() }),
        config("leader.replication.throttled.replicas", ConfigOp::Subtract { elements, default }),
    ];
    let topics = vec![
        Change::FeatureLevel { level: 2 },
        Change::CreatePartitions { topic: ORDERS, count: 3 },
        Change::AlterConfigs { topic: ORDERS, replace: false, changes: configs },
        Change::AlterConfigs { topic: GONE, replace: true, changes: vec![] },
        Change::DeleteRecords { topic: ORDERS, partition: 0, before: 5 },
    ];
    let groups = vec![
        Change::UpdateGroup(joined("readers", GroupKind::Classic)),
        Change::UpdateGroup(joined("streams", GroupKind::Consumer)),
        Change::CommitOffsets(offsets("by-hand", "", -1)),
        Change::CommitOffsets(offsets("short-lived", "", -1)),
    ];
    let later = vec![
        Change::CommitOffsets(offsets("readers", "one", 7)),
        Change::CommitOffsets(offsets("readers", "one", 6)),
        Change::DeleteOffsets { group: "by-hand".to_owned(), partitions: vec![(ORDERS, 1)] },
        Change::DeleteGroup { group: "short-lived".to_owned() },
    ];
    let left = UpdateGroup {
        seen_version: 7,
        epoch: 8,
        replace: false,
        put: vec![],
        remove: vec!["two".to_owned()],
        ..joined("readers", GroupKind::Classic)
    };
    vec![commit(1, topics), commit(2, groups), commit(3, later), commit(4, vec![Change::UpdateGroup(left)])]
}

/// Two members join a group that was not there.
fn joined(group: &str, kind: GroupKind) -> UpdateGroup {
    let member = |id: &str, instance_id: Option<&str>| GroupMember {
        id: id.to_owned(),
        epoch: 7,
        instance_id: instance_id.map(str::to_owned),
        client_id: "client".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        subscription: Bytes::from_static(b"orders"),
        assignment: Bytes::from_static(b"orders-0"),
    };
    UpdateGroup {
        group: group.to_owned(),
        seen_version: 0,
        kind,
        protocol_type: "consumer".to_owned(),
        protocol: "range".to_owned(),
        epoch: 7,
        leader: "one".to_owned(),
        state: Bytes::from_static(b"state"),
        replace: true,
        put: vec![member("one", Some("static-1")), member("two", None)],
        remove: vec![],
    }
}

fn offsets(group: &str, member: &str, epoch: i32) -> CommitOffsets {
    let offset = |topic, partition| OffsetCommit {
        topic,
        partition,
        offset: 6,
        leader_epoch: 0,
        metadata: "half way".to_owned(),
    };
    CommitOffsets {
        group: group.to_owned(),
        member: member.to_owned(),
        epoch,
        instance_id: (!member.is_empty()).then(|| "static-1".to_owned()),
        offsets: vec![offset(ORDERS, 0), offset(ORDERS, 1), offset(GONE, 0)],
    }
}

/// Five slots that hold every kind of change of version 1 with every field set.
fn history_1() -> Vec<(Commit, Vec<Bytes>)> {
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

fn fold(version: &str, upto: u64) -> (Manifest, Vec<Outcome>) {
    let (mut manifest, mut outcomes) = (Manifest::default(), vec![]);
    for (slot, (commit, payload)) in (1..=upto).zip(history(version)) {
        let payload_at = (commit.encode(payload.clone()).len() - Rope::new(payload).len()) as u64;
        outcomes.extend(apply(&mut manifest, slot, &commit, payload_at));
    }
    (manifest, outcomes)
}

/// Every object of the bucket, by its key.
fn objects(version: &str) -> BTreeMap<String, Bytes> {
    let at = checkpoint_of(version);
    let cluster = format!("{{\n  \"format\": 1,\n  \"cluster_id\": \"{CLUSTER_ID}\"\n}}");
    let mut objects = BTreeMap::from([
        (paths::CLUSTER.to_owned(), cluster.into()),
        (paths::LATEST.to_owned(), at.to_string().into()),
        (paths::checkpoint(at), checkpoint::encode(&fold(version, at).0)),
        (paths::floor(0), object::encode(Shape::Floor, &FloorWire { slot: at })),
        (paths::segment(segment().id), segment().body.to_bytes()),
    ]);
    for (slot, (commit, payload)) in (1..).zip(history(version)) {
        objects.insert(paths::slot(slot), commit.encode(payload).to_bytes());
    }
    if version >= "v4" {
        objects.extend(beside::objects());
    }
    objects
}

/// The golden bucket of a version, in a folder of its own, as a store.
fn open_store(version: &str) -> (tempfile::TempDir, Store) {
    let copy = tempfile::tempdir().unwrap();
    for key in objects(version).keys() {
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
    for (key, object) in objects(NEWEST) {
        let path = folder(NEWEST).join(key);
        assert!(!path.exists(), "{} is there already: golden files never change", path.display());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, object).unwrap();
    }
}

#[tokio::test]
async fn every_object_means_what_it_meant() {
    for version in VERSIONS {
        let (_copy, store) = open_store(version);
        for (slot, (commit, payload)) in (1..).zip(history(version)) {
            let key = paths::slot(slot);
            let object = store.get(&key).await.unwrap();
            let (decoded, payload_at) = Commit::decode(&key, &object).unwrap();
            assert_eq!(decoded, commit, "{version}, slot {slot}");
            let there = object.slice(payload_at as usize..object.len()).unwrap();
            assert_eq!(there.to_bytes(), Rope::new(payload).to_bytes(), "{version}, slot {slot}");
        }
        let written = segment();
        let key = paths::segment(written.id);
        let object = store.get(&key).await.unwrap();
        assert_eq!(read_header(&key, &object.to_bytes()).unwrap(), (written.id, written.runs));
        let at = checkpoint_of(version);
        let key = paths::checkpoint(at);
        let decoded = checkpoint::decode(&key, &store.get(&key).await.unwrap().to_bytes()).unwrap();
        assert_eq!(decoded, fold(version, at).0, "{version}");
        if version >= "v4" {
            beside::check(&store).await;
        }
    }
}

/// From the checkpoint and from the first slot on, and the log goes on where it stopped.
#[tokio::test]
async fn a_bucket_of_every_version_opens() {
    for (version, from_checkpoint) in VERSIONS.into_iter().flat_map(|of| [(of, true), (of, false)]) {
        let (_copy, store) = open_store(version);
        let at = checkpoint_of(version);
        if !from_checkpoint {
            for key in [paths::LATEST, &paths::checkpoint(at), &paths::floor(0)] {
                store.delete(key).await.unwrap();
            }
        }
        let journal = Journal::open(store, Options::default()).await.unwrap();
        assert_eq!(journal.cluster_id(), CLUSTER_ID);
        let (expected, outcomes) = fold(version, 99);
        assert!(outcomes.contains(&Outcome::Appended(vec![Err(Void::OutOfOrderSequence)])));
        assert_eq!(journal.view(Manifest::clone), expected);
        journal.view(|manifest| check_records(version, manifest));
        let (bytes, meta) = batch(producer(3, 2));
        let crc = crc32c::crc32c(&bytes);
        let known = Append { topic: ORDERS, partition: 0, segment: None, at: 0, crc, batches: vec![meta] };
        let answer = journal.propose_with(vec![Change::Append(known)], bytes.into()).await.unwrap();
        let Outcome::Appended(placed) = answer.await.unwrap().remove(0) else { panic!() };
        // A batch that version 1 knew is known again. Level 2 forgets producers that were silent for a day.
        let (base_offset, next_id) = match version {
            "v1" => (6, 1_000),
            "v2" => (8, 1_000),
            _ => (12, transactions::FIRST + 2),
        };
        assert_eq!(placed[0].unwrap().base_offset, base_offset);
        assert_eq!(journal.allocate_producer_id().await.unwrap(), next_id);
        journal.close().await;
    }
}

fn check_records(version: &str, manifest: &Manifest) {
    let topic = manifest.topic_named("orders").unwrap();
    assert_eq!((topic.id, manifest.topics().count()), (ORDERS, 1));
    let extents = topic.partitions[0].extents.iter().map(|extent| (extent.base_offset, extent.object));
    let marker =
        |id, commit| ObjectId::Marker(Marker { producer_id: transactions::FIRST + id, epoch: 0, commit });
    let all = [
        (0, ObjectId::Slot(2)),
        (4, ObjectId::Segment(segment().id)),
        (8, ObjectId::Slot(11)),
        (9, ObjectId::Slot(12)),
        (10, marker(0, true)),
        (11, marker(1, false)),
    ];
    let left = match version {
        "v1" => &all[..2],
        // Version 2 has deleted everything before offset 5.
        "v2" => &all[1..2],
        "v3" => &all[1..],
        _ => &history::at_checkpoint()[2..],
    };
    assert_eq!(extents.collect::<Vec<_>>(), left);
}

/// What level 2 brought: by value, not only by what the same fold makes of it.
#[test]
fn version_2_knows_groups_and_what_befell_topics() {
    let (manifest, outcomes) = fold("v2", 99);
    let topic = manifest.topic_named("orders").unwrap();
    let bounds = topic.partitions.iter().map(|one| (one.log_start, one.high_watermark));
    assert_eq!(bounds.collect::<Vec<_>>(), [(5, 8), (0, 4), (0, 0)]);
    let configs: Vec<_> = topic.configs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("cleanup.policy", "delete,compact"),
        ("leader.replication.throttled.replicas", "delete"),
        ("max.message.bytes", "2000000"),
    ];
    assert_eq!(configs, expected);
    assert_eq!(
        manifest.groups().map(|(name, _)| name).collect::<Vec<_>>(),
        ["by-hand", "readers", "streams"]
    );
    let readers = manifest.group("readers").unwrap();
    assert_eq!((readers.kind, readers.epoch, readers.version), (GroupKind::Classic, 8, 9));
    assert_eq!(readers.members.keys().collect::<Vec<_>>(), ["one"]);
    let committed = |group: &str| {
        let offsets = manifest.group(group).unwrap().offsets.iter();
        offsets.map(|((_, partition), one)| (*partition, one.offset)).collect::<Vec<_>>()
    };
    assert_eq!((committed("readers"), committed("by-hand")), (vec![(0, 6), (1, 6)], vec![(0, 6)]));
    assert!(outcomes.contains(&Outcome::Void(Void::IllegalGeneration)));
}

/// What level 3 brought.
#[test]
fn version_3_knows_transactions() {
    let (manifest, outcomes) = fold("v3", 99);
    let (first, topic) = (transactions::FIRST, manifest.topic_named("orders").unwrap());
    let ends = topic.partitions.iter().map(|one| (one.last_stable_offset(), one.high_watermark));
    assert_eq!(ends.collect::<Vec<_>>(), [(12, 12), (4, 5), (0, 0)]);
    let aborted = topic.partitions[0].aborted_in(0, 12);
    assert_eq!(
        aborted.iter().map(|one| (one.producer_id, one.first_offset, one.last_offset)).collect::<Vec<_>>(),
        [(first + 1, 9, 11)]
    );
    let known = |id: &str| {
        let of = manifest.transaction(id).unwrap();
        (of.producer.id, of.producer.epoch, of.number, of.phase, of.partitions.len(), of.groups.len())
    };
    assert_eq!(known("payments-old"), (first, 0, 2, Phase::Ongoing, 2, 1));
    assert_eq!(known("payments-new"), (first + 1, 2, 2, Phase::Ongoing, 1, 0));
    let readers = manifest.group("readers").unwrap();
    assert_eq!(readers.offsets[&(ORDERS, 1)].metadata, "in a transaction");
    for void in [Void::TransactionOver, Void::InvalidTransactionState] {
        assert!(outcomes.contains(&Outcome::Void(void)), "{void:?}");
    }
}

/// What level 4 brought.
#[test]
fn version_4_knows_where_old_records_lie_now() {
    let orders = |slot| fold("v4", slot).0.topic_named("orders").unwrap().partitions.clone();
    let lies = |slot, partition: usize| {
        let extents = orders(slot)[partition].extents.clone();
        extents.iter().map(|extent| (extent.base_offset, extent.object)).collect::<Vec<_>>()
    };
    let all = history::at_checkpoint();
    assert_eq!((lies(18, 0), orders(18)[0].index), (all.to_vec(), Some(history::root(0, 6))));
    assert_eq!((lies(99, 0), orders(99)[0].index), (all[2..].to_vec(), Some(history::root(2, 9))));
    assert_eq!(lies(99, 1), [(0, all[2].1)]);
    let ends =
        orders(99).into_iter().map(|one| (one.log_start, one.last_stable_offset(), one.high_watermark));
    assert_eq!(ends.collect::<Vec<_>>(), [(7, 12, 12), (0, 4, 5), (0, 0, 0)]);
    let compacted = |slot, partition: usize| {
        let one = &orders(slot)[partition];
        (one.compacted, one.tombstones_ms)
    };
    let first = (8, history::TOMBSTONES_MS);
    assert_eq!((compacted(17, 0), compacted(18, 0), compacted(99, 0)), ((0, i64::MAX), first, first));
    assert_eq!(compacted(99, 1), (4, i64::MAX));
    let outcomes = fold("v4", 99).1;
    let swapped = vec![Ok(()), Ok(()), Ok(()), Err(Void::ExtentsChanged), Err(Void::Undecided)];
    assert!(outcomes.contains(&Outcome::Swapped(swapped)));
    for void in [Void::ExtentsChanged, Void::RetentionChanged, Void::Undecided] {
        assert!(outcomes.contains(&Outcome::Void(void)), "{void:?}");
    }
}

/// The floor's object is understood: without the checkpoint that it demands, the bucket does not open.
#[tokio::test]
async fn a_floor_of_every_version_is_obeyed() {
    for version in VERSIONS {
        let (_copy, store) = open_store(version);
        store.delete(&paths::checkpoint(checkpoint_of(version))).await.unwrap();
        assert_eq!(Journal::open(store, Options::default()).await.unwrap_err().kind(), Kind::Corrupt);
    }
}
