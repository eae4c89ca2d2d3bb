//! The logs, folded a second time: offsets, who wrote lately, what is open or was aborted.
//!
//! Shares nothing with the production fold but the form of changes.

use std::collections::BTreeMap;

use strandline_core::index::Branch;
use strandline_core::manifest::{self, BatchMeta, ObjectName, Placed, Void};

/// Batches of a producer that are remembered (Kafka's `NUM_BATCHES_TO_RETAIN`).
const WINDOW: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) producers: BTreeMap<i64, Producer>,
    /// Producer, first and last offset of what was aborted, in the order of the ends.
    pub(super) aborted: Vec<(i64, i64, i64)>,
    pub(super) index: Option<Branch>,
    /// Up to where it is compacted by key, and when the first tombstone may go.
    pub(super) compacted: Option<(i64, i64)>,
    /// First offset of what is not in the index, the offset after the last, and where that lies.
    pub(super) places: BTreeMap<i64, (i64, ObjectName)>,
}

#[derive(Debug, Default)]
pub(super) struct Producer {
    epoch: i16,
    /// First sequence number, number of records, offset; in the order of the log.
    batches: Vec<(i32, u32, i64)>,
    from_zero: bool,
    pub(super) last_ms: i64,
}

impl Partition {
    /// The first offset that is not decided; `open`: where what is open begins.
    pub(super) fn stable(&self, open: &BTreeMap<i64, i64>) -> i64 {
        open.values().min().map_or(self.end, |first| self.start.max(*first))
    }

    /// How the manifest's partition differs in what is open and what was aborted.
    pub(super) fn undecided(
        &self,
        theirs: &manifest::Partition,
        open: &BTreeMap<i64, i64>,
    ) -> Option<String> {
        let stable = self.stable(open);
        if theirs.last_stable_offset() != stable {
            return Some(format!("the last stable offset is {}, not {stable}", theirs.last_stable_offset()));
        }
        let since: BTreeMap<i64, i64> =
            theirs.producers().filter_map(|one| Some((one.id, one.open_since?))).collect();
        // Whoever has been silent for a day is no longer named as a writer.
        if !open.iter().filter(|(id, _)| self.producers.contains_key(id)).eq(&since) {
            return Some(format!("{since:?} are open, not {open:?}"));
        }
        let middle = self.start.midpoint(self.end);
        // The index tells of those that ended in it; of the records of others nothing is left.
        let told =
            self.index.map_or(0, |index| index.end_offset).max(self.compacted.map_or(0, |(upto, _)| upto));
        [(self.start, self.end), (self.start, middle), (middle, self.end), (middle, middle + 1)]
            .into_iter()
            .find_map(|(from, upto)| {
                let overlaps = |(_, first, last): &&(i64, i64, i64)| *last >= from.max(told) && *first < upto;
                let mut known: Vec<_> = self.aborted.iter().filter(overlaps).copied().collect();
                known.sort_by_key(|(_, first, _)| *first);
                let found = theirs.aborted_in(from, upto);
                let found: Vec<_> =
                    found.iter().map(|one| (one.producer_id, one.first_offset, one.last_offset)).collect();
                (found != known).then(|| format!("{found:?} are aborted in {from}..{upto}, not {known:?}"))
            })
    }

    pub(super) fn append(&mut self, batch: &BatchMeta, overtaken: bool, now_ms: i64) -> Result<Placed, Void> {
        let offset = match batch.producer {
            None if overtaken => return Err(Void::OutOfOrderSequence),
            None => self.end,
            Some(producer) => {
                let known = self.producers.contains_key(&producer.id);
                if !known && overtaken {
                    return Err(Void::OutOfOrderSequence);
                }
                let state = self.producers.entry(producer.id).or_default();
                if known && producer.epoch < state.epoch {
                    return Err(Void::InvalidProducerEpoch);
                }
                if known && producer.epoch > state.epoch {
                    if producer.sequence != 0 {
                        return Err(Void::OutOfOrderSequence);
                    }
                    *state = Producer::default();
                }
                let offset = state.append(producer.epoch, producer.sequence, batch.offsets, self.end)?;
                if offset == self.end {
                    state.last_ms = now_ms;
                }
                offset
            }
        };
        if offset == self.end {
            self.end += i64::from(batch.offsets);
        }
        Ok(Placed { base_offset: offset, log_start: self.start })
    }
}

impl Producer {
    /// The offset of the batch: the end of the log if it is new, its old place if it is one of the last five.
    fn append(&mut self, epoch: i16, sequence: i32, count: u32, end: i64) -> Result<i64, Void> {
        let after = |first: i32, count: u32| ((i64::from(first) + i64::from(count)) % (1 << 31)) as i32;
        let Some(&(last_first, last_count, _)) = self.batches.last() else {
            let batches = vec![(sequence, count, end)];
            *self = Producer { epoch, batches, from_zero: sequence == 0, last_ms: 0 };
            return Ok(end);
        };
        let recent = self.batches.iter().rev().take(WINDOW);
        if let Some((.., offset)) =
            recent.clone().find(|(first, many, _)| (*first, *many) == (sequence, count))
        {
            return Ok(*offset);
        }
        if sequence == after(last_first, last_count) {
            self.batches.push((sequence, count, end));
            return Ok(end);
        }
        let oldest = recent.map(|(first, ..)| *first).next_back().unwrap_or(0);
        let ahead = (i64::from(oldest) - i64::from(after(sequence, count - 1))).rem_euclid(1 << 31);
        let before = self.from_zero && ahead != 0 && ahead < 1 << 30;
        Err(if before { Void::DuplicateSequence } else { Void::OutOfOrderSequence })
    }
}
