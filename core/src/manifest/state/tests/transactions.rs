//! Transactions in the fold, case by case (KIP-98, KIP-360, KIP-890).

use super::*;
use crate::limits::MAX_TRANSACTIONAL_IDS;
use crate::manifest::commit::group::{CommitOffsets, OffsetCommit};
use crate::manifest::commit::transaction::{
    AddToTransaction, EndTransaction, InitProducer, Joins, TransactionOf, TransactionOffsets,
};

const TIMEOUT_MS: i32 = 60_000;
const AT: (Uuid, u32) = (TOPIC, 0);

pub(super) fn init(known: Option<(i64, i16)>) -> Change {
    init_as("t", known, 0)
}

pub(super) fn init_as(id: &str, known: Option<(i64, i16)>, begun: u64) -> Change {
    let (transactional_id, timeout_ms) = (id.to_owned(), TIMEOUT_MS);
    Change::InitProducer(InitProducer { transactional_id, timeout_ms, known, begun })
}

pub(super) fn of(id: i64, epoch: i16, number: u64) -> TransactionOf {
    TransactionOf { transactional_id: "t".into(), producer_id: id, epoch, number }
}

fn add(of: TransactionOf, partitions: &[(Uuid, u32)], groups: &[&str]) -> Change {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Change::AddToTransaction(AddToTransaction { of, partitions: partitions.to_vec(), groups })
}

pub(super) fn end(of: TransactionOf, commit: bool, bump: bool) -> Change {
    Change::EndTransaction(EndTransaction { of, commit, bump, if_due: false })
}

fn expire(of: TransactionOf) -> Change {
    Change::EndTransaction(EndTransaction { of, commit: false, bump: true, if_due: true })
}

fn offset(of: TransactionOf, adds: bool, offset: i64) -> Change {
    offset_at(0, of, adds, offset)
}

fn offset_at(step: u64, of: TransactionOf, adds: bool, offset: i64) -> Change {
    Change::TransactionOffsets(TransactionOffsets { of, adds, step, commit: commits(offset) })
}

pub(super) fn tick(fold: &mut Fold, timestamp_ms: i64) {
    fold.counter += 1;
    let tick = Commit { timestamp_ms, ..commit(1, fold.counter, fold.counter, vec![Change::Tick]) };
    fold.commit(&tick);
}

fn commits(offset: i64) -> CommitOffsets {
    let one = OffsetCommit { topic: TOPIC, partition: 1, offset, leader_epoch: -1, metadata: "m".into() };
    CommitOffsets {
        group: "g".into(),
        member: String::new(),
        epoch: -1,
        instance_id: None,
        offsets: vec![one],
    }
}

pub(super) fn joins(joins: Joins, id: i64, epoch: i16, sequence: i32) -> BatchMeta {
    BatchMeta { joins, ..batch(id, epoch, sequence, 1) }
}

fn producer(id: i64, epoch: i16) -> Outcome {
    Outcome::Producer(Identity { id, epoch })
}

/// Log start, last stable offset, high watermark of partition 0.
fn ends(fold: &Fold) -> (i64, i64, i64) {
    let partition = fold.manifest.partition(&TOPIC, 0).unwrap();
    (partition.log_start, partition.last_stable_offset(), partition.high_watermark)
}

pub(super) fn aborted(fold: &Fold, from: i64, upto: i64) -> Vec<(i64, i64, i64)> {
    let found = fold.manifest.partition(&TOPIC, 0).unwrap().aborted_in(from, upto);
    found.iter().map(|one| (one.producer_id, one.first_offset, one.last_offset)).collect()
}

fn committed(fold: &Fold) -> Option<i64> {
    Some(fold.manifest.group("g")?.offsets.get(&(TOPIC, 1))?.offset)
}

pub(super) fn void(void: Void) -> Outcome {
    Outcome::Void(void)
}

/// Whatever happened, a checkpoint holds it.
pub(super) fn kept(fold: &Fold) {
    let bytes = checkpoint::encode(&fold.manifest);
    let read = checkpoint::decode("checkpoint", &bytes).unwrap();
    assert!(read == fold.manifest, "{read:?}\n{:?}", fold.manifest);
}

