//! Swaps, index changes, expiries and how far partitions are compacted in the fold, case by case.

use super::transactions::{aborted, end, init, joins, kept, of, tick, void};
use super::*;
use crate::chunk::{ChunkId, Format};
use crate::index::Branch;
use crate::limits::{MAX_CONFIG_CHARS, MAX_CONFIG_VALUE_CHARS};
use crate::manifest::commit::history::{
    Compacted, Expire, IndexChunks, ObjectName, Swap, SwapOutput, SwapRun,
};
use crate::manifest::commit::transaction::{Joins, TransactionOf};

const DAY_MS: i64 = 24 * HOUR_MS;

fn id(n: u128) -> Ulid {
    Ulid::from_parts(0, n)
}

fn batches(n: u128) -> ObjectName {
    ObjectName::Chunk(id(n), Format::Batches)
}

fn merged(n: u128) -> ObjectName {
    ObjectName::Merged(id(n))
}

/// Twenty bytes for each offset.
fn output(object: ObjectName, at: u64, offsets: u32) -> SwapOutput {
    SwapOutput { object, at, bytes: 20 * offsets, offsets, max_timestamp: 7 }
}

fn run(base_offset: i64, inputs: &[ObjectName], outputs: &[SwapOutput]) -> SwapRun {
    SwapRun { topic: TOPIC, partition: 0, base_offset, inputs: inputs.to_vec(), outputs: outputs.to_vec() }
}

fn swap(fold: &mut Fold, run: SwapRun) -> Result<(), Void> {
    match fold.change(Change::Swap(Swap { runs: vec![run] })) {
        Outcome::Swapped(mut runs) => runs.remove(0),
        other => panic!("{other:?}"),
    }
}

fn root(n: u128, base_offset: i64, end_offset: i64) -> Branch {
    Branch { id: id(n), base_offset, end_offset, chunks: 2, bytes: 1_000, max_timestamp: 7 }
}

fn index(replaces: Option<u128>, absorbs: &[ObjectName], root: Branch) -> Change {
    let (replaces, absorbs) = (replaces.map(id), absorbs.to_vec());
    Change::IndexChunks(IndexChunks { topic: TOPIC, partition: 0, replaces, absorbs, root })
}

fn delete_before(before: i64) -> Change {
    Change::DeleteRecords { topic: TOPIC, partition: 0, before }
}

/// What lies where: base offset and object. Whatever happened, the counts are right, and a checkpoint holds it.
fn lies(fold: &Fold) -> Vec<(i64, ObjectName)> {
    kept(fold);
    let all = fold.manifest.topics().flat_map(|topic| &topic.partitions);
    assert_eq!(fold.manifest.extents(), all.map(|partition| partition.extents.len()).sum::<usize>());
    let extents = &partition(fold).extents;
    extents.iter().map(|extent| (extent.base_offset, extent.object.into())).collect()
}

fn partition(fold: &Fold) -> &Partition {
    fold.manifest.partition(&TOPIC, 0).unwrap()
}

const SLOTS: [ObjectName; 4] =
    [ObjectName::Slot(2), ObjectName::Slot(3), ObjectName::Slot(4), ObjectName::Slot(5)];

/// Four extents of two offsets each, in the slots 2 to 5.
fn four() -> Fold {
    let mut fold = Fold::new();
    for sequence in 0..4 {
        fold.append(&[batch(9, 0, 2 * sequence, 2)]);
    }
    let all = [(0, SLOTS[0]), (2, SLOTS[1]), (4, SLOTS[2]), (6, SLOTS[3])];
    assert_eq!(lies(&fold), all);
    fold
}

/// The same four, and the first two of them are chunks.
fn two_chunks() -> Fold {
    let mut fold = four();
    let written = [output(batches(1), 0, 2), output(batches(2), 0, 2)];
    assert_eq!(swap(&mut fold, run(0, &SLOTS[..2], &written)), Ok(()));
    fold
}

