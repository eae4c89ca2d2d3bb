//! The shapes of swaps, index changes and expiries on disk.
//!
//! Must not know the fold. Invariant: tags keep their meaning for ever; fields are only added.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ulid::Ulid;
use uuid::Uuid;

use super::super::history::{Compacted, Expire, IndexChunks, ObjectName, Swap, SwapOutput, SwapRun};
use super::array;
use crate::chunk::Format;
use crate::index::Branch;

#[derive(Clone, PartialEq, Message)]
pub(super) struct SwapWire {
    /// 16 bytes each, in the order of their first mention.
    #[prost(bytes = "bytes", tag = "1")]
    ids: Bytes,
    #[prost(message, repeated, tag = "2")]
    runs: Vec<RunWire>,
}

#[derive(Clone, PartialEq, Message)]
struct RunWire {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(int64, tag = "3")]
    base_offset: i64,
    /// See [`Names::reference`].
    #[prost(uint64, repeated, tag = "4")]
    inputs: Vec<u64>,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<OutputWire>,
}

#[derive(Clone, PartialEq, Message)]
struct OutputWire {
    #[prost(uint64, tag = "1")]
    object: u64,
    #[prost(uint64, tag = "2")]
    at: u64,
    #[prost(uint32, tag = "3")]
    bytes: u32,
    #[prost(uint32, tag = "4")]
    offsets: u32,
    #[prost(sint64, tag = "5")]
    max_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IndexWire {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    /// Empty: there was no index.
    #[prost(bytes = "bytes", tag = "3")]
    replaces: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    ids: Bytes,
    #[prost(uint64, repeated, tag = "5")]
    absorbs: Vec<u64>,
    #[prost(message, optional, tag = "6")]
    root: Option<BranchWire>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::manifest) struct BranchWire {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in crate::manifest) id: Bytes,
    #[prost(int64, tag = "2")]
    pub(in crate::manifest) base_offset: i64,
    #[prost(int64, tag = "3")]
    pub(in crate::manifest) end_offset: i64,
    #[prost(uint64, tag = "4")]
    pub(in crate::manifest) chunks: u64,
    #[prost(uint64, tag = "5")]
    bytes: u64,
    #[prost(sint64, tag = "6")]
    max_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExpireWire {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(int64, tag = "3")]
    before: i64,
    #[prost(sint64, tag = "4")]
    retention_ms: i64,
    #[prost(sint64, tag = "5")]
    retention_bytes: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CompactedWire {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(int64, tag = "3")]
    upto: i64,
    #[prost(sint64, tag = "4")]
    tombstones_ms: i64,
}

/// Kinds of objects, in the three lowest bits of a reference.
const SEGMENT: u64 = 0;
const SLOT: u64 = 1;
const MARKER: u64 = 2;
const MERGED: u64 = 3;
const BATCHES: u64 = 4;
const PARQUET: u64 = 5;

/// ULIDs by the order of their first mention.
#[derive(Default)]
struct Names {
    index: BTreeMap<Ulid, u64>,
    ids: Vec<u8>,
}

impl Names {
    /// Eight times the slot or the place of the ULID in the table, plus the kind.
    fn reference(&mut self, object: ObjectName) -> u64 {
        let (kind, value) = match object {
            ObjectName::Segment(id) => (SEGMENT, self.place(id)),
            ObjectName::Slot(slot) => (SLOT, slot),
            ObjectName::Marker => (MARKER, 0),
            ObjectName::Merged(id) => (MERGED, self.place(id)),
            ObjectName::Chunk(id, Format::Batches) => (BATCHES, self.place(id)),
            ObjectName::Chunk(id, Format::Parquet) => (PARQUET, self.place(id)),
        };
        value << 3 | kind
    }

    fn place(&mut self, id: Ulid) -> u64 {
        let next = self.index.len() as u64;
        let place = *self.index.entry(id).or_insert(next);
        if place == next {
            self.ids.extend_from_slice(&id.to_bytes());
        }
        place
    }
}

fn named(ids: &[u8], reference: u64) -> Result<ObjectName, &'static str> {
    let value = reference >> 3;
    let id = || {
        let (ids, _) = ids.as_chunks::<16>();
        let place = usize::try_from(value).ok();
        let id = place.and_then(|place| ids.get(place)).ok_or("an object that is not in its table")?;
        Ok::<_, &'static str>(Ulid::from_bytes(*id))
    };
    Ok(match reference & 7 {
        SEGMENT => ObjectName::Segment(id()?),
        SLOT => ObjectName::Slot(value),
        MARKER => ObjectName::Marker,
        MERGED => ObjectName::Merged(id()?),
        BATCHES => ObjectName::Chunk(id()?, Format::Batches),
        PARQUET => ObjectName::Chunk(id()?, Format::Parquet),
        _ => return Err("an object of a kind that this program does not know"),
    })
}

fn topic(id: &Bytes) -> Result<Uuid, &'static str> {
    array(id, "a topic id is not 16 bytes").map(Uuid::from_bytes)
}

