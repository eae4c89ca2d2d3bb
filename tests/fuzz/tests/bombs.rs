//! Batches that are small on the wire and very large inside: what a node does with them for a client takes no memory.
//!
//! Owns the one thing that mutation does not find in a few seconds. Must not know who asks for timestamps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;

use strandline_core::record::{BATCH_HEADER_BYTES, BatchHeader, RecordBuilder, timestamps};

/// Headers of the one record, two bytes each.
const HEADERS: usize = 8_000_000;

/// One record with many empty headers, compressed.
fn bomb() -> Vec<u8> {
    let count = [
        0x80 | (HEADERS << 1) as u8,
        0x80 | (HEADERS >> 6) as u8,
        0x80 | (HEADERS >> 13) as u8,
        (HEADERS >> 20) as u8,
    ];
    let mut record = vec![0, 0, 0, 1, 1];
    record.extend(count);
    record.extend([0, 1].repeat(HEADERS));
    let length = record.len() << 1;
    let mut body = vec![
        0x80 | length as u8,
        0x80 | (length >> 7) as u8,
        0x80 | (length >> 14) as u8,
        (length >> 21) as u8,
    ];
    body.extend(record);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&body).unwrap();
    let mut builder = RecordBuilder::default();
    builder.push(7, None, None);
    let mut batch = builder.finish()[..BATCH_HEADER_BYTES].to_vec();
    batch.extend(gzip.finish().unwrap());
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = 1;
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn looking_for_a_timestamp_takes_no_memory() {
    let batch = bomb();
    assert!(BatchHeader::check(&batch).is_ok(), "a client could not even send it");
    assert!(batch.len() < 32 << 10, "{} bytes", batch.len());
    let mut found = Vec::with_capacity(1);
    let info = allocation_counter::measure(|| found.extend(timestamps(&batch).unwrap().map(Result::unwrap)));
    assert_eq!(found, [(0, 7)]);
    println!("{} bytes on the wire, {} inside, {} held", batch.len(), 2 * HEADERS, info.bytes_max);
    assert!(info.bytes_max < 1 << 18, "{} bytes held", info.bytes_max);
}
