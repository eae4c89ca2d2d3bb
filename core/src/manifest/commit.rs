//! The content of one slot: a list of changes and, when small, the record bytes themselves.
//!
//! Must not know the manifest. A commit is position-independent: it names no offsets and no slot, so that a proposer who
//! lost a slot puts the same bytes into the next one. Encoding is protobuf behind the frame of [`crate::object`]; fields
//! are only ever added.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ulid::Ulid;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::object::{self, Shape};
use crate::rope::Rope;

/// Names one commit for ever: the proposer's incarnation (one per process start) and its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId {
    /// Drawn when the proposer started.
    pub incarnation: Ulid,
    /// Counts the proposer's commits, from 1.
    pub counter: u64,
}

/// One slot's content, without the record bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Who proposed it.
    pub id: CommitId,
    /// The lowest counter of the same proposer that was not yet folded when this was proposed. A counter from here up to
    /// this commit's own that the fold has not seen is a commit that was overtaken.
    pub oldest_open: u64,
    /// The proposer's wall clock, milliseconds. The only way in which time enters the fold.
    pub timestamp_ms: i64,
    /// What is to change, in order.
    pub changes: Vec<Change>,
}

/// One thing that is to change. Whether it still holds is decided in the fold.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Batches join the end of a partition.
    Append(Append),
    /// A topic comes to be.
    CreateTopic {
        /// Drawn by the proposer.
        id: Uuid,
        /// Must not be taken.
        name: String,
        /// How many.
        partitions: u32,
        /// Those that differ from the defaults.
        configs: BTreeMap<String, String>,
    },
    /// A topic and all its records are gone.
    DeleteTopic {
        /// Which.
        id: Uuid,
    },
    /// A node takes a block of producer ids.
    AllocateProducerIds {
        /// How many.
        count: u32,
    },
    /// From here on the rules of this level hold.
    FeatureLevel {
        /// A node that does not know it stops serving.
        level: u32,
    },
    /// Nothing but the commit's timestamp.
    Tick,
}

/// A run of batches for one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// Where the bytes lie; none: in the commit itself.
    pub segment: Option<Ulid>,
    /// Where the run begins: in the segment, or in the payload of the commit.
    pub at: u64,
    /// CRC32C of the run.
    pub crc: u32,
    /// Its batches, in order.
    pub batches: Vec<BatchMeta>,
}

impl Append {
    /// Bytes of the run.
    pub fn bytes(&self) -> u64 {
        self.batches.iter().map(|batch| u64::from(batch.bytes)).sum()
    }
}

/// What the fold needs to know of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMeta {
    /// Length.
    pub bytes: u32,
    /// Offsets that it takes, at least 1.
    pub offsets: u32,
    /// Largest timestamp, milliseconds.
    pub max_timestamp: i64,
    /// Of an idempotent producer.
    pub producer: Option<Producer>,
}

/// The idempotent producer of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// At least 0.
    pub id: i64,
    /// At least 0.
    pub epoch: i16,
    /// Sequence number of the first record.
    pub sequence: i32,
}

/// What the fold made of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of an [`Append`]: one entry for each batch.
    Appended(Vec<Result<Placed, Void>>),
    /// The block of producer ids begins here.
    ProducerIds(i64),
    /// It holds.
    Applied,
    /// It no longer held.
    Void(Void),
}

impl Outcome {
    /// Whether a batch was refused for its sequence number.
    pub(super) fn is_out_of_order(&self) -> bool {
        matches!(self, Outcome::Appended(batches) if batches.contains(&Err(Void::OutOfOrderSequence)))
    }
}

/// Where a batch came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Offset of its first record.
    pub base_offset: i64,
    /// First offset of the partition.
    pub log_start: i64,
}

/// Why a change folded to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The name is taken.
    #[error("the topic exists already")]
    TopicExists,
    /// It was deleted or never there.
    #[error("the topic does not exist")]
    UnknownTopic,
    /// The topic has fewer partitions.
    #[error("the partition does not exist")]
    UnknownPartition,
    /// Not Kafka's rule for names.
    #[error("a topic name has 1 to 249 characters of a-z A-Z 0-9 . _ -")]
    InvalidTopicName,
    /// None, or more than a topic may have.
    #[error("the number of partitions is out of range")]
    InvalidPartitions,
    /// The cluster is as large as it may get.
    #[error("the cluster has as many topics or partitions as it may have")]
    LimitReached,
    /// Sequence numbers between the producer's last batch and this one are missing.
    #[error("out of order sequence number")]
    OutOfOrderSequence,
    /// A newer instance of the producer is at work.
    #[error("the producer's epoch is over")]
    InvalidProducerEpoch,
    /// Appended before, so long ago that its offset is forgotten.
    #[error("duplicate sequence number")]
    DuplicateSequence,
    /// The segment is older than orphans may get: it may be deleted at any time.
    #[error("the segment was written more than a day ago")]
    Stale,
    /// This commit was folded before.
    #[error("the commit was folded before")]
    SeenBefore,
    /// The change contradicts itself.
    #[error("the change is malformed")]
    Malformed,
}

