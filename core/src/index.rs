//! The tree over the chunks of a partition: immutable nodes on two levels, each written once and named by the one above it.
//!
//! Must not know the manifest, which names the topmost nodes, nor the store. The children of a node follow each other
//! without gaps in their offsets, so that an offset has one place at most.

use bytes::Bytes;
use prost::Message;
use ulid::Ulid;
use uuid::Uuid;

use crate::chunk::columns::{AbortedWire, Extent, PositionsWire};
use crate::chunk::{AbortedSpan, ChunkId, Footer, Format, Position};
use crate::error::{Error, Result};
use crate::limits::{INDEX_INNER_BRANCHES, INDEX_LEAF_CHUNKS};
use crate::object::{self, Shape};
use crate::paths;

/// A chunk, as its leaf knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name. Topic and partition are those of the node.
    pub chunk: ChunkId,
    /// One past the last offset that it stands for.
    pub end_offset: i64,
    /// Where its run begins, in bytes from the start of the object.
    pub at: u64,
    /// Bytes of the run.
    pub bytes: u64,
    /// Largest timestamp, milliseconds; -1 if there are no batches.
    pub max_timestamp: i64,
    /// Where a lookup may begin. Their checksums stay in the chunk's footer: 0 here.
    pub positions: Vec<Position>,
    /// Aborted transactions that have offsets in it, by their last offsets.
    pub aborted: Vec<AbortedSpan>,
}

impl Entry {
    /// What the index keeps of a chunk of batches.
    pub fn new(chunk: ChunkId, footer: &Footer) -> Entry {
        Entry {
            chunk,
            end_offset: footer.end_offset,
            at: chunk.run_at(),
            bytes: footer.bytes,
            max_timestamp: footer.max_timestamp,
            positions: footer.positions.iter().map(|position| Position { crc: 0, ..*position }).collect(),
            aborted: footer.aborted.clone(),
        }
    }

    fn extent(&self) -> Extent {
        Extent {
            format: self.chunk.format,
            base_offset: self.chunk.base_offset,
            end_offset: self.end_offset,
            at: self.at,
            bytes: self.bytes,
            max_timestamp: self.max_timestamp,
        }
    }
}

/// A node, as the one above it (or the manifest) knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// Its name.
    pub id: Ulid,
    /// The first offset that it stands for.
    pub base_offset: i64,
    /// One past the last.
    pub end_offset: i64,
    /// Chunks below it.
    pub chunks: u64,
    /// Bytes of their runs.
    pub bytes: u64,
    /// Largest timestamp below it, milliseconds.
    pub max_timestamp: i64,
}

/// One object of the index. Never empty in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Chunks, at most [`INDEX_LEAF_CHUNKS`].
    Leaf(Vec<Entry>),
    /// Leaves, at most [`INDEX_INNER_BRANCHES`].
    Inner(Vec<Branch>),
}

#[derive(Clone, PartialEq, Message)]
struct NodeWire {
    #[prost(bytes = "bytes", tag = "1")]
    topic: Bytes,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(bytes = "bytes", tag = "3")]
    id: Bytes,
    /// Of the first child; the others' follow, since there are no gaps between them.
    #[prost(int64, tag = "4")]
    base_offset: i64,
    #[prost(message, repeated, tag = "5")]
    entries: Vec<EntryWire>,
    #[prost(message, optional, tag = "6")]
    branches: Option<BranchesWire>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryWire {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
    #[prost(uint32, tag = "2")]
    format: u32,
    #[prost(uint64, tag = "3")]
    offsets: u64,
    #[prost(uint64, tag = "4")]
    at: u64,
    #[prost(uint64, tag = "5")]
    bytes: u64,
    #[prost(sint64, tag = "6")]
    max_timestamp: i64,
    #[prost(message, required, tag = "7")]
    positions: PositionsWire,
    #[prost(message, required, tag = "8")]
    aborted: AbortedWire,
}

/// Entry `i` of each column belongs to branch `i`.
#[derive(Clone, PartialEq, Message)]
struct BranchesWire {
    /// 16 bytes each.
    #[prost(bytes = "vec", tag = "1")]
    ids: Vec<u8>,
    #[prost(uint64, repeated, tag = "2")]
    offsets: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    chunks: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    bytes: Vec<u64>,
    /// Each minus the one before.
    #[prost(sint64, repeated, tag = "5")]
    max_timestamp_deltas: Vec<i64>,
}

