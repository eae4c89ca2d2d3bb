//! Chunks: what was written is found again from the bytes alone, and no footer that lies is taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::record::RecordBuilder;
use crate::rope::Rope;
use crate::testing::{Dice, for_seeds};

fn chunk(base_offset: i64) -> ChunkId {
    let (topic, id) = (Uuid::from_u128(0xabc << 100), Ulid::from(0xabc << 100));
    ChunkId { topic, partition: 3, base_offset, id, format: Format::Batches }
}

/// A batch as compaction leaves it: at its real base offset, and with more offsets than records.
fn batch(dice: &mut Dice, base_offset: i64) -> (BatchHeader, Vec<Bytes>) {
    let mut builder = RecordBuilder::default();
    let records = dice.between(1, 4);
    for _ in 0..records {
        let value = vec![7; dice.below(90) as usize];
        builder.push(1_000 + dice.below(500) as i64, None, Some(&value));
    }
    let mut bytes = builder.finish().to_vec();
    bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
    let last_delta = (records - 1 + dice.below(9)) as i32;
    bytes[23..27].copy_from_slice(&last_delta.to_be_bytes());
    let header = BatchHeader::at(&Rope::from(Bytes::from(bytes.clone())), 0).unwrap();
    let cut = dice.below(bytes.len() as u64) as usize;
    (header, vec![Bytes::copy_from_slice(&bytes[..cut]), Bytes::copy_from_slice(&bytes[cut..])])
}

struct Written {
    chunk: ChunkId,
    batches: Vec<BatchHeader>,
    object: Bytes,
    tail_at: usize,
    footer: Footer,
}

fn written(seed: u64) -> Written {
    let mut dice = Dice::new(seed);
    let base_offset = dice.below(1_000) as i64;
    let block_bytes = dice.between(1, 900);
    let chunk = chunk(base_offset);
    let (mut writer, mut object) = {
        let (writer, header) = Writer::new(chunk, block_bytes);
        (writer, header.to_vec())
    };
    let mut next = base_offset;
    let mut batches = Vec::new();
    for _ in 0..dice.below(30) {
        let gap = dice.below(5) as i64;
        let (header, pieces) = batch(&mut dice, next + gap);
        writer.push(&header, &pieces).unwrap();
        object.extend(pieces.iter().flatten());
        next = header.base_offset + i64::from(header.offsets);
        batches.push(header);
    }
    let end_offset = next + dice.between(1, 9) as i64;
    let aborted = [
        AbortedSpan { producer_id: 5, first_offset: base_offset, last_offset: end_offset + 4 },
        AbortedSpan { producer_id: 5, first_offset: 0, last_offset: base_offset },
    ];
    let tail_at = object.len();
    let (footer, tail) = writer.finish(aborted.to_vec(), end_offset).unwrap();
    object.extend_from_slice(&tail);
    Written { chunk, batches, object: object.into(), tail_at, footer }
}

/// From every position on there are whole batches, whose checksum and largest timestamp are as the footer says.
#[test]
fn the_footer_leads_to_every_batch() {
    for_seeds(200, |seed| {
        let Written { chunk, batches, object, tail_at, footer } = written(seed);
        let key = chunk.key();
        let (header, run_at) = read_header(&key, &object).unwrap();
        assert_eq!((header, run_at), (chunk, chunk.run_at()));
        let range = footer_range(&key, object.len() as u64, &object).unwrap();
        assert_eq!(range, tail_at as u64..(object.len() - TRAILER_BYTES) as u64);
        assert_eq!(read_footer(&key, &object[tail_at..]).unwrap(), footer);
        assert_eq!(footer.bytes, tail_at as u64 - run_at);
        assert_eq!(footer.records, batches.iter().map(|batch| u64::from(batch.records)).sum::<u64>());
        assert_eq!(
            footer.max_timestamp,
            batches.iter().map(|batch| batch.max_timestamp).max().unwrap_or(NO_TIMESTAMP)
        );
        let rope = Rope::from(object.slice(..tail_at));
        let (mut found, mut next) = (Vec::new(), run_at);
        let ends = footer.positions.iter().skip(1).map(|position| position.at).chain([tail_at as u64]);
        for (position, end) in footer.positions.iter().zip(ends) {
            assert_eq!(position.at, next);
            assert_eq!(crc32c::crc32c(&object[next as usize..end as usize]), position.crc);
            let begin = found.len();
            while next < end {
                found.push(BatchHeader::at(&rope, next as usize).unwrap());
                next += found.last().unwrap().bytes as u64;
            }
            assert_eq!(found[begin].base_offset, position.offset);
            assert_eq!(found[begin..].iter().map(|b| b.max_timestamp).max(), Some(position.max_timestamp));
        }
        assert_eq!((found, next), (batches, tail_at as u64));
        assert_eq!(written(seed).object, object, "equal inputs give equal bytes");
    });
}

