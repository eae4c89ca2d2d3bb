//! What a version shows is one state of the log, and can be read; whoever publishes, dies or overtakes.
//!
//! - `log`: tables of a real manifest, and the sweep beside them
//! - `shelf`: a topic whose chunks come and go, and a reader that knows nothing but the bucket
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod log;
mod shelf;

use arrow::datatypes::DataType;
use bytes::Bytes;
use futures_util::future::join_all;
use strandline_archive::Unfold;
use strandline_archive::value::{Framing, ValueFormat};
use strandline_core::env::Env;

use super::*;
use crate::testing::{Disk, for_seeds};
use shelf::Shelf;

async fn publish_at(store: &Store, state: &State) -> Result<Published> {
    Ok(publish(store, state, state.now_ms, &mut BTreeMap::new()).await?.0)
}

/// Publishers that know more or less of the log work side by side, on a store that fails, and die at any moment.
#[test]
fn every_version_shows_one_state_and_none_goes_back() {
    for_seeds(12, |seed| async move {
        let disk = Disk::new();
        let mut shelf = Shelf::new(disk.store(seed), seed);
        shelf.append(0, 5).await;
        let mut states = vec![shelf.state.clone()];
        let ways: Vec<_> = (0..3).map(|number| disk.way(seed * 10 + number)).collect();
        for (way, _) in &ways {
            way.set_faults(if seed % 2 == 0 { 0 } else { 100 }, 40);
        }
        for _ in 0..15 {
            for _ in 0..shelf.dice.u32(0..3) {
                shelf.step().await;
                states.push(shelf.state.clone());
            }
            let publishers = ways.iter().map(|(_, store)| {
                let state = &states[states.len() - 1 - shelf.dice.usize(..states.len().min(3))];
                let limit = Duration::from_millis(shelf.dice.u64(10..2_000));
                tokio::time::timeout(limit, publish_at(store, state))
            });
            drop(join_all(publishers.collect::<Vec<_>>()).await);
        }
        let before = shelf.versions().await;
        for pair in before.windows(2) {
            assert!(pair[0].slot <= pair[1].slot, "{} before {}", pair[0].slot, pair[1].slot);
            let times = (pair[0].metadata.last_updated_ms(), pair[1].metadata.last_updated_ms());
            assert!(times.0 <= times.1);
        }
        for seen in &before {
            assert_eq!(seen.files, shelf.past[&seen.slot]);
        }
        // Whoever comes last and is let alone sets all right.
        shelf.publish().await.unwrap();
        shelf.assert_shown().await;
    });
}

#[tokio::test(start_paused = true)]
async fn of_two_that_race_one_commits_and_both_are_done() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    shelf.append(0, 5).await;
    let others = [disk.store(2), disk.store(3)];
    let published = join_all(others.iter().map(|store| publish_at(store, &shelf.state))).await;
    let mut published: Vec<_> = published.into_iter().map(|one| format!("{:?}", one.unwrap())).collect();
    published.sort();
    assert_eq!(published, ["Unchanged", "Version(1)"]);
    assert_eq!(shelf.versions().await.len(), 1);
    shelf.assert_shown().await;
}

#[tokio::test(start_paused = true)]
async fn who_knows_less_leaves_the_table_alone() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    shelf.append(0, 5).await;
    let old = shelf.state.clone();
    shelf.append(0, 5).await;
    assert_eq!(shelf.publish().await.unwrap(), Published::Version(1));
    assert_eq!(publish_at(&shelf.store, &old).await.unwrap(), Published::Behind);
    shelf.assert_shown().await;
}

