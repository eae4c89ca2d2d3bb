//! The oracle and the production fold say the same of histories in which records move, and part where a rule is broken.
//!
//! Owns the histories, which no node plays; must not know how either of the two comes to its verdicts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fastrand::Rng;
use strandline_core::chunk::Format;
use strandline_core::index::Branch;
use strandline_core::manifest::{
    BatchMeta, CommitId, EndTransaction, InitProducer, Partition, Producer, Swap, SwapOutput, TransactionOf,
    state,
};
use strandline_core::mutation::{self, Mutation};

use super::*;

const TOPIC: Uuid = Uuid::from_u128(1);
const NOW_MS: i64 = 1_767_225_600_000;
const NAME: &str = "copy";

/// Folds both ways. What came of it, and how the two differ.
fn play(seed: u64) -> (Vec<Outcome>, Option<String>) {
    let mut dice = Rng::with_seed(seed);
    let (mut manifest, mut oracle) = (Manifest::default(), Oracle::default());
    let (mut now_ms, mut all) = (NOW_MS, Vec::new());
    // Compactors read now, and propose later.
    let mut late: Vec<Change> = Vec::new();
    for slot in 1..150 {
        now_ms += if dice.u8(..) < 4 { 20 * HOUR_MS } else { dice.i64(0..60_000) };
        let mut changes = if slot == 1 { beginning() } else { vec![] };
        while changes.len() < 2 {
            let change = change(&mut dice, &manifest, now_ms);
            match &change {
                Change::Swap(_) | Change::IndexChunks(_) | Change::Expire(_) if dice.u8(..) < 80 => {
                    late.push(change);
                }
                _ => changes.push(change),
            }
        }
        if late.len() > 2 {
            changes.push(late.remove(dice.usize(..late.len())));
        }
        let id = CommitId { incarnation: Ulid::from_parts(1, 1), counter: slot };
        let commit = Commit { id, oldest_open: slot, timestamp_ms: now_ms, changes };
        let (outcomes, expected) =
            (state::apply(&mut manifest, slot, &commit, 100), oracle.fold(slot, &commit));
        if outcomes != expected {
            return (all, Some(format!("slot {slot}: {outcomes:?}, not {expected:?}")));
        }
        if let Some(difference) = oracle.difference(&manifest) {
            return (all, Some(difference));
        }
        all.extend(outcomes);
    }
    (all, None)
}

fn beginning() -> Vec<Change> {
    let configs = BTreeMap::new();
    let (transactional_id, timeout_ms) = (NAME.to_owned(), 60_000);
    vec![
        Change::CreateTopic { id: TOPIC, name: "orders".into(), partitions: 2, configs },
        Change::InitProducer(InitProducer { transactional_id, timeout_ms, known: None, begun: 0 }),
    ]
}

fn change(dice: &mut Rng, manifest: &Manifest, now_ms: i64) -> Change {
    let nothing = Partition::default();
    let partition = dice.u32(..2);
    let known = manifest.partition(&TOPIC, partition).unwrap_or(&nothing);
    match dice.u8(..20) {
        0 => {
            let of = manifest.transaction(NAME).map(|known| TransactionOf {
                transactional_id: NAME.to_owned(),
                producer_id: known.producer.id,
                epoch: known.producer.epoch,
                number: known.number,
            });
            let commit = dice.bool();
            let end = |of| EndTransaction { of, commit, bump: false, if_due: false };
            of.map_or(Change::Tick, |of| Change::EndTransaction(end(of)))
        }
        1 => Change::DeleteRecords { topic: TOPIC, partition, before: known.log_start + dice.i64(0..3) },
        2 => {
            let (name, values) = *dice
                .choice(&[
                    ("retention.ms", ["-1", "1000", "0"]),
                    ("retention.bytes", ["-1", "1000", "0"]),
                    ("cleanup.policy", ["compact", "delete", "compact,delete"]),
                ])
                .unwrap();
            let op = ConfigOp::Set((*dice.choice(values.iter()).unwrap()).to_owned());
            let changes = vec![ConfigChange { name: name.to_owned(), op }];
            Change::AlterConfigs { topic: TOPIC, replace: dice.bool(), changes }
        }
        3 | 4 => {
            let (ms, bytes) = manifest.topic(&TOPIC).map_or((0, 0), |topic| {
                let retention = topic.retention();
                (retention.ms, retention.bytes)
            });
            let before =
                if dice.bool() { known.log_start + 1 } else { known.last_stable_offset() + dice.i64(0..2) };
            Change::Expire(Expire {
                topic: TOPIC,
                partition,
                before,
                retention_ms: ms,
                retention_bytes: bytes,
            })
        }
        5..8 => Change::IndexChunks(index(dice, known, partition, now_ms)),
        8..14 => {
            let runs = (0..dice.usize(1..3)).map(|_| run(dice, known, partition, now_ms)).collect();
            Change::Swap(Swap { runs })
        }
        _ => Change::Append(append(dice, manifest, partition, now_ms)),
    }
}

