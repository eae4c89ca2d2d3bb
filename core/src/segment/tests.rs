//! Segments: what is written is found again, and an unclear write is decided by what is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::error::Kind;
use crate::testing::{Bucket, Dice, Machine, Rates, for_seeds_paused};

fn segment(id: u128, runs: u8) -> Segment {
    let run = |n: u8| {
        let batches = (1..=n).map(|batch| Bytes::from(vec![batch; usize::from(n) * 10])).collect();
        (Uuid::from_u128(n.into()), u32::from(n), batches)
    };
    Segment::new(Ulid::from(id), (1..=runs).map(run))
}

#[test]
fn every_run_is_found_through_the_header() {
    let segment = segment(7, 5);
    let object = segment.body.to_bytes();
    let (id, runs) = read_header("segment/x", &object).unwrap();
    assert_eq!((id, &runs), (segment.id, &segment.runs));
    for run in &runs {
        let bytes = segment.body.slice(run.at as usize..run.at as usize + run.bytes as usize).unwrap();
        assert_eq!(bytes.crc32c(), run.crc);
    }
    let end = runs.last().map(|run| run.at + u64::from(run.bytes));
    assert_eq!(end, Some(object.len() as u64));
    for cut in 0..object.len() - runs.iter().map(|run| run.bytes as usize).sum::<usize>() {
        assert!(read_header("segment/x", &object[..cut]).is_err(), "cut at {cut}");
    }
}

/// Whatever the store does, a write that is reported as done is there whole, and one name never holds two contents.
#[test]
fn an_unclear_write_is_decided_by_the_header() {
    for_seeds_paused(100, |seed| async move {
        let (bucket, mut dice) = (Bucket::new(), Dice::new(seed));
        let writers: Vec<_> = (0..2).map(|n| Machine::new(&bucket, seed << 1 | n)).collect();
        writers.iter().for_each(|writer| writer.faults.set_rates(Rates::drawn(&mut dice)));
        let (mine, other) = (segment(7, 3), segment(7, 4));
        let (first, second) = tokio::join!(mine.write(&writers[0].store), other.write(&writers[1].store));
        assert!(first.is_err() || second.is_err(), "two segments under one name");
        writers.iter().for_each(|writer| writer.faults.set_rates(Rates::default()));
        for (written, segment) in [(first, &mine), (second, &other)] {
            let there = writers[0].store.get(&paths::segment(segment.id)).await;
            let same = there.is_ok_and(|there| there.to_bytes() == segment.body.to_bytes());
            match written {
                Ok(()) => assert!(same, "reported as written"),
                Err(error) if error.kind() == Kind::Invalid => assert!(!same, "reported as another's"),
                Err(_) => {}
            }
        }
    });
}
