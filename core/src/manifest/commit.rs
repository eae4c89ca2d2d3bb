//! The content of one slot: a list of changes and, when small, the record bytes themselves.
//!
//! Must not know the manifest. A commit is position-independent: it names no offsets and no slot, so that a proposer who
//! lost a slot puts the same bytes into the next one. Encoding is protobuf behind the frame of [`crate::object`]; fields
//! are only ever added.

pub(super) mod wire;
pub mod transaction;
pub mod history;
pub mod group;

use std::collections::BTreeMap;

use bytes::Bytes;
use ulid::Ulid;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::limits::MAX_CONFIG_CHARS;
use crate::object::{self, Shape};
use crate::rope::Rope;
use history::{Compacted, Expire, IndexChunks, Swap};
use transaction::Joins;

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
    /// A topic gets more partitions. Level 2.
    CreatePartitions {
        /// Which.
        topic: Uuid,
        /// How many it is to have: more than it has.
        count: u32,
    },
    /// Configs of a topic change. Level 2.
    AlterConfigs {
        /// Which.
        topic: Uuid,
        /// Those that are not named go back to their defaults.
        replace: bool,
        /// In order.
        changes: Vec<ConfigChange>,
    },
    /// Records of a partition are gone. Level 2.
    DeleteRecords {
        /// Which.
        topic: Uuid,
        /// Which.
        partition: u32,
        /// The first offset that stays; -1: the high watermark.
        before: i64,
    },
    /// The members of a group change. Level 2.
    UpdateGroup(group::UpdateGroup),
    /// A group commits offsets. Level 2.
    CommitOffsets(group::CommitOffsets),
    /// A group without members is gone, with its offsets. Level 2.
    DeleteGroup {
        /// Which.
        group: String,
    },
    /// Committed offsets are forgotten. Level 2.
    DeleteOffsets {
        /// Which.
        group: String,
        /// Topic and partition.
        partitions: Vec<(Uuid, u32)>,
    },
    /// A producer with transactions begins. Level 3.
    InitProducer(transaction::InitProducer),
    /// Partitions and groups take part in a transaction. Level 3.
    AddToTransaction(transaction::AddToTransaction),
    /// A transaction is going to commit offsets. Level 3.
    TransactionOffsets(transaction::TransactionOffsets),
    /// A transaction is decided. Level 3.
    EndTransaction(transaction::EndTransaction),
    /// Extents are replaced. Level 4.
    Swap(Swap),
    /// Chunks go into an index. Level 4.
    IndexChunks(IndexChunks),
    /// Records are gone by their topic's retention. Level 4.
    Expire(Expire),
    /// Of each key, earlier records are gone. Level 4.
    Compacted(Compacted),
    /// A node takes a block of producer ids. From level 2 on, producers expire.
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

impl Change {
    /// The first feature level whose programs know the change.
    pub fn level(&self) -> u32 {
        match self {
            Change::CreateTopic { configs, .. } if configs.values().any(|value| is_long(value)) => 4,
            Change::AlterConfigs { changes, .. } if changes.iter().any(ConfigChange::is_long) => 4,
            Change::Swap(_) | Change::IndexChunks(_) | Change::Expire(_) | Change::Compacted(_) => 4,
            Change::Append(append) if append.batches.iter().any(|batch| batch.joins != Joins::Nothing) => 3,
            Change::InitProducer(_)
            | Change::AddToTransaction(_)
            | Change::TransactionOffsets(_)
            | Change::EndTransaction(_) => 3,
            Change::Append(_)
            | Change::CreateTopic { .. }
            | Change::DeleteTopic { .. }
            | Change::FeatureLevel { .. }
            | Change::Tick => 1,
            // Old enough for level 1; but only the rules of level 2 forget the ids again.
            Change::AllocateProducerIds { .. }
            | Change::CreatePartitions { .. }
            | Change::AlterConfigs { .. }
            | Change::DeleteRecords { .. }
            | Change::UpdateGroup(_)
            | Change::CommitOffsets(_)
            | Change::DeleteGroup { .. }
            | Change::DeleteOffsets { .. } => 2,
        }
    }
}

/// One config of a topic that changes (KIP-339).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Kafka's name.
    pub name: String,
    /// How.
    pub op: ConfigOp,
}

impl ConfigChange {
    /// Whether the config may become longer than it could be before level 4.
    fn is_long(&self) -> bool {
        match &self.op {
            ConfigOp::Set(value) => is_long(value),
            // What becomes of a list shows in the fold alone; before level 4 it stays below what it could be then.
            ConfigOp::Delete | ConfigOp::Append { .. } | ConfigOp::Subtract { .. } => false,
        }
    }
}