impl Commit {
    /// The whole object: frame, header, then `payload`.
    pub fn encode(&self, payload: impl IntoIterator<Item = Bytes>) -> Rope {
        let header = object::encode(Shape::Commit, &wire::Commit::from(self));
        Rope::new(std::iter::once(header).chain(payload))
    }

    /// Reads the object at `key`. Also says where the payload begins.
    pub fn decode(key: &str, object: &Rope) -> Result<(Commit, u64)> {
        let prefix = object.array::<{ object::PREFIX_BYTES }>(0);
        let end = object::header_end(key, Shape::Commit, prefix.as_ref().map_or(&[], |p| p))?;
        let header = object
            .slice(0..end)
            .ok_or_else(|| Error::corrupt(key, "it is cut off inside its header"))?
            .to_bytes();
        let (wire, end): (wire::Commit, usize) = object::decode(key, Shape::Commit, &header)?;
        if wire.has_unknown_change() {
            let why =
                "holds a change of a kind that this program does not know: upgrade Strandline on this node";
            return Err(Error::Unsupported(format!("{key} {why}").into()));
        }
        let commit = Commit::try_from(wire).map_err(|what| Error::corrupt(key, what))?;
        let inline = commit.changes.iter().map(|change| match change {
            Change::Append(append) if append.segment.is_none() => append.at.saturating_add(append.bytes()),
            _ => 0,
        });
        if inline.max().unwrap_or(0) > (object.len() - end) as u64 {
            return Err(Error::corrupt(key, "it is shorter than the records that it should hold"));
        }
        Ok((commit, end as u64))
    }

    /// Whether the records that ride in the object are what their proposer put there.
    pub fn check_inline(&self, key: &str, object: &Rope, payload_at: u64) -> Result<()> {
        for change in &self.changes {
            let Change::Append(append) = change else { continue };
            if append.segment.is_some() {
                continue;
            }
            let from = (payload_at + append.at) as usize;
            let run = object.slice(from..from + append.bytes() as usize);
            if run.is_none_or(|run| run.crc32c() != append.crc) {
                return Err(Error::corrupt(key, "the checksum of its records does not match"));
            }
        }
        Ok(())
    }
}

