//! The fold's rules, case by case; `model` checks random histories against plain maps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod groups;
mod history;
mod model;
mod transactions;

use super::*;
use crate::limits::MAX_PRODUCERS_PER_PARTITION;
use crate::manifest::checkpoint;
use crate::manifest::commit::{ConfigChange, ConfigOp, Producer};

const TOPIC: Uuid = Uuid::from_u128(1);
const HOUR_MS: i64 = 3_600_000;

/// A manifest with one topic of two partitions, and a short way to fold on.
struct Fold {
    manifest: Manifest,
    counter: u64,
}

impl Fold {
    fn new() -> Fold {
        let mut fold = Fold { manifest: Manifest::default(), counter: 0 };
        assert_eq!(fold.change(create(TOPIC, "t")), Outcome::Applied);
        fold
    }

    fn commit(&mut self, commit: &Commit) -> Vec<Outcome> {
        let slot = self.manifest.applied + 1;
        apply(&mut self.manifest, slot, commit, 100)
    }

    /// One change in a commit of its own, nothing in flight beside it.
    fn change(&mut self, change: Change) -> Outcome {
        self.counter += 1;
        let commit = commit(1, self.counter, self.counter, vec![change]);
        self.commit(&commit).remove(0)
    }

    fn append(&mut self, batches: &[BatchMeta]) -> Vec<Result<i64, Void>> {
        offsets(self.change(append(0, batches)))
    }

    fn extents(&self) -> Vec<(i64, u32, u64, u32)> {
        let partition = self.manifest.partition(&TOPIC, 0).unwrap();
        partition.extents.iter().map(|e| (e.base_offset, e.offsets, e.at, e.bytes)).collect()
    }
}

fn create(id: Uuid, name: &str) -> Change {
    Change::CreateTopic { id, name: name.to_owned(), partitions: 2, configs: BTreeMap::new() }
}

fn commit(incarnation: u64, counter: u64, oldest_open: u64, changes: Vec<Change>) -> Commit {
    let id = CommitId { incarnation: Ulid::from_parts(incarnation, 0), counter };
    Commit { id, oldest_open, timestamp_ms: 0, changes }
}

fn append(partition: u32, batches: &[BatchMeta]) -> Change {
    Change::Append(Append {
        topic: TOPIC,
        partition,
        segment: None,
        at: 0,
        crc: 0,
        batches: batches.to_vec(),
    })
}

fn offsets(outcome: Outcome) -> Vec<Result<i64, Void>> {
    match outcome {
        Outcome::Appended(placed) => placed.into_iter().map(|p| p.map(|p| p.base_offset)).collect(),
        Outcome::Void(void) => vec![Err(void)],
        other => panic!("{other:?}"),
    }
}

/// A batch of ten bytes.
fn batch(id: i64, epoch: i16, sequence: i32, offsets: u32) -> BatchMeta {
    BatchMeta {
        bytes: 10,
        offsets,
        max_timestamp: 0,
        producer: Some(Producer { id, epoch, sequence }),
        joins: Default::default(),
    }
}

fn plain(offsets: u32) -> BatchMeta {
    BatchMeta { producer: None, ..batch(0, 0, 0, offsets) }
}

#[test]
fn the_last_five_batches_are_known_again() {
    let mut fold = Fold::new();
    for sequence in 0..7 {
        assert_eq!(fold.append(&[batch(9, 0, sequence, 1)]), [Ok(i64::from(sequence))]);
    }
    for sequence in 2..7 {
        assert_eq!(
            fold.append(&[batch(9, 0, sequence, 1)]),
            [Ok(i64::from(sequence))],
            "its original offset"
        );
    }
    for sequence in 0..2 {
        assert_eq!(fold.append(&[batch(9, 0, sequence, 1)]), [Err(Void::DuplicateSequence)], "forgotten");
    }
    // Not an exact duplicate: it begins like one, but is longer.
    assert_eq!(fold.append(&[batch(9, 0, 6, 2)]), [Err(Void::OutOfOrderSequence)]);
    assert_eq!(fold.append(&[batch(9, 0, 8, 1)]), [Err(Void::OutOfOrderSequence)], "a gap");
    assert_eq!(fold.append(&[batch(9, 0, 7, 1)]), [Ok(7)], "nothing of all that took an offset");
}

