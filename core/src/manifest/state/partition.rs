//! One partition: its offsets, its producers, the transactions that have records in it.
//!
//! Must not know which partitions a transaction spans. Invariants: log start <= last stable offset <= high watermark; of an
//! aborted transaction is known that it was, for as long as the last of its offsets is there and not in the index.

use std::collections::{BTreeMap, BTreeSet};

use super::extents::{Extent, Marker, ObjectId, push_extent};
use super::producers::Producers;
use crate::chunk::AbortedSpan;
use crate::index::Branch;
use crate::mutation::{self, Mutation};
use crate::record::MARKER_BYTES;

/// One partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// First offset.
    pub log_start: i64,
    /// The offset that the next record gets.
    pub high_watermark: i64,
    /// The root over the oldest chunks, whose offsets end where those of the extents begin.
    pub index: Option<Branch>,
    /// By offset, without gaps from the first extent's base to the high watermark.
    pub extents: Vec<Extent>,
    /// Of each key, earlier records below this offset are gone.
    pub compacted: i64,
    /// Journal time at which the first tombstone below it may go; the largest number: there is none.
    pub tombstones_ms: i64,
    pub(in crate::manifest) producers: Producers,
    /// First offset and producer of the transactions that are not decided.
    pub(in crate::manifest) open: BTreeSet<(i64, i64)>,
    /// In the order in which they ended.
    pub(in crate::manifest) aborted: Vec<Aborted>,
}

impl Default for Partition {
    fn default() -> Partition {
        Partition {
            log_start: 0,
            high_watermark: 0,
            index: None,
            extents: Vec::new(),
            compacted: 0,
            tombstones_ms: i64::MAX,
            producers: Producers::default(),
            open: BTreeSet::new(),
            aborted: Vec::new(),
        }
    }
}

/// A producer that wrote to a partition lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Journal time of its last batch.
    pub last_ms: i64,
    /// The first offset of its transaction that is open here.
    pub open_since: Option<i64>,
}

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    /// Whose.
    pub producer_id: i64,
    /// Of its first record.
    pub first_offset: i64,
    /// That of the marker.
    pub last_offset: i64,
    /// No transaction that ended later begins below.
    pub(in crate::manifest) last_stable: i64,
}

/// As a chunk tells of it.
impl From<AbortedSpan> for Aborted {
    fn from(span: AbortedSpan) -> Aborted {
        let AbortedSpan { producer_id, first_offset, last_offset } = span;
        // What ended later, a chunk does not know.
        Aborted { producer_id, first_offset, last_offset, last_stable: 0 }
    }
}

impl Partition {
    /// Bytes of the records that are there, roughly: all of an extent or an index of which a part is there.
    pub fn bytes(&self) -> u64 {
        let indexed = self.index.map_or(0, |index| index.bytes);
        self.extents.iter().fold(indexed, |sum, extent| sum.saturating_add(u64::from(extent.bytes)))
    }

    /// The index of the extent that holds `offset`, or of the next one after it.
    pub fn extent_index(&self, offset: i64) -> usize {
        self.extents.partition_point(|extent| extent.end_offset() <= offset)
    }

    /// The offset up to which everything is decided (Kafka's LSO): the first one of the earliest open transaction.
    pub fn last_stable_offset(&self) -> i64 {
        match self.open.first() {
            Some((first, _)) if !mutation::is(Mutation::UndecidedIsStable) => (*first).max(self.log_start),
            _ => self.high_watermark,
        }
    }

    /// The aborted transactions that have offsets from `from` on and below `upto`.
    pub fn aborted_in(&self, from: i64, upto: i64) -> Vec<Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let mut found = Vec::new();
        for aborted in self.aborted.iter().skip(first) {
            if aborted.first_offset < upto {
                found.push(*aborted);
            }
            if aborted.last_stable >= upto {
                break;
            }
        }
        found.sort_by_key(|aborted| aborted.first_offset);
        found
    }

    /// Those who wrote here lately, by id.
    pub fn producers(&self) -> impl Iterator<Item = ActiveProducer> {
        let open: BTreeMap<i64, i64> = self.open.iter().map(|(first, id)| (*id, *first)).collect();
        self.producers.0.iter().map(move |(id, state)| ActiveProducer {
            id: *id,
            epoch: state.epoch,
            last_sequence: state.last_sequence(),
            last_ms: state.last_ms,
            open_since: open.get(id).copied(),
        })
    }

    /// A transaction with records from `first_offset` on is decided. Takes one offset.
    pub(super) fn end_transaction(&mut self, marker: Marker, first_offset: i64, now_ms: i64) {
        let base_offset = self.high_watermark;
        let Some(end) = base_offset.checked_add(1) else { return };
        self.open.remove(&(first_offset, marker.producer_id));
        self.high_watermark = end;
        let extent = Extent {
            base_offset,
            offsets: 1,
            object: ObjectId::Marker(marker),
            at: 0,
            bytes: MARKER_BYTES,
            max_timestamp: now_ms,
        };
        push_extent(&mut self.extents, extent, false);
        if !marker.commit && !mutation::is(Mutation::AbortForgotten) {
            self.aborted.push(Aborted {
                producer_id: marker.producer_id,
                first_offset,
                last_offset: base_offset,
                last_stable: self.last_stable_offset(),
            });
        }
    }

    /// Drops what lies below `before` as a whole. How many extents that were.
    pub(super) fn delete_before(&mut self, before: i64) -> usize {
        if !mutation::is(Mutation::LogStartForgotten) {
            self.log_start = self.log_start.max(before);
        }
        self.index = self.index.filter(|index| index.end_offset > before);
        let gone = self.extent_index(before);
        self.extents.drain(..gone);
        let over = self.aborted.partition_point(|aborted| aborted.last_offset < before);
        self.aborted.drain(..over);
        gone
    }
}
