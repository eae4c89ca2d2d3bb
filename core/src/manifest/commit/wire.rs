//! The shapes of a commit on disk.
//!
//! Must not know the fold. Invariant: tags keep their meaning for ever; fields and kinds are only added.

mod transaction;
pub(in crate::manifest) mod history;
pub(in crate::manifest) mod group;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ulid::Ulid;
use uuid::Uuid;

use super::transaction::Joins;
use super::{BatchMeta, CommitId, ConfigChange, ConfigOp};
use group::{Group, Offsets};

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
    #[prost(
        oneof = "Kind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21"
    )]
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
    #[prost(message, tag = "7")]
    CreatePartitions(CreatePartitions),
    #[prost(message, tag = "8")]
    AlterConfigs(AlterConfigs),
    #[prost(message, tag = "9")]
    DeleteRecords(DeleteRecords),
    #[prost(message, tag = "10")]
    UpdateGroup(Group),
    #[prost(message, tag = "11")]
    CommitOffsets(Offsets),
    #[prost(string, tag = "12")]
    DeleteGroup(String),
    #[prost(message, tag = "13")]
    DeleteOffsets(DeletedOffsets),
    #[prost(message, tag = "14")]
    InitProducer(transaction::Init),
    #[prost(message, tag = "15")]
    AddToTransaction(transaction::Add),
    #[prost(message, tag = "16")]
    TransactionOffsets(transaction::OffsetsIn),
    #[prost(message, tag = "17")]
    EndTransaction(transaction::End),
    #[prost(message, tag = "18")]
    Swap(history::SwapWire),
    #[prost(message, tag = "19")]
    IndexChunks(history::IndexWire),
    #[prost(message, tag = "20")]
    Expire(history::ExpireWire),
    #[prost(message, tag = "21")]
    Compacted(history::CompactedWire),
}

#[derive(Clone, PartialEq, Message)]
struct CreatePartitions {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    count: u32,
}

#[derive(Clone, PartialEq, Message)]
struct AlterConfigs {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(bool, tag = "2")]
    replace: bool,
    #[prost(message, repeated, tag = "3")]
    changes: Vec<Config>,
}

/// `op`: Kafka's number, 0 set, 1 delete, 2 append, 3 subtract.
#[derive(Clone, PartialEq, Message)]
struct Config {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    op: u32,
    #[prost(string, tag = "3")]
    value: String,
    #[prost(string, tag = "4")]
    default: String,
}

#[derive(Clone, PartialEq, Message)]
struct DeleteRecords {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(sint64, tag = "3")]
    before: i64,
}

#[derive(Clone, PartialEq, Message)]
struct DeletedOffsets {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(message, repeated, tag = "2")]
    partitions: Vec<PartitionOf>,
}

#[derive(Clone, PartialEq, Message)]
struct PartitionOf {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
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
    /// 0 nothing, 1 a transaction that its partition was added to, 2 one that it is added to by this.
    #[prost(uint32, tag = "5")]
    joins: u32,
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
                segment: append.segment.map(|s| Bytes::copy_from_slice(&s.to_bytes())).unwrap_or_default(),
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
            super::Change::CreatePartitions { topic, count } => {
                Kind::CreatePartitions(CreatePartitions { topic: id(topic), count: *count })
            }
            super::Change::AlterConfigs { topic, replace, changes } => Kind::AlterConfigs(AlterConfigs {
                topic: id(topic),
                replace: *replace,
                changes: changes.iter().map(Config::from).collect(),
            }),
            super::Change::DeleteRecords { topic, partition, before } => Kind::DeleteRecords(DeleteRecords {
                topic: id(topic),
                partition: *partition,
                before: *before,
            }),
            super::Change::UpdateGroup(update) => Kind::UpdateGroup(update.into()),
            super::Change::CommitOffsets(commit) => Kind::CommitOffsets(commit.into()),
            super::Change::DeleteGroup { group } => Kind::DeleteGroup(group.clone()),
            super::Change::InitProducer(init) => Kind::InitProducer(init.into()),
            super::Change::AddToTransaction(add) => Kind::AddToTransaction(add.into()),
            super::Change::TransactionOffsets(offsets) => Kind::TransactionOffsets(offsets.into()),
            super::Change::EndTransaction(end) => Kind::EndTransaction(end.into()),
            super::Change::Swap(swap) => Kind::Swap(swap.into()),
            super::Change::IndexChunks(index) => Kind::IndexChunks(index.into()),
            super::Change::Expire(expire) => Kind::Expire(expire.into()),
            super::Change::Compacted(compacted) => Kind::Compacted(compacted.into()),
            super::Change::DeleteOffsets { group, partitions } => {
                let partition = |(topic, partition): &(Uuid, u32)| PartitionOf {
                    topic: id(topic),
                    partition: *partition,
                };
                let partitions = partitions.iter().map(partition).collect();
                Kind::DeleteOffsets(DeletedOffsets { group: group.clone(), partitions })
            }
        }
    }
}