#[test]
fn a_swap_changes_where_records_lie_and_nothing_else() {
    let mut fold = four();
    let parquet = ObjectName::Chunk(id(2), Format::Parquet);
    let outputs = [output(merged(1), 300, 1), output(parquet, 500, 3)];
    assert_eq!(swap(&mut fold, run(2, &SLOTS[1..3], &outputs)), Ok(()));
    assert_eq!(lies(&fold), [(0, SLOTS[0]), (2, merged(1)), (3, parquet), (6, SLOTS[3])]);
    let chunk = ChunkId { topic: TOPIC, partition: 0, base_offset: 3, id: id(2), format: Format::Parquet };
    let expected = Extent {
        base_offset: 3,
        offsets: 3,
        object: ObjectId::Chunk(chunk),
        at: 500,
        bytes: 60,
        max_timestamp: 7,
    };
    assert_eq!(partition(&fold).extents[2], expected);
    assert_eq!((partition(&fold).log_start, partition(&fold).high_watermark), (0, 8));
    assert_eq!(partition(&fold).bytes(), 10 + 20 + 60 + 10);
    assert_eq!(fold.append(&[batch(9, 0, 6, 2), batch(9, 0, 8, 1)]), [Ok(6), Ok(8)], "producers are known");
    // What was written by a swap is swapped like everything else; more may come of less.
    let outputs = [1, 2, 3].map(|n| output(merged(3), 100 * n, n as u32));
    assert_eq!(swap(&mut fold, run(0, &[SLOTS[0], merged(1), parquet], &outputs)), Ok(()));
    assert_eq!(
        lies(&fold),
        [(0, merged(3)), (1, merged(3)), (3, merged(3)), (6, SLOTS[3]), (8, ObjectName::Slot(7))]
    );
}

/// One offset, one record, for ever: whoever read something else than what is there has written something else.
#[test]
fn a_swap_holds_only_for_exactly_what_was_read() {
    let two = [output(merged(1), 0, 1), output(merged(1), 90, 3)];
    let good = run(2, &SLOTS[1..3], &two);
    assert_eq!(swap(&mut four(), good.clone()), Ok(()));
    let changed = Err(Void::ExtentsChanged);
    let malformed = Err(Void::Malformed);
    let table = [
        ("it begins inside an extent", run(3, &SLOTS[1..3], &two), changed),
        ("it begins elsewhere", run(4, &SLOTS[1..3], &two), changed),
        ("before the first one", run(-1, &SLOTS[1..3], &two), changed),
        ("at the end", run(8, &[], &[]), changed),
        ("another object", run(2, &[SLOTS[1], ObjectName::Slot(9)], &two), changed),
        ("another kind of object", run(2, &[SLOTS[1], merged(4)], &two), changed),
        ("another order", run(2, &[SLOTS[2], SLOTS[1]], &two), changed),
        ("more than there are", run(4, &[SLOTS[2], SLOTS[3], SLOTS[3]], &two), changed),
        ("nothing", run(2, &[], &two), malformed),
        ("by nothing", run(2, &SLOTS[1..3], &[]), malformed),
        ("more than was read", run(2, &SLOTS[1..2], &two), malformed),
        ("less than was read", run(2, &SLOTS[1..3], &two[..1]), malformed),
        ("without offsets", run(2, &SLOTS[1..3], &[two[0], two[1], output(merged(1), 0, 0)]), malformed),
        ("without bytes", run(2, &SLOTS[1..3], &[two[0], SwapOutput { bytes: 0, ..two[1] }]), malformed),
        ("no such bytes", run(2, &SLOTS[1..3], &[two[0], SwapOutput { at: u64::MAX, ..two[1] }]), malformed),
        ("what no compactor wrote", run(2, &SLOTS[1..3], &[output(SLOTS[1], 0, 4)]), malformed),
        ("nor this", run(2, &SLOTS[1..3], &[output(ObjectName::Segment(id(1)), 0, 4)]), malformed),
        ("nor this one", run(2, &SLOTS[1..3], &[output(ObjectName::Marker, 0, 4)]), malformed),
        ("no such partition", SwapRun { partition: 2, ..good.clone() }, Err(Void::UnknownPartition)),
        ("another partition", SwapRun { partition: 1, ..good.clone() }, changed),
        ("no such topic", SwapRun { topic: Uuid::from_u128(7), ..good }, Err(Void::UnknownTopic)),
    ];
    for (what, run, verdict) in table {
        let mut fold = four();
        let before = fold.manifest.topics.clone();
        assert_eq!(swap(&mut fold, run), verdict, "{what}");
        assert_eq!((&fold.manifest.topics, fold.manifest.extents()), (&before, 4), "{what}");
    }
}

