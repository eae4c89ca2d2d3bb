//! From an offset or a timestamp to bytes: which extents, which batches, and their stamping.
//!
//! Must not know who waits. Bodies are passed on uncopied; only the 16 bytes before what the CRC covers are made anew.
//! A batch whose CRC does not hold is never given to anybody.

use bytes::Bytes;
use strandline_core::Error;
use strandline_core::manifest::{Extent, Journal, Marker, ObjectId};
use strandline_core::mutation::{self, Mutation};
use strandline_core::record::{self, BatchHeader};
use strandline_core::rope::Rope;

use crate::cache::Cache;
use crate::plan::{FetchPartition, Share};
use crate::resume::{Place, Resume};

/// The least that is read of an extent at once, so that small fetches do not make many small reads.
const LEAST_READ_BYTES: u64 = 64 * 1024;

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

impl OffsetFound {
    /// No record fits.
    pub(crate) const NONE: OffsetFound = OffsetFound { offset: -1, timestamp: -1 };

    /// It, unless it lies at `end` or behind.
    pub(crate) fn below(self, end: i64) -> OffsetFound {
        if self.offset < end { self } else { OffsetFound::NONE }
    }
}

/// Where bytes are read from.
#[derive(Debug, Clone)]
pub(crate) struct Locate {
    pub(crate) journal: Journal,
    pub(crate) cache: Cache,
    pub(crate) resume: Resume,
}

/// Batches of one partition, ready for the wire.
#[derive(Debug, Default)]
pub(crate) struct Stamped {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) bytes: usize,
}

/// One batch and where it lies in a rope.
struct Found<'a> {
    header: BatchHeader,
    base_offset: i64,
    rope: &'a Rope,
    at: usize,
}

impl Locate {
    /// Batches from the one that holds the wanted offset on, up to the share's bytes; the first one whole, however large.
    pub(crate) async fn batches(&self, wanted: &FetchPartition, share: &Share) -> Result<Stamped, Error> {
        let mut stamped = Stamped::default();
        let Some(first) = share.extents.first() else { return Ok(stamped) };
        let known = self
            .resume
            .get(wanted.topic, wanted.partition, wanted.offset)
            .filter(|place| inside(place, first));
        let begin = known.unwrap_or_else(|| beginning(first));
        self.read_ahead(&share.extents, begin.at, share.most_bytes.saturating_add(share.ahead_bytes));
        for (index, extent) in share.extents.iter().enumerate() {
            let mut place = if index == 0 { begin } else { beginning(extent) };
            while place.offset < extent.end_offset() {
                let room = share.most_bytes.saturating_sub(stamped.bytes);
                let full = room == 0 || place.offset >= share.upto;
                let end = (room, share.upto);
                if full || self.add_batches(wanted, extent, &mut place, end, &mut stamped).await? {
                    self.resume.put(wanted.topic, wanted.partition, place);
                    return Ok(stamped);
                }
            }
        }
        Ok(stamped)
    }

    /// What was read of the object `key` is damaged: where these extents lie in it, it is read anew the next time.
    pub(crate) async fn forget(&self, extents: &[Extent], key: &str) {
        for extent in extents.iter().filter(|extent| extent.object.key() == key) {
            let range = extent.at..extent.at + u64::from(extent.bytes);
            self.cache.forget(extent.object, range).await;
        }
    }

    /// Adds what fits of one read; `true`: full.
    async fn add_batches(
        &self,
        wanted: &FetchPartition,
        extent: &Extent,
        place: &mut Place,
        (room, upto): (usize, i64),
        stamped: &mut Stamped,
    ) -> Result<bool, Error> {
        let rope = self.read_from(extent, place.at, room as u64).await?;
        let before = *place;
        let most_bytes = stamped.bytes + room;
        let full = walk(extent, &rope, place, |found| {
            if found.base_offset + i64::from(found.header.offsets) <= wanted.offset {
                return Ok(true);
            }
            let no_room = stamped.bytes > 0 && stamped.bytes + found.header.bytes > most_bytes;
            if no_room || found.base_offset >= upto {
                return Ok(false);
            }
            stamped.add(extent, &found)?;
            Ok(true)
        })?;
        if !full && *place == before {
            return Err(damaged(extent, "a batch is longer than the run that it lies in"));
        }
        Ok(full)
    }

