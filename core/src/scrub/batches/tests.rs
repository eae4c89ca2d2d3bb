//! A run checked in any pieces gives the same, and each kind of damage is met.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::record::RecordBuilder;
use crate::testing::{Dice, for_seeds};

/// Batches, and the place of each.
fn run(dice: &mut Dice) -> (Vec<u8>, Vec<Span>) {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for _ in 0..dice.between(1, 6) {
        let mut records = RecordBuilder::default();
        for _ in 0..dice.between(1, 3) {
            records.push(5, None, Some(&vec![1; dice.below(80) as usize]));
        }
        let offsets = records.len() as u64;
        let batch = records.finish();
        spans.push(Span { at: 1_000 + bytes.len() as u64, bytes: batch.len() as u64, offsets, from: None });
        bytes.extend_from_slice(&batch);
    }
    (bytes, spans)
}

fn check(bytes: &[u8], crc: Option<u32>, spans: &[Span], piece: usize) -> Option<Problem> {
    let mut check = RunCheck::new(1_000, bytes.len() as u64, crc, spans.to_vec());
    bytes.chunks(piece).for_each(|piece| check.feed(piece));
    check.finish()
}

/// Neighbours made one extent, as the fold does.
fn joined(spans: &[Span]) -> Vec<Span> {
    let first = spans.first().unwrap();
    let (bytes, offsets) = spans.iter().fold((0, 0), |(b, o), span| (b + span.bytes, o + span.offsets));
    vec![Span { at: first.at, bytes, offsets, from: None }]
}

#[test]
fn whole_runs_are_whole_in_any_pieces() {
    for_seeds(200, |seed| {
        let mut dice = Dice::new(seed);
        let (bytes, spans) = run(&mut dice);
        let crc = Some(crc32c::crc32c(&bytes));
        let from = dice.below(spans.len() as u64) as usize;
        for spans in [spans.clone(), joined(&spans), spans[from..].to_vec(), joined(&spans[from..]), vec![]] {
            for piece in [1, 7, 61, 100, bytes.len()] {
                assert_eq!(check(&bytes, crc, &spans, piece), None);
            }
        }
    });
}

/// With the run's checksum, every bit counts; without it, every bit that a batch's checksum covers.
#[test]
fn every_flipped_bit_is_met_in_any_pieces() {
    for_seeds(300, |seed| {
        let mut dice = Dice::new(seed);
        let (mut bytes, spans) = run(&mut dice);
        let crc = Some(crc32c::crc32c(&bytes));
        let at = dice.below(bytes.len() as u64);
        bytes[at as usize] ^= 1 << dice.below(8);
        let problem = check(&bytes, crc, &spans, 1 + dice.below(90) as usize).unwrap();
        assert!(problem.damaged, "{problem:?}");
        let hit = spans.iter().position(|span| (span.at..span.end()).contains(&(1_000 + at))).unwrap();
        if problem.span.is_some() {
            assert_eq!(problem.span, Some(hit), "byte {at}: {problem:?}");
        }
        let inside = at - (spans[hit].at - 1_000);
        if inside >= CRC_FROM as u64 {
            assert_eq!(check(&bytes, None, &spans, 64).unwrap().span, Some(hit));
        }
    });
}

#[test]
fn extents_that_do_not_fit_the_batches_are_met() {
    for_seeds(200, |seed| {
        let mut dice = Dice::new(seed);
        let (bytes, spans) = run(&mut dice);
        let crc = Some(crc32c::crc32c(&bytes));
        let hit = dice.below(spans.len() as u64) as usize;
        let mut wrong = spans.clone();
        match dice.below(4) {
            0 => wrong[hit].offsets += 1,
            1 => wrong[hit].bytes -= 1,
            2 => (wrong[hit].at, wrong[hit].bytes) = (wrong[hit].at + 1, wrong[hit].bytes - 1),
            _ => wrong.insert(hit, wrong[hit]),
        }
        let problem = check(&bytes, crc, &wrong, 50).unwrap();
        assert!(!problem.damaged && problem.span.is_some(), "{problem:?}");
    });
}

/// Bytes that end early, and a length that says more than there is.
#[test]
fn a_run_that_ends_inside_a_batch_is_met() {
    for_seeds(100, |seed| {
        let mut dice = Dice::new(seed);
        let (bytes, spans) = run(&mut dice);
        let left = dice.between(1, bytes.len() as u64 - 1) as usize;
        assert!(check(&bytes[..left], None, &spans, 40).is_some(), "{left} of {} bytes", bytes.len());
    });
}