impl From<&Swap> for SwapWire {
    fn from(swap: &Swap) -> SwapWire {
        let mut names = Names::default();
        let run = |run: &SwapRun| RunWire {
            topic: Bytes::copy_from_slice(run.topic.as_bytes()),
            partition: run.partition,
            base_offset: run.base_offset,
            inputs: run.inputs.iter().map(|input| names.reference(*input)).collect(),
            outputs: run.outputs.iter().map(|output| encode_output(output, &mut names)).collect(),
        };
        let runs = swap.runs.iter().map(run).collect();
        SwapWire { ids: names.ids.into(), runs }
    }
}

fn encode_output(output: &SwapOutput, names: &mut Names) -> OutputWire {
    let SwapOutput { object, at, bytes, offsets, max_timestamp } = *output;
    OutputWire { object: names.reference(object), at, bytes, offsets, max_timestamp }
}

impl TryFrom<SwapWire> for Swap {
    type Error = &'static str;

    fn try_from(wire: SwapWire) -> Result<Swap, &'static str> {
        let ids = &wire.ids;
        let output = |wire: OutputWire| {
            let OutputWire { object, at, bytes, offsets, max_timestamp } = wire;
            Ok(SwapOutput { object: named(ids, object)?, at, bytes, offsets, max_timestamp })
        };
        let run = |wire: RunWire| {
            Ok(SwapRun {
                topic: topic(&wire.topic)?,
                partition: wire.partition,
                base_offset: wire.base_offset,
                inputs: wire.inputs.into_iter().map(|input| named(ids, input)).collect::<Result<_, _>>()?,
                outputs: wire.outputs.into_iter().map(output).collect::<Result<_, &'static str>>()?,
            })
        };
        Ok(Swap { runs: wire.runs.into_iter().map(run).collect::<Result<_, &'static str>>()? })
    }
}

impl From<&IndexChunks> for IndexWire {
    fn from(change: &IndexChunks) -> IndexWire {
        let mut names = Names::default();
        let absorbs = change.absorbs.iter().map(|object| names.reference(*object)).collect();
        let replaces = change.replaces.map(|id| Bytes::copy_from_slice(&id.to_bytes())).unwrap_or_default();
        IndexWire {
            topic: Bytes::copy_from_slice(change.topic.as_bytes()),
            partition: change.partition,
            replaces,
            ids: names.ids.into(),
            absorbs,
            root: Some((&change.root).into()),
        }
    }
}

impl TryFrom<IndexWire> for IndexChunks {
    type Error = &'static str;

    fn try_from(wire: IndexWire) -> Result<IndexChunks, &'static str> {
        let absorbs = wire.absorbs.iter().map(|object| named(&wire.ids, *object));
        let replaces = match wire.replaces.is_empty() {
            true => None,
            false => Some(Ulid::from_bytes(array(&wire.replaces, "a root is not named by 16 bytes")?)),
        };
        Ok(IndexChunks {
            topic: topic(&wire.topic)?,
            partition: wire.partition,
            replaces,
            absorbs: absorbs.collect::<Result<_, _>>()?,
            root: wire.root.ok_or("an index without a root")?.try_into()?,
        })
    }
}

impl From<&Branch> for BranchWire {
    fn from(branch: &Branch) -> BranchWire {
        let Branch { id, base_offset, end_offset, chunks, bytes, max_timestamp } = *branch;
        let id = Bytes::copy_from_slice(&id.to_bytes());
        BranchWire { id, base_offset, end_offset, chunks, bytes, max_timestamp }
    }
}

impl TryFrom<BranchWire> for Branch {
    type Error = &'static str;

    fn try_from(wire: BranchWire) -> Result<Branch, &'static str> {
        let BranchWire { id, base_offset, end_offset, chunks, bytes, max_timestamp } = wire;
        let id = Ulid::from_bytes(array(&id, "a node of an index is not named by 16 bytes")?);
        Ok(Branch { id, base_offset, end_offset, chunks, bytes, max_timestamp })
    }
}

impl From<&Expire> for ExpireWire {
    fn from(expire: &Expire) -> ExpireWire {
        let Expire { topic, partition, before, retention_ms, retention_bytes } = *expire;
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        ExpireWire { topic, partition, before, retention_ms, retention_bytes }
    }
}

impl TryFrom<ExpireWire> for Expire {
    type Error = &'static str;

    fn try_from(wire: ExpireWire) -> Result<Expire, &'static str> {
        let ExpireWire { topic: id, partition, before, retention_ms, retention_bytes } = wire;
        Ok(Expire { topic: topic(&id)?, partition, before, retention_ms, retention_bytes })
    }
}

impl From<&Compacted> for CompactedWire {
    fn from(compacted: &Compacted) -> CompactedWire {
        let Compacted { topic, partition, upto, tombstones_ms } = *compacted;
        let topic = Bytes::copy_from_slice(topic.as_bytes());
        CompactedWire { topic, partition, upto, tombstones_ms }
    }
}

impl TryFrom<CompactedWire> for Compacted {
    type Error = &'static str;

    fn try_from(wire: CompactedWire) -> Result<Compacted, &'static str> {
        let CompactedWire { topic: id, partition, upto, tombstones_ms } = wire;
        Ok(Compacted { topic: topic(&id)?, partition, upto, tombstones_ms })
    }
}

#[cfg(test)]
mod tests;