#[test]
fn the_first_of_two_swaps_holds() {
    let mut fold = four();
    let first = run(0, &SLOTS[..2], &[output(merged(1), 0, 4)]);
    let second = run(2, &SLOTS[1..3], &[output(merged(2), 0, 4)]);
    let third = run(4, &SLOTS[2..], &[output(merged(2), 80, 4)]);
    let runs = vec![first.clone(), second, third];
    let verdicts = vec![Ok(()), Err(Void::ExtentsChanged), Ok(())];
    assert_eq!(fold.change(Change::Swap(Swap { runs })), Outcome::Swapped(verdicts), "each run alone");
    assert_eq!(lies(&fold), [(0, merged(1)), (4, merged(2))]);
    assert_eq!(swap(&mut fold, first), Err(Void::ExtentsChanged), "put twice");
    // Of an extent of which only a part is there, all is swapped; what is gone goes again.
    fold.change(delete_before(2));
    let halves = [output(merged(3), 0, 2), output(merged(3), 40, 2)];
    assert_eq!(swap(&mut fold, run(0, &[merged(1)], &halves)), Ok(()));
    assert_eq!(lies(&fold), [(2, merged(3)), (4, merged(2))]);
    let all = run(0, &[merged(1), merged(2)], &[output(merged(4), 0, 8)]);
    assert_eq!(swap(&mut fold, all), Err(Void::ExtentsChanged), "the first one was deleted meanwhile");
    assert_eq!(lies(&fold), [(2, merged(3)), (4, merged(2))]);
    fold.change(Change::DeleteTopic { id: TOPIC });
    let late = run(2, &[merged(3)], &[output(merged(4), 0, 2)]);
    assert_eq!(swap(&mut fold, late.clone()), Err(Void::UnknownTopic));
    assert_eq!(fold.manifest.extents(), 0);
    fold.change(create(TOPIC, "t"));
    assert_eq!(swap(&mut fold, late), Err(Void::ExtentsChanged));
}

/// Of a chunk it is known for ever what was committed and what was aborted in it; a segment leaves that to the manifest.
#[test]
fn chunks_hold_only_what_is_decided() {
    let mut fold = Fold::new();
    fold.change(init(None));
    let slot = fold.manifest.applied + 1;
    fold.append(&[plain(1)]);
    fold.append(&[joins(Joins::Adds, 0, 0, 0)]);
    fold.append(&[plain(1)]);
    let all = [0, 1, 2].map(|n| ObjectName::Slot(slot + n));
    assert_eq!(partition(&fold).last_stable_offset(), 1);
    let chunk = |offsets| [output(batches(1), 0, offsets)];
    assert_eq!(swap(&mut fold, run(0, &all[..2], &chunk(2))), Err(Void::Undecided));
    assert_eq!(
        swap(&mut fold, run(0, &all[..2], &[output(merged(1), 0, 1), chunk(1)[0]])),
        Err(Void::Undecided)
    );
    assert_eq!(swap(&mut fold, run(0, &all[..1], &chunk(1))), Ok(()), "up to there");
    assert_eq!(swap(&mut fold, run(1, &all[1..], &[output(merged(1), 0, 2)])), Ok(()));
    assert_eq!(partition(&fold).last_stable_offset(), 1, "it is as open as before");
    assert_eq!(fold.change(end(of(0, 0, 1), false, false)), Outcome::Producer(Identity { id: 0, epoch: 0 }));
    assert_eq!(aborted(&fold, 0, 4), [(0, 1, 3)]);
    let read = [merged(1), ObjectName::Marker];
    assert_eq!(
        swap(&mut fold, run(1, &read[..1], &chunk(3))),
        Err(Void::Malformed),
        "the end is an offset, too"
    );
    assert_eq!(swap(&mut fold, run(1, &[merged(1), merged(1)], &chunk(3))), Err(Void::ExtentsChanged));
    assert_eq!(swap(&mut fold, run(1, &read, &chunk(3))), Ok(()));
    assert_eq!(lies(&fold), [(0, batches(1)), (1, batches(1))]);
    assert_eq!(aborted(&fold, 0, 4), [(0, 1, 3)], "not in an index yet");
}

