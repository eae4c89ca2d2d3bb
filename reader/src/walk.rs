//! Batch after batch through a run, and record after record through a batch, where somebody asks for a single one.
//!
//! Must not know where the bytes come from. A batch whose CRC does not hold is never shown to anybody. A chunk's batches have
//! their offsets in their headers, those of all other runs follow from counting.

use bytes::Bytes;
use strandline_core::Error;
use strandline_core::mutation::{self, Mutation};
use strandline_core::record::{self, BatchHeader};
use strandline_core::rope::Rope;

use crate::history::Run;
use crate::resume::Place;

/// One batch and where it lies in a rope.
pub(crate) struct Found<'a> {
    pub(crate) header: BatchHeader,
    pub(crate) base_offset: i64,
    /// One past its last offset.
    pub(crate) end_offset: i64,
    pub(crate) rope: &'a Rope,
    pub(crate) at: usize,
}

/// A record that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

/// Where a run begins.
pub(crate) fn beginning(run: &Run) -> Place {
    Place { object: run.object, at: run.at, offset: run.base_offset }
}

/// Whether a place is a batch border of this run, its end left out.
pub(crate) fn inside(place: &Place, run: &Run) -> bool {
    place.object == run.object
        && (run.at..run.end_at()).contains(&place.at)
        && (run.base_offset..run.end_offset).contains(&place.offset)
}

/// Whether there is no batch at this place or behind it. At its end a chunk may stand for offsets that no batch has.
pub(crate) fn is_over(run: &Run, place: &Place) -> bool {
    if run.is_chunk() { place.at >= run.end_at() } else { place.offset >= run.end_offset }
}

/// Shows the whole batches of `rope`, which begins at `place`, until `show` says `false` (then the walk is full). Moves
/// `place` past those that were shown.
pub(crate) fn walk(
    run: &Run,
    rope: &Rope,
    place: &mut Place,
    mut show: impl FnMut(&Found<'_>) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let mut at = 0;
    while !is_over(run, place) {
        let Ok(header) = BatchHeader::at(rope, at) else { return Ok(false) };
        let base_offset = if run.is_chunk() { header.base_offset } else { place.offset };
        let end_offset = base_offset.saturating_add(i64::from(header.offsets));
        let found = Found { header, base_offset, end_offset, rope, at };
        // Also one that is passed over: the place of all that follow hangs on its header.
        found.check(run, place.offset)?;
        if !show(&found)? {
            return Ok(true);
        }
        at += header.bytes;
        place.at += header.bytes as u64;
        place.offset = end_offset;
    }
    Ok(false)
}

/// The same of a row group, `rope` being the batches that were made of all of it. Moves the offset of `place` alone: the batches
/// lie nowhere in the object.
pub(crate) fn walk_rows(
    run: &Run,
    rope: &Rope,
    place: &mut Place,
    mut show: impl FnMut(&Found<'_>) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let mut at = 0;
    while at < rope.len() {
        let header = BatchHeader::at(rope, at).map_err(|bad| damaged(run, &bad.to_string()))?;
        let base_offset = header.base_offset;
        let end_offset = base_offset.saturating_add(i64::from(header.offsets));
        if end_offset > place.offset {
            let found = Found { header, base_offset, end_offset, rope, at };
            found.check(run, place.offset)?;
            if !show(&found)? {
                return Ok(true);
            }
            place.offset = end_offset;
        }
        at += header.bytes;
    }
    Ok(false)
}

pub(crate) fn damaged(run: &Run, what: &str) -> Error {
    Error::corrupt(run.object.key(), what.to_owned())
}

impl Found<'_> {
    fn check(&self, run: &Run, from: i64) -> Result<(), Error> {
        if !mutation::is(Mutation::CrcNotChecked) && !record::crc_holds(self.rope, self.at, &self.header) {
            let what = format!("the checksum of the batch at offset {} does not match", self.base_offset);
            return Err(damaged(run, &what));
        }
        if self.base_offset < from || (run.is_chunk() && self.end_offset > run.end_offset) {
            return Err(damaged(run, "its batches are out of order, or have offsets that are not its own"));
        }
        Ok(())
    }

    fn bytes(&self) -> Bytes {
        self.rope.slice(self.at..self.at + self.header.bytes).unwrap_or_default().to_bytes()
    }

    /// The first record from offset `from` on and below `end` that has a timestamp of at least `timestamp`.
    pub(crate) fn first_since(&self, from: i64, end: i64, timestamp: i64) -> Option<Timed> {
        if self.header.max_timestamp < timestamp {
            return None;
        }
        // That of the first record is in the header, unless that record is gone: nothing to decompress.
        if let Some(first) = self.header.first_timestamp().filter(|first| *first >= timestamp)
            && !self.header.control()
            && (from..end).contains(&self.base_offset)
        {
            return Some(Timed { offset: self.base_offset, timestamp: first });
        }
        self.record(from, end, |mut all| Iterator::find(&mut all, |record| record.timestamp >= timestamp))
    }

    /// The first of the records from offset `from` on and below `end` that have the largest timestamp of them.
    pub(crate) fn largest(&self, from: i64, end: i64) -> Option<Timed> {
        let later = |max: Timed, one: Timed| if one.timestamp > max.timestamp { one } else { max };
        self.record(from, end, |all| all.reduce(later))
    }

    /// One of the records from offset `from` on and below `end`. The ends of transactions have none.
    fn record(
        &self,
        from: i64,
        end: i64,
        choose: impl FnOnce(&mut dyn Iterator<Item = Timed>) -> Option<Timed>,
    ) -> Option<Timed> {
        if self.header.control() || self.end_offset <= from || self.base_offset >= end {
            return None;
        }
        let bytes = self.bytes();
        let mut unreadable = None;
        let chosen = record::timestamps(&bytes).and_then(|all| {
            let readable = all.map_while(|record| record.map_err(|error| unreadable = Some(error)).ok());
            let timed = |(delta, timestamp)| Timed { offset: self.base_offset + i64::from(delta), timestamp };
            let mut wanted = readable.map(timed).filter(|one| (from..end).contains(&one.offset));
            let chosen = choose(&mut wanted);
            drop(wanted);
            match unreadable.take() {
                Some(error) if chosen.is_none() => Err(error),
                _ => Ok(chosen),
            }
        });
        chosen.unwrap_or_else(|error| {
            // Nobody checks compressed records on their way in. The batch is the best answer that there is.
            tracing::warn!(offset = self.base_offset, %error, "the records of a batch cannot be read");
            Some(Timed { offset: self.base_offset.max(from), timestamp: self.header.max_timestamp })
        })
    }
}
