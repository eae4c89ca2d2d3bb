//! Damage to a file is noticed, wherever it is.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use parquet::file::metadata::KeyValue;

use super::*;
use crate::batches;
use crate::decoder::{decode, decode_rows};
use crate::encoder::Options;
use crate::facts::seal;
use crate::rows::rows;
use crate::schema::Column;
use crate::testing::{Written, key, some_rows, written};

fn file() -> Written {
    let all = some_rows(&mut fastrand::Rng::with_seed(4), 12, 40);
    written(Options { row_group_rows: 6, ..Options::new(3, 40) }, &all, i64::MAX)
}

/// No byte behind the run may differ, nor may one be missing: neither is parsed, and nothing panics.
#[test]
fn no_damaged_footer_is_taken() {
    let Written { file, tail_at, .. } = file();
    let read = |tail: &[u8]| Layout::read(&key(40), tail_at as u64, tail);
    let tail = &file[tail_at..];
    assert!(read(tail).is_ok());
    for bit in 0..tail.len() * 8 {
        let mut damaged = tail.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err(), "bit {bit}");
    }
    for cut in 0..tail.len() {
        assert!(read(&tail[..cut]).is_err(), "cut at {cut}");
        assert!(read(&tail[cut + 1..]).is_err(), "begun at {cut}");
    }
    assert!(read(&[tail, b"x"].concat()).is_err() && read(&[b"x", tail].concat()).is_err());
}

#[test]
fn no_damaged_row_group_is_decoded() {
    let Written { file, tail_at, .. } = file();
    let layout = Layout::read(&key(40), tail_at as u64, &file[tail_at..]).unwrap();
    assert_eq!(layout.row_groups().len(), 2);
    for (at, group) in layout.row_groups().iter().enumerate() {
        let bytes = file.slice(group.range.start as usize..group.range.end as usize);
        let read = |bytes: Bytes| decode(&layout, at, &bytes, &Column::ROW);
        assert_eq!(rows(&read(bytes.clone()).unwrap()).unwrap().len(), 6);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(damaged.into()).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(read(bytes.slice(..cut)).is_err() && read(bytes.slice(cut + 1..)).is_err());
        }
        assert!(decode(&layout, 1 - at, &bytes, &Column::ROW).is_err(), "another row group");
    }
}

#[test]
fn a_file_of_another_chunk_is_noticed() {
    let Written { file, tail_at, .. } = file();
    let read = |key: &str, at| Layout::read(key, at, &file[tail_at..]);
    let at = tail_at as u64;
    assert!(read(&key(40), at).is_ok());
    assert!(read(&key(41), at).is_err(), "another base offset");
    assert!(read(&key(40).replace("/3/", "/4/"), at).is_err(), "another partition");
    assert!(read(&key(40).replace("parquet", "batches"), at).is_err(), "another format");
    assert!(read("key", at).is_err(), "no chunk at all");
    assert!(read(&key(40), at - 1).is_err() && read(&key(40), at + 1).is_err(), "another length of the run");
    assert!(read(&key(40), u64::MAX).is_err() && read(&key(40), 0).is_err());
}

/// The seal holds, and what is said cannot be.
#[test]
fn no_footer_that_contradicts_itself_is_taken() {
    let Written { file, tail_at, .. } = file();
    let tail = &file[tail_at..];
    let layout = Layout::read(&key(40), tail_at as u64, tail).unwrap();
    let truth = layout.facts.clone();
    let metadata = parse(tail).unwrap();
    let holds = |facts: &Facts| row_groups(&metadata, facts, tail_at as u64).is_some();
    assert!(holds(&truth));
    type Lie = fn(&mut Facts);
    let lies: [(&str, Lie); 9] = [
        ("a negative base", |f| f.base_offset = -1),
        ("rows before the base", |f| f.base_offset = f.groups[0].first_offset + 1),
        ("rows behind the end", |f| f.end_offset = f.groups[1].last_offset),
        ("a row group more", |f| f.groups.push(f.groups[1])),
        ("a row group less", |f| f.groups.truncate(1)),
        ("row groups out of order", |f| f.groups.swap(0, 1)),
        ("fewer offsets than rows", |f| f.groups[1].last_offset = f.groups[1].first_offset + 4),
        ("an end that nobody can add up", |f| f.groups[1].last_offset = i64::MAX),
        ("times that cannot be", |f| f.groups[0].min_timestamp = f.groups[0].max_timestamp + 1),
    ];
    for (what, lie) in lies {
        let mut facts = truth.clone();
        lie(&mut facts);
        assert!(!holds(&facts), "{what}");
    }
}