#[test]
fn a_transaction_ends_at_once_for_partitions_and_offsets() {
    let mut fold = Fold::new();
    assert_eq!(fold.change(init(None)), producer(0, 0));
    assert_eq!(fold.change(add(of(0, 0, 1), &[AT, (TOPIC, 1)], &["g"])), Outcome::Applied);
    assert_eq!(fold.append(&[joins(Joins::Added, 0, 0, 0), plain(2)]), [Ok(0), Ok(1)]);
    assert_eq!(fold.change(offset(of(0, 0, 1), false, 7)), Outcome::Applied);
    assert_eq!((ends(&fold), committed(&fold)), ((0, 0, 3), None));
    assert_eq!(fold.manifest.pending_offsets("g").len(), 1);
    kept(&fold);
    assert_eq!(fold.change(end(of(0, 0, 1), true, false)), producer(0, 0));
    assert_eq!((ends(&fold), committed(&fold)), ((0, 4, 4), Some(7)));
    assert_eq!(fold.manifest.pending_offsets("g").len(), 0);
    let extents = &fold.manifest.partition(&TOPIC, 0).unwrap().extents;
    let marker = Marker { producer_id: 0, epoch: 0, commit: true };
    assert_eq!(
        extents.last().map(|extent| (extent.base_offset, extent.object)),
        Some((3, ObjectId::Marker(marker)))
    );
    let untouched = fold.manifest.partition(&TOPIC, 1).unwrap();
    assert_eq!(untouched.high_watermark, 0, "no marker where there are no records");
    assert_eq!((aborted(&fold, 0, 4), fold.manifest.open_transactions().count()), (vec![], 0));
    kept(&fold);
}

/// Kafka's coordinator compares where the two were written.
#[test]
fn a_plain_commit_stands_against_a_transaction_that_named_its_offset_before() {
    let partition = (TOPIC, 1);
    let plain = |offset| Change::CommitOffsets(commits(offset));
    let forgets = [
        (plain(3), Some(3)),
        (Change::DeleteOffsets { group: "g".to_owned(), partitions: vec![partition] }, None),
        (Change::DeleteGroup { group: "g".to_owned() }, None),
    ];
    for (change, left) in forgets {
        let mut fold = Fold::new();
        fold.change(init(None));
        fold.change(plain(1));
        assert_eq!(fold.change(offset(of(0, 0, 1), true, 7)), Outcome::Applied);
        assert_eq!(fold.manifest.pending_offsets("g").len(), 1);
        assert_eq!(fold.change(change), Outcome::Applied);
        assert_eq!(fold.manifest.pending_offsets("g").len(), 0);
        kept(&fold);
        assert_eq!(fold.change(end(of(0, 0, 1), true, false)), producer(0, 0));
        assert_eq!(committed(&fold), left);
        kept(&fold);
    }
    let mut fold = Fold::new();
    fold.change(init(None));
    fold.change(plain(1));
    fold.change(offset(of(0, 0, 1), true, 7));
    fold.change(plain(3));
    fold.change(offset_at(1, of(0, 0, 1), true, 8));
    fold.change(end(of(0, 0, 1), true, false));
    assert_eq!(committed(&fold), Some(8));
}

#[test]
fn what_is_aborted_is_remembered_as_long_as_its_records() {
    let mut fold = Fold::new();
    for id in 0..3 {
        let name = format!("t{id}");
        assert_eq!(fold.change(init_as(&name, None, 0)), producer(id, 0));
    }
    let end_of = |id: i64, commit| {
        end(TransactionOf { transactional_id: format!("t{id}"), ..of(id, 0, 1) }, commit, false)
    };
    // 0 1 2 0, then 1 aborted, 2 committed, 0 aborted.
    for (id, sequence) in [(0, 0), (1, 0), (2, 0), (0, 1)] {
        fold.append(&[joins(Joins::Adds, id, 0, sequence)]);
    }
    fold.change(end_of(1, false));
    assert_eq!(ends(&fold), (0, 0, 5));
    fold.change(end_of(2, true));
    fold.change(end_of(0, false));
    assert_eq!(ends(&fold), (0, 7, 7));
    assert_eq!(aborted(&fold, 0, 7), [(0, 0, 6), (1, 1, 4)], "by first offset");
    assert_eq!(aborted(&fold, 5, 7), [(0, 0, 6)]);
    assert_eq!(aborted(&fold, 0, 1), [(0, 0, 6)]);
    kept(&fold);
    fold.change(Change::DeleteRecords { topic: TOPIC, partition: 0, before: 5 });
    assert_eq!(aborted(&fold, 0, 7), [(0, 0, 6)], "the other one is gone with its marker");
    kept(&fold);
}

