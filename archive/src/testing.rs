//! Rows of every kind for the tests of this crate, from a seed.
//!
//! Must not know what a test asks of them.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use fastrand::Rng;
use strandline_core::record::{Header, Row};

use crate::encoder::{Encoder, Options, Summary};

/// The key of a chunk of partition 3 that begins at this offset.
pub(crate) fn key(base_offset: i64) -> String {
    let topic = "00000000-0000-0000-0000-000000000007";
    format!("chunk/{topic}/3/{base_offset:020}-00000000000000000000000008.parquet")
}

/// Runs a test for many seeds, or for that of `STRANDLINE_SEED` alone, and says which one failed.
pub(crate) fn for_seeds(count: u64, one: impl Fn(&mut Rng)) {
    let given = std::env::var("STRANDLINE_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in given.map_or(0..count, |seed: u64| seed..seed + 1) {
        let run = || one(&mut Rng::with_seed(seed));
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            eprintln!("failed with STRANDLINE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn part(dice: &mut Rng) -> Option<Bytes> {
    match dice.u8(0..6) {
        0 => None,
        1 => Some(Bytes::new()),
        2 => Some(Bytes::from((0..dice.usize(0..40)).map(|_| dice.u8(..)).collect::<Vec<_>>())),
        3 => Some(Bytes::from(format!("key-{}", dice.u8(0..5)))),
        _ => Some(Bytes::from(vec![dice.u8(..); dice.usize(0..400)])),
    }
}

fn header(dice: &mut Rng) -> Header {
    let key: &'static [u8] =
        [&b"twice"[..], b"", b"\xff\xfe", "ü\0".as_bytes(), b"\xed\xa0\x80 half"][dice.usize(0..5)];
    (Bytes::from_static(key), part(dice))
}

fn timestamp(dice: &mut Rng) -> i64 {
    match dice.u8(0..12) {
        0 => [i64::MIN, i64::MAX, i64::MIN / 1_000, i64::MAX / 1_000, -1, 0][dice.usize(0..6)],
        1 => dice.i64(..),
        2 => i64::MAX / 1_000 + 1,
        3 => i64::MIN / 1_000 - 1,
        _ => 1_700_000_000_000 + dice.i64(0..100_000),
    }
}

/// So many rows from this offset on.
pub(crate) fn some_rows(dice: &mut Rng, count: usize, base_offset: i64) -> Vec<Row> {
    let mut next = base_offset;
    let mut row = || {
        let offset = next + if dice.u8(0..8) == 0 { dice.i64(0..1_000_000) } else { 0 };
        next = offset + 1;
        let headers = (0..dice.usize(0..8).saturating_sub(4)).map(|_| header(dice)).collect();
        let (append_time, timestamp) = (dice.u8(0..5) == 0, timestamp(dice));
        Row { offset, timestamp, append_time, key: part(dice), value: part(dice), headers }
    };
    (0..count).map(|_| row()).collect()
}

/// A whole file and where its run ends.
pub(crate) struct Written {
    pub(crate) file: Bytes,
    pub(crate) summary: Summary,
    pub(crate) tail_at: usize,
}

pub(crate) fn written(options: Options, rows: &[Row], end_offset: i64) -> Written {
    let mut encoder = Encoder::new(options).unwrap();
    let mut file = Vec::new();
    for row in rows {
        encoder.push(row.clone()).unwrap();
        encoder.take().iter().for_each(|bytes| file.extend_from_slice(bytes));
    }
    let (rest, summary) = encoder.finish(end_offset).unwrap();
    rest.iter().for_each(|bytes| file.extend_from_slice(bytes));
    let tail_at = 4 + summary.bytes as usize;
    Written { file: file.into(), summary, tail_at }
}
