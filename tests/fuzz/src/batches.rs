//! Record batches: the view over them, their records, their compression.
//!
//! Must not know partitions. The bytes are looked at as they are, and once more with length and checksum set right.

use bytes::Bytes;
use strandline_core::record::{self, BATCH_HEADER_BYTES, BatchHeader, Codec, Record};
use strandline_core::rope::Rope;
use strandline_kafka::codec::Records;

use crate::memory::Bound;
use crate::seal;

/// Compressed bytes are unfolded so far and no further: what lies beyond takes time and shows nothing new.
const MOST_UNFOLDED: usize = 1 << 16;
/// The header of a record takes two bytes on the wire and 64 in memory; a vector of them that grows holds three times as
/// much.
const RECORDS: Bound = Bound { fixed: 4_096, per_byte: 96 };
/// A buffer to read through; Snappy is held whole.
const TIMESTAMPS: Bound = Bound { fixed: 16_384, per_byte: 64 };

/// Windows and tables of the decompressors, and the result, which grows by doubling.
fn unfolding(codec: Codec) -> Bound {
    let window = match codec {
        Codec::None | Codec::Snappy => 0,
        Codec::Gzip => 1 << 16,
        // Blocks of up to 8 MiB, in two buffers.
        Codec::Lz4 => 17 << 20,
        Codec::Zstd => 4 << 20,
    };
    Bound { fixed: 4 * MOST_UNFOLDED + window, per_byte: 8 }
}

/// Any bytes as a run of record batches.
pub fn batch(data: &[u8]) {
    look(Bytes::copy_from_slice(data));
    if let Some(sealed) = seal::batch(data) {
        look(sealed.into());
    }
}

/// Compressed bytes; the first byte chooses the codec.
pub fn unfold(data: &[u8]) {
    let Some((codec, bytes)) = data.split_first() else { return };
    let Ok(codec) = Codec::of(i16::from(codec % 5)) else { return };
    let unfolded = unfolding(codec)
        .hold(&format!("unfolding {codec:?}"), bytes.len(), || codec.unfold_within(bytes, MOST_UNFOLDED));
    if let Ok(unfolded) = unfolded {
        assert!(codec == Codec::None || unfolded.len() <= MOST_UNFOLDED, "{} bytes", unfolded.len());
    }
}

fn look(run: Bytes) {
    let whole = Rope::from(run.clone());
    let cut = 1 + run.first().copied().map_or(0, usize::from);
    let records = Records::from(run.chunks(cut).map(Bytes::copy_from_slice).collect::<Vec<_>>());
    assert_eq!(records.len(), run.len());
    let pieces = Rope::new(records.into_parts());
    assert_eq!(pieces.crc32c(), whole.crc32c());
    let mut at = 0;
    loop {
        let header = BatchHeader::at(&whole, at);
        assert_eq!(header, BatchHeader::at(&pieces, at), "at {at}, in pieces of {cut}");
        let Ok(header) = header else { break };
        let bytes = run.slice(at..at + header.bytes);
        assert_eq!(record::crc_holds(&pieces, at, &header), crc32c::crc32c(&bytes[21..]) == header.crc);
        let mut stamped = Vec::new();
        record::stamp(&pieces, at, &header, i64::MAX - 1, &mut stamped).unwrap();
        let stamped = stamped.concat();
        assert_eq!((&stamped[8..12], &stamped[12..16]), (&bytes[8..12], &[0; 4][..]));
        assert_eq!((&stamped[..8], &stamped[16..]), (&(i64::MAX - 1).to_be_bytes()[..], &bytes[16..]));
        read(&header, bytes);
        at += header.bytes;
    }
    if let Ok(header) = BatchHeader::check(&run) {
        assert_eq!((header.bytes, Ok(header)), (run.len(), BatchHeader::at(&whole, 0)));
    }
}

fn read(header: &BatchHeader, bytes: Bytes) {
    let Ok(codec) = header.codec() else { return };
    let body = match codec {
        Codec::None => bytes.len(),
        codec => match codec.unfold_within(&bytes[BATCH_HEADER_BYTES..], MOST_UNFOLDED) {
            Ok(unfolded) => unfolded.len(),
            Err(_) => return,
        },
    };
    let fixed = if codec == Codec::None { 0 } else { unfolding(codec).fixed };
    let bound = |bound: Bound| Bound { fixed: fixed + bound.fixed, ..bound };
    let timestamps = bound(TIMESTAMPS).hold("timestamps", bytes.len(), || {
        record::timestamps(&bytes).and_then(|mut all| all.try_for_each(|found| found.map(drop)))
    });
    let Ok(found) = bound(RECORDS).hold("records", body, || record::records(&bytes)) else { return };
    assert_eq!(found.len(), header.records as usize);
    let in_range = |record: &Record| (0..i64::from(header.offsets)).contains(&record.offset_delta.into());
    assert_eq!(timestamps.is_ok(), found.iter().all(in_range));
    if timestamps.is_ok() {
        let all = record::timestamps(&bytes).unwrap().map(Result::unwrap);
        assert!(all.eq(found.iter().map(|record| (record.offset_delta, record.timestamp))));
    }
}