#[test]
fn a_batch_joins_only_the_transaction_that_is_open() {
    let mut fold = Fold::new();
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, 0, 0)]), [Err(Void::UnknownProducerId)]);
    fold.change(init(None));
    assert_eq!(
        fold.append(&[joins(Joins::Added, 0, 0, 0)]),
        [Err(Void::InvalidTransactionState)],
        "none is open"
    );
    assert_eq!(fold.append(&[batch(0, 0, 0, 1)]), [Err(Void::InvalidTransactionState)], "not part of any");
    fold.change(add(of(0, 0, 1), &[(TOPIC, 1)], &[]));
    assert_eq!(
        fold.append(&[joins(Joins::Added, 0, 0, 0)]),
        [Err(Void::InvalidTransactionState)],
        "elsewhere"
    );
    fold.change(add(of(0, 0, 1), &[AT], &[]));
    assert_eq!(fold.append(&[joins(Joins::Added, 0, 0, 0)]), [Ok(0)]);
    fold.change(end(of(0, 0, 1), false, false));
    assert_eq!(
        fold.append(&[joins(Joins::Added, 0, 0, 1)]),
        [Err(Void::InvalidTransactionState)],
        "too late"
    );
    assert_eq!(ends(&fold), (0, 2, 2), "nothing hangs");
    // Another producer is none of its business.
    assert_eq!(fold.append(&[batch(99, 0, 0, 1)]), [Ok(2)]);
}

/// KIP-890, part 2: batches add their partitions, and the epoch names the transaction.
#[test]
fn a_batch_adds_its_partition_and_the_next_epoch_fences_what_comes_late() {
    let mut fold = Fold::new();
    fold.change(init(None));
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, 0, 0)]), [Ok(0)]);
    assert_eq!(fold.change(offset(of(0, 0, 1), true, 5)), Outcome::Applied);
    assert_eq!(fold.change(end(of(0, 0, 1), true, true)), producer(0, 1));
    assert_eq!(fold.change(end(of(0, 0, 1), true, true)), producer(0, 1), "the answer was lost");
    assert_eq!(
        fold.change(end(of(0, 0, 1), false, true)),
        void(Void::ProducerFenced),
        "not what was decided"
    );
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, 0, 1)]), [Err(Void::InvalidProducerEpoch)]);
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, 1, 0)]), [Ok(2)]);
    assert_eq!((ends(&fold), committed(&fold)), ((0, 2, 3), Some(5)));
    assert_eq!(fold.change(end(of(0, 1, 2), false, true)), producer(0, 2));
    // Nothing was written since: to abort means to be sure.
    assert_eq!(fold.change(end(of(0, 2, 2), false, true)), producer(0, 3));
    assert_eq!(fold.change(end(of(0, 3, 2), true, true)), void(Void::InvalidTransactionState));
    kept(&fold);
}

/// KAFKA-17754: the client gave up on the answer and went on, at another node.
#[test]
fn what_was_meant_for_one_transaction_does_nothing_to_the_next() {
    let mut fold = Fold::new();
    fold.change(init(None));
    fold.change(add(of(0, 0, 1), &[AT], &["g"]));
    fold.append(&[joins(Joins::Added, 0, 0, 0)]);
    fold.change(end(of(0, 0, 1), true, false));
    assert_eq!(fold.change(add(of(0, 0, 1), &[AT], &[])), void(Void::TransactionOver), "nobody would end it");
    fold.change(add(of(0, 0, 2), &[AT], &["g"]));
    fold.append(&[joins(Joins::Added, 0, 0, 1)]);
    assert_eq!(fold.change(end(of(0, 0, 1), true, false)), void(Void::TransactionOver));
    assert_eq!(fold.change(end(of(0, 0, 1), false, false)), void(Void::TransactionOver));
    assert_eq!(fold.change(offset(of(0, 0, 1), false, 9)), void(Void::TransactionOver));
    assert_eq!(ends(&fold), (0, 2, 3), "the second one is open");
    assert_eq!(fold.change(end(of(0, 0, 2), false, false)), producer(0, 0));
    assert_eq!(aborted(&fold, 0, 4), [(0, 2, 3)]);
}

#[test]
fn a_producer_that_begins_ends_what_another_left_open() {
    let mut fold = Fold::new();
    fold.change(init(None));
    fold.append(&[joins(Joins::Adds, 0, 0, 0)]);
    assert_eq!(fold.change(init_as("t", None, 1)), producer(0, 1));
    assert_eq!((ends(&fold), aborted(&fold, 0, 2)), ((0, 2, 2), vec![(0, 0, 1)]));
    for change in [
        add(of(0, 0, 1), &[AT], &[]),
        offset(of(0, 0, 1), true, 1),
        end(of(0, 0, 1), true, false),
        end(of(0, 0, 1), true, true),
        init(Some((0, 0))),
    ] {
        assert_eq!(fold.change(change.clone()), void(Void::ProducerFenced), "{change:?}");
    }
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, 0, 1)]), [Err(Void::InvalidProducerEpoch)]);
    // KIP-360: who knows its epoch gets the next, also if it did not hear of it.
    assert_eq!(fold.change(init(Some((0, 1)))), producer(0, 2));
    assert_eq!(fold.change(init(Some((0, 1)))), producer(0, 2));
    assert_eq!(fold.change(init(Some((0, 2)))), producer(0, 3));
    assert_eq!(fold.change(init(Some((7, 3)))), void(Void::ProducerFenced));
    kept(&fold);
}