fn is_long(value: &str) -> bool {
    value.len() > MAX_CONFIG_CHARS
}

/// How a config changes. Lists are texts separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOp {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Delete,
    /// Elements join the list.
    Append {
        /// Which.
        elements: String,
        /// The list, if nobody has set one.
        default: String,
    },
    /// Elements leave the list.
    Subtract {
        /// Which.
        elements: String,
        /// The list, if nobody has set one.
        default: String,
    },
}

impl ConfigChange {
    /// Makes the change. An element that is in a list already is not added again.
    pub fn alter(&self, configs: &mut BTreeMap<String, String>) {
        let elements = |list: &str| -> Vec<String> {
            list.split(',').map(str::trim).filter(|element| !element.is_empty()).map(str::to_owned).collect()
        };
        let value = match &self.op {
            ConfigOp::Set(value) => value.clone(),
            ConfigOp::Delete => {
                configs.remove(&self.name);
                return;
            }
            ConfigOp::Append { elements: added, default } => {
                let mut list = elements(configs.get(&self.name).unwrap_or(default));
                for element in elements(added) {
                    if !list.contains(&element) {
                        list.push(element);
                    }
                }
                list.join(",")
            }
            ConfigOp::Subtract { elements: removed, default } => {
                let removed = elements(removed);
                let mut list = elements(configs.get(&self.name).unwrap_or(default));
                list.retain(|element| !removed.contains(element));
                list.join(",")
            }
        };
        configs.insert(self.name.clone(), value);
    }
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
    /// Whether it is part of a transaction of that producer. Level 3.
    pub joins: Joins,
}

impl BatchMeta {
    /// The producer whose transaction it is part of.
    pub(super) fn transaction(&self) -> Option<Producer> {
        self.producer.filter(|_| self.joins != Joins::Nothing)
    }
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

/// A producer's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Identity {
    /// At least 0.
    pub id: i64,
    /// At least 0.
    pub epoch: i16,
}

/// What the fold made of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of an [`Append`]: one entry for each batch.
    Appended(Vec<Result<Placed, Void>>),
    /// Of a [`Swap`]: one entry for each run.
    Swapped(Vec<Result<(), Void>>),
    /// The block of producer ids begins here.
    ProducerIds(i64),
    /// Who the producer is from now on.
    Producer(Identity),
    /// The group is at this version now.
    GroupVersion(u64),
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
    #[error(
        "the cluster is as large as it may get: topics, partitions, groups, offsets, or what takes part in transactions"
    )]
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
    /// The object is older than orphans may get: it may be deleted at any time.
    #[error("the object was written more than a day ago")]
    Stale,
    /// Beyond the high watermark.
    #[error("the offset is out of range")]
    OffsetOutOfRange,
    /// The group is not there.
    #[error("the group does not exist")]
    UnknownGroup,
    /// The group has members.
    #[error("the group is not empty")]
    GroupNotEmpty,
    /// Somebody else changed the group in the meantime.
    #[error("the group was changed by another node")]
    GroupChanged,
    /// Not a member of the group.
    #[error("the member is not known")]
    UnknownMember,
    /// Another member has taken the place of this one.
    #[error("another member has this group.instance.id")]
    FencedInstance,
    /// Not the group's generation.
    #[error("the generation is over")]
    IllegalGeneration,
    /// Not the member's epoch (KIP-848).
    #[error("the member's epoch is over")]
    StaleMemberEpoch,
    /// No producer with transactions has this id.
    #[error("the producer id is not that of a transactional id")]
    UnknownProducerId,
    /// Another instance of the producer has taken over.
    #[error("another producer has this transactional id")]
    ProducerFenced,
    /// There is no open transaction that this belongs to.
    #[error("the transaction is not in a state that allows this")]
    InvalidTransactionState,
    /// It was meant for a transaction that has ended.
    #[error("the transaction was decided in the meantime")]
    TransactionOver,
    /// The transaction may take longer.
    #[error("the transaction is not due yet")]
    NotDue,
    /// What was read to write something else is not there any more.
    #[error("the extents were replaced or deleted in the meantime")]
    ExtentsChanged,
    /// It reaches beyond what is decided.
    #[error("it reaches beyond the last stable offset")]
    Undecided,
    /// The topic's retention was altered.
    #[error("the topic's retention was altered in the meantime")]
    RetentionChanged,
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