/// Orphans of that age may be deleted at any time.
#[test]
fn what_was_written_more_than_a_day_ago_is_not_taken() {
    let mut fold = two_chunks();
    tick(&mut fold, DAY_MS);
    let verdicts = |fold: &Fold| {
        let mut fold = Fold { manifest: fold.manifest.clone(), counter: fold.counter };
        let outputs = [output(ObjectName::Merged(Ulid::from_parts(9, 1)), 0, 1), output(merged(2), 0, 1)];
        let verdict = swap(&mut fold, run(4, &SLOTS[2..3], &outputs));
        (verdict, fold.change(index(None, &[batches(1)], root(1, 0, 2))))
    };
    assert_eq!(verdicts(&fold), (Ok(()), Outcome::Applied));
    tick(&mut fold, DAY_MS + 1);
    assert_eq!(verdicts(&fold), (Err(Void::Stale), void(Void::Stale)));
    // What is there already may be as old as it likes.
    let young = ObjectName::Merged(Ulid::from_parts(DAY_MS as u64, 1));
    assert_eq!(swap(&mut fold, run(2, &[batches(2), SLOTS[2]], &[output(young, 0, 4)])), Ok(()));
    let root = Branch { id: Ulid::from_parts(DAY_MS as u64, 2), ..root(0, 0, 2) };
    assert_eq!(fold.change(index(None, &[batches(1)], root)), Outcome::Applied);
    assert_eq!(lies(&fold), [(2, young), (6, SLOTS[3])]);
}

#[test]
fn an_index_takes_in_exactly_the_chunks_that_it_was_made_of() {
    let both = [batches(1), batches(2)];
    let changed = || void(Void::ExtentsChanged);
    let malformed = || void(Void::Malformed);
    let table = [
        ("another root", index(Some(8), &both, root(1, 0, 4)), changed()),
        ("not from the first one on", index(None, &both[1..], root(1, 0, 4)), changed()),
        ("another order", index(None, &[both[1], both[0]], root(1, 0, 4)), changed()),
        ("another chunk", index(None, &[both[0], batches(3)], root(1, 0, 4)), changed()),
        (
            "another format",
            index(None, &[ObjectName::Chunk(id(1), Format::Parquet)], root(1, 0, 2)),
            changed(),
        ),
        ("more than there are", index(None, &[both[0]; 5], root(1, 0, 4)), changed()),
        ("not only chunks", index(None, &[both[0], both[1], SLOTS[2]], root(1, 0, 6)), malformed()),
        ("nothing", index(None, &[], root(1, 0, 4)), malformed()),
        ("it ends too early", index(None, &both, root(1, 0, 3)), malformed()),
        ("it ends too late", index(None, &both, root(1, 0, 6)), malformed()),
        ("it leaves out what is there", index(None, &both, root(1, 1, 4)), malformed()),
        ("it begins nowhere", index(None, &both, root(1, -1, 4)), malformed()),
        ("without chunks", index(None, &both, Branch { chunks: 0, ..root(1, 0, 4) }), malformed()),
    ];
    for (what, change, outcome) in table {
        let mut fold = two_chunks();
        let before = fold.manifest.topics.clone();
        assert_eq!(fold.change(change), outcome, "{what}");
        assert_eq!((&fold.manifest.topics, fold.manifest.extents()), (&before, 4), "{what}");
    }
    let mut fold = two_chunks();
    let of = |topic, partition| {
        let (absorbs, root) = (both.to_vec(), root(1, 0, 4));
        Change::IndexChunks(IndexChunks { topic, partition, replaces: None, absorbs, root })
    };
    assert_eq!(fold.change(of(Uuid::from_u128(7), 0)), void(Void::UnknownTopic));
    assert_eq!(fold.change(of(TOPIC, 2)), void(Void::UnknownPartition));
    assert_eq!(fold.change(of(TOPIC, 1)), changed());
    assert_eq!(fold.change(of(TOPIC, 0)), Outcome::Applied);
    assert_eq!(lies(&fold), [(4, SLOTS[2]), (6, SLOTS[3])]);
}