#[test]
fn a_transaction_is_aborted_for_its_time_only_when_that_is_over() {
    let mut fold = Fold::new();
    let at = |fold: &mut Fold, timestamp_ms: i64, change: Change| {
        fold.counter += 1;
        let commit = Commit { timestamp_ms, ..commit(1, fold.counter, fold.counter, vec![change]) };
        fold.commit(&commit).remove(0)
    };
    fold.change(init(None));
    assert_eq!(at(&mut fold, 1_000, add(of(0, 0, 1), &[AT], &[])), Outcome::Applied);
    fold.append(&[joins(Joins::Added, 0, 0, 0)]);
    let due = 1_000 + i64::from(TIMEOUT_MS);
    assert_eq!(at(&mut fold, due - 1, expire(of(0, 0, 1))), void(Void::NotDue));
    assert_eq!(at(&mut fold, due, expire(of(0, 0, 1))), producer(0, 1));
    assert_eq!(at(&mut fold, due, expire(of(0, 0, 1))), void(Void::ProducerFenced), "two nodes saw it");
    assert_eq!(
        at(&mut fold, due, expire(of(0, 1, 1))),
        void(Void::InvalidTransactionState),
        "nothing is open"
    );
    assert_eq!(fold.change(end(of(0, 0, 1), true, false)), void(Void::ProducerFenced));
    assert_eq!(fold.change(end(of(0, 0, 1), true, true)), void(Void::ProducerFenced));
    assert_eq!(fold.change(end(of(0, 0, 1), false, true)), producer(0, 1), "it wanted to abort, too");
    assert_eq!(fold.change(init(Some((0, 0)))), producer(0, 1));
    assert_eq!(aborted(&fold, 0, 2), [(0, 0, 1)]);
    // Names are forgotten a week after their last change, together with their producers.
    let week_ms = 8 * 24 * HOUR_MS;
    fold.change(Change::FeatureLevel { level: FEATURE_LEVEL });
    at(&mut fold, due + week_ms, Change::Tick);
    assert_eq!((fold.manifest.transactions().count(), fold.manifest.transaction_of(0)), (0, None));
    assert_eq!(fold.change(init(Some((0, 1)))), producer(1, 0), "as if it had never been there");
}

#[test]
fn the_last_epoch_is_followed_by_another_id() {
    let mut fold = Fold::new();
    fold.change(init(None));
    if let Some(transaction) = fold.manifest.transactions.by_id.get_mut("t") {
        transaction.producer.epoch = i16::MAX - 1;
    }
    assert_eq!(fold.change(init_as("t", None, 1)), producer(1, 0));
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, i16::MAX - 1, 0)]), [Err(Void::UnknownProducerId)]);
    assert_eq!(fold.append(&[joins(Joins::Adds, 1, 0, 0)]), [Ok(0)]);
    kept(&fold);
}

#[test]
fn what_takes_part_and_is_gone_is_passed_over() {
    let mut fold = Fold::new();
    fold.change(init(None));
    assert_eq!(fold.change(add(of(0, 0, 1), &[(TOPIC, 9)], &[])), void(Void::UnknownPartition));
    fold.append(&[joins(Joins::Adds, 0, 0, 0)]);
    fold.change(offset(of(0, 0, 1), true, 5));
    fold.change(Change::DeleteTopic { id: TOPIC });
    kept(&fold);
    assert_eq!(fold.change(end(of(0, 0, 1), true, false)), producer(0, 0));
    assert_eq!(fold.manifest.group("g"), None, "its offset was of that topic");
    assert_eq!(fold.manifest.extents(), 0);
    kept(&fold);
}

