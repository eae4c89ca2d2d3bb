//! From an offset to bytes: which runs, which batches, and their stamping.
//!
//! Must not know who waits. Bodies are passed on uncopied; only the 16 bytes before what the CRC covers are made anew.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_core::Error;
use strandline_core::chunk::ChunkId;
use strandline_core::manifest::{Aborted, Journal, Marker, ObjectId};
use strandline_core::mutation::{self, Mutation};
use strandline_core::record::{self, BatchHeader};
use strandline_core::rope::Rope;

use crate::cache::{Cache, ahead_stop};
use crate::history::{History, Run, Runs};
use crate::plan::{FetchPartition, Isolation, Share};
use crate::render::{group_at, render};
use crate::resume::{Place, Resume};
use crate::walk::{Found, beginning, damaged, inside, is_over, walk, walk_rows};

/// The least that is read of a run at once, so that small fetches do not make many small reads.
pub(crate) const LEAST_READ_BYTES: u64 = 64 * 1024;
/// Runs looked at to read ahead.
const MAX_RUNS_AHEAD: usize = 4_096;

/// Where bytes are read from.
#[derive(Debug, Clone)]
pub(crate) struct Locate {
    pub(crate) journal: Journal,
    pub(crate) cache: Cache,
    pub(crate) history: History,
    pub(crate) resume: Resume,
}

/// Batches of one partition, ready for the wire.
#[derive(Debug, Default)]
pub(crate) struct Stamped {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// The transactions among them that were aborted, by their first offsets, if they were asked for.
    pub(crate) aborted: Vec<Aborted>,
    /// From here on nothing was looked at. Between the last batch and this there is none.
    pub(crate) next_offset: i64,
    /// They were made of the rows of Parquet files: nothing in them was aborted.
    of_rows: bool,
    /// First offset of the first batch.
    base_offset: i64,
    /// One past the last offset of the last batch.
    end_offset: i64,
}

/// How far a pull may still go.
#[derive(Debug, Clone, Copy)]
struct Room {
    offset: i64,
    bytes: usize,
    upto: i64,
}

impl Locate {
    /// Batches from the one that holds the wanted offset on, up to the share's bytes; the first one whole, however large.
    pub(crate) async fn batches(&self, wanted: &FetchPartition, share: &Share) -> Result<Stamped, Error> {
        let mut stamped = Stamped { next_offset: share.from, ..Stamped::default() };
        let mut runs = Runs::of(share.span(wanted));
        let mut known: BTreeMap<i64, Aborted> =
            share.aborted.iter().map(|aborted| (aborted.last_offset, *aborted)).collect();
        let mut begun = false;
        'runs: while stamped.bytes < share.most_bytes
            && let Some(run) = runs.next(&self.history, i64::MIN).await?
        {
            // A Parquet file has no markers: who was told of an aborted transaction would wait for its end, and drop what its
            // producer wrote after that. What one answer tells is forgotten with the next.
            let in_rows = run.parquet().is_some();
            if stamped.bytes > 0 && stamped.of_rows != in_rows {
                break;
            }
            stamped.of_rows = in_rows;
            let mut place = match begun {
                true => beginning(&run),
                false => self.begin(wanted, share, &run, runs.clone()).await?,
            };
            begun = true;
            known.extend(run.aborted().iter().map(|span| (span.last_offset, Aborted::from(*span))));
            while !is_over(&run, &place) {
                let bytes = share.most_bytes.saturating_sub(stamped.bytes);
                let room = Room { offset: wanted.offset, bytes, upto: share.upto };
                let full = bytes == 0 || place.offset >= share.upto;
                if full || self.add_batches(&run, &mut place, room, &mut stamped).await? {
                    self.resume.put(wanted.topic, wanted.partition, place);
                    stamped.next_offset = place.offset.max(stamped.next_offset);
                    break 'runs;
                }
            }
            stamped.next_offset = run.end_offset;
        }
        let gap = stamped.end_offset.max(share.from)..stamped.next_offset;
        self.resume.put_gap(wanted.topic, wanted.partition, gap);
        if share.isolation == Isolation::ReadCommitted && !stamped.of_rows {
            stamped.aborted = aborted_in(known, stamped.base_offset, stamped.end_offset);
        }
        Ok(stamped)
    }

    /// Where the first run is entered; what follows is fetched ahead.
    async fn begin(
        &self,
        wanted: &FetchPartition,
        share: &Share,
        run: &Run,
        rest: Runs<'_>,
    ) -> Result<Place, Error> {
        let known = self
            .resume
            .get(wanted.topic, wanted.partition, share.from)
            .filter(|place| inside(place, run))
            .or_else(|| (share.from <= run.base_offset).then(|| beginning(run)));
        let found = match known {
            Some(_) => None,
            None => self.history.inside(run).await?,
        };
        let position = found.as_ref().and_then(|inside| inside.positions.get(inside.before(share.from)));
        let sought = position.map(|to| Place { object: run.object, at: to.at, offset: to.offset });
        let place = known.or(sought).unwrap_or_else(|| beginning(run));
        // Whoever comes to the middle of a chunk from elsewhere may not stay.
        let ahead_bytes = if found.is_some() { 0 } else { share.ahead_bytes };
        self.read_ahead(run, place.at, (share.most_bytes, ahead_bytes), rest).await;
        Ok(place)
    }

