//! A checked view over Kafka's RecordBatch v2 (KIP-98): header, CRC32C, counts; and the records inside, one by one.
//!
//! Must not know partitions or requests. A [`BatchHeader`] exists only for bytes whose length, magic and counts hold;
//! batches are never re-encoded, records are read only where somebody asks for a single one.

mod compose;
mod rebuild;
mod codec;
mod read;
mod write;

pub use codec::Codec;
pub use compose::{Row, compose};
pub use read::{Header, Outline, Record, RecordBuilder, outlines, records, timestamps};
pub use rebuild::{empty, rebuild};

use bytes::{BufMut, Bytes, BytesMut};

use crate::limits::{MAX_RECORDS_PER_BATCH, MAX_TOPIC_NAME_CHARS};
use crate::rope::Rope;

/// Bytes of the batch that [`marker`] makes.
pub const MARKER_BYTES: u32 = 78;
/// Bytes of a batch before its records.
pub const BATCH_HEADER_BYTES: usize = 61;
/// The CRC covers a batch from here to its end; what lies before may be rewritten freely.
pub(crate) const CRC_FROM: usize = 21;
/// Bytes of a batch that its length field does not count: base offset and the length itself.
const LENGTH_FROM: usize = 12;

/// Where the CRC, the attributes and the largest timestamp lie.
const CRC_AT: usize = 17;
const MAX_TIMESTAMP_AT: usize = 35;

const CONTROL: i16 = 0x20;
const TRANSACTIONAL: i16 = 0x10;
const APPEND_TIME: i16 = 0x08;
/// Its base timestamp is the time at which its tombstones may go (KIP-534).
const DELETE_HORIZON: i16 = 0x40;

/// The fixed fields of one record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, as written by whoever wrote these bytes.
    pub base_offset: i64,
    /// Bytes of the whole batch, this header included.
    pub bytes: usize,
    /// Codec, timestamp type, transactional and control bits.
    pub attributes: i16,
    /// Offsets that the batch takes.
    pub offsets: u32,
    /// Timestamp of the first record, milliseconds, unless the batch was compacted.
    pub base_timestamp: i64,
    /// Largest timestamp, milliseconds.
    pub max_timestamp: i64,
    /// -1: not idempotent.
    pub producer_id: i64,
    /// Epoch of the producer id.
    pub producer_epoch: i16,
    /// Sequence number of the first record.
    pub base_sequence: i32,
    /// Records in it; fewer than `offsets` only after compaction.
    pub records: u32,
    /// CRC32C as stored.
    pub crc: u32,
}