/// As nodes read it, change it and find it changed.
#[test]
fn an_index_is_replaced_only_by_who_has_read_it() {
    let mut fold = two_chunks();
    assert_eq!(fold.change(index(None, &[batches(1)], root(1, 0, 2))), Outcome::Applied);
    assert_eq!((lies(&fold).len(), partition(&fold).index), (3, Some(root(1, 0, 2))));
    assert_eq!(partition(&fold).bytes(), 1_000 + 40 + 10 + 10);
    let again = index(None, &[batches(2)], root(2, 0, 4));
    assert_eq!(fold.change(again), void(Void::ExtentsChanged), "it knows of no index");
    let late = index(Some(1), &[batches(1)], root(2, 0, 2));
    assert_eq!(fold.change(late), void(Void::ExtentsChanged), "it is in the index already");
    assert_eq!(fold.change(index(Some(1), &[batches(2)], root(2, 0, 4))), Outcome::Applied);
    assert_eq!(lies(&fold), [(4, SLOTS[2]), (6, SLOTS[3])]);
    // Without new chunks: the same offsets, but for those that are gone.
    assert_eq!(fold.change(index(Some(1), &[], root(3, 0, 4))), void(Void::ExtentsChanged));
    assert_eq!(fold.change(index(Some(2), &[], root(3, 0, 3))), void(Void::Malformed));
    assert_eq!(fold.change(index(Some(2), &[], root(3, 2, 4))), void(Void::Malformed));
    fold.change(delete_before(3));
    assert_eq!(fold.change(index(Some(2), &[], root(3, 2, 4))), Outcome::Applied);
    assert_eq!((lies(&fold).len(), partition(&fold).index), (2, Some(root(3, 2, 4))));
    assert_eq!(fold.append(&[batch(9, 0, 0, 2), batch(9, 0, 8, 1)]), [Ok(0), Ok(8)], "producers are known");
    // Chunks before the index there cannot be; those after it are swapped as ever.
    assert_eq!(swap(&mut fold, run(2, &[batches(2)], &[output(merged(5), 0, 2)])), Err(Void::ExtentsChanged));
    assert_eq!(swap(&mut fold, run(4, &SLOTS[2..], &[output(merged(5), 0, 4)])), Ok(()));
    fold.change(Change::DeleteTopic { id: TOPIC });
    let gone = index(Some(3), &[], root(4, 2, 4));
    assert_eq!(fold.change(gone), void(Void::UnknownTopic));
    assert_eq!(fold.manifest.extents(), 0);
    fold.change(create(TOPIC, "t"));
    assert_eq!(partition(&fold), &Partition::default(), "a new topic has nothing of the old one");
}

#[test]
fn the_index_tells_of_what_was_aborted_in_it() {
    let mut fold = Fold::new();
    for n in 0..2 {
        fold.change(super::transactions::init_as(&format!("t{n}"), None, 0));
    }
    let end_of =
        |n: i64| end(TransactionOf { transactional_id: format!("t{n}"), ..of(n, 0, 1) }, false, false);
    for n in 0..2 {
        fold.append(&[joins(Joins::Adds, n, 0, 0)]);
    }
    fold.change(end_of(0));
    fold.append(&[plain(1)]);
    fold.change(end_of(1));
    assert_eq!(aborted(&fold, 0, 5), [(0, 0, 2), (1, 1, 4)]);
    let slot = |n| ObjectName::Slot(n);
    let read = [slot(4), slot(5), ObjectName::Marker, slot(7)];
    assert_eq!(swap(&mut fold, run(0, &read, &[output(batches(1), 0, 4)])), Ok(()));
    assert_eq!(aborted(&fold, 0, 5), [(0, 0, 2), (1, 1, 4)]);
    assert_eq!(fold.change(index(None, &[batches(1)], root(1, 0, 4))), Outcome::Applied);
    assert_eq!(aborted(&fold, 0, 5), [(1, 1, 4)], "it began in the index and ended after it");
    assert_eq!(lies(&fold), [(4, ObjectName::Marker)]);
    assert_eq!(swap(&mut fold, run(4, &[ObjectName::Marker], &[output(batches(2), 0, 1)])), Ok(()));
    assert_eq!(fold.change(index(Some(1), &[batches(2)], root(2, 0, 5))), Outcome::Applied);
    assert_eq!((aborted(&fold, 0, 5), lies(&fold)), (vec![], vec![]));
    assert_eq!(fold.append(&[plain(1)]), [Ok(5)]);
    assert_eq!(lies(&fold), [(5, slot(13))]);
}