    /// Fetches the next `bytes` of these extents, from `at` in the first one on, beside the reads that will need them.
    fn read_ahead(&self, extents: &[Extent], at: u64, bytes: usize) {
        let mut left = bytes as u64;
        for (index, extent) in extents.iter().enumerate() {
            let from = if index == 0 { at } else { extent.at };
            let upto = (extent.at + u64::from(extent.bytes)).min(from.saturating_add(left));
            if !extent.is_marker() {
                self.cache.read_ahead(extent.object, from..upto);
            }
            left -= upto - from;
            if left == 0 {
                return;
            }
        }
    }

    /// Bytes from `at` on: `room` of them or a little more, but at least one whole batch.
    async fn read_from(&self, extent: &Extent, at: u64, room: u64) -> Result<Rope, Error> {
        if let ObjectId::Marker(marker) = extent.object {
            let Marker { producer_id, epoch, commit } = marker;
            return Ok(Rope::from(record::marker(producer_id, epoch, commit, extent.max_timestamp)));
        }
        let end = extent.at + u64::from(extent.bytes);
        let upto = end.min(at.saturating_add(room.max(LEAST_READ_BYTES)));
        let rope = self.cache.read(extent.object, at..upto).await?;
        if BatchHeader::at(&rope, 0).is_ok() {
            return Ok(rope);
        }
        let length = rope.array::<4>(8).map_or(0, u32::from_be_bytes);
        let whole = at.saturating_add(u64::from(length) + 12);
        if whole <= upto || whole > end {
            return Err(damaged(extent, "a batch does not fit the run that it lies in"));
        }
        self.cache.read(extent.object, at..whole).await
    }

