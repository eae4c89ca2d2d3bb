//! The records of one batch, one by one, and the smallest builder of an uncompressed batch.
//!
//! Must not know offsets in a partition beyond the batch's own base. Varints and counts are checked against the bytes
//! that are there; a record that lies ends the reading with an error.

use std::io::{BufRead, BufReader, Read};

use bytes::{BufMut, Bytes, BytesMut};

use super::write::{put_record, record_bytes};
use super::{BATCH_HEADER_BYTES, BadBatch, BatchHeader, Codec, TRANSACTIONAL};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Offset minus the base offset of its batch.
    pub offset_delta: i32,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The key, if there is one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone on compacted topics.
    pub value: Option<Bytes>,
    /// Headers in order, duplicates kept.
    pub headers: Vec<Header>,
}

/// One header of a record: its key, which need not be UTF-8, and its value.
pub type Header = (Bytes, Option<Bytes>);

/// Reads all records of one whole batch. At most `u32` of them, each backed by bytes.
pub fn records(batch: &Bytes) -> Result<Vec<Record>, BadBatch> {
    let fixed = batch.first_chunk().ok_or(BadBatch::Length("shorter than the header of a batch"))?;
    let header = BatchHeader::parse(fixed)?;
    if header.bytes != batch.len() {
        return Err(BadBatch::Length("the length of the batch is not the length of its bytes"));
    }
    let folded = batch.slice(BATCH_HEADER_BYTES..);
    let body = match header.codec()? {
        Codec::None => folded,
        codec => codec.unfold(&folded)?.into(),
    };
    let append_time = header.append_time().then_some(header.max_timestamp);
    let mut cursor = Cursor(body);
    let mut found = Vec::new();
    for _ in 0..header.records {
        let mut record = cursor
            .record(header.base_timestamp)
            .ok_or_else(|| BadBatch::Records("a record is cut off or contradicts itself".into()))?;
        record.timestamp = append_time.unwrap_or(record.timestamp);
        found.push(record);
    }
    Ok(found)
}

/// What can be told of a record without keeping any of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// Offset minus the base offset of its batch.
    pub offset_delta: i32,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Whether it has a key.
    pub keyed: bool,
}

/// Offset deltas and timestamps of the records of one whole batch, one after the other.
pub fn timestamps(batch: &[u8]) -> Result<impl Iterator<Item = Result<(i32, i64), BadBatch>> + '_, BadBatch> {
    let outline = |outline: Outline| (outline.offset_delta, outline.timestamp);
    Ok(outlines(batch)?.map(move |record| record.map(outline)))
}

/// The outlines of the records of one whole batch, one after the other. Nothing else of them is kept, so that a batch that
/// unfolds to very much takes no memory.
pub fn outlines(batch: &[u8]) -> Result<impl Iterator<Item = Result<Outline, BadBatch>> + '_, BadBatch> {
    let (fixed, folded) =
        batch.split_first_chunk().ok_or(BadBatch::Length("shorter than the header of a batch"))?;
    let header = BatchHeader::parse(fixed)?;
    if header.bytes != batch.len() {
        return Err(BadBatch::Length("the length of the batch is not the length of its bytes"));
    }
    let append_time = header.append_time().then_some(header.max_timestamp);
    let mut body = BufReader::new(header.codec()?.unfolding(folded)?);
    Ok((0..header.records).map(move |_| {
        let record = next_outline(&mut body, header.base_timestamp)
            .filter(|record| u32::try_from(record.offset_delta).is_ok_and(|delta| delta < header.offsets))
            .ok_or_else(|| BadBatch::Records("a record is cut off or contradicts itself".into()))?;
        Ok(Outline { timestamp: append_time.unwrap_or(record.timestamp), ..record })
    }))
}

/// The first fields of a record; the rest of it is skipped.
fn next_outline(body: &mut impl BufRead, base_timestamp: i64) -> Option<Outline> {
    let length = u64::try_from(read_varint(body)?).ok()?;
    let mut record = body.take(length);
    record.read_exact(&mut [0]).ok()?;
    let timestamp = base_timestamp.checked_add(read_varint(&mut record)?)?;
    let offset_delta = i32::try_from(read_varint(&mut record)?).ok()?;
    let keyed = read_varint(&mut record)? >= 0;
    std::io::copy(&mut record, &mut std::io::sink()).ok()?;
    (record.limit() == 0).then_some(Outline { offset_delta, timestamp, keyed })
}