/// Why some bytes are not a batch that the log takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// The bytes end before the batch does, or go on after it.
    #[error("{0}")]
    Length(&'static str),
    /// Message formats before v2 are not taken.
    #[error("message format v{0}, only v2 is taken: use a client of Kafka 0.11 or later")]
    Magic(i8),
    /// The bytes changed on the way.
    #[error("CRC32C {stored:08x} stored, {actual:08x} computed")]
    Crc {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        actual: u32,
    },
    /// The fields contradict each other.
    #[error("{0}")]
    Inconsistent(&'static str),
    /// A codec that Kafka does not define.
    #[error("unknown compression codec {0}")]
    Codec(u8),
    /// The records do not decode.
    #[error("{0}")]
    Records(String),
}

impl BatchHeader {
    /// Reads the header at `at`. The batch must end inside `rope`; its CRC is not looked at.
    pub fn at(rope: &Rope, at: usize) -> Result<BatchHeader, BadBatch> {
        let header: [u8; BATCH_HEADER_BYTES] =
            rope.array(at).ok_or(BadBatch::Length("shorter than the header of a batch"))?;
        let batch = BatchHeader::parse(&header)?;
        if at.checked_add(batch.bytes).is_none_or(|end| end > rope.len()) {
            return Err(BadBatch::Length("the batch ends before its length says"));
        }
        Ok(batch)
    }

    /// Checks everything that a producer's batch must hold: it fills `bytes` exactly, its CRC, counts, codec, no control bit.
    pub fn check(bytes: &[u8]) -> Result<BatchHeader, BadBatch> {
        let header = bytes.first_chunk().ok_or(BadBatch::Length("shorter than the header of a batch"))?;
        let batch = BatchHeader::parse(header)?;
        if batch.bytes != bytes.len() {
            return Err(BadBatch::Length("the length of the batch is not the length of its bytes"));
        }
        let actual = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
        if actual != batch.crc {
            return Err(BadBatch::Crc { stored: batch.crc, actual });
        }
        batch.check_fields()?;
        Ok(batch)
    }

    /// Reads the fixed fields alone. Neither the end of the batch nor its CRC is looked at.
    pub(crate) fn parse(header: &[u8; BATCH_HEADER_BYTES]) -> Result<BatchHeader, BadBatch> {
        let mut fields = Fields(header);
        let base_offset = i64::from_be_bytes(fields.take());
        let length = i32::from_be_bytes(fields.take());
        let _leader_epoch: [u8; 4] = fields.take();
        let magic = i8::from_be_bytes(fields.take());
        if magic != 2 {
            return Err(BadBatch::Magic(magic));
        }
        let crc = u32::from_be_bytes(fields.take());
        let attributes = i16::from_be_bytes(fields.take());
        let last_offset_delta = i32::from_be_bytes(fields.take());
        let base_timestamp = i64::from_be_bytes(fields.take());
        let max_timestamp = i64::from_be_bytes(fields.take());
        let producer_id = i64::from_be_bytes(fields.take());
        let producer_epoch = i16::from_be_bytes(fields.take());
        let base_sequence = i32::from_be_bytes(fields.take());
        let records = i32::from_be_bytes(fields.take());
        let bytes = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH_FROM));
        let bytes = bytes
            .filter(|bytes| *bytes >= BATCH_HEADER_BYTES)
            .ok_or(BadBatch::Length("the length of the batch is below that of its header"))?;
        let offsets = u32::try_from(last_offset_delta)
            .ok()
            .and_then(|delta| delta.checked_add(1))
            .ok_or(BadBatch::Inconsistent("a negative last offset"))?;
        let records =
            u32::try_from(records).map_err(|_| BadBatch::Inconsistent("a negative number of records"))?;
        Ok(BatchHeader {
            base_offset,
            bytes,
            attributes,
            offsets,
            base_timestamp,
            max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            records,
            crc,
        })
    }

    fn check_fields(&self) -> Result<(), BadBatch> {
        if self.records == 0 || self.records != self.offsets {
            return Err(BadBatch::Inconsistent(
                "the number of records is not the last offset delta plus one",
            ));
        }
        if self.records > MAX_RECORDS_PER_BATCH {
            return Err(BadBatch::Inconsistent("more records than a batch may have"));
        }
        // A record has at least a length, attributes, two deltas, key, value and header counts: seven bytes.
        if self.codec()? == Codec::None
            && (self.records as usize).saturating_mul(7) > self.bytes - BATCH_HEADER_BYTES
        {
            return Err(BadBatch::Inconsistent("more records than its bytes can hold"));
        }
        if self.attributes & CONTROL != 0 {
            return Err(BadBatch::Inconsistent("a producer may not write control batches"));
        }
        if self.producer_id >= 0 && (self.producer_epoch < 0 || self.base_sequence < 0) {
            return Err(BadBatch::Inconsistent("a producer id without an epoch or a sequence number"));
        }
        if self.producer_id < -1 {
            return Err(BadBatch::Inconsistent("a negative producer id"));
        }
        Ok(())
    }

    /// How the records are compressed.
    pub fn codec(&self) -> Result<Codec, BadBatch> {
        Codec::of(self.attributes)
    }

    /// Part of a transaction.
    pub fn transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// All of its records have the largest timestamp, whatever they say themselves.
    pub fn append_time(&self) -> bool {
        self.attributes & APPEND_TIME != 0
    }

    /// The timestamp of the record at the base offset. `None`: only the records tell, or whether there is one.
    pub fn first_timestamp(&self) -> Option<i64> {
        let whole = self.records == self.offsets && self.delete_horizon_ms().is_none();
        whole.then_some(if self.append_time() { self.max_timestamp } else { self.base_timestamp })
    }

    /// When the tombstones in it may go, milliseconds, if that was decided (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Written by a coordinator, not by a producer.
    pub fn control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Takes fixed-size fields off the front of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            // The header has room for all of its fields: reached only if this file contradicts itself.
            None => [0; N],
        }
    }
}

