#![allow(clippy::unwrap_used)]
use super::*;

fn batch(records: &[(&str, &str)]) -> Bytes {
    let mut builder = RecordBuilder::default();
    for (at, (key, value)) in records.iter().enumerate() {
        builder.push(1_000 + at as i64, Some(key.as_bytes()), Some(value.as_bytes()));
    }
    builder.finish()
}

#[test]
fn a_batch_that_was_built_checks_and_reads_back() {
    let bytes = batch(&[("a", "one"), ("b", "two")]);
    let header = BatchHeader::check(&bytes).unwrap();
    assert_eq!(
        (header.offsets, header.records, header.base_timestamp, header.max_timestamp),
        (2, 2, 1_000, 1_001)
    );
    let read = records(&bytes).unwrap();
    assert_eq!(read[1].value.as_deref(), Some(&b"two"[..]));
    assert_eq!((read[1].offset_delta, read[1].timestamp), (1, 1_001));
}

/// As Kafka's own: one record, whose key is version and type, and whose value is version and coordinator epoch.
#[test]
fn a_marker_is_the_control_batch_that_consumers_skip() {
    for (commit, kind) in [(false, 0), (true, 1)] {
        let bytes = marker(77, 3, commit, 1_234);
        assert_eq!(bytes.len(), MARKER_BYTES as usize);
        let header = BatchHeader::at(&Rope::from(bytes.clone()), 0).unwrap();
        assert!(
            crc_holds(&Rope::from(bytes.clone()), 0, &header) && header.control() && header.transactional()
        );
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 3, -1));
        assert_eq!((header.offsets, header.records, header.max_timestamp), (1, 1, 1_234));
        let read = records(&bytes).unwrap();
        assert_eq!(read[0].key.as_deref(), Some(&[0, 0, 0, kind][..]));
        assert_eq!(read[0].value.as_deref(), Some(&[0; 6][..]));
        assert!(BatchHeader::check(&bytes).is_err(), "no producer may write one");
    }
}

/// Whatever single bit flips after the length field, the batch is refused: the base offset and the leader epoch are ours
/// to rewrite, everything else is covered by a check.
#[test]
fn no_flipped_bit_is_taken() {
    let good = batch(&[("key", "value"), ("key", "other")]);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let rewritable = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        assert_eq!(BatchHeader::check(&bytes).is_ok(), rewritable, "bit {bit}");
    }
}

/// Timestamps alone say the same as whole records, also where these are compressed.
#[test]
fn timestamps_are_those_of_the_records() {
    let plain = batch(&[("a", "one"), ("b", "two"), ("c", "three")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, &plain[BATCH_HEADER_BYTES..]).unwrap();
    let mut folded = [&plain[..BATCH_HEADER_BYTES], &gzip.finish().unwrap()].concat();
    let length = folded.len() as i32 - LENGTH_FROM as i32;
    folded[8..12].copy_from_slice(&length.to_be_bytes());
    folded[22] = 1;
    for bytes in [plain, folded.into()] {
        let expected: Vec<_> =
            records(&bytes).unwrap().iter().map(|record| (record.offset_delta, record.timestamp)).collect();
        let found: Vec<_> = timestamps(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!((found, expected.len()), (expected, 3));
        // The batch takes fewer offsets than its records say.
        let mut lying = bytes.to_vec();
        lying[23..27].copy_from_slice(&0_i32.to_be_bytes());
        assert!(timestamps(&lying).unwrap().nth(1).unwrap().is_err());
        assert!(timestamps(&bytes[..bytes.len() - 1]).is_err());
    }
}

/// The time at which a batch joins takes the place of those that its records carry, and nothing else changes.
#[test]
fn the_append_time_is_stamped_over_what_records_say() {
    let bytes = batch(&[("a", "one"), ("b", "two")]);
    let stamped = stamp_append_time(&bytes, 7_000).unwrap();
    let (before, header) = (BatchHeader::check(&bytes).unwrap(), BatchHeader::check(&stamped).unwrap());
    assert_eq!(
        (header.append_time(), header.first_timestamp(), header.max_timestamp),
        (true, Some(7_000), 7_000)
    );
    assert_eq!((before.append_time(), before.first_timestamp()), (false, Some(1_000)));
    let expected = BatchHeader { attributes: 8, max_timestamp: 7_000, crc: header.crc, ..before };
    assert_eq!(header, expected);
    assert_eq!(stamped[BATCH_HEADER_BYTES..], bytes[BATCH_HEADER_BYTES..]);
    let read = records(&stamped).unwrap();
    assert_eq!(read.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [7_000, 7_000]);
    assert!(stamp_append_time(&bytes[..60], 7_000).is_err());
}

#[test]
fn outlines_tell_who_has_a_key() {
    let mut builder = RecordBuilder::default();
    for key in [Some(&b"k"[..]), None, Some(b"")] {
        builder.push(1_000, key, None);
    }
    let batch = builder.finish();
    let keyed = outlines(&batch).unwrap().map(|record| record.unwrap().keyed);
    assert_eq!(keyed.collect::<Vec<_>>(), [true, false, true], "an empty key is one");
}

/// Lies about counts get an error, whatever the CRC says.
#[test]
fn contradictions_are_refused() {
    for (at, value) in [(23, 7_i32), (57, 7), (57, i32::MAX), (23, -1), (57, -1)] {
        let mut bytes = batch(&[("key", "value")]).to_vec();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(BatchHeader::check(&bytes), Err(BadBatch::Inconsistent(_))), "{at} {value}");
        let _ = records(&Bytes::from(bytes));
    }
}

/// Stamping changes the base offset and nothing that a consumer checks, also where the batch lies in many pieces.
#[test]
fn stamping_keeps_the_batch_whole() {
    let bytes = batch(&[("a", "one"), ("b", "two")]);
    for cut in 1..bytes.len() {
        let rope = Rope::new([bytes.slice(..cut), bytes.slice(cut..)]);
        let header = BatchHeader::at(&rope, 0).unwrap();
        assert!(crc_holds(&rope, 0, &header));
        let mut out = Vec::new();
        stamp(&rope, 0, &header, 4_711, &mut out).unwrap();
        let out = Rope::new(out).to_bytes();
        let stamped = BatchHeader::check(&out).unwrap();
        assert_eq!((stamped.base_offset, out.len()), (4_711, bytes.len()));
        assert_eq!(records(&out).unwrap(), records(&bytes).unwrap());
    }
}

/// A codec's claim about its size is not believed.
#[test]
fn a_bomb_does_not_unfold() {
    // Raw snappy that claims 4 GiB - 1.
    assert!(Codec::Snappy.unfold(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).is_err());
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd, Codec::Snappy] {
        assert!(codec.unfold(b"compressed garbage, nothing that any codec would take").is_err(), "{codec:?}");
    }
}

#[test]
fn topic_names_follow_kafka() {
    for good in ["a", "A.b_c-9", &"x".repeat(249)] {
        assert!(validate_topic_name(good), "{good}");
    }
    for bad in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
        assert!(!validate_topic_name(bad), "{bad}");
    }
}