/// There is a position wherever a block is full, and nowhere else.
#[test]
fn positions_are_a_block_apart() {
    let (mut writer, _) = Writer::new(chunk(0), 500);
    let mut starts = Vec::new();
    for at in 0..40 {
        let (header, pieces) = batch(&mut Dice::new(at), at as i64 * 20);
        let last = starts.last().copied();
        if last.is_none_or(|last| writer.at - last >= 500) {
            starts.push(writer.at);
        }
        writer.push(&header, &pieces).unwrap();
    }
    let (footer, _) = writer.finish(Vec::new(), 1_000).unwrap();
    assert!(starts.len() > 5);
    assert_eq!(footer.positions.iter().map(|position| position.at).collect::<Vec<_>>(), starts);
}

#[test]
fn a_batch_out_of_place_is_refused() {
    let (header, pieces) = batch(&mut Dice::new(1), 10);
    let end = header.base_offset + i64::from(header.offsets);
    let push = |header: &BatchHeader, pieces: &[Bytes], base_offset| {
        Writer::new(chunk(base_offset), 100).0.push(header, pieces)
    };
    assert!(push(&header, &pieces, 10).is_ok());
    assert!(push(&header, &pieces, 11).is_err(), "before the chunk");
    assert!(push(&BatchHeader { base_offset: 12, ..header }, &pieces, 10).is_err(), "not stamped");
    assert!(push(&header, &pieces[..1], 10).is_err(), "not whole");
    let (mut writer, _) = Writer::new(chunk(0), 100);
    writer.push(&header, &pieces).unwrap();
    assert!(writer.push(&header, &pieces).is_err(), "the same offsets again");
    let finish = |end_offset| {
        let (mut writer, _) = Writer::new(chunk(0), 100);
        writer.push(&header, &pieces).unwrap();
        writer.finish(Vec::new(), end_offset)
    };
    assert!(finish(end).is_ok() && finish(end - 1).is_err());
}

/// No bit of header, footer or trailer may flip, nor may the object end early.
#[test]
fn damage_is_noticed() {
    let Written { chunk, object, tail_at, footer, .. } = written(3);
    let (key, run_at) = (chunk.key(), chunk.run_at() as usize);
    for bit in (0..run_at * 8).chain(tail_at * 8..object.len() * 8) {
        let mut bytes = object.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let same = read_header(&key, &bytes).is_ok() && read_footer(&key, &bytes[tail_at..]).is_ok();
        assert!(!same, "bit {bit}");
    }
    for cut in tail_at..object.len() {
        assert!(read_footer(&key, &object[tail_at..cut]).is_err(), "cut at {cut}");
        assert!(read_footer(&key, &object[cut + 1..]).is_err(), "begun at {cut}");
    }
    let other = ChunkId { base_offset: chunk.base_offset - 1, ..chunk }.key();
    assert!(read_header(&other, &object).is_err() && read_footer(&other, &object[tail_at..]).is_err());
    let good = footer.encode(&chunk);
    let (frame, _) = good.split_at(good.len() - TRAILER_BYTES);
    let longer = (frame.len() as u32 + 1).to_be_bytes();
    assert!(
        read_footer(&key, &[frame, b"x", &longer, &TRAILER_MAGIC].concat()).is_err(),
        "bytes behind the footer"
    );
    assert!(read_footer(&key, &good).is_ok());
}

type Lie = fn(&mut Footer);

