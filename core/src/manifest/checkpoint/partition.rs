//! One partition inside a checkpoint: its extents in columns, its producers, what was aborted in it.
//!
//! Must not know topics. Everything that is read is checked: it comes from outside.

use std::collections::BTreeMap;

use prost::Message;
use ulid::Ulid;
use uuid::Uuid;

use super::super::commit::wire::history::BranchWire;
use super::super::state::{Aborted, Extent, Marker, ObjectId, Partition, Producers, Remembered, State};
use crate::chunk::{ChunkId, Format};
use crate::index::Branch;

/// Extents in columns: entry `i` of each belongs to extent `i`. Base offsets follow from the counts, since extents have
/// no gaps between them.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionWire {
    #[prost(int64, tag = "1")]
    pub(super) log_start: i64,
    #[prost(int64, tag = "2")]
    pub(super) high_watermark: i64,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) offsets: Vec<u32>,
    /// Even: twice the place of a ULID among all ids. 1: the next marker. Odd: twice the slot of a commit, plus one.
    #[prost(uint64, repeated, tag = "4")]
    pub(super) objects: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    pub(super) at: Vec<u64>,
    #[prost(uint32, repeated, tag = "6")]
    pub(super) bytes: Vec<u32>,
    /// Each minus the one before.
    #[prost(sint64, repeated, tag = "7")]
    pub(super) max_timestamp_deltas: Vec<i64>,
    #[prost(message, repeated, tag = "8")]
    pub(super) producers: Vec<ProducerWire>,
    #[prost(int64, repeated, tag = "9")]
    pub(super) marker_producers: Vec<i64>,
    /// Twice the epoch, plus one if the transaction was committed.
    #[prost(uint32, repeated, tag = "10")]
    pub(super) marker_epochs: Vec<u32>,
    #[prost(message, repeated, tag = "11")]
    pub(super) aborted: Vec<AbortedWire>,
    /// What the ULIDs among the objects name: 0 a segment, 1 a merged one, 2 a chunk of batches, 3 one of Parquet. Empty: all
    /// are segments.
    #[prost(uint32, repeated, tag = "12")]
    pub(super) kinds: Vec<u32>,
    #[prost(message, optional, boxed, tag = "13")]
    pub(super) index: Option<Box<BranchWire>>,
    #[prost(int64, tag = "14")]
    pub(super) compacted: i64,
    /// Subtracted from the largest number, so that nothing is written where there is none.
    #[prost(int64, tag = "15")]
    pub(super) tombstones_before_ever_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AbortedWire {
    #[prost(int64, tag = "1")]
    pub(super) producer_id: i64,
    #[prost(int64, tag = "2")]
    pub(super) first_offset: i64,
    #[prost(int64, tag = "3")]
    pub(super) last_offset: i64,
    #[prost(int64, tag = "4")]
    pub(super) last_stable: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProducerWire {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(uint32, tag = "2")]
    pub(super) epoch: u32,
    #[prost(int64, tag = "3")]
    pub(super) last_ms: i64,
    #[prost(int32, repeated, tag = "4")]
    pub(super) sequences: Vec<i32>,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) offsets: Vec<u32>,
    #[prost(int64, repeated, tag = "6")]
    pub(super) base_offsets: Vec<i64>,
    #[prost(bool, tag = "7")]
    pub(super) from_zero: bool,
}

/// Stands for a marker among the objects: there is no slot 0.
const MARKER: u64 = 1;

/// The ULIDs of all objects, 16 bytes each, in the order of their first mention.
#[derive(Default)]
pub(super) struct Ids {
    index: BTreeMap<Ulid, u64>,
    pub(super) bytes: Vec<u8>,
}