/// A footer that was sealed and is wrong: rows are not given offsets that it does not tell.
#[test]
fn rows_are_those_that_the_footer_tells() {
    let Written { file, tail_at, .. } = file();
    let layout = Layout::read(&key(40), tail_at as u64, &file[tail_at..]).unwrap();
    let group = &layout.row_groups()[1];
    let bytes = file.slice(group.range.start as usize..group.range.end as usize);
    let said = format!("{} {} ", group.offset, group.last_offset);
    let lied = format!("{} {} ", group.offset, group.last_offset + 1);
    assert_eq!(said.len(), lied.len());
    let at = file[tail_at..].windows(said.len()).position(|words| words == said.as_bytes()).unwrap();
    let mut tail = file[tail_at..].to_vec();
    tail[at..at + lied.len()].copy_from_slice(lied.as_bytes());
    seal(&mut tail).unwrap();
    let lying = Layout::read(&key(40), tail_at as u64, &tail).unwrap();
    assert!(decode_rows(&layout, 1, &bytes).is_ok() && decode_rows(&lying, 1, &bytes).is_err());
}

/// Entries are read back as they were written, and nothing else is taken for them.
#[test]
fn entries_of_others_are_no_facts() {
    let Written { file, tail_at, .. } = file();
    let truth = Layout::read(&key(40), tail_at as u64, &file[tail_at..]).unwrap().facts;
    let entries = truth.entries();
    assert_eq!(Facts::read(&entries), Ok(truth));
    assert!(Facts::read(&[]).is_err());
    for at in 0..entries.len() - 1 {
        for value in ["", "x", "-", "1 2", "99999999999999999999", "1 2 3 4 5 6", "1,,2"] {
            let mut wrong = entries.clone();
            wrong[at].value = Some(value.to_owned());
            assert!(Facts::read(&wrong).is_err(), "{} {value}", entries[at].key);
        }
        let mut twice = entries.clone();
        twice.push(entries[at].clone());
        assert!(Facts::read(&twice).is_err(), "{} twice", entries[at].key);
        let mut none = entries.clone();
        none[at] = KeyValue::new(entries[at].key.clone(), None);
        assert!(Facts::read(&none).is_err(), "{} without a value", entries[at].key);
    }
}

/// Bytes that happen to be sealed are still no file.
#[test]
fn a_seal_makes_no_file() {
    for filler in [&b""[..], b"\x15\x04", &[0; 64], &[0xff; 64]] {
        let mut tail = [filler, b"strandline.seal\x18\x0800000000", filler, b"\x08\0\0\0PAR1"].concat();
        seal(&mut tail).unwrap();
        assert!(seal_holds(&tail) && Layout::read(&key(40), 4, &tail).is_err());
    }
    assert!(seal(&mut b"strandline.seal\x18\x080000000".to_vec()).is_none(), "no room for the digits");
}

/// Whoever may write to the bucket can also repair a CRC and a seal: not even then does anything panic.
#[test]
fn what_is_forged_panics_nobody() {
    let Written { file, tail_at, .. } = file();
    let tail = &file[tail_at..];
    let group = Layout::read(&key(40), tail_at as u64, tail).unwrap().row_groups()[0].clone();
    let run = &file[4..group.range.end as usize];
    let said = format!("{:08x}", group.crc);
    let crc_at = tail.windows(8).position(|digits| digits == said.as_bytes()).unwrap();
    for bit in (0..run.len() * 8).step_by(5) {
        let mut forged = run.to_vec();
        forged[bit / 8] ^= 1 << (bit % 8);
        let mut tail = tail.to_vec();
        tail[crc_at..crc_at + 8].copy_from_slice(format!("{:08x}", crc32c::crc32c(&forged)).as_bytes());
        seal(&mut tail).unwrap();
        let layout = Layout::read(&key(40), tail_at as u64, &tail).unwrap();
        let forged = Bytes::from(forged);
        if let Ok(batch) = decode(&layout, 0, &forged, &Column::ROW) {
            let _ = rows(&batch);
        }
        let _ = decode_rows(&layout, 0, &forged);
        let _ = batches(&layout, 0, &forged);
    }
    for bit in (0..tail.len() * 8).step_by(11) {
        let mut forged = tail.to_vec();
        forged[bit / 8] ^= 1 << (bit % 8);
        let layout = seal(&mut forged).map(|()| Layout::read(&key(40), tail_at as u64, &forged));
        if let Some(Ok(layout)) = layout {
            let _ = decode_rows(&layout, 0, &file.slice(4..group.range.end as usize));
        }
    }
}
