//! Runs of offsets and where their bytes lie.
//!
//! Must not know batches or who wrote them. Invariant: the extents of a partition follow each other without a gap, markers
//! included.

use ulid::Ulid;

use super::super::commit::history::ObjectName;
use crate::chunk::ChunkId;

/// Where bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// In a segment.
    Segment(Ulid),
    /// In the commit of a slot.
    Slot(u64),
    /// Nowhere: it is made when it is read.
    Marker(Marker),
    /// In a segment that the compactor wrote from others.
    Merged(Ulid),
    /// In a chunk.
    Chunk(ChunkId),
}

/// The end of a transaction in a partition: Kafka's control batch (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    /// Whose transaction it was.
    pub producer_id: i64,
    /// In which epoch.
    pub epoch: i16,
    /// Committed, not aborted.
    pub commit: bool,
}

impl ObjectId {
    /// The key of the object; of a marker, what to call it.
    pub fn key(&self) -> String {
        match self {
            ObjectId::Segment(id) | ObjectId::Merged(id) => crate::paths::segment(*id),
            ObjectId::Chunk(id) => id.key(),
            ObjectId::Slot(slot) => crate::paths::slot(*slot),
            ObjectId::Marker(_) => "(the end of a transaction)".to_owned(),
        }
    }
}

impl From<ObjectId> for ObjectName {
    fn from(object: ObjectId) -> ObjectName {
        match object {
            ObjectId::Segment(id) => ObjectName::Segment(id),
            ObjectId::Slot(slot) => ObjectName::Slot(slot),
            ObjectId::Marker(_) => ObjectName::Marker,
            ObjectId::Merged(id) => ObjectName::Merged(id),
            ObjectId::Chunk(ChunkId { id, format, .. }) => ObjectName::Chunk(id, format),
        }
    }
}

/// A run of offsets of one partition and where its bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First offset.
    pub base_offset: i64,
    /// Offsets in it, at least 1.
    pub offsets: u32,
    /// The object that holds it.
    pub object: ObjectId,
    /// Bytes from the start of the object.
    pub at: u64,
    /// Length in bytes.
    pub bytes: u32,
    /// Largest timestamp, milliseconds.
    pub max_timestamp: i64,
}

impl Extent {
    /// Whether it is the end of a transaction, and no bytes of it lie anywhere.
    pub fn is_marker(&self) -> bool {
        matches!(self.object, ObjectId::Marker(_))
    }

    /// The offset after its last one.
    pub fn end_offset(&self) -> i64 {
        self.base_offset + i64::from(self.offsets)
    }
}

/// Batches that lie side by side in one object become one extent.
pub(super) fn push_extent(extents: &mut Vec<Extent>, extent: Extent, joins: bool) {
    if let Some(last) = extents.last_mut().filter(|_| joins)
        && let (Some(offsets), Some(bytes)) =
            (last.offsets.checked_add(extent.offsets), last.bytes.checked_add(extent.bytes))
    {
        last.offsets = offsets;
        last.bytes = bytes;
        last.max_timestamp = last.max_timestamp.max(extent.max_timestamp);
        return;
    }
    extents.push(extent);
}