impl Ids {
    fn reference(&mut self, object: ObjectId) -> u64 {
        match object {
            ObjectId::Slot(slot) => slot << 1 | 1,
            ObjectId::Marker(_) => MARKER,
            ObjectId::Segment(id) | ObjectId::Merged(id) | ObjectId::Chunk(ChunkId { id, .. }) => {
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

/// What an object is that is named by a ULID.
fn kind(object: ObjectId) -> Option<u32> {
    Some(match object {
        ObjectId::Slot(_) | ObjectId::Marker(_) => return None,
        ObjectId::Segment(_) => 0,
        ObjectId::Merged(_) => 1,
        ObjectId::Chunk(ChunkId { format: Format::Batches, .. }) => 2,
        ObjectId::Chunk(ChunkId { format: Format::Parquet, .. }) => 3,
    })
}

pub(super) fn encode(partition: &Partition, ids: &mut Ids) -> PartitionWire {
    let mut wire = PartitionWire {
        log_start: partition.log_start,
        high_watermark: partition.high_watermark,
        compacted: partition.compacted,
        tombstones_before_ever_ms: i64::MAX.wrapping_sub(partition.tombstones_ms),
        ..Default::default()
    };
    let mut before = 0;
    for extent in &partition.extents {
        wire.offsets.push(extent.offsets);
        wire.objects.push(ids.reference(extent.object));
        if let ObjectId::Marker(Marker { producer_id, epoch, commit }) = extent.object {
            wire.marker_producers.push(producer_id);
            wire.marker_epochs.push((epoch as u32) << 1 | u32::from(commit));
        }
        wire.kinds.extend(kind(extent.object));
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
    if wire.kinds.iter().all(|kind| *kind == 0) {
        wire.kinds.clear();
    }
    wire.index = partition.index.as_ref().map(|root| Box::new(root.into()));
    let aborted = |aborted: &Aborted| AbortedWire {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
        last_offset: aborted.last_offset,
        last_stable: aborted.last_stable,
    };
    wire.aborted = partition.aborted.iter().map(aborted).collect();
    wire
}

/// `of`: the topic and the partition; `ids`: the ULIDs of all objects.
pub(super) fn decode(mut wire: PartitionWire, of: (Uuid, u32), ids: &[[u8; 16]]) -> Option<Partition> {
    let taken = wire.offsets.iter().map(|offsets| i64::from(*offsets)).sum::<i64>();
    let base_offset = wire.high_watermark.checked_sub(taken).filter(|base| *base >= 0)?;
    let inside = |offset| (0..=wire.high_watermark).contains(&offset);
    let in_order = inside(wire.log_start) && inside(wire.compacted);
    if !in_order || wire.offsets.contains(&0) || wire.bytes.contains(&0) {
        return None;
    }
    let index = match wire.index.take() {
        None => None,
        Some(root) => {
            let root = Branch::try_from(*root).ok()?;
            let fits = root.end_offset == base_offset
                && root.base_offset >= 0
                && (root.base_offset..root.end_offset).contains(&wire.log_start)
                && root.chunks > 0;
            Some(Some(root).filter(|_| fits)?)
        }
    };
    let extents = decode_extents(&wire, base_offset, of, ids)?;
    let aborted = decode_aborted(&wire, index)?;
    let producers = wire.producers.into_iter().map(decode_producer).collect::<Option<_>>()?;
    Some(Partition {
        log_start: wire.log_start,
        high_watermark: wire.high_watermark,
        index,
        extents,
        compacted: wire.compacted,
        tombstones_ms: i64::MAX.wrapping_sub(wire.tombstones_before_ever_ms),
        producers: Producers(producers),
        aborted,
        ..Partition::default()
    })
}

fn decode_extents(
    wire: &PartitionWire,
    mut base_offset: i64,
    (topic, partition): (Uuid, u32),
    ids: &[[u8; 16]],
) -> Option<Vec<Extent>> {
    let count = wire.offsets.len();
    let columns = [wire.objects.len(), wire.at.len(), wire.bytes.len(), wire.max_timestamp_deltas.len()];
    if columns.iter().any(|column| *column != count) {
        return None;
    }
    let mut markers = decode_markers(wire)?.into_iter();
    let mut kinds = wire.kinds.iter();
    let mut max_timestamp = 0_i64;
    let mut extents = Vec::with_capacity(count);
    let columns =
        wire.offsets.iter().zip(&wire.objects).zip(&wire.at).zip(&wire.bytes).zip(&wire.max_timestamp_deltas);
    for ((((offsets, object), at), bytes), delta) in columns {
        let object = match object & 1 {
            _ if *object == MARKER => ObjectId::Marker(markers.next()?),
            1 => ObjectId::Slot(object >> 1),
            _ => {
                let id = Ulid::from_bytes(*ids.get(usize::try_from(object >> 1).ok()?)?);
                let chunk = |format| ObjectId::Chunk(ChunkId { topic, partition, base_offset, id, format });
                match if wire.kinds.is_empty() { 0 } else { *kinds.next()? } {
                    0 => ObjectId::Segment(id),
                    1 => ObjectId::Merged(id),
                    2 => chunk(Format::Batches),
                    3 => chunk(Format::Parquet),
                    _ => return None,
                }
            }
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
    kinds.next().is_none().then_some(extents)
}

/// In the order in which they ended; the last offset of each is there, and not in the index.
fn decode_aborted(wire: &PartitionWire, index: Option<Branch>) -> Option<Vec<Aborted>> {
    let mut from = index.map_or(wire.log_start, |index| index.end_offset);
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
