//! The manifest as of a slot, written as one object.
//!
//! Must not know when it is written. The encoding is canonical: equal manifests give equal bytes, which is how nodes are
//! compared. Extents are kept in columns, since a checkpoint is mostly extents.

mod transactions;
mod groups;
mod partition;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ulid::Ulid;
use uuid::Uuid;

use super::state::{Manifest, Seen, Topic};
use crate::error::{Error, Result};
use crate::limits::MAX_SLOT;
use crate::object::{self, Shape};
use partition::{Ids, PartitionWire};

#[derive(Clone, PartialEq, Message)]
struct ManifestWire {
    #[prost(uint64, tag = "1")]
    applied: u64,
    #[prost(int64, tag = "2")]
    now_ms: i64,
    #[prost(uint32, tag = "3")]
    feature_level: u32,
    #[prost(int64, tag = "4")]
    next_producer_id: i64,
    #[prost(message, repeated, tag = "5")]
    seen: Vec<SeenWire>,
    #[prost(message, repeated, tag = "6")]
    topics: Vec<TopicWire>,
    /// Those of objects, 16 bytes each, in the order of their first mention.
    #[prost(bytes = "vec", tag = "7")]
    ids: Vec<u8>,
    #[prost(message, repeated, tag = "8")]
    groups: Vec<groups::GroupWire>,
    #[prost(message, repeated, tag = "9")]
    transactions: Vec<transactions::TransactionWire>,
}

#[derive(Clone, PartialEq, Message)]
struct SeenWire {
    #[prost(bytes = "vec", tag = "1")]
    incarnation: Vec<u8>,
    #[prost(uint64, tag = "2")]
    highest: u64,
    #[prost(fixed64, tag = "3")]
    window: u64,
    #[prost(int64, tag = "4")]
    last_ms: i64,
    #[prost(fixed64, tag = "5")]
    refused: u64,
}

#[derive(Clone, PartialEq, Message)]
struct TopicWire {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(btree_map = "string, string", tag = "3")]
    configs: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "4")]
    partitions: Vec<PartitionWire>,
}

/// The whole object. Equal manifests give equal bytes.
pub fn encode(manifest: &Manifest) -> Bytes {
    let mut ids = Ids::default();
    let topics = manifest.topics.values().map(|topic| encode_topic(topic, &mut ids)).collect();
    let seen = manifest.seen.iter().map(|(incarnation, seen)| SeenWire {
        incarnation: incarnation.to_bytes().to_vec(),
        highest: seen.highest,
        window: seen.window,
        last_ms: seen.last_ms,
        refused: seen.refused,
    });
    let wire = ManifestWire {
        applied: manifest.applied,
        now_ms: manifest.now_ms,
        feature_level: manifest.feature_level,
        next_producer_id: manifest.next_producer_id,
        seen: seen.collect(),
        topics,
        ids: ids.bytes,
        groups: groups::encode(&manifest.groups),
        transactions: transactions::encode(&manifest.transactions),
    };
    object::encode(Shape::Checkpoint, &wire)
}

fn encode_topic(topic: &Topic, ids: &mut Ids) -> TopicWire {
    TopicWire {
        id: topic.id.as_bytes().to_vec(),
        name: topic.name.clone(),
        configs: topic.configs.clone(),
        partitions: topic.partitions.iter().map(|one| partition::encode(one, ids)).collect(),
    }
}

/// Reads a checkpoint back. Everything in it is checked: it comes from outside.
pub fn decode(key: &str, bytes: &[u8]) -> Result<Manifest> {
    let (wire, _): (ManifestWire, usize) = object::decode(key, Shape::Checkpoint, bytes)?;
    decode_manifest(wire).ok_or_else(|| Error::corrupt(key, "its fields contradict each other"))
}

fn decode_manifest(wire: ManifestWire) -> Option<Manifest> {
    if wire.applied > MAX_SLOT || wire.next_producer_id < 0 {
        return None;
    }
    let (ids, rest) = wire.ids.as_chunks::<16>();
    let mut manifest = Manifest {
        applied: wire.applied,
        now_ms: wire.now_ms,
        feature_level: wire.feature_level,
        next_producer_id: wire.next_producer_id,
        ..Manifest::default()
    };
    for seen in wire.seen {
        let id = Ulid::from_bytes(seen.incarnation.as_slice().try_into().ok()?);
        let SeenWire { highest, window, refused, last_ms, .. } = seen;
        manifest.seen.insert(id, Seen { highest, window, refused, last_ms });
    }
    manifest.groups = groups::decode(wire.groups)?;
    let topics = wire.topics.len();
    for topic in wire.topics {
        let id = Uuid::from_slice(&topic.id).ok()?;
        let partitions = (0..).zip(topic.partitions);
        let partitions = partitions.map(|(number, one)| partition::decode(one, (id, number), ids));
        let partitions = partitions.collect::<Option<_>>()?;
        manifest.insert_topic(Topic::new(id, topic.name, topic.configs, partitions));
    }
    transactions::decode(wire.transactions, &mut manifest)?;
    let unique = manifest.topics.len() == topics && manifest.names.len() == topics;
    (unique && rest.is_empty()).then_some(manifest)
}

#[cfg(test)]
mod tests;
