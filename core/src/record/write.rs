//! Records as they stand in an uncompressed batch: lengths, deltas, parts.
//!
//! Must not know batches. Invariant: what is counted is what is written.

use bytes::{BufMut, BytesMut};

/// Appends a record of as many bytes as [`record_bytes`] says. `deltas`: of its timestamp and its offset from those of the
/// batch; then key and value.
pub(super) fn put_record<B: AsRef<[u8]>>(
    into: &mut BytesMut,
    length: usize,
    deltas: [i64; 2],
    parts: [Option<&[u8]>; 2],
    headers: &[(B, Option<B>)],
) {
    put_varint(into, length as i64);
    into.put_u8(0);
    deltas.into_iter().for_each(|delta| put_varint(into, delta));
    parts.into_iter().for_each(|part| put_part(into, part));
    put_varint(into, headers.len() as i64);
    for (name, value) in headers {
        put_part(into, Some(name.as_ref()));
        put_part(into, value.as_ref().map(B::as_ref));
    }
}

/// Bytes of a record behind its length.
pub(super) fn record_bytes<B: AsRef<[u8]>>(
    deltas: [i64; 2],
    parts: [Option<&[u8]>; 2],
    headers: &[(B, Option<B>)],
) -> usize {
    let header = |(name, value): &(B, Option<B>)| {
        part_bytes(Some(name.as_ref())) + part_bytes(value.as_ref().map(B::as_ref))
    };
    1 + deltas.into_iter().map(varint_bytes).sum::<usize>()
        + parts.into_iter().map(part_bytes).sum::<usize>()
        + varint_bytes(headers.len() as i64)
        + headers.iter().map(header).sum::<usize>()
}

/// Bytes of a zigzag varint: seven bits in each.
pub(super) fn varint_bytes(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_varint(into: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.put_u8(rest as u8);
}

/// A key, a value, or a part of a header: its length, -1 for none, and its bytes.
fn put_part(into: &mut BytesMut, part: Option<&[u8]>) {
    put_varint(into, part.map_or(-1, |part| part.len() as i64));
    into.put_slice(part.unwrap_or_default());
}

fn part_bytes(part: Option<&[u8]>) -> usize {
    part.map_or(1, |part| varint_bytes(part.len() as i64) + part.len())
}