/// A client that hears nothing asks elsewhere, and goes on; what it gave up on may still come.
#[test]
fn a_beginning_that_comes_late_does_not_fence_its_own_successor() {
    let mut fold = Fold::new();
    assert_eq!(fold.change(init_as("t", None, 1)), void(Void::TransactionOver), "who is that?");
    assert_eq!(fold.change(init(None)), producer(0, 0));
    assert_eq!(fold.change(init(None)), void(Void::TransactionOver), "the first one, put twice");
    assert_eq!(fold.change(init_as("t", None, 1)), producer(0, 1));
    fold.append(&[joins(Joins::Adds, 0, 1, 0)]);
    assert_eq!(fold.change(init_as("t", None, 1)), void(Void::TransactionOver));
    assert_eq!(fold.change(end(of(0, 1, 1), true, true)), producer(0, 2));
    kept(&fold);
    assert_eq!(
        fold.change(init_as("t", None, 2)),
        producer(0, 3),
        "it fences whoever is at work, however many transactions that ends meanwhile"
    );
}

#[test]
fn offsets_that_come_late_take_no_later_ones_back() {
    let mut fold = Fold::new();
    fold.change(init(None));
    assert_eq!(fold.change(offset_at(1, of(0, 0, 1), true, 5)), void(Void::TransactionOver));
    assert_eq!(fold.change(offset_at(0, of(0, 0, 1), true, 5)), Outcome::Applied);
    kept(&fold);
    assert_eq!(fold.change(offset_at(1, of(0, 0, 1), true, 9)), Outcome::Applied);
    assert_eq!(fold.change(offset_at(0, of(0, 0, 1), true, 5)), void(Void::TransactionOver));
    assert_eq!(fold.change(offset_at(1, of(0, 0, 1), true, 5)), void(Void::TransactionOver));
    fold.change(end(of(0, 0, 1), true, false));
    assert_eq!(committed(&fold), Some(9));
    assert_eq!(fold.change(offset_at(2, of(0, 0, 2), true, 10)), void(Void::TransactionOver));
    assert_eq!(fold.change(offset_at(0, of(0, 0, 2), true, 10)), Outcome::Applied);
}

/// Kafka keeps their producers, too: a batch of theirs may still be repeated.
#[test]
fn a_producer_is_not_forgotten_while_it_has_a_transaction_open() {
    let mut fold = Fold::new();
    fold.change(init(None));
    fold.change(Change::FeatureLevel { level: FEATURE_LEVEL });
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, 0, 0), batch(99, 0, 0, 1)]), [Ok(0), Ok(1)]);
    let days_ms = 3 * 24 * HOUR_MS;
    tick(&mut fold, days_ms);
    let known: Vec<i64> = fold.manifest.partition(&TOPIC, 0).unwrap().producers().map(|one| one.id).collect();
    assert_eq!(known, [0]);
    let others: Vec<_> = (0..MAX_PRODUCERS_PER_PARTITION as i64).map(|n| batch(100 + n, 0, 0, 1)).collect();
    assert!(fold.append(&others).iter().all(Result::is_ok));
    assert_eq!(fold.append(&[joins(Joins::Adds, 0, 0, 0)]), [Ok(0)], "the same batch again");
    kept(&fold);
}

#[test]
fn the_longest_silent_names_make_room_for_new_ones() {
    let mut fold = Fold::new();
    for index in 0..MAX_TRANSACTIONAL_IDS {
        let id = index as i64;
        assert_eq!(fold.change(init_as(&format!("t{index}"), None, 0)), producer(id, 0));
    }
    tick(&mut fold, HOUR_MS / 2);
    assert_eq!(fold.change(init_as("new", None, 0)), void(Void::LimitReached));
    let of = |index: i64| TransactionOf { transactional_id: format!("t{index}"), ..of(index, 0, 1) };
    fold.change(add(of(0), &[AT], &[]));
    tick(&mut fold, HOUR_MS);
    assert_eq!(fold.change(init_as("new", None, 0)), producer(MAX_TRANSACTIONAL_IDS as i64, 0));
    assert!(fold.manifest.transaction("t0").is_some(), "it has one open");
    assert!(fold.manifest.transaction("t1").is_none());
    kept(&fold);
}

/// A new topic under the old id would be told of the end of a transaction that it never saw the beginning of.
#[test]
fn the_id_of_a_topic_that_is_gone_is_not_taken_again_while_a_transaction_has_it() {
    let mut fold = Fold::new();
    fold.change(init(None));
    fold.append(&[joins(Joins::Adds, 0, 0, 0)]);
    fold.change(Change::DeleteTopic { id: TOPIC });
    assert_eq!(fold.change(create(TOPIC, "t")), void(Void::Malformed));
    assert_eq!(fold.change(create(Uuid::from_u128(2), "t")), Outcome::Applied, "the name is free");
    fold.change(end(of(0, 0, 1), false, false));
    assert_eq!(fold.change(create(TOPIC, "u")), Outcome::Applied);
    assert_eq!((ends(&fold), aborted(&fold, 0, 9)), ((0, 0, 0), vec![]));
    kept(&fold);
}
