//! Rows as Kafka's record batches: what was taken apart into columns becomes what a consumer reads.
//!
//! Must not know where rows come from. Invariants: each row keeps its offset, its time and the type of it, key, value and
//! headers; the producer, its transaction and its codec are gone.

use bytes::{Bytes, BytesMut};

use super::rebuild::{put_crc, put_header};
use super::write::{put_record, record_bytes, varint_bytes};
use super::{APPEND_TIME, BATCH_HEADER_BYTES, BadBatch, BatchHeader};

/// The length of a batch is a signed field of four bytes.
const MAX_BATCH_BYTES: usize = i32::MAX as usize;

/// One record with its place in its partition; `B`: its bytes, or a view of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<B = Bytes> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, any value.
    pub timestamp: i64,
    /// The timestamp is that of the log (`LogAppendTime`), not of the producer.
    pub append_time: bool,
    /// The key, if there is one.
    pub key: Option<B>,
    /// The value; none is a tombstone on compacted topics.
    pub value: Option<B>,
    /// Headers in order, duplicates kept.
    pub headers: Vec<(B, Option<B>)>,
}

/// The rows as uncompressed batches without a producer, each with its real base offset. A batch takes at most `most_bytes`
/// unless it has a single row, and is cut where the type of the time changes, or the time of the log itself.
///
/// # Errors
/// [`BadBatch`] if offsets are negative or do not ascend, or a row is longer than a batch may be.
pub fn compose<B: AsRef<[u8]>>(
    rows: &[Row<B>],
    most_bytes: usize,
) -> Result<Vec<(BatchHeader, Bytes)>, BadBatch> {
    if rows.first().is_some_and(|row| row.offset < 0) || !rows.is_sorted_by(|a, b| a.offset < b.offset) {
        return Err(BadBatch::Inconsistent("offsets that do not ascend from zero on"));
    }
    let mut batches = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let cut = Cut::of(first, rest, most_bytes);
        let (now, later) = rest.split_at_checked(cut.lengths.len().max(1)).unwrap_or((rest, &[]));
        batches.push(batch(first, now, &cut)?);
        rest = later;
    }
    Ok(batches)
}

/// Which rows the next batch has, and what follows from them.
struct Cut {
    /// Of each row, what follows behind its length.
    lengths: Vec<usize>,
    bytes: usize,
    max_timestamp: i64,
    /// Of the last row.
    delta: u32,
}

impl Cut {
    fn of<B: AsRef<[u8]>>(first: &Row<B>, rows: &[Row<B>], most_bytes: usize) -> Cut {
        let (lengths, bytes) = (Vec::new(), BATCH_HEADER_BYTES);
        let mut cut = Cut { lengths, bytes, max_timestamp: first.timestamp, delta: 0 };
        for row in rows {
            let same_type = row.append_time == first.append_time;
            let same_time = !first.append_time || row.timestamp == first.timestamp;
            let Some(deltas) = Deltas::of(first, row).filter(|_| same_type && same_time) else { break };
            let length = record_bytes([deltas.timestamp, i64::from(deltas.offset)], parts(row), &row.headers);
            let bytes = cut.bytes.saturating_add(varint_bytes(length as i64)).saturating_add(length);
            if !cut.lengths.is_empty() && bytes > most_bytes.min(MAX_BATCH_BYTES) {
                break;
            }
            cut.lengths.push(length);
            cut.bytes = bytes;
            cut.max_timestamp = cut.max_timestamp.max(row.timestamp);
            cut.delta = deltas.offset;
        }
        cut
    }
}

/// A row's place and time, from those of the first row of its batch.
struct Deltas {
    offset: u32,
    timestamp: i64,
}

impl Deltas {
    /// `None` if no batch can hold both.
    fn of<B>(first: &Row<B>, row: &Row<B>) -> Option<Deltas> {
        let offset = i32::try_from(row.offset.checked_sub(first.offset)?).ok()?;
        let offset = u32::try_from(offset).ok().filter(|_| offset < i32::MAX)?;
        Some(Deltas { offset, timestamp: row.timestamp.checked_sub(first.timestamp)? })
    }
}

fn batch<B: AsRef<[u8]>>(
    first: &Row<B>,
    rows: &[Row<B>],
    cut: &Cut,
) -> Result<(BatchHeader, Bytes), BadBatch> {
    if cut.bytes > MAX_BATCH_BYTES {
        return Err(BadBatch::Length("a record longer than a batch may be"));
    }
    let mut header = BatchHeader {
        base_offset: first.offset,
        bytes: cut.bytes,
        attributes: if first.append_time { APPEND_TIME } else { 0 },
        offsets: cut.delta + 1,
        base_timestamp: first.timestamp,
        max_timestamp: cut.max_timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records: rows.len() as u32,
        crc: 0,
    };
    let mut out = BytesMut::with_capacity(cut.bytes);
    put_header(&mut out, &header);
    for (row, length) in rows.iter().zip(&cut.lengths) {
        let deltas = Deltas::of(first, row);
        let deltas = deltas.ok_or(BadBatch::Inconsistent("a batch that was cut too late"))?;
        let deltas = [deltas.timestamp, i64::from(deltas.offset)];
        put_record(&mut out, *length, deltas, parts(row), &row.headers);
    }
    header.crc = put_crc(&mut out);
    Ok((header, out.freeze()))
}

/// Key and value.
fn parts<B: AsRef<[u8]>>(row: &Row<B>) -> [Option<&[u8]>; 2] {
    [&row.key, &row.value].map(|part| part.as_ref().map(B::as_ref))
}

#[cfg(test)]
mod tests;
