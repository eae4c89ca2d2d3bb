//! From a timestamp to an offset.
//!
//! Must not know who asks. What is said of nodes, runs and blocks as a whole only bounds the timestamps in them: records that
//! are there decide. The ends of transactions are no records.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use strandline_core::Error;
use strandline_core::chunk::Position;
use strandline_core::index::Branch;

use crate::history::{Known, Run, Runs, Span};
use crate::locate::{LEAST_READ_BYTES, Locate};
use crate::resume::Place;
use crate::walk::{Found, Timed, beginning, is_over};

/// Which offset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one that is there.
    Earliest,
    /// The one that the next record will get.
    Latest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record whose timestamp is at least this, in milliseconds.
    Timestamp(i64),
}

/// The offset that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetFound {
    /// -1: there is none.
    pub offset: i64,
    /// Timestamp of its record where one was looked for, else -1.
    pub timestamp: i64,
}

impl From<Option<Timed>> for OffsetFound {
    fn from(found: Option<Timed>) -> OffsetFound {
        found.map_or(OffsetFound { offset: -1, timestamp: -1 }, |Timed { offset, timestamp }| OffsetFound {
            offset,
            timestamp,
        })
    }
}

/// A part of a run that can be walked alone.
#[derive(Debug, Clone, Copy)]
struct Block {
    begin: Place,
    /// Bytes from the start of the object.
    end_at: u64,
    /// No record has a larger one.
    max_timestamp: i64,
}

/// What may hold the record that is looked for.
#[derive(Debug)]
enum Candidate {
    Node(Branch),
    Run(Run),
    Block(Run, Block),
}

/// By the largest timestamp that they may have, the largest first, then by their first offset.
type Candidates = BTreeMap<(Reverse<i64>, i64), Candidate>;

impl Locate {
    /// The first record of a span, below the offset `end`, whose timestamp is at least `timestamp`.
    pub(crate) async fn first_at(
        &self,
        span: Span<'_>,
        end: i64,
        timestamp: i64,
    ) -> Result<OffsetFound, Error> {
        let mut runs = Runs::of(span);
        while let Some(run) = runs.next(&self.history, timestamp).await?
            && run.base_offset < end
        {
            let blocks = self.blocks(&run, span.from).await?;
            for block in blocks.into_iter().filter(|block| block.max_timestamp >= timestamp) {
                let mut found = None;
                self.scan(&run, block, |batch| {
                    found = batch.first_since(span.from, end, timestamp);
                    found.is_none() && batch.end_offset < end
                })
                .await?;
                if found.is_some() {
                    return Ok(found.into());
                }
            }
        }
        Ok(None.into())
    }

    /// The first record with the largest timestamp of all of a span that lie below the offset `end`.
    pub(crate) async fn max_timestamp(&self, span: Span<'_>, end: i64) -> Result<OffsetFound, Error> {
        let runs = span.extents.iter().map(|extent| Candidate::Run(extent.into()));
        let mut left: Candidates =
            span.index.map(Candidate::Node).into_iter().chain(runs).map(ranked).collect();
        let mut max: Option<Timed> = None;
        while let Some(((Reverse(most), base_offset), candidate)) = left.pop_first() {
            if max.is_some_and(|max| (most, Reverse(base_offset)) < (max.timestamp, Reverse(max.offset))) {
                break;
            }
            match candidate {
                Candidate::Node(branch) => self.open(span, branch, &mut left).await?,
                Candidate::Run(run) => {
                    let blocks = self.blocks(&run, span.from).await?;
                    left.extend(blocks.into_iter().map(|block| ranked(Candidate::Block(run.clone(), block))));
                }
                Candidate::Block(run, block) => {
                    self.scan(&run, block, |batch| {
                        if max.is_none_or(|max| batch.header.max_timestamp >= max.timestamp) {
                            max = later(max, batch.largest(span.from, end));
                        }
                        batch.end_offset < end
                    })
                    .await?;
                }
            }
        }
        Ok(max.into())
    }

    /// Puts what lies below a node in its place.
    async fn open(&self, span: Span<'_>, branch: Branch, into: &mut Candidates) -> Result<(), Error> {
        match self.history.node(span.topic, span.partition, branch).await? {
            Known::Inner(branches) => {
                let there = branches.iter().filter(|branch| branch.end_offset > span.from);
                into.extend(there.map(|branch| ranked(Candidate::Node(*branch))));
            }
            Known::Leaf(runs) => {
                let there = runs.iter().filter(|run| run.end_offset > span.from);
                into.extend(there.map(|run| ranked(Candidate::Run(run.clone()))));
            }
            Known::Chunk(_) | Known::Columns(..) => {}
        }
        Ok(())
    }

    /// The parts of a run that end behind the offset `from`, in order.
    async fn blocks(&self, run: &Run, from: i64) -> Result<Vec<Block>, Error> {
        let Some(inside) = self.history.inside(run).await? else {
            let whole =
                Block { begin: beginning(run), end_at: run.end_at(), max_timestamp: run.max_timestamp };
            return Ok(vec![whole]);
        };
        let positions = &inside.positions;
        let first = inside.before(from);
        let ends = positions.iter().skip(first + 1).map(|next| next.at).chain([run.end_at()]);
        let block = |(begin, end_at): (&Position, u64)| Block {
            begin: Place { object: run.object, at: begin.at, offset: begin.offset },
            end_at,
            max_timestamp: begin.max_timestamp,
        };
        Ok(positions.iter().skip(first).zip(ends).map(block).collect())
    }

    /// Shows the batches of a block until `show` says `false`.
    async fn scan(
        &self,
        run: &Run,
        block: Block,
        mut show: impl FnMut(&Found<'_>) -> bool,
    ) -> Result<(), Error> {
        let mut place = block.begin;
        let over = |place: &Place| is_over(run, place) || place.at >= block.end_at;
        while !over(&place) {
            let room = (LEAST_READ_BYTES, block.end_at);
            if self.show(run, &mut place, room, |batch| Ok(show(batch))).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A candidate in its place.
fn ranked(candidate: Candidate) -> ((Reverse<i64>, i64), Candidate) {
    let (max_timestamp, base_offset) = match &candidate {
        Candidate::Node(branch) => (branch.max_timestamp, branch.base_offset),
        Candidate::Run(run) => (run.max_timestamp, run.base_offset),
        Candidate::Block(_, block) => (block.max_timestamp, block.begin.offset),
    };
    ((Reverse(max_timestamp), base_offset), candidate)
}

/// The one with the larger timestamp; of two with the same, that of the lower offset.
fn later(one: Option<Timed>, other: Option<Timed>) -> Option<Timed> {
    one.into_iter().chain(other).max_by_key(|found| (found.timestamp, Reverse(found.offset)))
}
