//! The manifest as of a slot, written as one object.
//!
//! Must not know when it is written. The encoding is canonical: equal manifests give equal bytes, which is how nodes are
//! compared. Extents are kept in columns, since a checkpoint is mostly extents.

mod transactions;
mod groups;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ulid::Ulid;
use uuid::Uuid;

use super::state::{
    Aborted, Extent, Manifest, Marker, ObjectId, Partition, Producers, Remembered, Seen, State, Topic,
};
use crate::error::{Error, Result};
use crate::limits::MAX_SLOT;
use crate::object::{self, Shape};

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
    /// 16 bytes each, in the order of their first mention.
    #[prost(bytes = "vec", tag = "7")]
    segments: Vec<u8>,
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

/// Extents in columns: entry `i` of each belongs to extent `i`. Base offsets follow from the counts, since extents have
/// no gaps between them.
#[derive(Clone, PartialEq, Message)]
struct PartitionWire {
    #[prost(int64, tag = "1")]
    log_start: i64,
    #[prost(int64, tag = "2")]
    high_watermark: i64,
    #[prost(uint32, repeated, tag = "3")]
    offsets: Vec<u32>,
    /// Even: twice the index of a segment. 1: the next marker. Odd: twice the slot of a commit, plus one.
    #[prost(uint64, repeated, tag = "4")]
    objects: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    at: Vec<u64>,
    #[prost(uint32, repeated, tag = "6")]
    bytes: Vec<u32>,
    /// Each minus the one before.
    #[prost(sint64, repeated, tag = "7")]
    max_timestamp_deltas: Vec<i64>,
    #[prost(message, repeated, tag = "8")]
    producers: Vec<ProducerWire>,
    #[prost(int64, repeated, tag = "9")]
    marker_producers: Vec<i64>,
    /// Twice the epoch, plus one if the transaction was committed.
    #[prost(uint32, repeated, tag = "10")]
    marker_epochs: Vec<u32>,
    #[prost(message, repeated, tag = "11")]
    aborted: Vec<AbortedWire>,
}

#[derive(Clone, PartialEq, Message)]
struct AbortedWire {
    #[prost(int64, tag = "1")]
    producer_id: i64,
    #[prost(int64, tag = "2")]
    first_offset: i64,
    #[prost(int64, tag = "3")]
    last_offset: i64,
    #[prost(int64, tag = "4")]
    last_stable: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ProducerWire {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(uint32, tag = "2")]
    epoch: u32,
    #[prost(int64, tag = "3")]
    last_ms: i64,
    #[prost(int32, repeated, tag = "4")]
    sequences: Vec<i32>,
    #[prost(uint32, repeated, tag = "5")]
    offsets: Vec<u32>,
    #[prost(int64, repeated, tag = "6")]
    base_offsets: Vec<i64>,
    #[prost(bool, tag = "7")]
    from_zero: bool,
}

/// The whole object. Equal manifests give equal bytes.
pub fn encode(manifest: &Manifest) -> Bytes {
    let mut segments = Segments::default();
    let topics = manifest.topics.values().map(|topic| encode_topic(topic, &mut segments)).collect();
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
        segments: segments.bytes,
        groups: groups::encode(&manifest.groups),
        transactions: transactions::encode(&manifest.transactions),
    };
    object::encode(Shape::Checkpoint, &wire)
}

/// Stands for a marker among the objects: there is no slot 0.
const MARKER: u64 = 1;

#[derive(Default)]
struct Segments {
    index: BTreeMap<Ulid, u64>,
    bytes: Vec<u8>,
}

impl Segments {
    fn reference(&mut self, object: ObjectId) -> u64 {
        match object {
            ObjectId::Slot(slot) => slot << 1 | 1,
            ObjectId::Marker(_) => MARKER,
            ObjectId::Segment(id) => {
                let next = self.index.len() as u64;
                let index = *self.index.entry(id).or_insert(next);
                if index == next {
                    self.bytes.extend_from_slice(&id.to_bytes());
                }
                index << 1
            }
        }
    }
}

fn encode_topic(topic: &Topic, segments: &mut Segments) -> TopicWire {
    TopicWire {
        id: topic.id.as_bytes().to_vec(),
        name: topic.name.clone(),
        configs: topic.configs.clone(),
        partitions: topic.partitions.iter().map(|partition| encode_partition(partition, segments)).collect(),
    }
}