/// Clients take `DuplicateSequence` for success. Of a producer whose beginning is not known it would be a guess.
#[test]
fn a_batch_before_the_known_ones_is_a_duplicate_only_for_sure() {
    let mut fold = Fold::new();
    assert_eq!(fold.append(&[batch(9, 0, 100, 1)]), [Ok(0)], "a forgotten producer may go on anywhere");
    assert_eq!(fold.append(&[batch(9, 0, 99, 1)]), [Err(Void::OutOfOrderSequence)]);
    assert_eq!(
        fold.append(&[batch(9, 1, 0, 1), batch(9, 1, 1, 1)]),
        [Ok(1), Ok(2)],
        "a new epoch begins anew"
    );
    for sequence in 2..7 {
        fold.append(&[batch(9, 1, sequence, 1)]);
    }
    assert_eq!(fold.append(&[batch(9, 1, 0, 1)]), [Err(Void::DuplicateSequence)]);
}

#[test]
fn epochs_fence() {
    let mut fold = Fold::new();
    assert_eq!(fold.append(&[batch(9, 3, 0, 2)]), [Ok(0)]);
    assert_eq!(fold.append(&[batch(9, 2, 2, 1)]), [Err(Void::InvalidProducerEpoch)]);
    assert_eq!(
        fold.append(&[batch(9, 2, 0, 2)]),
        [Err(Void::InvalidProducerEpoch)],
        "also what looks like a duplicate"
    );
    assert_eq!(fold.append(&[batch(9, 4, 2, 1)]), [Err(Void::OutOfOrderSequence)], "a new epoch begins at 0");
    assert_eq!(fold.append(&[batch(9, 4, 0, 1)]), [Ok(2)]);
    assert_eq!(fold.append(&[batch(9, 3, 2, 1)]), [Err(Void::InvalidProducerEpoch)]);
}

#[test]
fn sequence_numbers_wrap() {
    let mut fold = Fold::new();
    let last = i32::MAX;
    assert_eq!(fold.append(&[batch(9, 0, last - 1, 2), batch(9, 0, 0, 1)]), [Ok(0), Ok(2)]);
    assert_eq!(
        fold.append(&[batch(8, 0, last, 3), batch(8, 0, 2, 1)]),
        [Ok(3), Ok(6)],
        "also inside a batch"
    );
    assert_eq!(fold.append(&[batch(8, 0, last, 3)]), [Ok(3)]);
    assert_eq!(fold.append(&[batch(8, 0, last - 5, 1)]), [Err(Void::OutOfOrderSequence)]);
}

/// Two commits of one node, sequences 5 and 2^31 - 1 of two unknown producers in the first, 6 and 0 in the second: whichever
/// is folded first, neither 6 nor 0 is taken for the beginning.
#[test]
fn what_overtook_the_beginning_of_a_producer_is_refused() {
    let mut fold = Fold::new();
    let first = commit(7, 1, 1, vec![append(0, &[batch(9, 0, 5, 1), batch(4, 0, i32::MAX, 1), plain(1)])]);
    let second = commit(7, 2, 1, vec![append(0, &[batch(9, 0, 6, 1), batch(4, 0, 0, 1), plain(1)])]);
    assert!(fold.manifest.overtaken(&second) && !fold.manifest.overtaken(&first));
    // Plain batches have nothing but their place: they wait for it.
    assert_eq!(offsets(fold.commit(&second).remove(0)), [Err(Void::OutOfOrderSequence); 3]);
    // Made before its proposer knew of the refusal: it may not take the place either.
    let third = commit(7, 3, 1, vec![append(0, &[batch(9, 0, 7, 1)])]);
    assert_eq!(offsets(fold.commit(&first).remove(0)), [Ok(0), Ok(1), Ok(2)]);
    assert!(fold.manifest.overtaken(&third), "the refused batch is still to come");
    let again = commit(7, 4, 4, vec![append(0, &[batch(9, 0, 6, 1), batch(4, 0, 0, 1)])]);
    assert_eq!(offsets(fold.commit(&again).remove(0)), [Ok(3), Ok(4)]);
    assert_eq!(offsets(fold.commit(&third).remove(0)), [Ok(5)]);
}