impl Node {
    /// The whole object. Equal nodes give equal bytes. Gaps between children would be lost: there must be none.
    pub fn encode(&self, topic: Uuid, partition: u32, id: Ulid) -> Bytes {
        let mut wire = NodeWire {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            partition,
            id: Bytes::copy_from_slice(&id.to_bytes()),
            base_offset: self.branch(id).map_or(0, |branch| branch.base_offset),
            ..NodeWire::default()
        };
        match self {
            Node::Leaf(entries) => wire.entries = entries.iter().map(encode_entry).collect(),
            Node::Inner(branches) => wire.branches = Some(encode_branches(branches)),
        }
        object::encode(Shape::Index, &wire)
    }

    /// Reads a node back: its topic, its partition, its name and itself. Everything in it is checked: it comes from outside.
    pub fn decode(key: &str, bytes: &[u8]) -> Result<(Uuid, u32, Ulid, Node)> {
        let (wire, end): (NodeWire, usize) = object::decode(key, Shape::Index, bytes)?;
        let (topic, partition, id) =
            paths::index_parts(key).ok_or_else(|| Error::corrupt(key, "no index node has this key"))?;
        let same = wire.topic.as_ref() == topic.as_bytes()
            && wire.partition == partition
            && wire.id.as_ref() == id.to_bytes();
        if !same {
            return Err(Error::corrupt(key, "its header names another node than its key"));
        }
        let node = decode_node(wire, topic).filter(|_| end == bytes.len());
        let node = node.ok_or_else(|| Error::corrupt(key, "its fields contradict each other"))?;
        Ok((topic, partition, id, node))
    }

    /// The same for whoever comes from the node above, or from the manifest: it is refused if it is not what `branch` says.
    pub fn decode_as(key: &str, bytes: &[u8], branch: &Branch) -> Result<Node> {
        let (.., node) = Node::decode(key, bytes)?;
        match node.branch(branch.id) == Some(*branch) {
            true => Ok(node),
            false => Err(Error::corrupt(key, "it is not what the node above it, or the manifest, says")),
        }
    }

    /// How the one above it names it, if it is written as `id`. `None` if it is empty.
    pub fn branch(&self, id: Ulid) -> Option<Branch> {
        let last = self.len().checked_sub(1)?;
        let mut branch = Branch { id, ..self.child(0)? };
        branch.end_offset = self.child(last)?.end_offset;
        for child in (1..=last).filter_map(|at| self.child(at)) {
            branch.chunks = branch.chunks.saturating_add(child.chunks);
            branch.bytes = branch.bytes.saturating_add(child.bytes);
            branch.max_timestamp = branch.max_timestamp.max(child.max_timestamp);
        }
        Some(branch)
    }

    /// Children.
    pub fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(branches) => branches.len(),
        }
    }

    /// No children.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first child that ends behind `offset`: the one that has it, unless it lies before all of them.
    pub fn first_behind(&self, offset: i64) -> Option<usize> {
        let at = match self {
            Node::Leaf(entries) => entries.partition_point(|entry| entry.end_offset <= offset),
            Node::Inner(branches) => branches.partition_point(|branch| branch.end_offset <= offset),
        };
        (at < self.len()).then_some(at)
    }

    /// The first child, from index `from` on, that has a timestamp of at least `timestamp`.
    pub fn first_since(&self, from: usize, timestamp: i64) -> Option<usize> {
        let late = |at: &usize| self.child(*at).is_some_and(|child| child.max_timestamp >= timestamp);
        (from..self.len()).find(late)
    }

    /// A child, chunk or node, as a branch.
    fn child(&self, at: usize) -> Option<Branch> {
        match self {
            Node::Leaf(entries) => entries.get(at).map(|entry| Branch {
                id: entry.chunk.id,
                base_offset: entry.chunk.base_offset,
                end_offset: entry.end_offset,
                chunks: 1,
                bytes: entry.bytes,
                max_timestamp: entry.max_timestamp,
            }),
            Node::Inner(branches) => branches.get(at).copied(),
        }
    }
}

