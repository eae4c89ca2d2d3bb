//! Rows through columns and back; columns of others.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::schema::{Column, schema};
use crate::testing::{for_seeds, some_rows};

fn columns_of(rows: &[strandline_core::record::Row]) -> RecordBatch {
    let mut builder = RowsBuilder::new(3, None);
    rows.iter().for_each(|row| builder.push(row));
    assert_eq!(builder.len(), rows.len());
    builder.finish().unwrap()
}

#[test]
fn rows_go_through_columns_unchanged() {
    for_seeds(200, |dice| {
        let count = dice.usize(0..200);
        let base_offset = dice.i64(0..1_000);
        let all = some_rows(dice, count, base_offset);
        let batch = columns_of(&all);
        assert_eq!(rows(&batch).unwrap(), all);
        let from = dice.usize(0..=count);
        let length = dice.usize(0..=count - from);
        let part = batch.slice(from, length);
        assert_eq!(rows(&part).unwrap(), all[from..from + length], "a slice of columns");
        let expected = all[from..from + length].iter().map(|row| (row.offset, row.timestamp));
        assert!(times(&part).unwrap().into_iter().eq(expected));
    });
}

/// The builder can be used again, and counts what it holds.
#[test]
fn a_builder_starts_anew() {
    let all = some_rows(&mut fastrand::Rng::with_seed(9), 20, 0);
    let mut builder = RowsBuilder::new(3, None);
    for _ in 0..2 {
        assert!(builder.is_empty() && builder.bytes() == 0);
        all.iter().for_each(|row| builder.push(row));
        let raw: usize = all.iter().map(|row| row.value.as_ref().map_or(0, |value| value.len())).sum();
        assert!(builder.bytes() >= raw + 20 * all.len());
        assert_eq!(rows(&builder.finish().unwrap()).unwrap(), all);
    }
    assert!(RowsBuilder::new(u32::MAX, None).finish().is_err(), "no partition of Kafka");
}

/// For each column: gone, of another type, all null. Whatever is wrong, it is an error.
#[test]
fn columns_of_others_are_refused() {
    let all = some_rows(&mut fastrand::Rng::with_seed(9), 8, 0);
    let batch = columns_of(&all);
    let with = |name: &str, other: Option<ArrayRef>| {
        let known = batch.schema();
        let columns = known.fields().iter().zip(batch.columns());
        let columns = columns.filter_map(|(field, array)| match field.name() == name {
            true => other.clone().map(|other| (Field::new(name, other.data_type().clone(), true), other)),
            false => Some((field.as_ref().clone(), array.clone())),
        });
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    };
    for column in Column::ROW {
        let name = column.name();
        assert!(rows(&with(name, None)).is_err(), "{name} is gone");
        let words: ArrayRef = Arc::new(StringArray::from(vec!["x"; all.len()]));
        assert!(rows(&with(name, Some(words))).is_err(), "{name} is a text");
        let data_type = schema(None).field_with_name(name).unwrap().data_type().clone();
        let nulls = new_null_array(&data_type, all.len());
        let optional = matches!(column, Column::Key | Column::Value);
        let taken = rows(&with(name, Some(nulls)));
        assert!(taken.is_ok() == optional || column == Column::RawTimestamp, "{name} is null");
    }
    let types: ArrayRef = Arc::new(Int32Array::from(vec![2; all.len()]));
    assert!(rows(&with("timestamp_type", Some(types))).is_err(), "a type that Kafka does not have");
    let finer = arrow::array::TimestampMicrosecondArray::from(vec![1; all.len()]).with_timezone("UTC");
    assert!(rows(&with("timestamp", Some(Arc::new(finer)))).is_err(), "finer than a millisecond");
    let raw: ArrayRef = Arc::new(Int64Array::from(vec![7; all.len()]));
    assert!(times(&with("raw_timestamp", Some(raw))).unwrap().iter().all(|(_, time)| *time == 7));
    assert!(matches!(schema(None).field(6).data_type(), DataType::List(_)));
}

/// Iceberg knows columns by their ids: they never change.
#[test]
fn ids_are_as_they_always_were() {
    let described = format!("{:?}", schema(None).fields());
    let ids: Vec<&str> = described
        .split("PARQUET:field_id\": \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    let mut sorted: Vec<u32> = ids.iter().map(|id| id.parse().unwrap()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=12).collect::<Vec<_>>());
    for column in
        [Column::Partition, Column::Offset, Column::Timestamp, Column::Headers, Column::RawTimestamp]
    {
        let field = schema(None).field_with_name(column.name()).unwrap().clone();
        assert_eq!(field.metadata()["PARQUET:field_id"], column.id().to_string());
    }
}
