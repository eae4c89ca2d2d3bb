//! What the clients did and saw, for the checkers: every record that was sent, every record that was read, every offset
//! that a group committed.
//!
//! Must not know the bucket. A record is named by the batch that it was sent in and its place there; the name is its value.

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::record;
use uuid::Uuid;

/// How sending a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Acknowledged at this offset.
    Acked(i64),
    /// A final error: it must never be seen.
    Refused(i16),
    /// It may be seen, once for each attempt of a plain producer, once at all of an idempotent one.
    Unknown,
}

/// One batch that a producer sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) producer: usize,
    /// Batches of a plain producer are in order as long as they go through one connection.
    pub(crate) connection: u64,
    pub(crate) idempotent: bool,
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    /// One for each record, milliseconds.
    pub(crate) timestamps: Vec<i64>,
    pub(crate) begun_ms: u64,
    pub(crate) ended: Option<(u64, Ended)>,
    pub(crate) attempts: u32,
}

/// One topic, from its creation on.
#[derive(Debug, Clone)]
pub(crate) struct TopicLife {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) delete_begun: bool,
    pub(crate) deleted: bool,
}

/// One record as a consumer got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) consumer: usize,
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    pub(crate) offset: i64,
    pub(crate) record: Record,
}

/// A record's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) sent: usize,
    pub(crate) index: u32,
}

impl Record {
    /// The value of the record: its name, and padding.
    pub(crate) fn value(self, padding: usize) -> Vec<u8> {
        let mut value = format!("{}.{}.", self.sent, self.index).into_bytes();
        value.resize(value.len() + padding, b'~');
        value
    }

    /// The name of a record that was written so, or as [`crate::keys`] does it.
    pub(crate) fn of(record: &record::Record) -> Option<Record> {
        let header = record.headers.first().and_then(|(_, value)| value.as_ref());
        Record::named(record.value.as_ref().or(header)?)
    }

    fn named(value: &[u8]) -> Option<Record> {
        let mut parts = std::str::from_utf8(value).ok()?.split('.');
        let record = Record { sent: parts.next()?.parse().ok()?, index: parts.next()?.parse().ok()? };
        parts.next()?.bytes().all(|byte| byte == b'~').then_some(record)
    }
}

/// What somebody was told about an end or a time of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    /// `None`: the end.
    pub(crate) timestamp: Option<i64>,
    pub(crate) begun_ms: u64,
    pub(crate) ended_ms: u64,
    pub(crate) offset: i64,
}

/// What a node held when somebody looked.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    pub(crate) machine: String,
    pub(crate) applied: u64,
    pub(crate) fingerprint: u64,
}

/// One consumer group and what it reads.
#[derive(Debug, Clone)]
pub(crate) struct GroupLife {
    pub(crate) name: String,
    pub(crate) topic: Uuid,
    pub(crate) topic_name: String,
}

/// What a member was told that its part is.
#[derive(Debug, Clone)]
pub(crate) struct Assigned {
    pub(crate) group: String,
    /// The static member, or the member.
    pub(crate) owner: String,
    pub(crate) generation: i32,
    pub(crate) partitions: Vec<u32>,
    /// When it was told.
    pub(crate) at_ms: u64,
}

/// A heartbeat after which the member may go on.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    pub(crate) group: String,
    pub(crate) generation: i32,
    pub(crate) begun_ms: u64,
}

/// One offset that somebody asked to commit. Its number is the metadata of the commit.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub(crate) group: String,
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    pub(crate) offset: i64,
    pub(crate) generation: i32,
    /// The one that the same client sent before on the same connection, without waiting for its answer.
    pub(crate) behind: Option<usize>,
    /// When it was answered, and with which code.
    pub(crate) ended: Option<(u64, i16)>,
}

/// What somebody was told that a group had committed.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) group: String,
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    pub(crate) begun_ms: u64,
    /// -1: nothing.
    pub(crate) offset: i64,
    /// The metadata.
    pub(crate) commit: Option<String>,
}

/// Somebody asked to delete the records before an offset, or a compactor to let them expire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deleted {
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    pub(crate) before: i64,
    pub(crate) begun_ms: u64,
    /// When that was acknowledged.
    pub(crate) ended_ms: Option<u64>,
}

