//! The rules that no message of today shows, and the edges of those that all share.

#![allow(unreachable_pub, reason = "the macro makes public structs")]

use bytes::Bytes;

use super::*;
use crate::error::{DecodeError, EncodeError};

message! {
    /// A message with one of everything.
    pub struct Everything {
        /// From v1.
        id: i16 [1..] = 7,
        /// A struct that may be null.
        cursor: Option<Cursor> [0.., null 1..],
        /// Bytes.
        blob: Bytes [0..],
        /// Tagged, from v2.
        note: Option<String> [2.., null 2.., tag 0],
        /// Tagged.
        list: Vec<i16> [1.., tag 3],
    }

    /// A struct that may be null.
    pub struct Cursor {
        /// A place.
        at: i8 [0..],
    }
}

fn encode(message: &Everything, flexible: bool, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::new(flexible);
    message.encode(&mut writer, version)?;
    Ok(writer.into_parts().concat())
}

fn decode(bytes: &[u8], flexible: bool, version: i16) -> Result<Everything, DecodeError> {
    Everything::decode(&mut Reader::new(Bytes::copy_from_slice(bytes), flexible), version)
}

#[test]
fn should_follow_versions_nulls_tags_and_defaults() {
    let full = Everything {
        id: 9,
        cursor: Some(Cursor { at: 5 }),
        blob: Bytes::from_static(b"xy"),
        note: Some("n".into()),
        list: vec![1],
    };
    assert_eq!(encode(&full, false, 0).unwrap(), [1, 5, 0, 0, 0, 2, b'x', b'y']);
    #[rustfmt::skip]
    let v2 = [
        0, 9, 1, 5, 0, 3, b'x', b'y', // id; cursor, which has no tagged fields; blob
        2, 0, 2, 2, b'n',             // two tagged fields: note
        3, 3, 2, 0, 1,                // and list
    ];
    assert_eq!(encode(&full, true, 2).unwrap(), v2);
    assert_eq!(decode(&v2, true, 2).unwrap(), full);
    // v1 has no note, so it neither writes nor reads it.
    assert_eq!(decode(&v2, true, 1).unwrap(), Everything { note: None, ..full.clone() });
    assert_eq!(encode(&full, true, 1).unwrap()[8..], [1, 3, 3, 2, 0, 1]);

    let empty = Everything::default();
    assert_eq!(empty.id, 7);
    assert_eq!(encode(&empty, true, 2).unwrap(), [0, 7, 0xff, 1, 0]);
    assert_eq!(decode(&[0, 7, 0xff, 1, 0], true, 2).unwrap(), empty);
    let field = "Everything.cursor";
    assert_eq!(encode(&empty, true, 0), Err(EncodeError::UnexpectedNull { field }));
    assert_eq!(decode(&[0xff, 1, 0], true, 0), Err(DecodeError::UnexpectedNull { field }));
}

#[test]
fn should_refuse_a_tagged_field_of_the_wrong_size() {
    let mut v2 = vec![0, 7, 0xff, 1, 1, 3, 4, 2, 0, 1, 0];
    assert!(matches!(decode(&v2, true, 2), Err(DecodeError::Malformed(_))));
    v2[6] = 2;
    assert!(matches!(decode(&v2, true, 2), Err(DecodeError::ImpossibleCount { .. })));
}

#[test]
fn should_write_and_read_varints_to_their_limits() {
    for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX - 1, u32::MAX] {
        let mut writer = Writer::new(true);
        writer.unsigned_varint(value);
        let bytes = writer.into_parts().concat();
        let mut reader = Reader::new(Bytes::from(bytes), true);
        assert_eq!((reader.unsigned_varint(), reader.remaining()), (Ok(value), 0));
    }
    let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes), true).unsigned_varint();
    assert_eq!(read(&[0x80, 0x80, 0]), Ok(0), "padded, as some clients write");
    assert_eq!(read(&[0x80]), Err(DecodeError::Truncated));
    assert!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]).is_err(), "33 bits");
    assert!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).is_err(), "six bytes");
}

#[test]
fn should_refuse_strings_that_are_too_long_or_not_utf8() {
    let encode = |string: String, flexible| {
        let mut writer = Writer::new(flexible);
        string.encode(&mut writer, 0).map(|()| writer.written())
    };
    let long = "x".repeat(32_768);
    assert_eq!(encode(long[1..].into(), false), Ok(32_769));
    assert!(matches!(encode(long.clone(), false), Err(EncodeError::TooLong { length: 32_768, .. })));
    assert_eq!(encode(long, true), Ok(32_771));

    let mut reader = Reader::new(Bytes::from_static(&[0, 1, 0xff]), false);
    assert!(matches!(String::decode(&mut reader, 0), Err(DecodeError::NotUtf8 { .. })));
}

#[test]
fn should_never_reserve_more_than_the_bytes_that_are_left() {
    for remaining in 0..200 {
        let reader = Reader::new(Bytes::from(vec![0; remaining]), false);
        for count in 0..250 {
            for min_size in 0..20 {
                match reader.reservation::<Everything>(count, min_size) {
                    Ok(elements) => {
                        assert!(elements * size_of::<Everything>() <= remaining);
                        assert!(elements <= count && count * min_size <= remaining);
                    }
                    Err(_) => assert!(count * min_size.max(1) > remaining),
                }
            }
        }
    }
}

#[test]
fn should_compare_records_by_their_bytes() {
    let one = Records::from(Bytes::from_static(b"abc"));
    let two = Records::from(vec![Bytes::from_static(b"a"), Bytes::new(), Bytes::from_static(b"bc")]);
    assert_eq!((one.parts().len(), two.parts().len()), (1, 2));
    assert_eq!(one, two);
    assert_ne!(one, Records::from(Bytes::from_static(b"abd")));
    assert_ne!(one, Records::default());
}