/// The same where the first commit of the three has nothing to do with the producer.
#[test]
fn what_overtook_a_refused_beginning_is_refused() {
    let mut fold = Fold::new();
    let first = commit(7, 1, 1, vec![Change::Tick]);
    let second = commit(7, 2, 1, vec![append(0, &[batch(9, 0, 5, 1)])]);
    let third = commit(7, 3, 1, vec![append(0, &[batch(9, 0, 6, 1)])]);
    assert_eq!(offsets(fold.commit(&second).remove(0)), [Err(Void::OutOfOrderSequence)]);
    fold.commit(&first);
    assert_eq!(offsets(fold.commit(&third).remove(0)), [Err(Void::OutOfOrderSequence)]);
    for (counter, sequence) in [(4, 5), (5, 6)] {
        let again = commit(7, counter, counter, vec![append(0, &[batch(9, 0, sequence, 1)])]);
        assert_eq!(offsets(fold.commit(&again).remove(0)), [Ok(i64::from(sequence) - 5)]);
    }
}

#[test]
fn a_void_batch_splits_the_extent() {
    let mut fold = Fold::new();
    let run =
        [plain(2), plain(3), batch(9, 0, 0, 1), batch(9, 0, 5, 1), plain(1), batch(9, 0, 0, 1), plain(4)];
    let expected = [Ok(0), Ok(2), Ok(5), Err(Void::OutOfOrderSequence), Ok(6), Ok(5), Ok(7)];
    assert_eq!(fold.append(&run), expected);
    // Neither the bytes of the refused batch nor those of the duplicate belong to the log.
    assert_eq!(fold.extents(), [(0, 6, 100, 30), (6, 1, 140, 10), (7, 4, 160, 10)]);
    assert_eq!(fold.append(&[plain(1)]), [Ok(11)]);
    assert_eq!(fold.extents().len(), 4, "another object is another extent");
    assert_eq!(fold.manifest.extents(), 4);
}

#[test]
fn a_topic_made_anew_has_nothing_of_the_old_one() {
    let mut fold = Fold::new();
    fold.append(&[batch(9, 0, 0, 1), batch(9, 0, 1, 1)]);
    assert_eq!(fold.change(create(Uuid::from_u128(2), "t")), Outcome::Void(Void::TopicExists));
    assert_eq!(fold.change(Change::DeleteTopic { id: TOPIC }), Outcome::Applied);
    assert_eq!(fold.change(Change::DeleteTopic { id: TOPIC }), Outcome::Void(Void::UnknownTopic));
    assert_eq!(fold.change(create(Uuid::from_u128(2), "t")), Outcome::Applied);
    assert_eq!(fold.append(&[batch(9, 0, 2, 1)]), [Err(Void::UnknownTopic)], "late for the old one");
    let topic = fold.manifest.topic_named("t").unwrap();
    assert_eq!((topic.id, topic.partitions.clone()), (Uuid::from_u128(2), vec![Partition::default(); 2]));
    assert_eq!((fold.manifest.extents(), fold.manifest.partitions), (0, 2));
}

#[test]
fn old_segments_are_void_and_time_never_runs_back() {
    let mut fold = Fold::new();
    let written = |ms: u64| {
        let segment = Some(Ulid::from_parts(ms, 1));
        vec![Change::Append(Append {
            topic: TOPIC,
            partition: 0,
            segment,
            at: 0,
            crc: 0,
            batches: vec![plain(1)],
        })]
    };
    let mut at = |counter, timestamp_ms, ms| {
        let commit = Commit { timestamp_ms, ..commit(1, counter, counter, written(ms)) };
        let outcome = offsets(fold.commit(&commit).remove(0)).remove(0);
        (fold.manifest.now_ms, outcome)
    };
    let now = 100 * HOUR_MS;
    assert_eq!(at(2, now, now as u64), (now, Ok(0)));
    assert_eq!(at(3, 5, (now - 24 * HOUR_MS) as u64), (now, Ok(1)), "a slow clock takes nothing back");
    assert_eq!(at(4, 5, (now - 24 * HOUR_MS - 1) as u64), (now, Err(Void::Stale)));
    // A clock that is wrong beyond all measure must not make every segment look old for ever.
    assert_eq!(at(5, i64::MAX, LATEST_MS as u64), (LATEST_MS, Ok(2)));
}