fn append(dice: &mut Rng, manifest: &Manifest, partition: u32, now_ms: i64) -> Append {
    let batch = |dice: &mut Rng| {
        let of = manifest.transaction(NAME).filter(|_| dice.u8(..) < 60);
        let producer = of.map(|of| Producer {
            id: of.producer.id,
            epoch: of.producer.epoch,
            sequence: manifest.partition(&TOPIC, partition).map_or(0, |known| {
                let last = known.producers().find(|one| one.id == of.producer.id);
                last.map_or(0, |one| one.last_sequence + 1)
            }),
        });
        let joins = if producer.is_some() { Joins::Adds } else { Joins::Nothing };
        BatchMeta { bytes: 70, offsets: dice.u32(1..4), max_timestamp: now_ms, producer, joins }
    };
    let segment = dice.bool().then(|| id(dice, now_ms));
    let batches = (0..dice.usize(1..4)).map(|_| batch(dice)).collect();
    Append { topic: TOPIC, partition, segment, at: 0, crc: 0, batches }
}

fn id(dice: &mut Rng, now_ms: i64) -> Ulid {
    let age_ms = if dice.u8(..) < 8 { DAY_MS + dice.i64(0..HOUR_MS) } else { 0 };
    Ulid::from_parts((now_ms - age_ms) as u64, dice.u128(..))
}

fn chunk(dice: &mut Rng, now_ms: i64) -> ObjectName {
    ObjectName::Chunk(id(dice, now_ms), *dice.choice(&[Format::Batches, Format::Parquet]).unwrap())
}

/// Some of the extents, and something else of the same length.
fn run(dice: &mut Rng, known: &Partition, partition: u32, now_ms: i64) -> SwapRun {
    let first = if dice.bool() { 0 } else { dice.usize(..=known.extents.len()) };
    let read: Vec<_> = known.extents.iter().skip(first).take(dice.usize(1..4)).collect();
    let mut inputs: Vec<_> = read.iter().map(|extent| ObjectName::from(extent.object)).collect();
    let base_offset = read.first().map_or(known.high_watermark, |first| first.base_offset);
    let mut left = read.iter().map(|extent| extent.offsets).sum::<u32>();
    let mut outputs = Vec::new();
    let chunks = dice.u8(..) < 150;
    while left > 0 {
        let offsets = if dice.bool() { left } else { dice.u32(1..=left) };
        let object = if chunks { chunk(dice, now_ms) } else { ObjectName::Merged(id(dice, now_ms)) };
        outputs.push(SwapOutput {
            object,
            at: dice.u64(..99),
            bytes: 70 * offsets,
            offsets,
            max_timestamp: now_ms,
        });
        left -= offsets;
    }
    match dice.u8(..30) {
        0 => drop(inputs.pop()),
        1 => inputs.push(ObjectName::Marker),
        2 if !inputs.is_empty() => inputs[0] = ObjectName::Slot(1),
        3 if !outputs.is_empty() => outputs[0].offsets += 1,
        4 if !outputs.is_empty() => outputs[0].object = ObjectName::Slot(1),
        _ => {}
    }
    SwapRun { topic: TOPIC, partition, base_offset, inputs, outputs }
}

fn index(dice: &mut Rng, known: &Partition, partition: u32, now_ms: i64) -> IndexChunks {
    let chunks =
        known.extents.iter().take_while(|one| matches!(ObjectName::from(one.object), ObjectName::Chunk(..)));
    let taken: Vec<_> = chunks.take(dice.usize(..3)).collect();
    let mut absorbs: Vec<_> = taken.iter().map(|extent| ObjectName::from(extent.object)).collect();
    let end = taken.last().map(|last| last.end_offset()).or(known.index.map(|index| index.end_offset));
    let mut root = Branch {
        id: id(dice, now_ms),
        base_offset: if dice.bool() {
            known.log_start
        } else {
            known.index.map_or(0, |index| index.base_offset)
        },
        end_offset: end.unwrap_or(1),
        chunks: 1,
        bytes: 70,
        max_timestamp: now_ms,
    };
    let mut replaces = known.index.map(|index| index.id);
    match dice.u8(..30) {
        0 => replaces = None,
        1 => root.end_offset += 1,
        2 => root.base_offset += 1,
        3 => absorbs.push(chunk(dice, now_ms)),
        4 => root.chunks = 0,
        _ => {}
    }
    IndexChunks { topic: TOPIC, partition, replaces, absorbs, root }
}

#[test]
fn the_oracle_agrees_with_the_fold_about_what_moves() {
    let mut all = Vec::new();
    for seed in 0..150 {
        let (outcomes, difference) = play(seed);
        assert_eq!(difference, None, "seed {seed}");
        all.extend(outcomes);
    }
    let runs: Vec<_> = all
        .iter()
        .filter_map(|one| if let Outcome::Swapped(runs) = one { Some(runs) } else { None })
        .collect();
    let runs: Vec<_> = runs.into_iter().flatten().collect();
    let verdicts =
        [Ok(()), Err(Void::ExtentsChanged), Err(Void::Malformed), Err(Void::Stale), Err(Void::Undecided)];
    for verdict in verdicts {
        assert!(runs.contains(&&verdict), "no run was {verdict:?}");
    }
    for void in [Void::ExtentsChanged, Void::Malformed, Void::Stale, Void::Undecided, Void::RetentionChanged]
    {
        assert!(all.contains(&Outcome::Void(void)), "nothing was {void:?}");
    }
}

#[test]
fn the_oracle_notices_when_a_rule_of_moving_is_broken() {
    let rules = [
        Mutation::SwapsUnchecked,
        Mutation::SwapsUndecided,
        Mutation::IndexUnchecked,
        Mutation::RetentionUnchecked,
    ];
    for broken in rules {
        mutation::set(Some(broken));
        let noticed = (0..150).any(|seed| play(seed).1.is_some());
        mutation::set(None);
        assert!(noticed, "{broken:?}");
    }
}
