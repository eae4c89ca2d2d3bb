//! Rows as batches, read back as a consumer reads them.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::record::{Codec, Record, crc_holds, records};
use crate::rope::Rope;
use crate::testing::{Dice, for_seeds};

/// Rows of every kind: gaps between offsets, any time, nulls, empty parts, headers twice.
fn rows(dice: &mut Dice) -> Vec<Row> {
    let mut offset = dice.below(1_000) as i64;
    let mut append_time = dice.below(2) == 0;
    let mut timestamp = 5_000;
    let count = dice.below(60);
    let part = |dice: &mut Dice| match dice.below(4) {
        0 => None,
        1 => Some(Bytes::new()),
        _ => Some(Bytes::from(vec![dice.below(256) as u8; dice.below(300) as usize])),
    };
    let mut rows = Vec::new();
    for _ in 0..count {
        offset += match dice.below(8) {
            0 => 1 + dice.below(1_000) as i64,
            1 if dice.below(20) == 0 => i64::from(i32::MAX) + dice.below(3) as i64 - 2,
            _ => 1,
        };
        append_time ^= dice.below(9) == 0;
        timestamp = match dice.below(12) {
            0 => i64::MIN + dice.below(3) as i64,
            1 => i64::MAX - dice.below(3) as i64,
            2 => -(dice.below(900) as i64),
            3..7 => timestamp,
            _ => 5_000 + dice.below(900) as i64,
        };
        let headers = (0..dice.below(4)).map(|_| {
            let key = [&b"twice"[..], b"", b"\xff\xfe"][dice.below(3) as usize];
            (Bytes::from_static(key), part(dice))
        });
        let headers = headers.collect();
        let (key, value) = (part(dice), part(dice));
        rows.push(Row { offset, timestamp, append_time, key, value, headers });
    }
    rows
}

fn read(header: &BatchHeader, bytes: &Bytes) -> Vec<Row> {
    let row = |record: Record| Row {
        offset: header.base_offset + i64::from(record.offset_delta),
        timestamp: record.timestamp,
        append_time: header.append_time(),
        key: record.key,
        value: record.value,
        headers: record.headers,
    };
    records(bytes).unwrap().into_iter().map(row).collect()
}

#[test]
fn every_row_is_read_back() {
    for_seeds(300, |seed| {
        let mut dice = Dice::new(seed);
        let rows = rows(&mut dice);
        let most_bytes = dice.between(1, 4_000) as usize;
        let batches = compose(&rows, most_bytes).unwrap();
        let found: Vec<Row> = batches.iter().flat_map(|(header, bytes)| read(header, bytes)).collect();
        assert_eq!(found, rows);
        let mut next = 0;
        for (header, bytes) in &batches {
            let rope = Rope::from(bytes.clone());
            assert_eq!(BatchHeader::at(&rope, 0).unwrap(), *header);
            assert!(crc_holds(&rope, 0, header) && header.base_offset >= next);
            assert!(bytes.len() <= most_bytes || header.records == 1);
            assert_eq!((header.codec().unwrap(), header.producer_id), (Codec::None, -1));
            let rows = read(header, bytes);
            assert_eq!(header.max_timestamp, rows.iter().map(|row| row.timestamp).max().unwrap());
            next = header.base_offset + i64::from(header.offsets);
            assert_eq!(rows.last().map(|row| row.offset), Some(next - 1), "ends with its last row");
        }
    });
}

/// Rows that can stand together do: a consumer would pay for each header.
#[test]
fn a_batch_is_cut_only_where_it_must() {
    let row = |offset, timestamp, append_time| {
        let value = Some(Bytes::from_static(&[7; 100]));
        Row { offset, timestamp, append_time, key: None, value, headers: Vec::new() }
    };
    let cuts = |rows: &[Row], most_bytes| {
        let batches = compose(rows, most_bytes).unwrap();
        batches.iter().map(|(header, _)| header.base_offset).collect::<Vec<_>>()
    };
    let created = [row(0, 10, false), row(7, -3, false), row(8, 400, false)];
    assert_eq!(cuts(&created, 10_000), [0], "gaps and times are no reason");
    let whole = compose(&created, 10_000).unwrap()[0].1.len();
    assert_eq!(cuts(&created, whole), [0], "it fits exactly");
    assert_eq!(cuts(&created, whole - 1), [0, 8]);
    assert_eq!(cuts(&created, 0), [0, 7, 8], "a row larger than a batch may be has one of its own");
    let stamped = [row(0, 10, true), row(1, 10, true), row(2, 11, true), row(3, 11, false)];
    assert_eq!(cuts(&stamped, 10_000), [0, 2, 3], "another time of the log, another type");
    let far = [row(0, i64::MIN, false), row(1, -1, false), row(2, 0, false)];
    assert_eq!(cuts(&far, 10_000), [0, 2], "no difference tells how far these are apart");
    let wide = i64::from(i32::MAX);
    assert_eq!(cuts(&[row(0, 1, false), row(wide - 1, 1, false), row(wide, 1, false)], 10_000), [0, wide]);
    assert!(cuts(&[], 10_000).is_empty());
}

#[test]
fn rows_out_of_order_are_refused() {
    let row = |offset| -> Row {
        let (key, value, headers) = Default::default();
        Row { offset, timestamp: 1, append_time: false, key, value, headers }
    };
    assert!(compose(&[row(0), row(i64::MAX)], 100).is_ok());
    assert!(compose(&[row(1), row(1)], 100).is_err());
    assert!(compose(&[row(2), row(1)], 100).is_err());
    assert!(compose(&[row(-1), row(1)], 100).is_err());
}
