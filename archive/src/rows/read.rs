//! Columns become rows again, without a copy of keys and values.
//!
//! Must not know files. The columns may be anybody's: a missing column, another type or a null where none may be is an error.

use arrow::array::{
    Array, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::Buffer;
use bytes::Bytes;
use strandline_core::record::{Header, Row};

use super::MICROS;
use crate::error::{ArchiveError, Result};
use crate::schema::Column;

/// The rows of columns that have at least [`Column::ROW`]. Keys and values are slices of the columns and keep them in memory.
///
/// # Errors
/// [`ArchiveError::Columns`] if these are not the columns of a partition.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Row>> {
    let clock = Clock::of(batch)?;
    let types: &Int32Array = column(batch, Column::TimestampType)?;
    let types = without_nulls(types, types.values())?;
    let keys = Parts::of(column(batch, Column::Key)?);
    let values = Parts::of(column(batch, Column::Value)?);
    let headers = Headers::of(column(batch, Column::Headers)?)?;
    let mut rows = Vec::with_capacity(batch.num_rows());
    for (at, timestamp_type) in types.iter().enumerate() {
        let (offset, timestamp) = clock.at(at)?;
        rows.push(Row {
            offset,
            timestamp,
            append_time: match timestamp_type {
                0 => false,
                1 => true,
                _ => return Err(ArchiveError::Columns("a type of timestamps that Kafka does not have")),
            },
            key: keys.at(at)?,
            value: values.at(at)?,
            headers: headers.at(at)?,
        });
    }
    Ok(rows)
}

/// Offsets and times in milliseconds alone, of columns that have at least [`Column::TIMES`].
///
/// # Errors
/// [`ArchiveError::Columns`] if these are not the columns of a partition.
pub fn times(batch: &RecordBatch) -> Result<Vec<(i64, i64)>> {
    let clock = Clock::of(batch)?;
    (0..batch.num_rows()).map(|at| clock.at(at)).collect()
}

fn column<T: Array + 'static>(batch: &RecordBatch, column: Column) -> Result<&T> {
    let array = batch.column_by_name(column.name()).ok_or(ArchiveError::Columns("one is missing"))?;
    array.as_any().downcast_ref().ok_or(ArchiveError::Columns("one has another type"))
}

fn without_nulls<T>(array: &impl Array, values: T) -> Result<T> {
    match array.null_count() {
        0 => Ok(values),
        _ => Err(ArchiveError::Columns("a null where none may be")),
    }
}

fn contradiction() -> ArchiveError {
    ArchiveError::Columns("they contradict each other")
}

/// Offsets and times.
struct Clock<'a> {
    offsets: &'a [i64],
    timestamps: &'a [i64],
    raw: &'a Int64Array,
    /// `raw` has nothing, as almost always.
    plain: bool,
}

impl Clock<'_> {
    fn of(batch: &RecordBatch) -> Result<Clock<'_>> {
        let offsets: &Int64Array = column(batch, Column::Offset)?;
        let timestamps: &TimestampMicrosecondArray = column(batch, Column::Timestamp)?;
        let raw: &Int64Array = column(batch, Column::RawTimestamp)?;
        Ok(Clock {
            offsets: without_nulls(offsets, offsets.values())?,
            timestamps: without_nulls(timestamps, timestamps.values())?,
            raw,
            plain: raw.null_count() == raw.len(),
        })
    }

    fn at(&self, at: usize) -> Result<(i64, i64)> {
        let (offset, micros) = self.offsets.get(at).zip(self.timestamps.get(at)).ok_or_else(contradiction)?;
        let timestamp = match !self.plain && self.raw.is_valid(at) {
            true => self.raw.values().get(at).copied().ok_or_else(contradiction)?,
            false if micros % MICROS == 0 => micros / MICROS,
            false => return Err(ArchiveError::Columns("a time finer than a millisecond")),
        };
        Ok((*offset, timestamp))
    }
}

/// Keeps a column's bytes in memory.
struct Owner(Buffer);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn shared(buffer: &Buffer) -> Bytes {
    Bytes::from_owner(Owner(buffer.clone()))
}

/// A column of bytes that may be null.
struct Parts<'a> {
    array: &'a BinaryArray,
    ends: &'a [i32],
    bytes: Bytes,
}

impl<'a> Parts<'a> {
    fn of(array: &'a BinaryArray) -> Parts<'a> {
        Parts { array, ends: array.value_offsets(), bytes: shared(array.values()) }
    }

    fn at(&self, at: usize) -> Result<Option<Bytes>> {
        match self.array.is_null(at) {
            true => Ok(None),
            false => slice(&self.bytes, self.ends, at).map(Some),
        }
    }
}

fn slice(bytes: &Bytes, ends: &[i32], at: usize) -> Result<Bytes> {
    let (from, to) = between(ends, at)?;
    match from <= to && to <= bytes.len() {
        true => Ok(bytes.slice(from..to)),
        false => Err(contradiction()),
    }
}

fn between(ends: &[i32], at: usize) -> Result<(usize, usize)> {
    let place = |at: usize| ends.get(at).and_then(|end| usize::try_from(*end).ok());
    place(at).zip(place(at + 1)).ok_or_else(contradiction)
}

struct Headers<'a> {
    ends: &'a [i32],
    keys: &'a StringArray,
    key_bytes: Bytes,
    values: Parts<'a>,
    raw_keys: Parts<'a>,
}

impl Headers<'_> {
    fn of(list: &ListArray) -> Result<Headers<'_>> {
        let ends = without_nulls(list, list.value_offsets())?;
        let headers = list.values().as_any().downcast_ref::<StructArray>();
        let headers = headers.ok_or(ArchiveError::Columns("headers have another type"))?;
        let headers = without_nulls(headers, headers)?;
        let keys: &StringArray = header_column(headers, "key")?;
        Ok(Headers {
            ends,
            keys: without_nulls(keys, keys)?,
            key_bytes: shared(keys.values()),
            values: Parts::of(header_column(headers, "value")?),
            raw_keys: Parts::of(header_column(headers, "raw_key")?),
        })
    }

    fn at(&self, at: usize) -> Result<Vec<Header>> {
        let (from, to) = between(self.ends, at)?;
        if to > self.keys.len() {
            return Err(contradiction());
        }
        (from..to).map(|at| Ok((self.key(at)?, self.values.at(at)?))).collect()
    }

    fn key(&self, at: usize) -> Result<Bytes> {
        match self.raw_keys.at(at)? {
            Some(raw) => Ok(raw),
            None => slice(&self.key_bytes, self.keys.value_offsets(), at),
        }
    }
}

fn header_column<'a, T: Array + 'static>(headers: &'a StructArray, name: &str) -> Result<&'a T> {
    let array = headers.column_by_name(name).ok_or(ArchiveError::Columns("a part of headers is missing"))?;
    array.as_any().downcast_ref().ok_or(ArchiveError::Columns("a part of headers has another type"))
}
