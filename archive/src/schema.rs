//! The columns of a partition, their types and their ids.
//!
//! Must not know files. Invariant: a column keeps its name, its type and its id forever, since Iceberg's tables know it by its
//! id; new columns get new ids and are optional.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::value::Unfold;

/// A column at the top of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// `partition`: Int32.
    Partition,
    /// `offset`: Int64.
    Offset,
    /// `timestamp`: microseconds in UTC, Kafka's milliseconds times 1000, saturating.
    Timestamp,
    /// `timestamp_type`: Int32, 0 for CreateTime and 1 for LogAppendTime.
    TimestampType,
    /// `key`: Binary, optional.
    Key,
    /// `value`: Binary, optional.
    Value,
    /// `headers`: a list of structs of a key and an optional value, in order, duplicates kept.
    Headers,
    /// `raw_timestamp`: Int64, milliseconds, only where `timestamp` saturates.
    RawTimestamp,
    /// `fields`: the columns of the value, null where it does not fit; only with a value format.
    Fields,
    /// `fields_error`: Utf8, why a value did not fit; only with a value format.
    FieldsError,
}

impl Column {
    /// All that make a row, in the order of the schema.
    pub const ROW: [Column; 7] = [
        Column::Offset,
        Column::Timestamp,
        Column::TimestampType,
        Column::Key,
        Column::Value,
        Column::Headers,
        Column::RawTimestamp,
    ];
    /// What [`crate::rows::times`] needs.
    pub const TIMES: [Column; 3] = [Column::Offset, Column::Timestamp, Column::RawTimestamp];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Column::Partition => "partition",
            Column::Offset => "offset",
            Column::Timestamp => "timestamp",
            Column::TimestampType => "timestamp_type",
            Column::Key => "key",
            Column::Value => "value",
            Column::Headers => "headers",
            Column::RawTimestamp => "raw_timestamp",
            Column::Fields => "fields",
            Column::FieldsError => "fields_error",
        }
    }

    /// Its id. 8 to 11 belong to what is inside of `headers`.
    pub fn id(self) -> i32 {
        match self {
            Column::Partition => 1,
            Column::Offset => 2,
            Column::Timestamp => 3,
            Column::TimestampType => 4,
            Column::Key => 5,
            Column::Value => 6,
            Column::Headers => 7,
            Column::RawTimestamp => 12,
            Column::Fields => 13,
            Column::FieldsError => 14,
        }
    }

    fn field(self, data_type: DataType, nullable: bool) -> FieldRef {
        Arc::new(field(self.name(), self.id(), data_type, nullable))
    }
}

/// Names the zone as Iceberg's `timestamptz` wants it.
pub(crate) const ZONE: &str = "UTC";

/// The schema of a partition's files, with the columns of values if these are unfolded.
pub fn schema(fields: Option<&Unfold>) -> SchemaRef {
    let mut columns = vec![
        Column::Partition.field(DataType::Int32, false),
        Column::Offset.field(DataType::Int64, false),
        Column::Timestamp.field(DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())), false),
        Column::TimestampType.field(DataType::Int32, false),
        Column::Key.field(DataType::Binary, true),
        Column::Value.field(DataType::Binary, true),
        Column::Headers.field(DataType::List(header_field()), false),
        Column::RawTimestamp.field(DataType::Int64, true),
    ];
    if let Some(unfold) = fields {
        columns.push(Column::Fields.field(unfold.data_type(), true));
        columns.push(Column::FieldsError.field(DataType::Utf8, true));
    }
    Arc::new(Schema::new(columns))
}

/// The element of the list of headers.
pub(crate) fn header_field() -> FieldRef {
    Arc::new(field("element", 8, DataType::Struct(header_fields()), false))
}

/// What a header is made of: its key, lossy where it is no UTF-8; its value; its key as it is, only where it is no UTF-8.
pub(crate) fn header_fields() -> Fields {
    Fields::from(vec![
        field("key", 9, DataType::Utf8, false),
        field("value", 10, DataType::Binary, true),
        field("raw_key", 11, DataType::Binary, true),
    ])
}

fn field(name: &str, id: i32, data_type: DataType, nullable: bool) -> Field {
    let metadata = [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())];
    Field::new(name, data_type, nullable).with_metadata(metadata.into())
}