/// A topic without chunks has no table; one that has lost all of them has an empty one.
#[tokio::test(start_paused = true)]
async fn a_table_begins_with_its_first_file_and_outlives_its_last() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    assert_eq!(shelf.publish().await.unwrap(), Published::Unchanged);
    assert!(disk.keys("table").await.is_empty());
    shelf.append(0, 5).await;
    assert_eq!(shelf.publish().await.unwrap(), Published::Version(1));
    shelf.expire(0);
    assert_eq!(shelf.publish().await.unwrap(), Published::Version(2));
    assert!(shelf.version(2).await.unwrap().files.is_empty());
    shelf.append(0, 5).await;
    assert_eq!(shelf.publish().await.unwrap(), Published::Version(3));
    let metadata = shelf.assert_shown().await;
    let mut snapshots: Vec<_> = metadata.snapshots().collect();
    snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
    let operations = snapshots.iter().map(|snapshot| snapshot.summary().operation.as_str());
    assert_eq!(operations.collect::<Vec<_>>(), ["append", "delete", "append"]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_no_rows_is_called_so() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    shelf.append(0, 5).await;
    shelf.append(0, 5).await;
    shelf.publish().await.unwrap();
    let operation =
        |metadata: TableMetadata| metadata.current_snapshot().unwrap().summary().operation.clone();
    shelf.replace(0).await;
    shelf.publish().await.unwrap();
    assert_eq!(operation(shelf.assert_shown().await).as_str(), "replace");
    shelf.replace(0).await;
    shelf.append(0, 1).await;
    shelf.publish().await.unwrap();
    assert_eq!(operation(shelf.assert_shown().await).as_str(), "overwrite");
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_is_gone_or_behind_is_set_right() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    for _ in 0..3 {
        shelf.append(0, 5).await;
        shelf.publish().await.unwrap();
    }
    let hint = paths::table_file(shelf.topic, "version-hint.text");
    for wrong in ["1", "77", "?"] {
        disk.put(&hint, wrong).await;
        assert_eq!(shelf.publish().await.unwrap(), Published::Unchanged);
        shelf.assert_shown().await;
    }
    disk.delete(&hint).await;
    shelf.append(0, 5).await;
    assert_eq!(shelf.publish().await.unwrap(), Published::Version(4));
    shelf.assert_shown().await;
}

/// Nothing in a table is known there alone.
#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_read_is_written_anew() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    let mut version = 0;
    for damage in ["v", "snap-", "-m0.avro"] {
        for body in [None, Some("nonsense")] {
            shelf.append(0, 5).await;
            version += 1;
            assert_eq!(shelf.publish().await.unwrap(), Published::Version(version));
            let newest = format!("v{version}.metadata.json");
            for key in disk.keys("table").await {
                let name = key.rsplit('/').next().unwrap();
                if !name.contains(damage) || damage == "v" && name != newest {
                    continue;
                }
                match body {
                    None => disk.delete(&key).await,
                    Some(body) => disk.put(&key, body).await,
                }
            }
            // Without its newest version the table is what it was before that.
            version += u64::from(damage != "v" || body.is_some());
            assert_eq!(shelf.publish().await.unwrap(), Published::Version(version), "{damage} {body:?}");
            shelf.assert_shown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_was_copied_names_the_files_of_the_copy() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    shelf.append(0, 5).await;
    shelf.publish().await.unwrap();
    let (way, _) = disk.way(2);
    shelf.store = way.store_at("s3://copy", 2);
    assert_eq!(shelf.publish().await.unwrap(), Published::Version(2));
    let metadata = shelf.assert_shown().await;
    assert!(metadata.location().starts_with("s3://copy/table/"));
    assert_eq!(metadata.snapshots().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn snapshots_go_twelve_hours_after_they_were_followed() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    shelf.append(0, 5).await;
    shelf.publish().await.unwrap();
    shelf.state.now_ms += 30 * 3_600_000;
    shelf.append(0, 5).await;
    shelf.publish().await.unwrap();
    // It was the current one for long, and somebody may just have begun to read it.
    assert_eq!(shelf.assert_shown().await.snapshots().len(), 2);
    let (_, expires_ms) =
        publish(&shelf.store, &shelf.state, shelf.state.now_ms, &mut BTreeMap::new()).await.unwrap();
    assert_eq!(expires_ms, Some(shelf.state.now_ms + expiry::SNAPSHOT_STAYS_MS));
    // Nothing happens to the log, but for the time that passes.
    let later_ms = shelf.state.now_ms + expiry::SNAPSHOT_STAYS_MS + 1;
    let published = publish(&shelf.store, &shelf.state, later_ms, &mut BTreeMap::new()).await.unwrap();
    assert_eq!(published, (Published::Version(3), None));
    assert_eq!(shelf.assert_shown().await.snapshots().len(), 1);
    for _ in 0..expiry::SNAPSHOTS + 13 {
        shelf.append(0, 1).await;
        shelf.publish().await.unwrap();
    }
    let metadata = shelf.assert_shown().await;
    assert_eq!((metadata.snapshots().len(), metadata.metadata_log().len()), (expiry::SNAPSHOTS, 20));
}

#[tokio::test(start_paused = true)]
async fn columns_come_and_go_with_the_schema_of_the_topic() {
    let disk = Disk::new();
    let mut shelf = Shelf::new(disk.store(1), 1);
    shelf.append(0, 5).await;
    shelf.publish().await.unwrap();
    let plain = shelf.state.columns.clone();
    let unfold = unfold();
    let id = unfold_id(&unfold, "amount");
    for (columns, known) in
        [(strandline_archive::schema(Some(&unfold)), Some("fields.amount")), (plain, None)]
    {
        shelf.state.columns = columns;
        assert!(matches!(shelf.publish().await.unwrap(), Published::Version(_)));
        assert_eq!(shelf.publish().await.unwrap(), Published::Unchanged);
        let metadata = shelf.assert_shown().await;
        assert_eq!(metadata.current_schema().name_by_field_id(id), known);
        assert_eq!(metadata.current_schema().name_by_field_id(9), Some("headers.element.key"));
    }
}

/// Every type that there is.
fn unfold() -> Unfold {
    let schema = r#"{"type": "record", "name": "order", "fields": [
        {"name": "paid", "type": "boolean"}, {"name": "pieces", "type": "int"}, {"name": "amount", "type": "long"},
        {"name": "weight", "type": "float"}, {"name": "width", "type": "double"}, {"name": "raw", "type": "bytes"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "mark", "type": {"type": "fixed", "name": "four", "size": 4}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "there", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"name": "parts", "type": {"type": "array", "items": "string"}},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
        {"name": "buyer", "type": {"type": "record", "name": "buyer", "fields": [{"name": "id", "type": "long"}]}}
    ]}"#;
    Unfold::new(ValueFormat::Avro, schema, Framing::None).unwrap()
}