fn encode_entry(entry: &Entry) -> EntryWire {
    let extent = entry.extent();
    EntryWire {
        id: Bytes::copy_from_slice(&entry.chunk.id.to_bytes()),
        format: entry.chunk.format.to_wire(),
        offsets: entry.end_offset.wrapping_sub(entry.chunk.base_offset) as u64,
        at: entry.at,
        bytes: entry.bytes,
        max_timestamp: entry.max_timestamp,
        positions: PositionsWire::new(&extent, &entry.positions, false),
        aborted: AbortedWire::new(&extent, &entry.aborted),
    }
}

fn encode_branches(branches: &[Branch]) -> BranchesWire {
    let mut wire = BranchesWire::default();
    let mut before = 0_i64;
    for branch in branches {
        wire.ids.extend_from_slice(&branch.id.to_bytes());
        wire.offsets.push(branch.end_offset.wrapping_sub(branch.base_offset) as u64);
        wire.chunks.push(branch.chunks);
        wire.bytes.push(branch.bytes);
        wire.max_timestamp_deltas.push(branch.max_timestamp.wrapping_sub(before));
        before = branch.max_timestamp;
    }
    wire
}

fn decode_node(wire: NodeWire, topic: Uuid) -> Option<Node> {
    let mut next = Some(wire.base_offset).filter(|base| *base >= 0)?;
    match wire.branches {
        Some(branches) if wire.entries.is_empty() => decode_branches(&branches, next).map(Node::Inner),
        None if (1..=INDEX_LEAF_CHUNKS).contains(&wire.entries.len()) => {
            let mut entries = Vec::with_capacity(wire.entries.len());
            for entry in wire.entries {
                let entry = decode_entry(&entry, topic, wire.partition, next)?;
                next = entry.end_offset;
                entries.push(entry);
            }
            Some(Node::Leaf(entries))
        }
        _ => None,
    }
}

fn decode_entry(wire: &EntryWire, topic: Uuid, partition: u32, base_offset: i64) -> Option<Entry> {
    let id = Ulid::from_bytes(wire.id.as_ref().try_into().ok()?);
    let format = Format::from_wire(wire.format)?;
    let mut entry = Entry {
        chunk: ChunkId { topic, partition, base_offset, id, format },
        end_offset: base_offset.checked_add_unsigned(wire.offsets)?,
        at: wire.at,
        bytes: wire.bytes,
        max_timestamp: wire.max_timestamp,
        positions: Vec::new(),
        aborted: Vec::new(),
    };
    let extent = entry.extent();
    entry.positions = wire.positions.positions(&extent, false)?;
    entry.aborted = wire.aborted.spans(&extent)?;
    extent.holds(&entry.positions, &entry.aborted).then_some(entry)
}

fn decode_branches(wire: &BranchesWire, mut base_offset: i64) -> Option<Vec<Branch>> {
    let (ids, rest) = wire.ids.as_chunks::<16>();
    let count = ids.len();
    let columns = [wire.offsets.len(), wire.chunks.len(), wire.bytes.len(), wire.max_timestamp_deltas.len()];
    if !rest.is_empty()
        || columns.iter().any(|column| *column != count)
        || !(1..=INDEX_INNER_BRANCHES).contains(&count)
    {
        return None;
    }
    let (mut max_timestamp, mut all_chunks, mut all_bytes) = (0_i64, 0_u64, 0_u64);
    let mut branches = Vec::with_capacity(count);
    let columns =
        ids.iter().zip(&wire.offsets).zip(&wire.chunks).zip(&wire.bytes).zip(&wire.max_timestamp_deltas);
    for ((((id, offsets), chunks), bytes), delta) in columns {
        let end_offset = base_offset.checked_add_unsigned(*offsets)?;
        max_timestamp = max_timestamp.wrapping_add(*delta);
        // Readers add them up.
        (all_chunks, all_bytes) = (all_chunks.checked_add(*chunks)?, all_bytes.checked_add(*bytes)?);
        if *offsets == 0 || !(1..=INDEX_LEAF_CHUNKS as u64).contains(chunks) {
            return None;
        }
        let (id, chunks, bytes) = (Ulid::from_bytes(*id), *chunks, *bytes);
        branches.push(Branch { id, base_offset, end_offset, chunks, bytes, max_timestamp });
        base_offset = end_offset;
    }
    Some(branches)
}

#[cfg(test)]
mod tests;