fn compacted(upto: i64, tombstones_ms: i64) -> Change {
    Change::Compacted(Compacted { topic: TOPIC, partition: 0, upto, tombstones_ms })
}

/// The one that came farthest holds, and of two that came as far the later one.
#[test]
fn how_far_a_partition_is_compacted_is_never_taken_back() {
    let mut fold = four();
    let mut holds = |upto, tombstones_ms| {
        let outcome = fold.change(compacted(upto, tombstones_ms));
        assert_eq!(lies(&fold).len(), 4, "it says nothing of where records lie");
        (outcome, partition(&fold).compacted, partition(&fold).tombstones_ms)
    };
    let undecided = void(Void::Undecided);
    assert_eq!(holds(9, 7), (undecided.clone(), 0, i64::MAX), "beyond the end");
    assert_eq!(holds(-1, 7), (undecided.clone(), 0, i64::MAX));
    assert_eq!(holds(5, 7), (Outcome::Applied, 5, 7));
    assert_eq!(holds(4, 9), (Outcome::Applied, 5, 7), "slower than another");
    assert_eq!(holds(5, 8), (Outcome::Applied, 5, 8), "the same once more, without the first tombstone");
    assert_eq!(holds(8, i64::MIN), (Outcome::Applied, 8, i64::MIN));
    assert_eq!(holds(8, i64::MAX), (Outcome::Applied, 8, i64::MAX));
    assert_eq!(holds(i64::MAX, 7), (undecided, 8, i64::MAX));
    let of = |topic, partition| Change::Compacted(Compacted { topic, partition, upto: 0, tombstones_ms: 7 });
    assert_eq!(fold.change(of(Uuid::from_u128(7), 0)), void(Void::UnknownTopic));
    assert_eq!(fold.change(of(TOPIC, 2)), void(Void::UnknownPartition));
    assert_eq!(fold.change(of(TOPIC, 1)), Outcome::Applied);
    assert_eq!(fold.manifest.partition(&TOPIC, 1).unwrap().tombstones_ms, 7, "each partition alone");
    assert_eq!(partition(&fold).tombstones_ms, i64::MAX);
}

#[test]
fn nothing_is_compacted_that_is_not_decided_and_what_was_aborted_below_is_forgotten() {
    let mut fold = Fold::new();
    for n in 0..2 {
        fold.change(super::transactions::init_as(&format!("t{n}"), None, 0));
    }
    let end_of =
        |n: i64| end(TransactionOf { transactional_id: format!("t{n}"), ..of(n, 0, 1) }, false, false);
    for n in 0..2 {
        fold.append(&[joins(Joins::Adds, n, 0, 0)]);
    }
    fold.change(end_of(0));
    assert_eq!(fold.change(compacted(2, 7)), void(Void::Undecided), "the other one is open from 1 on");
    assert_eq!(fold.change(compacted(1, 7)), Outcome::Applied);
    fold.change(end_of(1));
    assert_eq!(aborted(&fold, 0, 4), [(0, 0, 2), (1, 1, 3)]);
    let mut left = |upto| {
        assert_eq!(fold.change(compacted(upto, 7)), Outcome::Applied);
        assert_eq!(lies(&fold).len(), 4);
        aborted(&fold, 0, 4)
    };
    assert_eq!(left(2), [(0, 0, 2), (1, 1, 3)], "its end is not below");
    assert_eq!(left(3), [(1, 1, 3)], "records of the other one may be left");
    assert_eq!(left(0), [(1, 1, 3)]);
    assert_eq!(left(4), []);
}