/// The frame is whole, and what it says cannot be.
#[test]
fn no_footer_that_contradicts_itself_is_taken() {
    let Written { chunk, footer, .. } = written(5);
    assert!(footer.positions.len() > 2);
    let lies: [(&str, Lie); 21] = [
        ("ends where it begins", |f| f.end_offset = 0),
        ("ends before its last position", |f| f.end_offset = f.positions.last().unwrap().offset),
        ("more records than offsets", |f| f.records = f.end_offset as u64 + 1),
        ("an end that nobody can add up", |f| f.bytes = u64::MAX),
        ("a run that ends inside its last block", |f| f.bytes = f.positions.last().unwrap().at),
        ("another largest timestamp", |f| f.max_timestamp += 1),
        ("bytes without a position", |f| f.positions.clear()),
        ("a first block that is missing", |f| f.positions = f.positions[1..].to_vec()),
        ("a position in the header", |f| f.positions[0].at -= 1),
        ("a position before the base", |f| f.positions[0].offset = 0),
        ("two positions with one offset", |f| f.positions[1].offset = f.positions[0].offset),
        ("two positions at one place", |f| f.positions[1].at = f.positions[0].at),
        ("positions that go back", |f| f.positions.swap(0, 1)),
        ("a position twice", |f| f.positions[1] = f.positions[2]),
        ("a position behind the run", |f| f.positions.last_mut().unwrap().at += 1 << 40),
        ("an offset behind all", |f| f.positions.last_mut().unwrap().offset = i64::MAX),
        ("a transaction of nobody", |f| f.aborted[0].producer_id = -1),
        ("one that ends before it begins", |f| f.aborted[0].first_offset = f.aborted[0].last_offset + 1),
        ("one from before all offsets", |f| f.aborted[0].first_offset = -1),
        ("one that is not in the chunk", |f| f.aborted[1].first_offset = f.end_offset),
        ("two that end together", |f| f.aborted[1] = f.aborted[0]),
    ];
    for (what, lie) in lies {
        let mut lying = footer.clone();
        lie(&mut lying);
        assert!(read_footer(&chunk.key(), &lying.encode(&chunk)).is_err(), "{what}");
    }
    let mut early = footer.clone();
    early.aborted[0].last_offset = chunk.base_offset - 1;
    early.aborted[0].first_offset = early.aborted[0].last_offset.min(0);
    assert!(read_footer(&chunk.key(), &early.encode(&chunk)).is_err(), "one that ended before the chunk");
    let empty =
        Footer { bytes: 0, max_timestamp: NO_TIMESTAMP, positions: Vec::new(), records: 0, ..footer.clone() };
    assert!(read_footer(&chunk.key(), &empty.encode(&chunk)).is_ok());
    let records = Footer { records: 1, ..empty };
    assert!(read_footer(&chunk.key(), &records.encode(&chunk)).is_err(), "records without bytes");
}

#[test]
fn only_our_keys_name_chunks() {
    for format in [Format::Batches, Format::Parquet] {
        let chunk = ChunkId { format, ..chunk(12_345) };
        let key = chunk.key();
        assert_eq!(ChunkId::from_key(&key), Some(chunk), "{key}");
        assert!(key.contains("/3/00000000000000012345-0") && key.ends_with(format.extension()), "{key}");
        let foreign = [
            key.to_lowercase(),
            key.replace(&chunk.topic.to_string(), &chunk.topic.simple().to_string()),
            key.replace("/3/", "/03/"),
            key.replace("/3/", "/+3/"),
            key.replace("/3/", "/-3/"),
            key.replace("00000000000000012345", "12345"),
            key.replace("00000000000000012345", "-0000000000000012345"),
            key.replace("00000000000000012345", "99999999999999999999"),
            key.replace("chunk/", "index/"),
            key.replace(format.extension(), "orc"),
            format!("{key}.bak"),
            format!("{key}/x"),
            format!("/{key}"),
        ];
        for key in foreign {
            assert_eq!(ChunkId::from_key(&key), None, "{key}");
        }
    }
    let (topic, id) = (Uuid::from_u128(7), Ulid::from(8_u128));
    let key = paths::index(topic, 3, id);
    assert_eq!(paths::index_parts(&key), Some((topic, 3, id)));
    for key in
        [format!("{key}x"), format!("{key}/x"), key.replace("/3/", "/03/"), key.replace("index", "chunk")]
    {
        assert_eq!(paths::index_parts(&key), None, "{key}");
    }
}
