//! Positions and aborted transactions in columns: entry `i` of each column belongs to item `i`, most are differences.
//!
//! Must not know where they are kept: footers and index nodes write them in the same way. What comes out of a column lies
//! inside the extent that it was read for, only after [`Extent::holds`] has said so.

use std::ops::Range;

use prost::Message;

use super::{AbortedSpan, Format, NO_TIMESTAMP, Position};
use crate::record::BATCH_HEADER_BYTES;

/// What positions and aborted transactions must agree with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) format: Format,
    pub(crate) base_offset: i64,
    pub(crate) end_offset: i64,
    /// Where the run begins in the object.
    pub(crate) at: u64,
    /// Of the run.
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: i64,
}

impl Extent {
    /// Whether all that is said of the chunk can be true together.
    pub(crate) fn holds(&self, positions: &[Position], aborted: &[AbortedSpan]) -> bool {
        let offsets = self.base_offset..self.end_offset;
        // Readers add the two up.
        let Some(end) = self.at.checked_add(self.bytes) else { return false };
        self.base_offset >= 0
            && !offsets.is_empty()
            && self.positions_hold(positions, &offsets, end)
            && aborted_hold(aborted, &offsets)
    }

    fn positions_hold(&self, positions: &[Position], offsets: &Range<i64>, end: u64) -> bool {
        let inside =
            |position: &Position| offsets.contains(&position.offset) && (self.at..end).contains(&position.at);
        let ascending = positions.is_sorted_by(|a, b| a.offset < b.offset && a.at < b.at);
        let largest = positions.iter().map(|position| position.max_timestamp).max();
        let complete = match (self.format, positions.first(), positions.last()) {
            (Format::Batches, Some(first), Some(last)) => {
                first.at == self.at && end.saturating_sub(last.at) >= BATCH_HEADER_BYTES as u64
            }
            (Format::Batches, ..) => self.bytes == 0 && self.max_timestamp == NO_TIMESTAMP,
            (Format::Parquet, ..) => true,
        };
        positions.iter().all(inside)
            && ascending
            && complete
            && largest.is_none_or(|largest| largest == self.max_timestamp)
    }
}

/// In the order in which they ended, each with offsets in the chunk.
fn aborted_hold(aborted: &[AbortedSpan], offsets: &Range<i64>) -> bool {
    let sane = |span: &AbortedSpan| {
        span.producer_id >= 0
            && (0..=span.last_offset).contains(&span.first_offset)
            && span.first_offset < offsets.end
            && span.last_offset >= offsets.start
    };
    aborted.iter().all(sane) && aborted.is_sorted_by(|a, b| a.last_offset < b.last_offset)
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PositionsWire {
    /// Each minus the one before, the first minus the base offset.
    #[prost(uint64, repeated, tag = "1")]
    offset_deltas: Vec<u64>,
    /// Each minus the one before, the first minus where the run begins.
    #[prost(uint64, repeated, tag = "2")]
    at_deltas: Vec<u64>,
    /// Each minus the one before.
    #[prost(sint64, repeated, tag = "3")]
    max_timestamp_deltas: Vec<i64>,
    /// None in index nodes.
    #[prost(fixed32, repeated, tag = "4")]
    crcs: Vec<u32>,
}

impl PositionsWire {
    pub(crate) fn new(extent: &Extent, positions: &[Position], with_crcs: bool) -> PositionsWire {
        let mut wire = PositionsWire::default();
        let (mut offset, mut at, mut max_timestamp) = (extent.base_offset, extent.at, 0_i64);
        for position in positions {
            wire.offset_deltas.push(position.offset.wrapping_sub(offset) as u64);
            wire.at_deltas.push(position.at.wrapping_sub(at));
            wire.max_timestamp_deltas.push(position.max_timestamp.wrapping_sub(max_timestamp));
            (offset, at, max_timestamp) = (position.offset, position.at, position.max_timestamp);
        }
        if with_crcs {
            wire.crcs = positions.iter().map(|position| position.crc).collect();
        }
        wire
    }

    /// `None` if the columns differ in length.
    pub(crate) fn positions(&self, extent: &Extent, with_crcs: bool) -> Option<Vec<Position>> {
        let count = self.offset_deltas.len();
        let crcs = if with_crcs { count } else { 0 };
        if self.at_deltas.len() != count
            || self.max_timestamp_deltas.len() != count
            || self.crcs.len() != crcs
        {
            return None;
        }
        let (mut offset, mut at, mut max_timestamp) = (extent.base_offset, extent.at, 0_i64);
        let crcs = self.crcs.iter().copied().chain(std::iter::repeat(0));
        let columns =
            self.offset_deltas.iter().zip(&self.at_deltas).zip(&self.max_timestamp_deltas).zip(crcs);
        let position =
            |(((offset_delta, at_delta), max_timestamp_delta), crc): (((&u64, &u64), &i64), u32)| {
                offset = offset.wrapping_add(*offset_delta as i64);
                at = at.wrapping_add(*at_delta);
                max_timestamp = max_timestamp.wrapping_add(*max_timestamp_delta);
                Position { offset, at, max_timestamp, crc }
            };
        Some(columns.map(position).collect())
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AbortedWire {
    #[prost(int64, repeated, tag = "1")]
    producer_ids: Vec<i64>,
    /// Each minus the one before, the first minus the base offset.
    #[prost(sint64, repeated, tag = "2")]
    last_offset_deltas: Vec<i64>,
    /// The last offset minus the first.
    #[prost(uint64, repeated, tag = "3")]
    lengths: Vec<u64>,
}

impl AbortedWire {
    pub(crate) fn new(extent: &Extent, aborted: &[AbortedSpan]) -> AbortedWire {
        let mut wire = AbortedWire::default();
        let mut before = extent.base_offset;
        for span in aborted {
            wire.producer_ids.push(span.producer_id);
            wire.last_offset_deltas.push(span.last_offset.wrapping_sub(before));
            wire.lengths.push(span.last_offset.wrapping_sub(span.first_offset) as u64);
            before = span.last_offset;
        }
        wire
    }

    /// `None` if the columns differ in length.
    pub(crate) fn spans(&self, extent: &Extent) -> Option<Vec<AbortedSpan>> {
        let count = self.producer_ids.len();
        if self.last_offset_deltas.len() != count || self.lengths.len() != count {
            return None;
        }
        let mut last_offset = extent.base_offset;
        let columns = self.producer_ids.iter().zip(&self.last_offset_deltas).zip(&self.lengths);
        let span = |((producer_id, delta), length): ((&i64, &i64), &u64)| {
            last_offset = last_offset.wrapping_add(*delta);
            let first_offset = last_offset.wrapping_sub(*length as i64);
            AbortedSpan { producer_id: *producer_id, first_offset, last_offset }
        };
        Some(columns.map(span).collect())
    }
}