#[test]
fn an_index_goes_when_all_of_it_is_gone() {
    let mut fold = two_chunks();
    fold.change(index(None, &[batches(1), batches(2)], root(1, 0, 4)));
    let start = |fold: &mut Fold, change| {
        let outcome = fold.change(change);
        (outcome, partition(fold).log_start, partition(fold).index.is_some(), lies(fold).len())
    };
    let expire = |before| expire(before, RETENTION_MS, -1);
    assert_eq!(start(&mut fold, delete_before(1)), (Outcome::Applied, 1, true, 2));
    assert_eq!(start(&mut fold, expire(3)), (Outcome::Applied, 3, true, 2));
    assert_eq!(start(&mut fold, expire(2)), (Outcome::Applied, 3, true, 2), "never back");
    let mut other = Fold { manifest: fold.manifest.clone(), counter: fold.counter };
    assert_eq!(start(&mut fold, expire(4)), (Outcome::Applied, 4, false, 2));
    assert_eq!(fold.change(index(Some(1), &[], root(2, 0, 4))), void(Void::ExtentsChanged));
    assert_eq!(start(&mut other, delete_before(7)), (Outcome::Applied, 7, false, 1));
    assert_eq!(start(&mut other, delete_before(-1)), (Outcome::Applied, 8, false, 0));
}

const RETENTION_MS: i64 = 7 * DAY_MS;

fn expire(before: i64, retention_ms: i64, retention_bytes: i64) -> Change {
    Change::Expire(Expire { topic: TOPIC, partition: 0, before, retention_ms, retention_bytes })
}

fn configure(fold: &mut Fold, configs: &[(&str, &str)]) {
    let set = |(name, value): &(&str, &str)| ConfigChange {
        name: (*name).to_owned(),
        op: ConfigOp::Set((*value).to_owned()),
    };
    let changes = configs.iter().map(set).collect();
    let outcome = fold.change(Change::AlterConfigs { topic: TOPIC, replace: true, changes });
    assert_eq!(outcome, Outcome::Applied);
}

/// Whoever was told that records stay keeps them, also from a node that has not heard of it.
#[test]
fn records_expire_only_by_the_retention_that_their_topic_has() {
    let mut fold = four();
    let mut holds = |configs: &[(&str, &str)], ms, bytes| {
        configure(&mut fold, configs);
        let before = partition(&fold).log_start;
        let outcome = fold.change(expire(before + 1, ms, bytes));
        let moved = partition(&fold).log_start - before;
        assert_eq!(outcome, if moved == 1 { Outcome::Applied } else { void(Void::RetentionChanged) });
        lies(&fold);
        moved == 1
    };
    assert!(holds(&[], RETENTION_MS, -1), "Kafka's defaults");
    assert!(!holds(&[], RETENTION_MS - 1, -1));
    assert!(!holds(&[], RETENTION_MS, 0));
    assert!(holds(&[("retention.ms", "5")], 5, -1));
    assert!(!holds(&[("retention.ms", "5")], RETENTION_MS, -1));
    assert!(!holds(&[("retention.ms", "5"), ("retention.bytes", "6")], 5, -1));
    assert!(holds(&[("retention.ms", "-1"), ("retention.bytes", "6")], -1, 6));
    assert!(!holds(&[("retention.ms", "-1")], -1, -1), "for ever");
    assert!(!holds(&[("cleanup.policy", "compact")], RETENTION_MS, -1));
    assert!(holds(&[("cleanup.policy", "compact, delete")], RETENTION_MS, -1));
    let expired = expire(1, RETENTION_MS, -1);
    fold.change(Change::DeleteTopic { id: TOPIC });
    assert_eq!(fold.change(expired), void(Void::UnknownTopic));
}

