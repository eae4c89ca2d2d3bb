//! Changes of what was written long ago: where it lies, how it is found, what of it is kept.
//!
//! Must not know the manifest, nor why any of this is wanted. Invariant: like all changes they name no position: a swap says
//! what it read, and holds only while exactly that is there.

use ulid::Ulid;
use uuid::Uuid;

use crate::chunk::Format;
use crate::index::Branch;

/// Extents are replaced by others that hold the same offsets. Level 4.
///
/// Each run is decided alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// At most one for each partition, or such that do not touch.
    pub runs: Vec<SwapRun>,
}

/// Extents of one partition that follow each other, and what takes their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapRun {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// That of the first extent.
    pub base_offset: i64,
    /// What was read: the object of each extent, in order.
    pub inputs: Vec<ObjectName>,
    /// What was written, in order: the same offsets.
    pub outputs: Vec<SwapOutput>,
}

/// An extent as a swap brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwapOutput {
    /// A merged segment or a chunk.
    pub object: ObjectName,
    /// Bytes from the start of the object.
    pub at: u64,
    /// Length in bytes.
    pub bytes: u32,
    /// Offsets in it.
    pub offsets: u32,
    /// Largest timestamp, milliseconds.
    pub max_timestamp: i64,
}

/// An object, without what follows from the place that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectName {
    /// What an ingest node wrote.
    Segment(Ulid),
    /// The commit of a slot.
    Slot(u64),
    /// The end of a transaction, which lies nowhere.
    Marker,
    /// A segment that the compactor wrote.
    Merged(Ulid),
    /// A chunk of the partition, from the extent's first offset on.
    Chunk(Ulid, Format),
}

/// The oldest extents of a partition, all of them chunks, go into its index; or the index is replaced by another over the same
/// offsets. Level 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexChunks {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The root that was read; none: there was no index.
    pub replaces: Option<Ulid>,
    /// The extents that it takes in, from the first one on.
    pub absorbs: Vec<ObjectName>,
    /// The root from now on.
    pub root: Branch,
}

/// Of each key, earlier records are gone up to an offset. Level 4.
///
/// Says nothing of where records lie: that is for swaps and indexes. It tells others what is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The first offset that was not looked at. No record of an aborted transaction is left below it.
    pub upto: i64,
    /// Journal time at which the first tombstone below it may go; the largest number: there is none.
    pub tombstones_ms: i64,
}

/// Records are gone because they are old, or too many. Level 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expire {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The first offset that stays.
    pub before: i64,
    /// The topic's `retention.ms` that says so; it no longer holds once that has changed. -1: no bound.
    pub retention_ms: i64,
    /// The same for `retention.bytes`.
    pub retention_bytes: i64,
}