#[test]
fn a_commit_counts_once() {
    let mut fold = Fold::new();
    let twice = commit(7, 1, 1, vec![append(0, &[plain(1)]), Change::AllocateProducerIds { count: 5 }]);
    assert_eq!(fold.commit(&twice).len(), 2);
    let before = fold.manifest.partition(&TOPIC, 0).cloned();
    assert_eq!(fold.commit(&twice), [Outcome::Void(Void::SeenBefore), Outcome::Void(Void::SeenBefore)]);
    assert_eq!(fold.manifest.partition(&TOPIC, 0).cloned(), before);
    // Any order inside the window, and everything below it counts as seen.
    for counter in [70, 8, 7, 69, 64] {
        assert!(!fold.manifest.has_seen(commit(7, counter, 1, vec![]).id));
        fold.commit(&commit(7, counter, counter, vec![Change::Tick]));
        assert!(fold.manifest.has_seen(commit(7, counter, 1, vec![]).id));
    }
    assert!(fold.manifest.has_seen(commit(7, 6, 1, vec![]).id));
    assert!(!fold.manifest.has_seen(commit(7, 9, 1, vec![]).id));
    assert!(!fold.manifest.has_seen(commit(8, 1, 1, vec![]).id), "another proposer");
}

/// A day of journal time after its last commit, when the next proposer comes.
#[test]
fn proposers_are_forgotten_after_a_day() {
    let mut fold = Fold::new();
    let at =
        |incarnation, hours| Commit { timestamp_ms: hours * HOUR_MS, ..commit(incarnation, 1, 1, vec![]) };
    fold.commit(&at(5, 1));
    fold.commit(&at(6, 2));
    fold.commit(&at(7, 25));
    assert!(fold.manifest.has_seen(at(5, 0).id));
    fold.commit(&at(8, 26));
    assert!(!fold.manifest.has_seen(at(5, 0).id));
    assert!(fold.manifest.has_seen(at(6, 0).id) && fold.manifest.has_seen(at(7, 0).id));
}

#[test]
fn the_producer_that_was_silent_longest_makes_room() {
    let mut fold = Fold::new();
    let most = MAX_PRODUCERS_PER_PARTITION as i64;
    let all: Vec<_> = (0..most).map(|id| batch(id, 0, 0, 1)).collect();
    fold.append(&all);
    let later = Commit { timestamp_ms: 1, ..commit(1, 9, 9, vec![append(0, &[batch(0, 0, 1, 1)])]) };
    fold.commit(&later);
    assert_eq!(fold.append(&[batch(most, 0, 0, 1)]), [Ok(most + 1)]);
    let producers = &fold.manifest.partition(&TOPIC, 0).unwrap().producers.0;
    assert_eq!(producers.len(), MAX_PRODUCERS_PER_PARTITION);
    assert!(producers.contains_key(&0) && !producers.contains_key(&1));
}

/// What no program of ours writes folds to void, at the very edge of the numbers too.
#[test]
fn contradictions_are_void() {
    let mut fold = Fold::new();
    let nothing = [
        plain(0),
        BatchMeta { bytes: 0, ..plain(1) },
        batch(-1, 0, 0, 1),
        batch(1, -1, 0, 1),
        batch(1, 0, -1, 1),
    ];
    for meta in nothing {
        assert_eq!(fold.append(&[meta]), [Err(Void::Malformed)], "{meta:?}");
    }
    let far = |at, segment| {
        Change::Append(Append { topic: TOPIC, partition: 0, segment, at, crc: 0, batches: vec![plain(1)] })
    };
    for change in [far(u64::MAX - 50, None), far(u64::MAX - 5, Some(Ulid::from_parts(9, 9)))] {
        assert_eq!(offsets(fold.change(change)), [Err(Void::Malformed)]);
    }
    assert_eq!(offsets(fold.change(append(2, &[plain(1)]))), [Err(Void::UnknownPartition)]);
    let partition = fold.manifest.topics.get_mut(&TOPIC).unwrap().partitions.get_mut(0).unwrap();
    (partition.log_start, partition.high_watermark) = (i64::MAX - 2, i64::MAX - 2);
    assert_eq!(fold.append(&[plain(3), plain(2)]), [Err(Void::Malformed), Ok(i64::MAX - 2)]);
    assert_eq!(fold.change(Change::AllocateProducerIds { count: u32::MAX }), Outcome::ProducerIds(0));
}

