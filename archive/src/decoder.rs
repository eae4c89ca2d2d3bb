//! The bytes of one row group become columns, without the rest of the file.
//!
//! Must not know where the bytes come from. Invariant: nothing of a row group is parsed before its CRC holds.

use arrow::array::RecordBatchReader;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use strandline_core::record::Row;
use strandline_core::{Error, Result};

use crate::layout::{Layout, RowGroup, guarded};
use crate::rows::{Part, rows_of};
use crate::schema::Column;

/// Rows that are decoded at once on the way to [`Row`]s: their columns stay in the caches.
const SLICE_ROWS: usize = 2_048;
/// Rows for which [`decode`] makes room at once: more than the usual row group has, and no more because a footer says so.
const MAX_ROWS_AT_ONCE: u64 = 1 << 20;

/// These columns of a row group, in the order of the schema; those that the file does not have are left out. `bytes` are
/// all of the row group.
///
/// # Errors
/// [`Error::Corrupt`] if these are not the bytes that were written there, [`Error::Invalid`] if there is no such row group.
pub fn decode(layout: &Layout, group: usize, bytes: &Bytes, columns: &[Column]) -> Result<RecordBatch> {
    let row_group = row_group(layout, group, bytes)?;
    let rows = row_group.records.min(MAX_ROWS_AT_ONCE) as usize;
    let read = || -> parquet::errors::Result<RecordBatch> {
        let reader = reader(layout, group, row_group, bytes, (columns, rows))?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        match <[RecordBatch; 1]>::try_from(batches) {
            Ok([batch]) => Ok(batch),
            Err(batches) => Ok(concat_batches(&schema, &batches)?),
        }
    };
    let batch = guarded(layout.key(), || read().map_err(|error| unreadable(layout, &error)))?;
    match batch.num_rows() as u64 == row_group.records {
        true => Ok(batch),
        false => Err(miscounted(layout)),
    }
}

/// The rows of a row group, faster than by way of [`decode`]. `bytes` are all of the row group.
///
/// # Errors
/// As those of [`decode`].
pub fn decode_rows(layout: &Layout, group: usize, bytes: &Bytes) -> Result<Vec<Row>> {
    let (row_group, slices) = slices(layout, group, bytes)?;
    rows_in(layout, row_group, &slices)
}

/// All of a row group, in slices.
pub(crate) fn slices<'a>(
    layout: &'a Layout,
    group: usize,
    bytes: &Bytes,
) -> Result<(&'a RowGroup, Vec<RecordBatch>)> {
    let row_group = row_group(layout, group, bytes)?;
    let slices = guarded(layout.key(), || {
        let slices = reader(layout, group, row_group, bytes, (&Column::ROW, SLICE_ROWS));
        let slices = slices.and_then(|slices| Ok(slices.collect::<Result<Vec<_>, _>>()?));
        slices.map_err(|error| unreadable(layout, &error))
    })?;
    Ok((row_group, slices))
}

/// The rows of all slices of a row group, or views of them.
pub(crate) fn rows_in<'a, P: Part<'a>>(
    layout: &Layout,
    row_group: &RowGroup,
    slices: &'a [RecordBatch],
) -> Result<Vec<Row<P>>> {
    let found = guarded(layout.key(), || {
        let mut found = Vec::with_capacity(slices.iter().map(RecordBatch::num_rows).sum());
        for slice in slices {
            found.append(&mut rows_of(slice).map_err(|error| unreadable(layout, &error))?);
        }
        Ok(found)
    })?;
    let ends = found.first().zip(found.last()).map(|(first, last)| (first.offset, last.offset));
    let ascending = found.is_sorted_by(|a, b| a.offset < b.offset);
    if found.len() as u64 != row_group.records {
        Err(miscounted(layout))
    } else if !ascending || ends != Some((row_group.offset, row_group.last_offset)) {
        Err(Error::corrupt(layout.key(), "the offsets of a row group are not those of its footer"))
    } else {
        Ok(found)
    }
}

/// The row group, if these are its bytes.
fn row_group<'a>(layout: &'a Layout, group: usize, bytes: &Bytes) -> Result<&'a RowGroup> {
    let row_group = layout.row_groups().get(group);
    let row_group = row_group.ok_or(Error::Invalid("there is no such row group".into()))?;
    let whole = row_group.range.end - row_group.range.start == bytes.len() as u64;
    match whole && crc32c::crc32c(bytes) == row_group.crc {
        true => Ok(row_group),
        false => Err(Error::corrupt(layout.key(), "the CRC32C of a row group does not hold")),
    }
}

fn unreadable(layout: &Layout, error: &dyn std::error::Error) -> Error {
    Error::corrupt(layout.key(), format!("a row group cannot be read: {error}"))
}

fn miscounted(layout: &Layout) -> Error {
    Error::corrupt(layout.key(), "a row group has not as many rows as its footer says")
}

/// Gives columns, so many rows at a time.
fn reader(
    layout: &Layout,
    group: usize,
    row_group: &RowGroup,
    bytes: &Bytes,
    (columns, rows): (&[Column], usize),
) -> parquet::errors::Result<ParquetRecordBatchReader> {
    let metadata = layout.metadata().clone();
    let schema = metadata.parquet_schema();
    let roots = schema.root_schema().get_fields().iter().enumerate();
    let wanted = roots.filter(|(_, root)| columns.iter().any(|column| column.name() == root.name()));
    let mask = ProjectionMask::roots(schema, wanted.map(|(at, _)| at));
    let window = Window { at: row_group.range.start, bytes: bytes.clone() };
    ParquetRecordBatchReaderBuilder::new_with_metadata(window, metadata)
        .with_row_groups(vec![group])
        .with_projection(mask)
        .with_batch_size(rows)
        .build()
}

/// A part of a file that answers as if it were the whole of it.
struct Window {
    at: u64,
    bytes: Bytes,
}

impl Window {
    fn from(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let from = start.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        let from = from.filter(|from| *from <= self.bytes.len());
        from.map(|from| self.bytes.slice(from..)).ok_or_else(outside)
    }
}

fn outside() -> ParquetError {
    ParquetError::EOF("a column lies outside of its row group".to_owned())
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let mut bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.split_to(length)),
            false => Err(outside()),
        }
    }
}
