//! Batches of which some records are gone, in every codec: what stays is what it was.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::record::{Header, RecordBuilder};
use crate::rope::Rope;
use crate::testing::{Dice, for_seeds};

fn batch(dice: &mut Dice) -> (BatchHeader, Vec<Record>) {
    let count = dice.below(40) + 1;
    let mut builder = RecordBuilder::default();
    for at in 0..count {
        let value = vec![b'v'; dice.below(300) as usize];
        let key = format!("key-{}", dice.below(7));
        builder.push(
            5_000 + dice.below(900) as i64,
            Some(key.as_bytes()),
            (at % 5 != 0).then_some(value.as_slice()),
        );
    }
    let bytes = builder.finish_as(8, 2, 77);
    let mut all = records(&bytes).unwrap();
    for record in &mut all {
        let header: Header = (Bytes::from_static(b"twice"), None);
        record.headers = vec![header.clone(), header];
    }
    (BatchHeader::at(&Rope::from(bytes), 0).unwrap(), all)
}

#[test]
fn what_stays_keeps_its_offset_time_key_value_and_headers() {
    for_seeds(60, |seed| {
        let mut dice = Dice::new(seed);
        let (header, all) = batch(&mut dice);
        for codec in 0..5 {
            let append_time = dice.below(2) as i16 * 8;
            let header = BatchHeader { base_offset: 1_000, attributes: codec | append_time | 0x10, ..header };
            let time =
                |record: &Record| if append_time == 0 { record.timestamp } else { header.max_timestamp };
            let as_read = all.iter().map(|record| Record { timestamp: time(record), ..record.clone() });
            let mut kept: Vec<_> = as_read.filter(|_| dice.below(2) == 0).collect();
            if kept.is_empty() {
                assert!(rebuild(&header, &kept, None).is_err(), "no batch of no records");
                kept.push(Record { timestamp: time(&all[0]), ..all[0].clone() });
            }
            let horizon_ms = (dice.below(2) == 0).then_some(9_999_999);
            let rebuilt = rebuild(&header, &kept, horizon_ms).unwrap();
            assert_eq!(records(&rebuilt).unwrap(), kept);
            let found = BatchHeader::at(&Rope::from(rebuilt.clone()), 0).unwrap();
            assert!(crate::record::crc_holds(&Rope::from(rebuilt.clone()), 0, &found));
            assert_eq!(found.delete_horizon_ms(), horizon_ms);
            assert_eq!((found.base_offset, found.offsets), (header.base_offset, header.offsets));
            assert_eq!((found.producer_id, found.producer_epoch, found.base_sequence), (8, 2, 77));
            assert_eq!(found.records as usize, kept.len());
            assert!(found.transactional() && found.append_time() == header.append_time());
            let latest = kept.iter().map(|record| record.timestamp).max().unwrap();
            assert_eq!(found.max_timestamp, latest);
            assert_eq!(found.first_timestamp().is_some(), kept.len() == all.len() && horizon_ms.is_none());
            let plain =
                rebuild(&BatchHeader { attributes: header.attributes & !7, ..header }, &kept, horizon_ms);
            let plain = plain.unwrap().len();
            // As it came in, unless that takes more bytes: few of them fold badly, hundreds of one letter well.
            let values: usize = kept.iter().filter_map(|record| record.value.as_ref()).map(Bytes::len).sum();
            let same = found.codec().unwrap() == header.codec().unwrap();
            assert!(same || found.codec().unwrap() == Codec::None);
            assert!(same || values < 600, "{values} bytes of values are not compressed any more");
            assert!(rebuilt.len() < plain || found.codec().unwrap() == Codec::None);
            assert_eq!(found.bytes, rebuilt.len());
        }
    });
}

#[test]
fn a_batch_without_records_keeps_a_place() {
    for (offset, time) in [(0, -1), (41, 1_700_000_000_000), (i64::MAX - 1, 0)] {
        let (header, bytes) = empty(offset, time);
        let rope = Rope::from(bytes.clone());
        assert_eq!(BatchHeader::at(&rope, 0).unwrap(), header, "what is said of it is what it is");
        assert!(crate::record::crc_holds(&rope, 0, &header));
        assert_eq!((header.base_offset, header.offsets, header.max_timestamp), (offset, 1, time));
        assert_eq!((header.records, header.bytes), (0, bytes.len()));
        assert_eq!(records(&bytes).unwrap(), []);
        assert!(!header.control() && !header.transactional() && !header.append_time());
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (-1, -1, -1));
        assert_eq!(header.delete_horizon_ms(), None);
    }
}