/// What a topic asks of batches follows its configs, wherever they come from: made, altered, or loaded.
#[test]
fn the_rules_of_a_topic_follow_its_configs() {
    let mut fold = Fold::new();
    let set = |name: &str, value: &str| ConfigChange { name: name.into(), op: ConfigOp::Set(value.into()) };
    let list = |op: fn(String, String) -> ConfigOp, elements: &str| ConfigChange {
        name: "cleanup.policy".into(),
        op: op(elements.into(), "delete".into()),
    };
    let append = |elements, default| ConfigOp::Append { elements, default };
    let subtract = |elements, default| ConfigOp::Subtract { elements, default };
    let default = AppendRules::default();
    let steps = [
        (false, vec![], default),
        (false, vec![set("max.message.bytes", "10")], AppendRules { max_message_bytes: 10, ..default }),
        (
            true,
            vec![
                set("message.timestamp.type", "LogAppendTime"),
                set("message.timestamp.before.max.ms", "5"),
                set("message.timestamp.after.max.ms", "7"),
            ],
            AppendRules { append_time: true, before_max_ms: 5, after_max_ms: 7, ..default },
        ),
        (true, vec![list(append, "compact")], AppendRules { keyed: true, ..default }),
        (false, vec![list(append, "compact, compact")], AppendRules { keyed: true, ..default }),
        (false, vec![list(subtract, "compact")], default),
        (false, vec![set("max.message.bytes", "many")], default),
    ];
    for (replace, changes, rules) in steps {
        let shown = format!("{changes:?}");
        let outcome = fold.change(Change::AlterConfigs { topic: TOPIC, replace, changes });
        assert_eq!(outcome, Outcome::Applied);
        assert_eq!(fold.manifest.topic(&TOPIC).unwrap().rules(), rules, "{shown}");
        let loaded = checkpoint::decode("key", &checkpoint::encode(&fold.manifest)).unwrap();
        assert_eq!(loaded.topic(&TOPIC).unwrap().rules(), rules, "{shown}");
    }
}

/// Records go up to where somebody said, at most to the high watermark; an extent goes when all of it is below.
#[test]
fn deleted_records_move_the_start_and_nothing_else() {
    let mut fold = Fold::new();
    fold.append(&[batch(9, 0, 0, 4)]);
    fold.append(&[batch(9, 0, 4, 4)]);
    let start = |fold: &mut Fold, before| {
        let outcome = fold.change(Change::DeleteRecords { topic: TOPIC, partition: 0, before });
        let partition = fold.manifest.partition(&TOPIC, 0).unwrap();
        (outcome, partition.log_start, partition.extents.len(), fold.manifest.extents())
    };
    let void = Outcome::Void(Void::OffsetOutOfRange);
    assert_eq!(start(&mut fold, 9), (void.clone(), 0, 2, 2), "beyond the end");
    assert_eq!(start(&mut fold, -2), (void, 0, 2, 2));
    assert_eq!(start(&mut fold, 5), (Outcome::Applied, 5, 1, 1), "inside the second extent");
    assert_eq!(start(&mut fold, 2), (Outcome::Applied, 5, 1, 1), "never back");
    let loaded = checkpoint::decode("key", &checkpoint::encode(&fold.manifest)).unwrap();
    assert_eq!(loaded, fold.manifest);
    assert_eq!(start(&mut fold, -1), (Outcome::Applied, 8, 0, 0), "everything");
    assert_eq!(fold.append(&[batch(9, 0, 4, 4)]), [Ok(4)], "producers are known as before");
    assert_eq!(fold.append(&[batch(9, 0, 8, 1)]), [Ok(8)], "offsets go on");
    let loaded = checkpoint::decode("key", &checkpoint::encode(&fold.manifest)).unwrap();
    assert_eq!(loaded, fold.manifest);
}
