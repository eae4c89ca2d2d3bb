//! What a node must not go on from, and how it says so.

use super::*;
use crate::error::Kind;
use crate::manifest::state::{FEATURE_LEVEL, ObjectId};

/// A commit whose only change is of a kind that this program does not know.
#[derive(Clone, PartialEq, prost::Message)]
struct FromTheFuture {
    #[prost(bytes = "vec", tag = "1")]
    incarnation: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    changes: Vec<UnknownChange>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnknownChange {
    #[prost(uint32, tag = "99")]
    kind: u32,
}

fn good_slot() -> Vec<u8> {
    let token = Token { writer: 1, sequence: 0, offsets: 1 };
    let run = Appends::default().add(Uuid::from_u128(1), 0, false, &[token]);
    foreign_commit(1, 0, run.changes).encode(run.payload).to_bytes().to_vec()
}

fn bad_slots() -> Vec<(&'static str, Vec<u8>, Kind)> {
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut object = good_slot();
        change(&mut object);
        object
    };
    let level = foreign_commit(1, 0, vec![Change::FeatureLevel { level: FEATURE_LEVEL + 1 }])
        .encode([])
        .to_bytes()
        .to_vec();
    let future = FromTheFuture { incarnation: vec![0; 16], changes: vec![UnknownChange { kind: 1 }] };
    vec![
        ("a feature level that is not known", level, Kind::Unsupported),
        (
            "a kind of change that is not known",
            object::encode(Shape::Commit, &future).to_vec(),
            Kind::Unsupported,
        ),
        ("a newer format version", changed(|object| object[5] = 2), Kind::Unsupported),
        ("one flipped bit", changed(|object| object[20] ^= 1), Kind::Corrupt),
        ("records cut off", changed(|object| object.truncate(object.len() - 1)), Kind::Corrupt),
        ("header cut off", changed(|object| object.truncate(18)), Kind::Corrupt),
        ("another shape", changed(|object| object[..4].copy_from_slice(b"SLsg")), Kind::Corrupt),
        ("nothing", vec![], Kind::Corrupt),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_cannot_be_folded_stops_the_node() {
    for (what, object, kind) in bad_slots() {
        let bucket = Bucket::new();
        let reader = open(&Machine::new(&bucket, 1)).await.unwrap();
        let writer = open(&Machine::new(&bucket, 2)).await.unwrap();
        write(&bucket, &paths::slot(1), object).await;
        assert_eq!(reader.catch_up().await.unwrap_err().kind(), kind, "{what}");
        // A proposal in flight was perhaps not the last word: nothing definite is said about it.
        assert_eq!(writer.propose(vec![Change::Tick]).await.unwrap_err().kind(), Kind::Unknown, "{what}");
        for node in [reader, writer] {
            assert_eq!(node.health().unwrap_err().kind(), kind, "{what}");
            assert_eq!(node.propose(vec![Change::Tick]).await.unwrap_err().kind(), kind, "{what}");
            assert_eq!(node.catch_up().await.unwrap_err().kind(), kind, "{what}");
        }
        assert_eq!(open(&Machine::new(&bucket, 3)).await.unwrap_err().kind(), kind, "{what}");
    }
}

/// Bytes may be damaged on their way. Only what lies damaged in the bucket stops a node, and readers get nothing else.
#[tokio::test(start_paused = true)]
async fn a_slot_that_came_damaged_is_read_again() {
    let torn = |object: &[u8]| Commit::decode("", &Rope::from(Bytes::copy_from_slice(object))).is_err();
    let slots = bad_slots().into_iter().filter(|(_, object, _)| torn(object));
    let mut damaged: Vec<_> = slots.map(|(what, object, _)| (what, object)).collect();
    let mut records = good_slot();
    *records.last_mut().unwrap() ^= 1;
    damaged.push(("a flipped bit in the records", records));
    for (what, object) in damaged {
        let bucket = Bucket::new();
        let reader = open(&Machine::new(&bucket, 1)).await.unwrap();
        let writer = open(&Machine::new(&bucket, 2)).await.unwrap();
        write(&bucket, &paths::slot(1), object).await;
        let heals = async {
            tokio::time::sleep(Duration::from_millis(9)).await;
            write(&bucket, &paths::slot(1), good_slot()).await;
        };
        let (read, proposed, ()) = tokio::join!(reader.catch_up(), writer.propose(vec![Change::Tick]), heals);
        assert!(read.unwrap() >= 1, "{what}");
        assert_eq!(proposed.unwrap(), [Outcome::Applied], "{what}");
        for node in [reader, writer] {
            node.health().unwrap();
            let kept = node.tail().get(&ObjectId::Slot(1)).map(|object| object.to_bytes().to_vec());
            assert_eq!(kept, Some(good_slot()), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_file_that_is_not_ours_stops_the_node() {
    let table = [
        (r#"{"format": 2, "clusters": ["a", "b"]}"#, Kind::Unsupported),
        (r#"{"format": 2, "cluster_id": "a"}"#, Kind::Unsupported),
        (r#"{"format": 1}"#, Kind::Corrupt),
        ("", Kind::Corrupt),
        ("<xml/>", Kind::Corrupt),
    ];
    for (cluster, kind) in table {
        let bucket = Bucket::new();
        write(&bucket, paths::CLUSTER, cluster).await;
        assert_eq!(open(&Machine::new(&bucket, 1)).await.unwrap_err().kind(), kind, "{cluster}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_from_the_future_stops_the_node() {
    let feature_level = FEATURE_LEVEL + 1;
    let level = checkpoint::encode(&Manifest { applied: 9, feature_level, ..Manifest::default() });
    let mut version = checkpoint::encode(&Manifest { applied: 9, ..Manifest::default() }).to_vec();
    version[5] = 2;
    for (object, hinted) in
        [(level.to_vec(), true), (version.clone(), true), (level.to_vec(), false), (version, false)]
    {
        let bucket = Bucket::new();
        drop(open(&Machine::new(&bucket, 1)).await.unwrap());
        write(&bucket, &paths::checkpoint(9), object).await;
        if hinted {
            write(&bucket, paths::LATEST, "9").await;
        }
        assert_eq!(open(&Machine::new(&bucket, 2)).await.unwrap_err().kind(), Kind::Unsupported);
    }
}

/// A floor that cannot be read is not taken for no floor.
#[tokio::test(start_paused = true)]
async fn a_damaged_floor_stops_the_node() {
    let bucket = Bucket::new();
    let running = open(&Machine::new(&bucket, 1)).await.unwrap();
    write(&bucket, &paths::floor(0), "no floor").await;
    assert_eq!(open(&Machine::new(&bucket, 2)).await.unwrap_err().kind(), Kind::Corrupt);
    sleep_s(7_200).await;
    assert_eq!(running.catch_up().await.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(running.health().unwrap_err().kind(), Kind::Corrupt);
}
