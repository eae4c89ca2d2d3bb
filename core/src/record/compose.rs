//! Rows as Kafka's record batches: what was taken apart into columns becomes what a consumer reads.
//!
//! Must not know where rows come from. Invariants: each row keeps its offset, its time and the type of it, key, value and
//! headers; the producer, its transaction and its codec are gone.

use bytes::{BufMut, Bytes, BytesMut};

use super::read::{Header, put_varint};
use super::rebuild::{put_crc, put_header, put_part};
use super::{APPEND_TIME, BATCH_HEADER_BYTES, BadBatch, BatchHeader};

/// The length of a batch is a signed field of four bytes.
const MAX_BATCH_BYTES: usize = i32::MAX as usize;

/// One record with its place in its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, any value.
    pub timestamp: i64,
    /// The timestamp is that of the log (`LogAppendTime`), not of the producer.
    pub append_time: bool,
    /// The key, if there is one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone on compacted topics.
    pub value: Option<Bytes>,
    /// Headers in order, duplicates kept.
    pub headers: Vec<Header>,
}

/// The rows as uncompressed batches without a producer, each with its real base offset. A batch takes at most `most_bytes`
/// unless it has a single row, and is cut where the type of the time changes, or the time of the log itself.
///
/// # Errors
/// [`BadBatch`] if offsets are negative or do not ascend, or a row is longer than a batch may be.
pub fn compose(rows: &[Row], most_bytes: usize) -> Result<Vec<(BatchHeader, Bytes)>, BadBatch> {
    if rows.first().is_some_and(|row| row.offset < 0) || !rows.is_sorted_by(|a, b| a.offset < b.offset) {
        return Err(BadBatch::Inconsistent("offsets that do not ascend from zero on"));
    }
    let mut batches = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let cut = Cut::of(first, rest, most_bytes);
        let (now, later) = rest.split_at_checked(cut.rows.max(1)).unwrap_or((rest, &[]));
        batches.push(batch(first, now, &cut)?);
        rest = later;
    }
    Ok(batches)
}

/// How many rows the next batch has, and what follows from them.
struct Cut {
    rows: usize,
    bytes: usize,
    max_timestamp: i64,
    /// Of the last row.
    delta: u32,
}

impl Cut {
    fn of(first: &Row, rows: &[Row], most_bytes: usize) -> Cut {
        let mut cut = Cut { rows: 0, bytes: BATCH_HEADER_BYTES, max_timestamp: first.timestamp, delta: 0 };
        for row in rows {
            let same_type = row.append_time == first.append_time;
            let same_time = !first.append_time || row.timestamp == first.timestamp;
            let Some(deltas) = Deltas::of(first, row).filter(|_| same_type && same_time) else { break };
            let length = record_bytes(row, &deltas);
            let bytes = cut.bytes.saturating_add(varint_bytes(length as i64)).saturating_add(length);
            if cut.rows > 0 && bytes > most_bytes.min(MAX_BATCH_BYTES) {
                break;
            }
            let max_timestamp = cut.max_timestamp.max(row.timestamp);
            cut = Cut { rows: cut.rows + 1, bytes, max_timestamp, delta: deltas.offset };
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
    fn of(first: &Row, row: &Row) -> Option<Deltas> {
        let offset = i32::try_from(row.offset.checked_sub(first.offset)?).ok()?;
        let offset = u32::try_from(offset).ok().filter(|_| offset < i32::MAX)?;
        Some(Deltas { offset, timestamp: row.timestamp.checked_sub(first.timestamp)? })
    }
}

fn batch(first: &Row, rows: &[Row], cut: &Cut) -> Result<(BatchHeader, Bytes), BadBatch> {
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
    for row in rows {
        let deltas = Deltas::of(first, row);
        let deltas = deltas.ok_or(BadBatch::Inconsistent("a batch that was cut too late"))?;
        put_varint(&mut out, record_bytes(row, &deltas) as i64);
        out.put_u8(0);
        put_varint(&mut out, deltas.timestamp);
        put_varint(&mut out, i64::from(deltas.offset));
        put_part(&mut out, row.key.as_deref());
        put_part(&mut out, row.value.as_deref());
        put_varint(&mut out, row.headers.len() as i64);
        for (key, value) in &row.headers {
            put_part(&mut out, Some(key));
            put_part(&mut out, value.as_deref());
        }
    }
    header.crc = put_crc(&mut out);
    Ok((header, out.freeze()))
}

/// Bytes of a record behind its length.
fn record_bytes(row: &Row, deltas: &Deltas) -> usize {
    let header = |(key, value): &Header| part_bytes(Some(key)) + part_bytes(value.as_ref());
    let headers: usize = row.headers.iter().map(header).sum();
    1 + varint_bytes(deltas.timestamp)
        + varint_bytes(i64::from(deltas.offset))
        + part_bytes(row.key.as_ref())
        + part_bytes(row.value.as_ref())
        + varint_bytes(row.headers.len() as i64)
        + headers
}

fn part_bytes(part: Option<&Bytes>) -> usize {
    part.map_or(1, |part| varint_bytes(part.len() as i64) + part.len())
}

/// Bytes of a zigzag varint: seven bits in each.
fn varint_bytes(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests;