/// The id of a column of values.
fn unfold_id(unfold: &Unfold, name: &str) -> i32 {
    let DataType::Struct(fields) = unfold.data_type() else { panic!("no struct") };
    let (_, field) = fields.find(name).unwrap();
    field.metadata()["PARQUET:field_id"].parse().unwrap()
}

/// A value of it.
fn order() -> Bytes {
    let mut value = vec![1, 6, 8];
    value.extend(1.5_f32.to_le_bytes());
    value.extend(2.5_f64.to_le_bytes());
    value.extend([2, 0xff]);
    value.extend([2, 6, b'b', b'o', b'x']);
    value.extend([4, 0x04, 0xd2]);
    value.extend([1, 2, 3, 4, 2, 4, 6]);
    value.extend([4, 2, b'a', 2, b'b', 0]);
    value.extend([2, 2, b'k', 14, 0]);
    value.push(18);
    Bytes::from(value)
}

/// Writes a table to look at with other programs: `STRANDLINE_TABLE_URL=file:///tmp/x cargo test -- --ignored look_at_a_table`.
#[tokio::test]
#[ignore = "writes where it is told to"]
async fn look_at_a_table() {
    let url = std::env::var("STRANDLINE_TABLE_URL").unwrap();
    let store = Store::open(&url, Env::system()).unwrap();
    let mut shelf = Shelf::new(store, 1);
    for _ in 0..3 {
        shelf.append(0, 10).await;
        shelf.append(1, 7).await;
        println!("{:?}", shelf.publish().await.unwrap());
    }
    shelf.replace(0).await;
    println!("{:?}", shelf.publish().await.unwrap());
    let unfold = unfold();
    shelf.state.columns = strandline_archive::schema(Some(&unfold));
    shelf.values = Some((unfold.into(), order()));
    shelf.append(0, 3).await;
    println!("{:?}", shelf.publish().await.unwrap());
    println!("{}", shelf.store.location(&paths::table(shelf.topic)));
}
