//! A range of a topic as Arrow's record batches: partition after partition, each from its first offset to its last.
//!
//! Must not know files or the command line. The range is fixed at the start, so that a replay ends. Invariant: what comes out
//! is every record of the range that the isolation lets through, or an error; never a part of it that looks whole. Memory is
//! bounded, however long the range is: a few partitions are read ahead, each by two record batches at most.
//!
//! Modules import only modules that stand after them:
//!
//! - `range`: from what was asked for to offsets
//! - `scan`: one partition, pull after pull
//! - `table`: records become the columns that are wanted
mod range;
mod scan;
mod table;

use std::collections::VecDeque;
use std::ops::Range;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use strandline_archive::{ArchiveError, Column, Unfold};
use strandline_core::env;
use strandline_core::record::BadBatch;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::error::ReadError;
use crate::plan::Isolation;
use crate::reader::Reader;
use scan::{Scan, Step};
use table::Table;

/// Partitions that are read at a time: the one whose records come next, and some behind it.
const PARTITIONS_AT_ONCE: usize = 3;
/// Record batches of a partition that may wait to be taken.
const WAITING: usize = 1;

/// Where a range begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The first record that is there.
    Earliest,
    /// The end, as far as the isolation lets anybody see.
    Latest,
    /// This offset, or the nearest that is there.
    Offset(i64),
    /// The first record whose timestamp is at least this, in milliseconds; the end if there is none.
    Timestamp(i64),
}

/// What is to be read.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// The topic.
    pub topic: Uuid,
    /// Its partitions; none: all.
    pub partitions: Vec<u32>,
    /// Where to begin, in each partition.
    pub from: Bound,
    /// Where to end: the first offset that is not wanted.
    pub to: Bound,
    /// Which records of transactions. The ends of transactions never come out.
    pub isolation: Isolation,
    /// The columns, in this order; none: all.
    pub columns: Vec<Column>,
    /// The most rows of a record batch, at least 1. It is also cut at 8 MiB.
    pub batch_rows: usize,
}

/// What will be read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: u32,
    /// From the first offset up to the one behind the last.
    pub offsets: Range<i64>,
}

/// Some records of one partition, in the order of their offsets.
#[derive(Debug, Clone)]
pub struct Part {
    /// The partition.
    pub partition: u32,
    /// What these records and the gaps between them cover; it goes on where the part before has ended.
    pub offsets: Range<i64>,
    /// The records.
    pub rows: RecordBatch,
}

/// Why a replay ends early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The topic has no such partition.
    #[error("there is no partition {partition}: the topic has {partitions}, counted from 0")]
    NoPartition {
        /// The one that was asked for.
        partition: u32,
        /// How many there are.
        partitions: usize,
    },
    /// Something else that was asked for does not exist, or the store does not say.
    #[error(transparent)]
    Lookup(#[from] ReadError),
    /// The records are there, but not to be had.
    #[error("cannot read partition {partition} from offset {offset} on: {source}")]
    Read {
        /// The partition.
        partition: u32,
        /// All records below it came out.
        offset: i64,
        /// Why.
        source: ReadError,
    },
    /// A batch came as its producer wrote it, and holds no records that anybody could read.
    #[error("the records of the batch at offset {offset} of partition {partition} cannot be read: {source}")]
    Unreadable {
        /// The partition.
        partition: u32,
        /// Its first offset.
        offset: i64,
        /// Why.
        source: BadBatch,
    },
    /// The columns cannot be made.
    #[error("cannot make columns: {0}")]
    Columns(#[from] ArchiveError),
    /// The runtime is shutting down.
    #[error("reading partition {partition} was ended before it was done")]
    Ended {
        /// The partition.
        partition: u32,
    },
}

impl Reader {
    /// Begins to read a range. Where it ends is decided here, from the end of the journal.
    ///
    /// # Errors
    /// [`ReplayError::NoPartition`], [`ReplayError::Lookup`], or [`ReplayError::Columns`] for columns that there are not.
    pub async fn replay(&self, options: &ReplayOptions) -> Result<Replay, ReplayError> {
        let ranges = range::resolve(self, options).await?;
        let configs = self.journal().view(|manifest| {
            manifest.topic(&options.topic).map(|topic| topic.configs.clone()).unwrap_or_default()
        });
        let table = Table::of(&options.columns, Unfold::of_configs(&configs)?)?;
        let left = ranges.iter().filter(|range| !range.offsets.is_empty()).cloned().collect();
        let ReplayOptions { topic, isolation, batch_rows, .. } = *options;
        let scan = Scan::new(self.clone(), (topic, isolation), table.clone(), batch_rows.max(1));
        Ok(Replay { table, ranges, left, open: VecDeque::new(), scan })
    }
}

/// A replay under way. Dropping it ends it.
#[derive(Debug)]
pub struct Replay {
    table: Table,
    ranges: Vec<PartitionRange>,
    /// Those that nobody reads yet.
    left: VecDeque<PartitionRange>,
    /// Those that are read, in order.
    open: VecDeque<(u32, mpsc::Receiver<Result<Step, ReplayError>>)>,
    /// What all partitions are read with.
    scan: Scan,
}

impl Replay {
    /// The schema of all record batches.
    pub fn schema(&self) -> &SchemaRef {
        self.table.schema()
    }

    /// What will be read of each partition, by number; also of those of which it is nothing.
    pub fn ranges(&self) -> &[PartitionRange] {
        &self.ranges
    }

    /// The next records; `None`: that was all. An error is the last that comes. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Result<Part, ReplayError>> {
        loop {
            while self.open.len() < PARTITIONS_AT_ONCE
                && let Some(range) = self.left.pop_front()
            {
                let (steps, taken) = mpsc::channel(WAITING);
                self.open.push_back((range.partition, taken));
                env::spawn(self.scan.clone().run(range, steps));
            }
            let (partition, steps) = self.open.front_mut()?;
            let failed = match steps.recv().await {
                Some(Ok(Step::Part(part))) => return Some(Ok(part)),
                Some(Ok(Step::Done)) => {
                    self.open.pop_front();
                    continue;
                }
                Some(Err(error)) => error,
                None => ReplayError::Ended { partition: *partition },
            };
            self.left.clear();
            self.open.clear();
            return Some(Err(failed));
        }
    }
}
