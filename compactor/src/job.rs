//! A piece of work on the log, small enough to be given up.
//!
//! Must not know why it is worth doing, nor how it is done.

use strandline_core::manifest::Extent;
use uuid::Uuid;

/// Extents of one partition that follow each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// Not empty.
    pub extents: Vec<Extent>,
}

impl Run {
    /// Bytes of all extents.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| u64::from(extent.bytes)).sum()
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Chunks go from the manifest into the index: topic, partition, and how many of its first extents.
    Index(Uuid, u32, usize),
    /// A partition is compacted by key.
    Clean(Uuid, u32),
    /// Extents become one chunk.
    Chunk(Run),
    /// Extents of many partitions become one merged segment.
    Merge(Vec<Run>),
}

impl Job {
    /// What the figures call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Job::Index(..) => "index",
            Job::Clean(..) => "clean",
            Job::Chunk(_) => "chunk",
            Job::Merge(_) => "merge",
        }
    }

    /// Record bytes that it writes anew.
    pub fn bytes(&self) -> u64 {
        match self {
            Job::Index(..) | Job::Clean(..) => 0,
            Job::Chunk(run) => run.bytes(),
            Job::Merge(runs) => runs.iter().map(Run::bytes).sum(),
        }
    }
}
