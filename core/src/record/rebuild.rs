//! A batch of which only some records stay, as Kafka's log cleaner leaves it (KIP-534 for its tombstones).
//!
//! Must not know which records stay, or why. Invariants: the batch keeps its offsets, its producer and its codec; each record
//! that stays keeps its offset, its time, key, value and headers; what cannot be read back is never given out.

use bytes::{BufMut, Bytes, BytesMut};

use super::write::{put_record, record_bytes};
use super::{
    BATCH_HEADER_BYTES, BadBatch, BatchHeader, CRC_AT, CRC_FROM, Codec, DELETE_HORIZON, LENGTH_FROM, Record,
    records,
};

/// The batch with these records alone, at least one, in order. `horizon_ms`: when its tombstones may go.
///
/// # Errors
/// [`BadBatch`] if what would come of it cannot be read back as the same.
pub fn rebuild(batch: &BatchHeader, kept: &[Record], horizon_ms: Option<i64>) -> Result<Bytes, BadBatch> {
    let (Some(first), Some(latest)) = (kept.first(), kept.iter().map(|record| record.timestamp).max()) else {
        return Err(BadBatch::Inconsistent("a batch of no records"));
    };
    // Where a horizon is set it stands in the place of the first record's time, and the others count from there.
    let base_timestamp = horizon_ms.unwrap_or(first.timestamp);
    let max_timestamp = if batch.append_time() { batch.max_timestamp } else { latest };
    let body = encode(kept, base_timestamp)?;
    let codec = batch.codec()?;
    let folded = codec.fold(&body)?;
    let (codec, body) = match folded.len() < body.len() {
        true => (codec, folded),
        false => (Codec::None, body),
    };
    let horizon = if horizon_ms.is_some() { DELETE_HORIZON } else { 0 };
    let attributes = (batch.attributes & !(DELETE_HORIZON | 0x07)) | codec.bits() | horizon;
    let records_kept = kept.len() as u32;
    let header = BatchHeader { attributes, base_timestamp, max_timestamp, records: records_kept, ..*batch };
    let rebuilt = assemble(header, &body);
    if records(&rebuilt)? != kept {
        return Err(BadBatch::Inconsistent(
            "a batch that was compacted does not read as what it was made of",
        ));
    }
    Ok(rebuilt)
}

/// A batch without records, which keeps the place of those that are gone: its one offset is `offset`.
pub fn empty(offset: i64, max_timestamp: i64) -> (BatchHeader, Bytes) {
    let header = BatchHeader {
        base_offset: offset,
        bytes: BATCH_HEADER_BYTES,
        attributes: 0,
        offsets: 1,
        base_timestamp: max_timestamp,
        max_timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records: 0,
        crc: 0,
    };
    let bytes = assemble(header, &[]);
    let crc =
        bytes.get(CRC_AT..).and_then(|from| from.first_chunk()).map_or(0, |crc| u32::from_be_bytes(*crc));
    (BatchHeader { crc, ..header }, bytes)
}

/// A whole batch, whose header has everything but its bytes and its CRC.
fn assemble(header: BatchHeader, body: &[u8]) -> Bytes {
    let bytes = BATCH_HEADER_BYTES + body.len();
    let mut out = BytesMut::with_capacity(bytes);
    put_header(&mut out, &BatchHeader { bytes, ..header });
    out.put_slice(body);
    put_crc(&mut out);
    out.freeze()
}

/// The bytes before the records. The CRC is left out until they are there: [`put_crc`].
pub(super) fn put_header(out: &mut BytesMut, header: &BatchHeader) {
    out.put_i64(header.base_offset);
    out.put_i32((header.bytes - LENGTH_FROM) as i32);
    out.put_i32(0);
    out.put_i8(2);
    out.put_u32(0);
    out.put_i16(header.attributes);
    out.put_u32(header.offsets - 1);
    out.put_i64(header.base_timestamp);
    out.put_i64(header.max_timestamp);
    out.put_i64(header.producer_id);
    out.put_i16(header.producer_epoch);
    out.put_i32(header.base_sequence);
    out.put_i32(header.records as i32);
}

/// Fills in the CRC of a batch that is whole otherwise; also gives it.
pub(super) fn put_crc(out: &mut BytesMut) -> u32 {
    let crc = crc32c::crc32c(out.get(CRC_FROM..).unwrap_or_default());
    if let Some(place) = out.get_mut(CRC_AT..CRC_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    crc
}

fn encode(kept: &[Record], base_timestamp: i64) -> Result<Vec<u8>, BadBatch> {
    let mut body = BytesMut::new();
    for record in kept {
        let deltas = [record.timestamp.wrapping_sub(base_timestamp), i64::from(record.offset_delta)];
        let parts = [record.key.as_deref(), record.value.as_deref()];
        let length = record_bytes(deltas, parts, &record.headers);
        put_record(&mut body, length, deltas, parts, &record.headers);
    }
    match i32::try_from(BATCH_HEADER_BYTES + body.len()) {
        Ok(_) => Ok(body.into()),
        Err(_) => Err(BadBatch::Length("longer than a batch may be")),
    }
}

#[cfg(test)]
mod tests;
