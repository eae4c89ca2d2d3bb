//! Rows become columns, appended one by one.
//!
//! Must not know files. Invariant: no column grows beyond what Arrow's offsets of 32 bits can tell.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, Int64Builder, ListArray, StringBuilder, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use strandline_core::record::Row;

use super::MICROS;
use crate::error::{ArchiveError, Result};
use crate::schema::{ZONE, header_field, header_fields, schema};
use crate::value::Unfold;

/// The most raw bytes of one batch: Arrow counts them with 32 bits.
const MAX_BATCH_BYTES: usize = i32::MAX as usize;
/// What a row takes beside its key, value and headers: offset, time and its type.
const ROW_BYTES: usize = 8 + 8 + 4;
/// What a header takes beside its key and its value.
const HEADER_BYTES: usize = 4;

/// Gathers rows of one partition, of which [`RowsBuilder::finish`] makes columns.
#[derive(Debug)]
pub struct RowsBuilder {
    partition: u32,
    schema: SchemaRef,
    unfold: Option<Arc<Unfold>>,
    columns: Columns,
    bytes: usize,
}

/// One vector a column.
#[derive(Debug, Default)]
struct Columns {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    timestamp_types: Vec<i32>,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    /// How many headers there are up to each row.
    header_ends: Vec<i32>,
    header_keys: StringBuilder,
    header_values: BinaryBuilder,
    header_raw_keys: BinaryBuilder,
    raw_timestamps: Int64Builder,
    /// Once more, if they are to be unfolded.
    raw_values: Vec<Option<Bytes>>,
}

impl RowsBuilder {
    /// Begins without rows.
    pub fn new(partition: u32, unfold: Option<Arc<Unfold>>) -> RowsBuilder {
        let schema = schema(unfold.as_deref());
        RowsBuilder { partition, schema, unfold, columns: Columns::default(), bytes: 0 }
    }

    /// The schema of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Adds a row. Rows beyond 2 GiB are dropped, and [`RowsBuilder::finish`] says so: look at [`RowsBuilder::bytes`].
    pub fn push(&mut self, row: &Row) {
        self.bytes = self.bytes.saturating_add(row_bytes(row));
        if self.bytes > MAX_BATCH_BYTES {
            return;
        }
        self.columns.push(row);
        if self.unfold.is_some() {
            self.columns.raw_values.push(row.value.clone());
        }
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.columns.offsets.len()
    }

    /// No row yet.
    pub fn is_empty(&self) -> bool {
        self.columns.offsets.is_empty()
    }

    /// Raw bytes of the rows so far, what is unfolded out of values left out.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The columns of all rows. Starts anew.
    ///
    /// # Errors
    /// [`ArchiveError::Rows`] if there was too much; [`ArchiveError::Invalid`] for a partition that Kafka does not have.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut columns = std::mem::take(&mut self.columns);
        if bytes > MAX_BATCH_BYTES {
            return Err(ArchiveError::Rows("together they are larger than 2 GiB"));
        }
        let raw_values = std::mem::take(&mut columns.raw_values);
        let mut arrays = columns.finish(self.partition)?;
        if let Some(unfold) = &self.unfold {
            let (fields, errors) = unfold.unfold(&raw_values);
            arrays.push(Arc::new(fields));
            arrays.push(Arc::new(errors));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }
}

/// Raw bytes of a row; a header's key counts as much as it can take where it is no UTF-8.
pub(crate) fn row_bytes(row: &Row) -> usize {
    let part = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let header = |(key, value): &(Bytes, Option<Bytes>)| {
        let key = if std::str::from_utf8(key).is_ok() { key.len() } else { key.len().saturating_mul(4) };
        key.saturating_add(part(value)).saturating_add(HEADER_BYTES)
    };
    let headers = row.headers.iter().map(header).fold(0, usize::saturating_add);
    ROW_BYTES.saturating_add(part(&row.key)).saturating_add(part(&row.value)).saturating_add(headers)
}

impl Columns {
    fn push(&mut self, row: &Row) {
        let micros = row.timestamp.checked_mul(MICROS);
        self.offsets.push(row.offset);
        self.timestamps.push(row.timestamp.saturating_mul(MICROS));
        self.timestamp_types.push(i32::from(row.append_time));
        self.keys.append_option(row.key.as_ref());
        self.values.append_option(row.value.as_ref());
        self.raw_timestamps.append_option(micros.is_none().then_some(row.timestamp));
        for (key, value) in &row.headers {
            let lossy = String::from_utf8_lossy(key);
            self.header_keys.append_value(&lossy);
            self.header_values.append_option(value.as_ref());
            let raw = matches!(lossy, std::borrow::Cow::Owned(_));
            self.header_raw_keys.append_option(raw.then_some(key));
        }
        let before = self.header_ends.last().copied().unwrap_or_default();
        self.header_ends.push(before.saturating_add(i32::try_from(row.headers.len()).unwrap_or(i32::MAX)));
    }

    fn finish(mut self, partition: u32) -> Result<Vec<ArrayRef>> {
        let partition = i32::try_from(partition)
            .map_err(|_| ArchiveError::Invalid(format!("there is no partition {partition}")))?;
        let rows = self.offsets.len();
        let header_columns: Vec<ArrayRef> = vec![
            Arc::new(self.header_keys.finish()),
            Arc::new(self.header_values.finish()),
            Arc::new(self.header_raw_keys.finish()),
        ];
        let headers = StructArray::try_new(header_fields(), header_columns, None)?;
        self.header_ends.insert(0, 0);
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.header_ends));
        let headers = ListArray::try_new(header_field(), ends, Arc::new(headers), None)?;
        Ok(vec![
            Arc::new(Int32Array::from(vec![partition; rows])),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(TimestampMicrosecondArray::from(self.timestamps).with_timezone(ZONE)),
            Arc::new(Int32Array::from(self.timestamp_types)),
            Arc::new(self.keys.finish()),
            Arc::new(self.values.finish()),
            Arc::new(headers),
            Arc::new(self.raw_timestamps.finish()),
        ])
    }
}