/// Zigzag, at most ten bytes.
fn read_varint(from: &mut impl Read) -> Option<i64> {
    let mut value: u64 = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte).ok()?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

struct Cursor(Bytes);

impl Cursor {
    fn record(&mut self, base_timestamp: i64) -> Option<Record> {
        let length = usize::try_from(self.varint()?).ok()?;
        let mut body = Cursor(self.take(length)?);
        body.take(1)?;
        let timestamp = base_timestamp.checked_add(body.varint()?)?;
        let offset_delta = i32::try_from(body.varint()?).ok()?;
        let key = body.nullable()?;
        let value = body.nullable()?;
        let mut headers = Vec::new();
        for _ in 0..body.varint()? {
            headers.push((body.nullable()??, body.nullable()?));
        }
        Some(Record { offset_delta, timestamp, key, value, headers })
    }

    fn take(&mut self, n: usize) -> Option<Bytes> {
        (n <= self.0.len()).then(|| self.0.split_to(n))
    }

    /// `Some(None)` is null.
    fn nullable(&mut self) -> Option<Option<Bytes>> {
        match self.varint()? {
            -1 => Some(None),
            length => self.take(usize::try_from(length).ok()?).map(Some),
        }
    }

    /// Zigzag, at most ten bytes.
    fn varint(&mut self) -> Option<i64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }
}

/// Builds one uncompressed batch, for writers that are not Kafka clients.
#[derive(Debug, Default)]
pub struct RecordBuilder {
    body: BytesMut,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl RecordBuilder {
    /// Records so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// No record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, the batch's header included.
    pub fn bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.body.len()
    }

    /// Adds a record with a timestamp in milliseconds.
    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with::<&[u8]>(timestamp, key, value, &[]);
    }

    /// The same with headers: names and values.
    pub fn push_with<B: AsRef<[u8]>>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(B, Option<B>)],
    ) {
        if self.is_empty() {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let deltas = [timestamp.wrapping_sub(self.base_timestamp), i64::from(self.count)];
        let length = record_bytes(deltas, [key, value], headers);
        put_record(&mut self.body, length, deltas, [key, value], headers);
        self.count = self.count.saturating_add(1);
    }

    /// The batch, with base offset 0, as a producer without idempotence sends it. Starts anew.
    pub fn finish(&mut self) -> Bytes {
        self.finish_as(-1, -1, -1)
    }

    /// The batch of an idempotent producer.
    pub fn finish_as(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Bytes {
        self.finish_with(0, (producer_id, producer_epoch), base_sequence)
    }

    /// The same as part of a transaction of that producer.
    pub fn finish_in_transaction(&mut self, id: i64, epoch: i16, base_sequence: i32) -> Bytes {
        self.finish_with(TRANSACTIONAL, (id, epoch), base_sequence)
    }

    pub(super) fn finish_with(
        &mut self,
        attributes: i16,
        (producer_id, producer_epoch): (i64, i16),
        base_sequence: i32,
    ) -> Bytes {
        let RecordBuilder { body, count, base_timestamp, max_timestamp } = std::mem::take(self);
        let mut checked = BytesMut::with_capacity(BATCH_HEADER_BYTES + body.len());
        checked.put_i16(attributes);
        checked.put_i32(count - 1);
        checked.put_i64(base_timestamp);
        checked.put_i64(max_timestamp);
        checked.put_i64(producer_id);
        checked.put_i16(producer_epoch);
        checked.put_i32(base_sequence);
        checked.put_i32(count);
        checked.put_slice(&body);
        let mut batch = BytesMut::with_capacity(BATCH_HEADER_BYTES + body.len());
        batch.put_i64(0);
        batch.put_i32((BATCH_HEADER_BYTES - 12 + body.len()) as i32);
        batch.put_i32(0);
        batch.put_i8(2);
        batch.put_u32(crc32c::crc32c(&checked));
        batch.put_slice(&checked);
        batch.freeze()
    }
}