    /// Adds what fits of one read; `true`: full.
    async fn add_batches(
        &self,
        run: &Run,
        place: &mut Place,
        room: Room,
        stamped: &mut Stamped,
    ) -> Result<bool, Error> {
        let most_bytes = stamped.bytes + room.bytes;
        self.show(run, place, (room.bytes as u64, run.end_at()), |found| {
            if found.end_offset <= room.offset {
                return Ok(true);
            }
            let no_room = stamped.bytes > 0 && stamped.bytes + found.header.bytes > most_bytes;
            if no_room || found.base_offset >= room.upto {
                return Ok(false);
            }
            stamped.add(run, found)?;
            Ok(true)
        })
        .await
    }

    /// Fetches what is wanted of a run, from `at` on, and what is ahead of that, also of the runs behind it, beside the reads
    /// that will need it.
    async fn read_ahead(&self, run: &Run, at: u64, (wanted, ahead): (usize, usize), mut rest: Runs<'_>) {
        let (mut wanted, mut left) = (wanted as u64, wanted.saturating_add(ahead) as u64);
        let (mut run, mut from) = (run.clone(), at);
        for _ in 0..MAX_RUNS_AHEAD {
            let upto = run.end_at().min(from.saturating_add(left)).max(from);
            if !matches!(run.object, ObjectId::Marker(_)) {
                let stop = if upto < run.end_at() { ahead_stop(upto, ahead) } else { upto };
                self.cache.read_ahead(run.object, from..stop.max(upto.min(from.saturating_add(wanted))));
            }
            wanted = wanted.saturating_sub(upto - from);
            left -= upto - from;
            if left == 0 {
                return;
            }
            let Some(next) = rest.next_at_hand(&self.history).await else { return };
            (from, run) = (next.at, next);
        }
    }

    /// Shows the batches of one read from `place` on, about `bytes` of them, none behind `end` in the object. `true`: `show`
    /// wants no more. What is damaged is read anew the next time.
    pub(crate) async fn show(
        &self,
        run: &Run,
        place: &mut Place,
        (bytes, end): (u64, u64),
        show: impl FnMut(&Found<'_>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let shown = async {
            if let Some(chunk) = run.parquet() {
                return self.show_rows(run, chunk, place, show).await;
            }
            let rope = self.read_from(run, (place.at, end), bytes).await?;
            let before = *place;
            let full = walk(run, &rope, place, show)?;
            if !full && *place == before {
                return Err(damaged(run, "a batch is longer than the run that it lies in"));
            }
            Ok(full)
        };
        let shown = shown.await;
        if let Err(Error::Corrupt { .. }) = &shown {
            self.cache.forget(run.object, run.at..run.end_at()).await;
        }
        shown
    }

    /// Shows the batches of the row group that `place` lies in, from its offset on.
    async fn show_rows(
        &self,
        run: &Run,
        chunk: ChunkId,
        place: &mut Place,
        show: impl FnMut(&Found<'_>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let layout = self.history.layout(run, chunk).await?;
        let (number, end_at) = group_at(run, &layout, place.at)?;
        let render = async {
            let rope = self.cache.read(run.object, place.at..end_at).await?;
            render(run, &layout, number, &rope.to_bytes())
        };
        let rope = self.cache.rendered(run.object, place.at, render).await?;
        let full = walk_rows(run, &rope, place, show)?;
        if !full {
            place.at = end_at;
        }
        Ok(full)
    }

    /// Bytes from `at` on: `room` of them or a little more, but at least one whole batch.
    async fn read_from(&self, run: &Run, (at, end): (u64, u64), room: u64) -> Result<Rope, Error> {
        if let ObjectId::Marker(marker) = run.object {
            let Marker { producer_id, epoch, commit } = marker;
            return Ok(Rope::from(record::marker(producer_id, epoch, commit, run.max_timestamp)));
        }
        let upto = end.min(at.saturating_add(room.max(LEAST_READ_BYTES)));
        let rope = self.cache.read(run.object, at..upto).await?;
        if BatchHeader::at(&rope, 0).is_ok() {
            return Ok(rope);
        }
        let length = rope.array::<4>(8).map_or(0, u32::from_be_bytes);
        let whole = at.saturating_add(u64::from(length) + 12);
        if whole <= upto || whole > end {
            return Err(damaged(run, "a batch does not fit the run that it lies in"));
        }
        self.cache.read(run.object, at..whole).await
    }
}

impl Stamped {
    fn add(&mut self, run: &Run, found: &Found<'_>) -> Result<(), Error> {
        let base_offset = match mutation::is(Mutation::OffsetsNotStamped) {
            true => found.header.base_offset,
            false => found.base_offset,
        };
        record::stamp(found.rope, found.at, &found.header, base_offset, &mut self.pieces)
            .ok_or_else(|| damaged(run, "a batch does not lie where its header says"))?;
        if self.bytes == 0 {
            self.base_offset = found.base_offset;
        }
        self.bytes += found.header.bytes;
        self.end_offset = found.end_offset;
        Ok(())
    }
}

/// Those that have offsets from `from` on and below `upto`, by their first ones. No two end at the same offset.
fn aborted_in(known: BTreeMap<i64, Aborted>, from: i64, upto: i64) -> Vec<Aborted> {
    let there = |aborted: &Aborted| aborted.last_offset >= from && aborted.first_offset < upto;
    let mut found: Vec<Aborted> = known.into_values().filter(there).collect();
    found.sort_by_key(|aborted| aborted.first_offset);
    found
}