    /// The first record of these extents, from offset `from` on, whose timestamp is at least `timestamp`.
    pub(crate) async fn first_at(
        &self,
        extents: &[Extent],
        from: i64,
        timestamp: i64,
    ) -> Result<OffsetFound, Error> {
        for extent in extents.iter().filter(|extent| extent.max_timestamp >= timestamp) {
            let late_enough = |header: &BatchHeader| header.max_timestamp >= timestamp;
            let found = self.first_record(extent, from, late_enough, |at| at >= timestamp).await?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Ok(OffsetFound::NONE)
    }

    /// The first record with the largest timestamp of all from offset `from` on.
    pub(crate) async fn max_timestamp(&self, extents: &[Extent], from: i64) -> Result<OffsetFound, Error> {
        let mut max = None;
        for extent in extents {
            max = max.max(match extent.base_offset < from {
                // Its largest timestamp may be that of a record which was deleted.
                true => self.largest_from(extent, from).await?,
                false => Some(extent.max_timestamp),
            });
        }
        match max {
            Some(max) => self.first_at(extents, from, max).await,
            None => Ok(OffsetFound::NONE),
        }
    }

    /// The largest timestamp in an extent that begins below `from`.
    async fn largest_from(&self, extent: &Extent, from: i64) -> Result<Option<i64>, Error> {
        let mut largest = None;
        let mut place = beginning(extent);
        while place.offset < extent.end_offset() {
            let rope = self.read_from(extent, place.at, LEAST_READ_BYTES).await?;
            let before = place;
            walk(extent, &rope, &mut place, |found| {
                largest = largest.max(found.largest_from(from));
                Ok(true)
            })?;
            if place == before {
                break;
            }
        }
        Ok(largest)
    }

    /// The first record from offset `from` on that fits, in the first batch that may hold one.
    async fn first_record(
        &self,
        extent: &Extent,
        from: i64,
        batch: impl Fn(&BatchHeader) -> bool,
        fits: impl Fn(i64) -> bool,
    ) -> Result<Option<OffsetFound>, Error> {
        let mut place = beginning(extent);
        while place.offset < extent.end_offset() {
            let rope = self.read_from(extent, place.at, LEAST_READ_BYTES).await?;
            let before = place;
            let mut answer = None;
            walk(extent, &rope, &mut place, |found| {
                if found.end_offset() <= from || !batch(&found.header) {
                    return Ok(true);
                }
                answer = found.first_record(from, &fits)?;
                Ok(answer.is_none())
            })?;
            if answer.is_some() || place == before {
                return Ok(answer);
            }
        }
        Ok(None)
    }
}

/// Shows the whole batches of `rope`, which begins at `place`, until `show` says `false` (then the walk is full). Moves
/// `place` past those that were shown.
fn walk(
    extent: &Extent,
    rope: &Rope,
    place: &mut Place,
    mut show: impl FnMut(Found<'_>) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let mut at = 0;
    while place.offset < extent.end_offset() {
        let Ok(header) = BatchHeader::at(rope, at) else { return Ok(false) };
        let found = Found { header, base_offset: place.offset, rope, at };
        // Also one that is passed over: the offsets of all that follow hang on its header.
        found.check(extent)?;
        if !show(found)? {
            return Ok(true);
        }
        at += header.bytes;
        place.at += header.bytes as u64;
        place.offset += i64::from(header.offsets);
    }
    Ok(false)
}

impl Found<'_> {
    fn check(&self, extent: &Extent) -> Result<(), Error> {
        if mutation::is(Mutation::CrcNotChecked) || record::crc_holds(self.rope, self.at, &self.header) {
            return Ok(());
        }
        Err(damaged(
            extent,
            &format!("the checksum of the batch at offset {} does not match", self.base_offset),
        ))
    }

    fn end_offset(&self) -> i64 {
        self.base_offset + i64::from(self.header.offsets)
    }

    fn bytes(&self) -> Bytes {
        self.rope.slice(self.at..self.at + self.header.bytes).unwrap_or_default().to_bytes()
    }

    /// The largest timestamp of the records from offset `from` on.
    fn largest_from(&self, from: i64) -> Option<i64> {
        if self.base_offset >= from || self.header.append_time() {
            return (self.end_offset() > from).then_some(self.header.max_timestamp);
        }
        let bytes = self.bytes();
        let there = |(delta, _): &(i32, i64)| self.base_offset + i64::from(*delta) >= from;
        // What cannot be read has no timestamps.
        let times = record::timestamps(&bytes).into_iter().flatten().map_while(Result::ok);
        times.filter(there).map(|(_, timestamp)| timestamp).max()
    }

    fn first_record(&self, from: i64, fits: impl Fn(i64) -> bool) -> Result<Option<OffsetFound>, Error> {
        let first = self.header.first_timestamp();
        if self.base_offset >= from && fits(first) {
            // That of the first record is in the header: nothing to decompress.
            return Ok(Some(OffsetFound { offset: self.base_offset, timestamp: first }));
        }
        let bytes = self.bytes();
        let wanted = |(delta, at): &(i32, i64)| self.base_offset + i64::from(*delta) >= from && fits(*at);
        let found = record::timestamps(&bytes)
            .and_then(|mut all| all.find(|record| record.as_ref().map_or(true, wanted)).transpose());
        match found {
            Ok(found) => Ok(found.map(|(offset_delta, timestamp)| OffsetFound {
                offset: self.base_offset + i64::from(offset_delta),
                timestamp,
            })),
            // Nobody checks compressed records on their way in. The batch is the best answer that there is.
            Err(error) => {
                tracing::warn!(offset = self.base_offset, %error, "the records of a batch cannot be read");
                let offset = self.base_offset.max(from);
                Ok(Some(OffsetFound { offset, timestamp: self.header.max_timestamp }))
            }
        }
    }
}

impl Stamped {
    fn add(&mut self, extent: &Extent, found: &Found<'_>) -> Result<(), Error> {
        let base_offset = match mutation::is(Mutation::OffsetsNotStamped) {
            true => found.header.base_offset,
            false => found.base_offset,
        };
        record::stamp(found.rope, found.at, &found.header, base_offset, &mut self.pieces)
            .ok_or_else(|| damaged(extent, "a batch does not lie where its header says"))?;
        self.bytes += found.header.bytes;
        Ok(())
    }
}

fn beginning(extent: &Extent) -> Place {
    Place { object: extent.object, at: extent.at, offset: extent.base_offset }
}

fn inside(place: &Place, extent: &Extent) -> bool {
    let end = extent.at + u64::from(extent.bytes);
    place.object == extent.object
        && (extent.at..end).contains(&place.at)
        && (extent.base_offset..extent.end_offset()).contains(&place.offset)
}

fn damaged(extent: &Extent, what: &str) -> Error {
    Error::corrupt(extent.object.key(), what.to_owned())
}