/// The shapes on disk.
mod wire {
    use super::*;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Commit {
        #[prost(bytes = "bytes", tag = "1")]
        incarnation: Bytes,
        #[prost(uint64, tag = "2")]
        counter: u64,
        #[prost(uint64, tag = "3")]
        oldest_open: u64,
        #[prost(int64, tag = "4")]
        timestamp_ms: i64,
        #[prost(message, repeated, tag = "5")]
        changes: Vec<Change>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Change {
        #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
        kind: Option<Kind>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    enum Kind {
        #[prost(message, tag = "1")]
        Append(Append),
        #[prost(message, tag = "2")]
        CreateTopic(CreateTopic),
        #[prost(bytes = "bytes", tag = "3")]
        DeleteTopic(Bytes),
        #[prost(uint32, tag = "4")]
        AllocateProducerIds(u32),
        #[prost(uint32, tag = "5")]
        FeatureLevel(u32),
        #[prost(bool, tag = "6")]
        Tick(bool),
    }

    #[derive(Clone, PartialEq, Message)]
    struct Append {
        #[prost(bytes = "bytes", tag = "1")]
        topic: Bytes,
        #[prost(uint32, tag = "2")]
        partition: u32,
        #[prost(bytes = "bytes", tag = "3")]
        segment: Bytes,
        #[prost(uint64, tag = "4")]
        at: u64,
        #[prost(fixed32, tag = "5")]
        crc: u32,
        #[prost(message, repeated, tag = "6")]
        batches: Vec<Batch>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Batch {
        #[prost(uint32, tag = "1")]
        bytes: u32,
        #[prost(uint32, tag = "2")]
        offsets: u32,
        #[prost(int64, tag = "3")]
        max_timestamp: i64,
        #[prost(message, optional, tag = "4")]
        producer: Option<Producer>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Producer {
        #[prost(int64, tag = "1")]
        id: i64,
        #[prost(uint32, tag = "2")]
        epoch: u32,
        #[prost(uint32, tag = "3")]
        sequence: u32,
    }

    #[derive(Clone, PartialEq, Message)]
    struct CreateTopic {
        #[prost(bytes = "bytes", tag = "1")]
        id: Bytes,
        #[prost(string, tag = "2")]
        name: String,
        #[prost(uint32, tag = "3")]
        partitions: u32,
        #[prost(btree_map = "string, string", tag = "4")]
        configs: BTreeMap<String, String>,
    }

    impl Commit {
        /// Its checksum held, so that whoever wrote it meant something by it.
        pub(super) fn has_unknown_change(&self) -> bool {
            self.changes.iter().any(|change| change.kind.is_none())
        }
    }

    impl From<&super::Commit> for Commit {
        fn from(commit: &super::Commit) -> Commit {
            Commit {
                incarnation: Bytes::copy_from_slice(&commit.id.incarnation.to_bytes()),
                counter: commit.id.counter,
                oldest_open: commit.oldest_open,
                timestamp_ms: commit.timestamp_ms,
                changes: commit.changes.iter().map(|change| Change { kind: Some(change.into()) }).collect(),
            }
        }
    }

    impl From<&super::Change> for Kind {
        fn from(change: &super::Change) -> Kind {
            let id = |id: &Uuid| Bytes::copy_from_slice(id.as_bytes());
            match change {
                super::Change::Append(append) => Kind::Append(Append {
                    topic: id(&append.topic),
                    partition: append.partition,
                    segment: append
                        .segment
                        .map(|s| Bytes::copy_from_slice(&s.to_bytes()))
                        .unwrap_or_default(),
                    at: append.at,
                    crc: append.crc,
                    batches: append.batches.iter().map(Batch::from).collect(),
                }),
                super::Change::CreateTopic { id: topic, name, partitions, configs } => {
                    Kind::CreateTopic(CreateTopic {
                        id: id(topic),
                        name: name.clone(),
                        partitions: *partitions,
                        configs: configs.clone(),
                    })
                }
                super::Change::DeleteTopic { id: topic } => Kind::DeleteTopic(id(topic)),
                super::Change::AllocateProducerIds { count } => Kind::AllocateProducerIds(*count),
                super::Change::FeatureLevel { level } => Kind::FeatureLevel(*level),
                super::Change::Tick => Kind::Tick(true),
            }
        }
    }

    impl From<&BatchMeta> for Batch {
        fn from(batch: &BatchMeta) -> Batch {
            let producer = batch.producer.map(|p| Producer {
                id: p.id,
                epoch: p.epoch as u32,
                sequence: p.sequence as u32,
            });
            Batch { bytes: batch.bytes, offsets: batch.offsets, max_timestamp: batch.max_timestamp, producer }
        }
    }

    impl TryFrom<Commit> for super::Commit {
        type Error = &'static str;

        fn try_from(wire: Commit) -> Result<super::Commit, &'static str> {
            let incarnation = Ulid::from_bytes(array(&wire.incarnation, "its incarnation is not 16 bytes")?);
            let changes = wire.changes.into_iter().map(super::Change::try_from).collect::<Result<_, _>>()?;
            Ok(super::Commit {
                id: CommitId { incarnation, counter: wire.counter },
                oldest_open: wire.oldest_open,
                timestamp_ms: wire.timestamp_ms,
                changes,
            })
        }
    }

    impl TryFrom<Change> for super::Change {
        type Error = &'static str;

        fn try_from(wire: Change) -> Result<super::Change, &'static str> {
            let topic = |id: &Bytes| array(id, "a topic id is not 16 bytes").map(Uuid::from_bytes);
            Ok(match wire.kind.ok_or("a change of a kind that this program does not know")? {
                Kind::Append(append) => super::Change::Append(append.try_into()?),
                Kind::CreateTopic(create) => super::Change::CreateTopic {
                    id: topic(&create.id)?,
                    name: create.name,
                    partitions: create.partitions,
                    configs: create.configs,
                },
                Kind::DeleteTopic(id) => super::Change::DeleteTopic { id: topic(&id)? },
                Kind::AllocateProducerIds(count) => super::Change::AllocateProducerIds { count },
                Kind::FeatureLevel(level) => super::Change::FeatureLevel { level },
                Kind::Tick(_) => super::Change::Tick,
            })
        }
    }

    impl TryFrom<Append> for super::Append {
        type Error = &'static str;

        fn try_from(wire: Append) -> Result<super::Append, &'static str> {
            let segment = match wire.segment.len() {
                0 => None,
                _ => Some(Ulid::from_bytes(array(&wire.segment, "a segment's id is not 16 bytes")?)),
            };
            let topic = Uuid::from_bytes(array(&wire.topic, "a topic id is not 16 bytes")?);
            let batches = wire.batches.into_iter().map(BatchMeta::try_from).collect::<Result<_, _>>()?;
            Ok(super::Append {
                topic,
                partition: wire.partition,
                segment,
                at: wire.at,
                crc: wire.crc,
                batches,
            })
        }
    }

    impl TryFrom<Batch> for BatchMeta {
        type Error = &'static str;

        fn try_from(wire: Batch) -> Result<BatchMeta, &'static str> {
            let producer = match wire.producer {
                None => None,
                Some(p) => Some(super::Producer {
                    id: p.id,
                    epoch: i16::try_from(p.epoch).map_err(|_| "a producer epoch out of range")?,
                    sequence: i32::try_from(p.sequence).map_err(|_| "a sequence number out of range")?,
                }),
            };
            Ok(BatchMeta {
                bytes: wire.bytes,
                offsets: wire.offsets,
                max_timestamp: wire.max_timestamp,
                producer,
            })
        }
    }

    fn array(bytes: &Bytes, otherwise: &'static str) -> Result<[u8; 16], &'static str> {
        bytes.first_chunk().filter(|_| bytes.len() == 16).copied().ok_or(otherwise)
    }
}