/// Checks the CRC of the batch at `at`, whose header is `batch`.
pub fn crc_holds(rope: &Rope, at: usize, batch: &BatchHeader) -> bool {
    rope.slice(at + CRC_FROM..at + batch.bytes).is_some_and(|body| body.crc32c() == batch.crc)
}

/// Appends a batch as a consumer must see it: base offset patched, leader epoch 0, everything else untouched and uncopied.
///
/// `None` if the batch does not lie in the rope.
pub fn stamp(
    rope: &Rope,
    at: usize,
    batch: &BatchHeader,
    base_offset: i64,
    into: &mut Vec<Bytes>,
) -> Option<()> {
    let mut prefix = [0; 16];
    let (offset, rest) = prefix.split_at_mut(8);
    offset.copy_from_slice(&base_offset.to_be_bytes());
    rest.get_mut(..4)?.copy_from_slice(&rope.array::<4>(at + 8)?);
    into.push(Bytes::copy_from_slice(&prefix));
    rope.slice_into(at + 16..at + batch.bytes, into)
}

/// A copy of the whole batch whose records have the time `at_ms` (`LogAppendTime`): timestamp type, largest timestamp and
/// CRC are new, what the records say themselves stays.
///
/// # Errors
/// [`BadBatch::Length`] if the bytes are shorter than a header.
pub fn stamp_append_time(batch: &[u8], at_ms: i64) -> Result<Bytes, BadBatch> {
    let fixed = batch.first_chunk().ok_or(BadBatch::Length("shorter than the header of a batch"))?;
    let attributes = BatchHeader::parse(fixed)?.attributes | APPEND_TIME;
    let part = |range: std::ops::Range<usize>| batch.get(range).unwrap_or_default();
    let mut stamped = BytesMut::with_capacity(batch.len());
    stamped.put_slice(part(0..CRC_AT));
    stamped.put_u32(0);
    stamped.put_i16(attributes);
    stamped.put_slice(part(CRC_FROM + 2..MAX_TIMESTAMP_AT));
    stamped.put_i64(at_ms);
    stamped.put_slice(part(MAX_TIMESTAMP_AT + 8..batch.len()));
    let crc = crc32c::crc32c(stamped.get(CRC_FROM..).unwrap_or_default());
    if let Some(place) = stamped.get_mut(CRC_AT..CRC_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    Ok(stamped.freeze())
}

/// The control batch that ends a transaction in a partition (KIP-98): no producer wrote it, and consumers skip it.
pub fn marker(producer_id: i64, epoch: i16, commit: bool, timestamp_ms: i64) -> Bytes {
    const VERSION: [u8; 2] = [0, 0];
    const COORDINATOR_EPOCH: [u8; 4] = [0; 4];
    let key = [VERSION, i16::from(commit).to_be_bytes()].concat();
    let value = [VERSION.as_slice(), &COORDINATOR_EPOCH].concat();
    let mut builder = RecordBuilder::default();
    builder.push(timestamp_ms, Some(&key), Some(&value));
    builder.finish_with(CONTROL | TRANSACTIONAL, (producer_id, epoch), -1)
}

/// Kafka's rule for topic names: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
pub fn validate_topic_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    !name.is_empty()
        && name.len() <= MAX_TOPIC_NAME_CHARS
        && name != "."
        && name != ".."
        && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
