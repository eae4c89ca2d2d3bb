//! Every target on its corpus and on seeded mutations of it, in a few seconds, without a nightly compiler.
//!
//! Owns how inputs are damaged; what must hold of them is the targets' own. `STRANDLINE_SEED` repeats a run,
//! `STRANDLINE_FUZZ_CASES` says how many mutations of each target. An input that breaks a promise is written
//! to a file whose name is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use strandline_fuzz::{TARGETS, Target};

/// No input grows longer.
const MOST_BYTES: usize = 4_096;
/// Lengths and counts that lie, big-endian, as varints and as zigzag varints.
const LIES: [&[u8]; 10] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0, 0, 0xff, 0xff],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xfe, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0, 0, 0, 0],
];

macro_rules! smoke {
    ($($name:ident $cases:literal),*) => {
        $(#[test]
        fn $name() {
            smoke(stringify!($name), $cases);
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

// As many mutations as take a second or two. A URL makes an HTTP client.
smoke! {
    frame 100_000, message 100_000, batch 20_000, unfold 12_000, commit 40_000, fold 20_000, checkpoint 40_000,
    segment 100_000, chunk 40_000, index 40_000, url 1_000
}

#[test]
fn every_target_is_tested_and_can_be_fuzzed() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(TESTED, names);
    let manifest = fs::read_to_string(folder("cargo-fuzz").join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let wrapper = fs::read_to_string(folder("cargo-fuzz/fuzz_targets").join(format!("{name}.rs")));
        assert!(wrapper.unwrap().contains(&format!("strandline_fuzz::{name}(data)")), "{name}");
    }
}

fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn smoke(name: &str, cases: usize) {
    let target = TARGETS.into_iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "no corpus for {name}");
    for (file, input) in &corpus {
        run(target, input, &format!("corpus/{name}/{file}"));
    }
    let set = std::env::var("STRANDLINE_SEED").ok();
    let seed =
        set.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("STRANDLINE_SEED is a number"));
    println!("STRANDLINE_SEED={seed}");
    let set = std::env::var("STRANDLINE_FUZZ_CASES").ok();
    let cases = set.map_or(cases, |cases| cases.parse().expect("STRANDLINE_FUZZ_CASES is a number"));
    let mut dice = Rng::with_seed(seed);
    for case in 0..cases {
        let input = mutated(&mut dice, &corpus);
        run(target, &input, &format!("STRANDLINE_SEED={seed}, case {case}"));
    }
}

/// Every file, by name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(folder("corpus").join(name))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn run(target: Target, input: &[u8], origin: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.check)(input))).is_err() {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("broken-{}", target.name));
        fs::write(&file, input).unwrap();
        panic!("{}: {origin}; the input of {} bytes is in {}", target.name, input.len(), file.display());
    }
}

fn mutated(dice: &mut Rng, corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
    let pick = |dice: &mut Rng| corpus[dice.usize(..corpus.len())].1.clone();
    let mut input = pick(dice);
    for _ in 0..=dice.usize(..4) {
        match dice.u8(..12) {
            0 => input.truncate(dice.usize(..=input.len())),
            1 => insert(dice, &mut input, |dice| (0..dice.usize(..8)).map(|_| dice.u8(..)).collect()),
            2 => insert(dice, &mut input, |dice| dice.choice(LIES).unwrap().to_vec()),
            3 => {
                let other = pick(dice);
                let from = dice.usize(..=other.len());
                input.truncate(dice.usize(..=input.len()));
                input.extend(&other[from..]);
            }
            4 => {
                let part = part(dice, &input);
                let copies = dice.usize(1..20);
                insert(dice, &mut input, |_| part.repeat(copies));
            }
            5 => {
                let from = dice.usize(..=input.len());
                let upto = dice.usize(from..=input.len().min(from + 8));
                input.drain(from..upto);
            }
            6 | 7 => overwrite(dice, &mut input),
            _ if input.is_empty() => input.push(dice.u8(..)),
            _ => {
                let at = dice.usize(..input.len());
                input[at] = if dice.bool() { input[at] ^ 1 << dice.u8(..8) } else { dice.u8(..) };
            }
        }
    }
    input.truncate(MOST_BYTES);
    input
}

fn insert(dice: &mut Rng, input: &mut Vec<u8>, bytes: impl FnOnce(&mut Rng) -> Vec<u8>) {
    let at = dice.usize(..=input.len());
    let bytes = bytes(dice);
    input.splice(at..at, bytes);
}

fn overwrite(dice: &mut Rng, input: &mut [u8]) {
    let at = dice.usize(..=input.len());
    let lie = dice.choice(LIES).unwrap();
    input.iter_mut().skip(at).zip(lie).for_each(|(byte, lie)| *byte = *lie);
}

fn part(dice: &mut Rng, input: &[u8]) -> Vec<u8> {
    let from = dice.usize(..=input.len());
    let upto = dice.usize(from..=input.len().min(from + 64));
    input[from..upto].to_vec()
}
