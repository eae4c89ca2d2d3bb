//! Swaps, index changes, expiries and what was compacted that somebody wrote: what they say comes back, and what says nothing is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::limits::MAX_SLOT;
use crate::testing::{Dice, for_seeds};

fn object(dice: &mut Dice) -> ObjectName {
    let id = Ulid::from_parts(dice.below(3), dice.below(3).into());
    match dice.below(6) {
        0 => ObjectName::Segment(id),
        1 => ObjectName::Slot(*dice.pick(&[1, 77, MAX_SLOT])),
        2 => ObjectName::Marker,
        3 => ObjectName::Merged(id),
        4 => ObjectName::Chunk(id, Format::Batches),
        _ => ObjectName::Chunk(id, Format::Parquet),
    }
}

fn objects(dice: &mut Dice) -> Vec<ObjectName> {
    (0..dice.below(5)).map(|_| object(dice)).collect()
}

fn number(dice: &mut Dice) -> i64 {
    let any = dice.draw() as i64;
    *dice.pick(&[0, 1, -1, i64::MIN, i64::MAX, any])
}

fn swap(dice: &mut Dice) -> Swap {
    let run = |dice: &mut Dice| SwapRun {
        topic: Uuid::from_u128(dice.u128()),
        partition: dice.draw() as u32,
        base_offset: number(dice),
        inputs: objects(dice),
        outputs: (0..dice.below(4))
            .map(|_| SwapOutput {
                object: object(dice),
                at: dice.draw(),
                bytes: dice.draw() as u32,
                offsets: dice.draw() as u32,
                max_timestamp: number(dice),
            })
            .collect(),
    };
    Swap { runs: (0..dice.below(4)).map(|_| run(dice)).collect() }
}

fn index(dice: &mut Dice) -> IndexChunks {
    IndexChunks {
        topic: Uuid::from_u128(dice.u128()),
        partition: dice.draw() as u32,
        replaces: dice.per_mille(500).then(|| Ulid(dice.u128())),
        absorbs: objects(dice),
        root: Branch {
            id: Ulid(dice.u128()),
            base_offset: number(dice),
            end_offset: number(dice),
            chunks: dice.draw(),
            bytes: dice.draw(),
            max_timestamp: number(dice),
        },
    }
}

#[test]
fn what_is_written_is_read() {
    for_seeds(500, |seed| {
        let mut dice = Dice::new(seed);
        let (swap, index) = (swap(&mut dice), index(&mut dice));
        let expire = Expire {
            topic: Uuid::from_u128(dice.u128()),
            partition: dice.draw() as u32,
            before: number(&mut dice),
            retention_ms: number(&mut dice),
            retention_bytes: number(&mut dice),
        };
        let compacted = Compacted {
            topic: Uuid::from_u128(dice.u128()),
            partition: dice.draw() as u32,
            upto: number(&mut dice),
            tombstones_ms: number(&mut dice),
        };
        let bytes = SwapWire::from(&swap).encode_to_vec();
        assert_eq!(Swap::try_from(SwapWire::decode(&*bytes).unwrap()), Ok(swap));
        let bytes = IndexWire::from(&index).encode_to_vec();
        assert_eq!(IndexChunks::try_from(IndexWire::decode(&*bytes).unwrap()), Ok(index));
        let bytes = ExpireWire::from(&expire).encode_to_vec();
        assert_eq!(Expire::try_from(ExpireWire::decode(&*bytes).unwrap()), Ok(expire));
        let bytes = CompactedWire::from(&compacted).encode_to_vec();
        assert_eq!(Compacted::try_from(CompactedWire::decode(&*bytes).unwrap()), Ok(compacted));
    });
}

/// Each ULID is written once, however often it is named.
#[test]
fn what_is_named_often_takes_little_room() {
    let chunk = ObjectName::Chunk(Ulid(7), Format::Batches);
    let inputs = vec![chunk; 1_000];
    let run = SwapRun { topic: Uuid::nil(), partition: 0, base_offset: 0, inputs, outputs: vec![] };
    assert!(SwapWire::from(&Swap { runs: vec![run] }).encoded_len() < 1_100);
}

#[test]
fn what_says_nothing_is_refused() {
    let (of, second) = (Bytes::from_static(&[1; 16]), Ulid(2));
    let good = SwapWire {
        ids: Bytes::from([[1; 16], second.to_bytes()].concat()),
        runs: vec![RunWire { topic: of.clone(), inputs: vec![MARKER, 8 | MERGED], ..RunWire::default() }],
    };
    let inputs = |inputs: &[u64], ids: usize| {
        let mut wire = SwapWire { ids: good.ids.slice(..ids), ..good.clone() };
        wire.runs[0].inputs = inputs.to_vec();
        Swap::try_from(wire).map(|swap| swap.runs[0].inputs.clone())
    };
    assert_eq!(inputs(&[8 | MERGED], 32), Ok(vec![ObjectName::Merged(second)]));
    for kind in [SEGMENT, MERGED, BATCHES, PARQUET] {
        let outside = Err("an object that is not in its table");
        assert_eq!(inputs(&[16 | kind], 32), outside, "{kind}");
        assert_eq!(inputs(&[8 | kind], 31), outside, "half of it is there");
        assert_eq!(inputs(&[u64::MAX << 3 | kind], 32), outside);
        assert_eq!(inputs(&[kind], 0), outside);
    }
    for kind in [6, 7] {
        assert_eq!(inputs(&[kind], 32), Err("an object of a kind that this program does not know"));
    }
    let mut output = good.clone();
    output.runs[0].outputs.push(OutputWire { object: 16, ..OutputWire::default() });
    assert!(Swap::try_from(output).is_err());
    let mut topic = good.clone();
    topic.runs[0].topic = of.slice(..15);
    assert!(Swap::try_from(topic).is_err());
    let root = Some(BranchWire { id: of.clone(), ..BranchWire::default() });
    let good = IndexWire {
        topic: of.clone(),
        replaces: of.clone(),
        ids: of.clone(),
        absorbs: vec![0],
        root,
        ..IndexWire::default()
    };
    assert!(IndexChunks::try_from(good.clone()).is_ok());
    let refused: [fn(&mut IndexWire); 5] = [
        |wire| wire.topic.clear(),
        |wire| wire.replaces.truncate(15),
        |wire| wire.absorbs.push(8),
        |wire| wire.root = None,
        |wire| wire.root.as_mut().unwrap().id.clear(),
    ];
    for (number, break_it) in refused.into_iter().enumerate() {
        let mut wire = good.clone();
        break_it(&mut wire);
        assert!(IndexChunks::try_from(wire).is_err(), "{number}");
    }
    assert!(Expire::try_from(ExpireWire::default()).is_err());
    assert!(Compacted::try_from(CompactedWire::default()).is_err());
}
