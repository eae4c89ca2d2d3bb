//! Columns become rows again, without a copy of keys and values.
//!
//! Must not know files. The columns may be anybody's: a missing column, another type or a null where none may be is an error.

use arrow::array::{
    Array, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::Buffer;
use bytes::Bytes;
use strandline_core::record::Row;

use super::MICROS;
use crate::error::{ArchiveError, Result};
use crate::schema::Column;

/// The rows of columns that have at least [`Column::ROW`]. Keys and values are slices of the columns and keep them in memory.
///
/// # Errors
/// [`ArchiveError::Columns`] if these are not the columns of a partition.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Row>> {
    rows_of(batch)
}

/// How a part of a column is given out.
pub(crate) trait Part<'a>: Sized {
    /// `from` and `to` lie in the column, in this order.
    fn cut(column: &Bytes, view: &'a [u8], from: usize, to: usize) -> Option<Self>;
}

/// Keeps the column in memory.
impl Part<'_> for Bytes {
    fn cut(column: &Bytes, _: &[u8], from: usize, to: usize) -> Option<Bytes> {
        (from <= to && to <= column.len()).then(|| column.slice(from..to))
    }
}

impl<'a> Part<'a> for &'a [u8] {
    fn cut(_: &Bytes, view: &'a [u8], from: usize, to: usize) -> Option<&'a [u8]> {
        view.get(from..to)
    }
}

/// The same, or as views of the columns, which is faster.
pub(crate) fn rows_of<'a, P: Part<'a>>(batch: &'a RecordBatch) -> Result<Vec<Row<P>>> {
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

/// A column of bytes that may be null.
struct Parts<'a> {
    array: &'a BinaryArray,
    bytes: Lengths<'a>,
}

impl<'a> Parts<'a> {
    fn of(array: &'a BinaryArray) -> Parts<'a> {
        Parts { array, bytes: Lengths::of(array.value_offsets(), array.values()) }
    }

    fn at<P: Part<'a>>(&self, at: usize) -> Result<Option<P>> {
        match self.array.is_null(at) {
            true => Ok(None),
            false => self.bytes.at(at).map(Some),
        }
    }
}

/// Parts that lie behind each other.
struct Lengths<'a> {
    ends: &'a [i32],
    bytes: Bytes,
    view: &'a [u8],
}

impl<'a> Lengths<'a> {
    fn of(ends: &'a [i32], buffer: &'a Buffer) -> Lengths<'a> {
        Lengths { ends, bytes: Bytes::from_owner(Owner(buffer.clone())), view: buffer.as_slice() }
    }

    fn at<P: Part<'a>>(&self, at: usize) -> Result<P> {
        let (from, to) = between(self.ends, at)?;
        P::cut(&self.bytes, self.view, from, to).ok_or_else(contradiction)
    }
}

fn between(ends: &[i32], at: usize) -> Result<(usize, usize)> {
    let place = |at: usize| ends.get(at).and_then(|end| usize::try_from(*end).ok());
    place(at).zip(place(at + 1)).ok_or_else(contradiction)
}

struct Headers<'a> {
    ends: &'a [i32],
    keys: Lengths<'a>,
    count: usize,
    values: Parts<'a>,
    raw_keys: Parts<'a>,
}

impl<'a> Headers<'a> {
    fn of(list: &'a ListArray) -> Result<Headers<'a>> {
        let ends = without_nulls(list, list.value_offsets())?;
        let headers = list.values().as_any().downcast_ref::<StructArray>();
        let headers = headers.ok_or(ArchiveError::Columns("headers have another type"))?;
        let headers = without_nulls(headers, headers)?;
        let keys: &StringArray = header_column(headers, "key")?;
        Ok(Headers {
            ends,
            keys: without_nulls(keys, Lengths::of(keys.value_offsets(), keys.values()))?,
            count: keys.len(),
            values: Parts::of(header_column(headers, "value")?),
            raw_keys: Parts::of(header_column(headers, "raw_key")?),
        })
    }

    fn at<P: Part<'a>>(&self, at: usize) -> Result<Vec<(P, Option<P>)>> {
        let (from, to) = between(self.ends, at)?;
        if to > self.count {
            return Err(contradiction());
        }
        (from..to).map(|at| Ok((self.key(at)?, self.values.at(at)?))).collect()
    }

    fn key<P: Part<'a>>(&self, at: usize) -> Result<P> {
        match self.raw_keys.at(at)? {
            Some(raw) => Ok(raw),
            None => self.keys.at(at),
        }
    }
}

fn header_column<'a, T: Array + 'static>(headers: &'a StructArray, name: &str) -> Result<&'a T> {
    let array = headers.column_by_name(name).ok_or(ArchiveError::Columns("a part of headers is missing"))?;
    array.as_any().downcast_ref().ok_or(ArchiveError::Columns("a part of headers has another type"))
}
