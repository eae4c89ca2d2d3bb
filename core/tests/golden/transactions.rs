//! What version 3 added: transactions, with every kind of change and every field set.

use bytes::Bytes;
use strandline_core::manifest::{
    AddToTransaction, Append, BatchMeta, Change, Commit, CommitId, CommitOffsets, EndTransaction,
    InitProducer, Joins, OffsetCommit, Producer, TransactionOf, TransactionOffsets,
};
use strandline_core::record::RecordBuilder;

use super::{EPOCH_MS, ORDERS, ulid};

/// The producer id that the first transactional id gets: those below are handed out before.
pub(crate) const FIRST: i64 = 2_000;

fn of(id: &str, producer_id: i64, epoch: i16, number: u64) -> TransactionOf {
    TransactionOf { transactional_id: id.to_owned(), producer_id, epoch, number }
}

fn init(id: &str, known: Option<(i64, i16)>, begun: u64) -> Change {
    Change::InitProducer(InitProducer { transactional_id: id.to_owned(), timeout_ms: 60_000, known, begun })
}

fn end(of: TransactionOf, commit: bool, bump: bool, if_due: bool) -> Change {
    Change::EndTransaction(EndTransaction { of, commit, bump, if_due })
}

fn offsets(of: TransactionOf, adds: bool, step: u64) -> Change {
    let one = OffsetCommit {
        topic: ORDERS,
        partition: 1,
        offset: 3,
        leader_epoch: 0,
        metadata: "in a transaction".to_owned(),
    };
    let commit = CommitOffsets {
        group: "readers".to_owned(),
        member: "one".to_owned(),
        epoch: 7,
        instance_id: None,
        offsets: vec![one],
    };
    Change::TransactionOffsets(TransactionOffsets { of, adds, step, commit })
}

/// One batch of one record of a transaction.
fn append(partition: u32, producer: Producer, joins: Joins) -> (Change, Bytes) {
    let mut builder = RecordBuilder::default();
    builder.push(EPOCH_MS, Some(b"key"), Some(b"value"));
    let bytes = builder.finish_in_transaction(producer.id, producer.epoch, producer.sequence);
    let meta = BatchMeta {
        bytes: bytes.len() as u32,
        offsets: 1,
        max_timestamp: EPOCH_MS,
        producer: Some(producer),
        joins,
    };
    let crc = crc32c::crc32c(&bytes);
    let batches = vec![meta];
    (Change::Append(Append { topic: ORDERS, partition, segment: None, at: 0, crc, batches }), bytes)
}

/// Six slots more. In the end one transaction was committed, one aborted, and one is open.
pub(crate) fn history() -> Vec<(Commit, Vec<Bytes>)> {
    let mut slots = Vec::new();
    let mut slot = |changes: Vec<Change>, payload: Vec<Bytes>| {
        let counter = slots.len() as u64 + 1;
        let id = CommitId { incarnation: ulid(4), counter };
        let timestamp_ms = EPOCH_MS + 200 + counter as i64;
        slots.push((Commit { id, oldest_open: counter, timestamp_ms, changes }, payload));
    };
    let (old, new) = ("payments-old", "payments-new");
    let begin = AddToTransaction {
        of: of(old, FIRST, 0, 1),
        partitions: vec![(ORDERS, 0), (ORDERS, 1)],
        groups: vec!["readers".to_owned()],
    };
    let begun = vec![
        Change::FeatureLevel { level: 3 },
        Change::AllocateProducerIds { count: 1_000 },
        init(old, None, 0),
        init(new, None, 0),
        Change::AddToTransaction(begin.clone()),
        offsets(of(old, FIRST, 0, 1), false, 0),
        offsets(of(old, FIRST, 0, 1), false, 1),
        init("payments-never", None, 3),
    ];
    slot(begun, vec![]);
    let (added, bytes) = append(0, Producer { id: FIRST, epoch: 0, sequence: 0 }, Joins::Added);
    slot(vec![added], vec![bytes]);
    let (adds, bytes) = append(0, Producer { id: FIRST + 1, epoch: 0, sequence: 0 }, Joins::Adds);
    slot(vec![adds, offsets(of(new, FIRST + 1, 0, 1), true, 0)], vec![bytes]);
    let ended = vec![
        end(of(old, FIRST, 0, 1), true, false, false),
        end(of(new, FIRST + 1, 0, 1), false, true, false),
        end(of(new, FIRST + 1, 1, 1), false, true, true),
        init(new, Some((FIRST + 1, 1)), 0),
    ];
    slot(ended, vec![]);
    let (adds, bytes) = append(1, Producer { id: FIRST + 1, epoch: 2, sequence: 0 }, Joins::Adds);
    let begin = AddToTransaction { of: of(old, FIRST, 0, 2), ..begin };
    slot(vec![adds, Change::AddToTransaction(begin), offsets(of(old, FIRST, 0, 2), false, 0)], vec![bytes]);
    slot(vec![end(of(old, FIRST, 0, 1), false, false, false)], vec![]);
    slots
}