/// A program that copies records in transactions.
#[derive(Debug, Clone)]
pub(crate) struct CopierLife {
    pub(crate) number: usize,
    /// Its transactional id.
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) input: Uuid,
    pub(crate) input_name: String,
    /// The copiers that write to it, if it is not producers.
    pub(crate) of_copiers: Vec<usize>,
    /// The partitions of the input that are its own.
    pub(crate) partitions: Vec<u32>,
    pub(crate) output: Uuid,
    pub(crate) output_name: String,
    /// How many partitions there are.
    pub(crate) outputs: u32,
    /// It speaks as clients do since KIP-890, part 2.
    pub(crate) modern: bool,
}

/// One transaction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transacted {
    pub(crate) copier: usize,
    /// Its batches.
    pub(crate) sent: Vec<usize>,
    /// When its offsets were taken.
    pub(crate) offsets_ms: Option<u64>,
    /// When its end was first asked for.
    pub(crate) end_begun_ms: Option<u64>,
    /// Whether to commit it.
    pub(crate) asked: Option<bool>,
    /// Whether it is known to be committed.
    pub(crate) ended: Option<bool>,
    /// It is known to have been open until its producer ended it.
    pub(crate) lasted: bool,
}

/// Somebody was told the stable offsets of a copier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StableRead {
    pub(crate) copier: usize,
    pub(crate) begun_ms: u64,
    pub(crate) ended_ms: u64,
}

/// What a reader of decided records got, and where it came to.
#[derive(Debug, Default)]
pub(crate) struct DecidedRead {
    pub(crate) records: Vec<(i64, Record)>,
    pub(crate) upto: i64,
    /// Of a topic that is compacted by key, every answer that it got.
    pub(crate) answers: Vec<Answered>,
    /// What was gone when it came there: from and to.
    pub(crate) skipped: Vec<(i64, i64)>,
}

/// How far a reader came with one answer, the last stable offset that it was told, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) upto: i64,
    pub(crate) stable: i64,
    pub(crate) ended_ms: u64,
}

/// A partition as a group sees it.
pub(crate) type OfGroup = (String, Uuid, u32);

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) sent: Vec<Sent>,
    pub(crate) topics: Vec<TopicLife>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) audits: Vec<Audit>,
    pub(crate) assigned: Vec<Assigned>,
    pub(crate) beats: Vec<Beat>,
    pub(crate) committed: Vec<Committed>,
    pub(crate) fetched: Vec<Fetched>,
    /// Offsets of which some member of the group had the record.
    pub(crate) received: BTreeMap<OfGroup, BTreeSet<i64>>,
    pub(crate) deleted: Vec<Deleted>,
    /// Groups that have read everything, and where each partition ended then.
    pub(crate) read: BTreeMap<String, Vec<i64>>,
    pub(crate) copiers: Vec<CopierLife>,
    /// Those that have copied everything.
    pub(crate) copied: BTreeSet<usize>,
    pub(crate) transacted: Vec<Transacted>,
    /// Of each record that a copier wrote: whose, and the partition and offset of what it copies.
    pub(crate) copies: BTreeMap<Record, (usize, (u32, i64))>,
    pub(crate) stable: Vec<StableRead>,
    /// By reader, whether under `read_committed`, topic and partition.
    pub(crate) decided_reads: BTreeMap<(usize, bool, Uuid, u32), DecidedRead>,
}

impl History {
    pub(crate) fn topic(&self, id: Uuid) -> Option<&TopicLife> {
        self.topics.iter().find(|topic| topic.id == id)
    }

    /// The first offset of a partition at a time: at least what was acknowledged before, at most what was asked for until
    /// the end of the question.
    pub(crate) fn log_start(&self, topic: Uuid, partition: u32, begun_ms: u64, ended_ms: u64) -> (i64, i64) {
        let of = self.deleted.iter().filter(|one| (one.topic, one.partition) == (topic, partition));
        let acked = of.clone().filter(|one| one.ended_ms.is_some_and(|at_ms| at_ms < begun_ms));
        let asked = of.filter(|one| one.begun_ms <= ended_ms);
        (acked.map(|one| one.before).max().unwrap_or(0), asked.map(|one| one.before).max().unwrap_or(0))
    }
}