impl From<&ConfigChange> for Config {
    fn from(change: &ConfigChange) -> Config {
        let (op, value, default) = match &change.op {
            ConfigOp::Set(value) => (0, value.as_str(), ""),
            ConfigOp::Delete => (1, "", ""),
            ConfigOp::Append { elements, default } => (2, elements.as_str(), default.as_str()),
            ConfigOp::Subtract { elements, default } => (3, elements.as_str(), default.as_str()),
        };
        Config { name: change.name.clone(), op, value: value.to_owned(), default: default.to_owned() }
    }
}

impl From<&BatchMeta> for Batch {
    fn from(batch: &BatchMeta) -> Batch {
        let producer =
            batch.producer.map(|p| Producer { id: p.id, epoch: p.epoch as u32, sequence: p.sequence as u32 });
        let joins = match batch.joins {
            Joins::Nothing => 0,
            Joins::Added => 1,
            Joins::Adds => 2,
        };
        let BatchMeta { bytes, offsets, max_timestamp, .. } = *batch;
        Batch { bytes, offsets, max_timestamp, producer, joins }
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
            Kind::CreatePartitions(create) => {
                super::Change::CreatePartitions { topic: topic(&create.topic)?, count: create.count }
            }
            Kind::AlterConfigs(alter) => super::Change::AlterConfigs {
                topic: topic(&alter.topic)?,
                replace: alter.replace,
                changes: alter.changes.into_iter().map(ConfigChange::try_from).collect::<Result<_, _>>()?,
            },
            Kind::DeleteRecords(DeleteRecords { topic: id, partition, before }) => {
                super::Change::DeleteRecords { topic: topic(&id)?, partition, before }
            }
            Kind::UpdateGroup(group) => super::Change::UpdateGroup(group.try_into()?),
            Kind::CommitOffsets(offsets) => super::Change::CommitOffsets(offsets.try_into()?),
            Kind::DeleteGroup(group) => super::Change::DeleteGroup { group },
            Kind::InitProducer(init) => super::Change::InitProducer(init.try_into()?),
            Kind::AddToTransaction(add) => super::Change::AddToTransaction(add.try_into()?),
            Kind::TransactionOffsets(offsets) => super::Change::TransactionOffsets(offsets.try_into()?),
            Kind::EndTransaction(end) => super::Change::EndTransaction(end.try_into()?),
            Kind::Swap(swap) => super::Change::Swap(swap.try_into()?),
            Kind::IndexChunks(index) => super::Change::IndexChunks(index.try_into()?),
            Kind::Expire(expire) => super::Change::Expire(expire.try_into()?),
            Kind::Compacted(compacted) => super::Change::Compacted(compacted.try_into()?),
            Kind::DeleteOffsets(DeletedOffsets { group, partitions }) => {
                let partition = |of: PartitionOf| Ok((topic(&of.topic)?, of.partition));
                let partitions =
                    partitions.into_iter().map(partition).collect::<Result<_, &'static str>>()?;
                super::Change::DeleteOffsets { group, partitions }
            }
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
        Ok(super::Append { topic, partition: wire.partition, segment, at: wire.at, crc: wire.crc, batches })
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
            joins: match wire.joins {
                0 => Joins::Nothing,
                1 => Joins::Added,
                2 => Joins::Adds,
                _ => return Err("a batch that joins a transaction in a way that this program does not know"),
            },
        })
    }
}

impl TryFrom<Config> for ConfigChange {
    type Error = &'static str;

    fn try_from(wire: Config) -> Result<ConfigChange, &'static str> {
        let Config { name, op, value, default } = wire;
        let op = match op {
            0 => ConfigOp::Set(value),
            1 => ConfigOp::Delete,
            2 => ConfigOp::Append { elements: value, default },
            3 => ConfigOp::Subtract { elements: value, default },
            _ => return Err("a config changes in a way that this program does not know"),
        };
        Ok(ConfigChange { name, op })
    }
}

fn array(bytes: &Bytes, otherwise: &'static str) -> Result<[u8; 16], &'static str> {
    bytes.first_chunk().filter(|_| bytes.len() == 16).copied().ok_or(otherwise)
}