#[test]
fn nothing_expires_that_is_not_decided() {
    let mut fold = Fold::new();
    fold.change(init(None));
    fold.append(&[plain(1)]);
    fold.append(&[joins(Joins::Adds, 0, 0, 0)]);
    fold.append(&[plain(1)]);
    let before = |before| expire(before, RETENTION_MS, -1);
    assert_eq!(fold.change(before(2)), void(Void::Undecided));
    assert_eq!(fold.change(before(-1)), void(Void::Undecided), "the end is not meant");
    assert_eq!(fold.change(before(1)), Outcome::Applied);
    fold.change(end(of(0, 0, 1), false, false));
    assert_eq!(fold.change(before(5)), void(Void::Undecided), "beyond the end");
    assert_eq!(aborted(&fold, 0, 4), [(0, 1, 3)]);
    assert_eq!(fold.change(before(4)), Outcome::Applied);
    assert_eq!((aborted(&fold, 0, 4), lies(&fold), partition(&fold).log_start), (vec![], vec![], 4));
    let elsewhere =
        Expire { topic: TOPIC, partition: 2, before: 0, retention_ms: RETENTION_MS, retention_bytes: -1 };
    assert_eq!(fold.change(Change::Expire(elsewhere)), void(Void::UnknownPartition));
}

#[test]
fn what_nobody_has_set_is_as_in_kafka() {
    let default = Retention {
        deletes: true,
        compacts: false,
        ms: 604_800_000,
        bytes: -1,
        tombstones_ms: 86_400_000,
        dirty_per_mille: 500,
        segment_ms: 604_800_000,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
    };
    let table: [(&[(&str, &str)], Retention); 6] = [
        (&[], default),
        (&[("retention.ms", "long"), ("retention.bytes", "")], default),
        (&[("cleanup.policy", "compact")], Retention { deletes: false, compacts: true, ..default }),
        (&[("cleanup.policy", "delete,compact")], Retention { compacts: true, ..default }),
        (&[("cleanup.policy", "")], Retention { deletes: false, ..default }),
        (
            &[
                ("retention.ms", "-1"),
                ("retention.bytes", "2"),
                ("delete.retention.ms", "3"),
                ("min.compaction.lag.ms", "4"),
                ("max.compaction.lag.ms", "5"),
            ],
            Retention { ms: -1, bytes: 2, tombstones_ms: 3, min_lag_ms: 4, max_lag_ms: 5, ..default },
        ),
    ];
    for (configs, retention) in table {
        let mut fold = Fold::new();
        configure(&mut fold, configs);
        assert_eq!(fold.manifest.topic(&TOPIC).unwrap().retention(), retention, "{configs:?}");
        let loaded = checkpoint::decode("key", &checkpoint::encode(&fold.manifest)).unwrap();
        assert_eq!(loaded.topic(&TOPIC).unwrap().retention(), retention, "{configs:?}");
    }
}

/// A schema is a long config. Nodes that do not know of level 4 would call it malformed: it raises the level.
#[test]
fn values_of_configs_may_be_long_from_level_4_on() {
    let schema = |bytes: usize| Change::AlterConfigs {
        topic: TOPIC,
        replace: false,
        changes: vec![ConfigChange {
            name: "strandline.value.schema".to_owned(),
            op: ConfigOp::Set("s".repeat(bytes)),
        }],
    };
    let (old, new) = (MAX_CONFIG_CHARS, MAX_CONFIG_VALUE_CHARS);
    assert_eq!((schema(old).level(), schema(old + 1).level()), (2, 4));
    let mut fold = Fold::new();
    assert_eq!(fold.change(schema(old)), Outcome::Applied);
    assert_eq!(fold.change(schema(old + 1)), Outcome::Void(Void::Malformed));
    fold.change(Change::FeatureLevel { level: 4 });
    assert_eq!(fold.change(schema(new)), Outcome::Applied);
    assert_eq!(fold.change(schema(new + 1)), Outcome::Void(Void::Malformed));
    assert_eq!(fold.manifest.topic(&TOPIC).unwrap().configs["strandline.value.schema"].len(), new);
}