fn encode_partition(partition: &Partition, segments: &mut Segments) -> PartitionWire {
    let mut wire = PartitionWire {
        log_start: partition.log_start,
        high_watermark: partition.high_watermark,
        ..Default::default()
    };
    let mut before = 0;
    for extent in &partition.extents {
        wire.offsets.push(extent.offsets);
        wire.objects.push(segments.reference(extent.object));
        if let ObjectId::Marker(Marker { producer_id, epoch, commit }) = extent.object {
            wire.marker_producers.push(producer_id);
            wire.marker_epochs.push((epoch as u32) << 1 | u32::from(commit));
        }
        wire.at.push(extent.at);
        wire.bytes.push(extent.bytes);
        wire.max_timestamp_deltas.push(extent.max_timestamp.wrapping_sub(before));
        before = extent.max_timestamp;
    }
    wire.producers = partition
        .producers
        .0
        .iter()
        .map(|(id, state)| ProducerWire {
            id: *id,
            epoch: state.epoch as u32,
            last_ms: state.last_ms,
            sequences: state.batches.iter().map(|batch| batch.sequence).collect(),
            offsets: state.batches.iter().map(|batch| batch.offsets).collect(),
            base_offsets: state.batches.iter().map(|batch| batch.base_offset).collect(),
            from_zero: state.from_zero,
        })
        .collect();
    let aborted = |aborted: &Aborted| AbortedWire {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
        last_offset: aborted.last_offset,
        last_stable: aborted.last_stable,
    };
    wire.aborted = partition.aborted.iter().map(aborted).collect();
    wire
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
    let (segments, rest) = wire.segments.as_chunks::<16>();
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
        let partitions =
            topic.partitions.into_iter().map(|p| decode_partition(p, segments)).collect::<Option<_>>()?;
        let id = Uuid::from_slice(&topic.id).ok()?;
        manifest.insert_topic(Topic::new(id, topic.name, topic.configs, partitions));
    }
    transactions::decode(wire.transactions, &mut manifest)?;
    let unique = manifest.topics.len() == topics && manifest.names.len() == topics;
    (unique && rest.is_empty()).then_some(manifest)
}

fn decode_partition(wire: PartitionWire, segments: &[[u8; 16]]) -> Option<Partition> {
    let count = wire.offsets.len();
    let columns = [wire.objects.len(), wire.at.len(), wire.bytes.len(), wire.max_timestamp_deltas.len()];
    if columns.iter().any(|column| *column != count) {
        return None;
    }
    let taken = wire.offsets.iter().map(|offsets| i64::from(*offsets)).sum::<i64>();
    let mut base_offset = wire.high_watermark.checked_sub(taken).filter(|base| *base >= 0)?;
    let in_order = (0..=wire.high_watermark).contains(&wire.log_start);
    if !in_order || wire.offsets.contains(&0) || wire.bytes.contains(&0) {
        return None;
    }
    let mut markers = decode_markers(&wire)?.into_iter();
    let mut max_timestamp = 0_i64;
    let mut extents = Vec::with_capacity(count);
    let columns =
        wire.offsets.iter().zip(&wire.objects).zip(&wire.at).zip(&wire.bytes).zip(&wire.max_timestamp_deltas);
    for ((((offsets, object), at), bytes), delta) in columns {
        let object = match object & 1 {
            _ if *object == MARKER => ObjectId::Marker(markers.next()?),
            1 => ObjectId::Slot(object >> 1),
            _ => ObjectId::Segment(Ulid::from_bytes(*segments.get(usize::try_from(object >> 1).ok()?)?)),
        };
        max_timestamp = max_timestamp.wrapping_add(*delta);
        // Readers add the two up.
        at.checked_add(u64::from(*bytes))?;
        extents.push(Extent {
            base_offset,
            offsets: *offsets,
            object,
            at: *at,
            bytes: *bytes,
            max_timestamp,
        });
        base_offset += i64::from(*offsets);
    }
    let aborted = decode_aborted(&wire)?;
    let producers = wire.producers.into_iter().map(decode_producer).collect::<Option<_>>()?;
    Some(Partition {
        log_start: wire.log_start,
        high_watermark: wire.high_watermark,
        extents,
        producers: Producers(producers),
        aborted,
        ..Partition::default()
    })
}

/// In the order in which they ended; the last offset of each is there.
fn decode_aborted(wire: &PartitionWire) -> Option<Vec<Aborted>> {
    let mut from = wire.log_start;
    let mut decoded = Vec::with_capacity(wire.aborted.len());
    for AbortedWire { producer_id, first_offset, last_offset, last_stable } in wire.aborted.iter().cloned() {
        if !(from..wire.high_watermark).contains(&last_offset) || !(0..last_offset).contains(&first_offset) {
            return None;
        }
        from = last_offset + 1;
        decoded.push(Aborted { producer_id, first_offset, last_offset, last_stable });
    }
    Some(decoded)
}

fn decode_markers(wire: &PartitionWire) -> Option<Vec<Marker>> {
    if wire.marker_producers.len() != wire.marker_epochs.len() {
        return None;
    }
    let marker = |(producer_id, epoch): (&i64, &u32)| {
        Some(Marker {
            producer_id: *producer_id,
            epoch: i16::try_from(epoch >> 1).ok()?,
            commit: epoch & 1 == 1,
        })
    };
    wire.marker_producers.iter().zip(&wire.marker_epochs).map(marker).collect()
}

fn decode_producer(wire: ProducerWire) -> Option<(i64, State)> {
    if wire.offsets.len() != wire.sequences.len()
        || wire.base_offsets.len() != wire.sequences.len()
        || wire.offsets.contains(&0)
        || wire.sequences.is_empty()
        || wire.sequences.iter().any(|sequence| *sequence < 0)
    {
        return None;
    }
    let batches = wire.sequences.iter().zip(&wire.offsets).zip(&wire.base_offsets);
    let batches = batches.map(|((sequence, offsets), base_offset)| Remembered {
        sequence: *sequence,
        offsets: *offsets,
        base_offset: *base_offset,
    });
    let (epoch, batches) = (i16::try_from(wire.epoch).ok()?, batches.collect());
    Some((wire.id, State { epoch, last_ms: wire.last_ms, from_zero: wire.from_zero, batches }))
}

#[cfg(test)]
mod tests;
