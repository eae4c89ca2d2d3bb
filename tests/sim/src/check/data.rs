//! The records as they lie in the bucket at the end, wherever they were moved: every extent, every index, every chunk.
//!
//! Must not know the clients, nor who moved what. What was written comes back as it was, at its offset, and nothing of it is
//! missing from a partition's first offset on.

use std::collections::BTreeSet;

use bytes::Bytes;
use strandline_core::chunk::{AbortedSpan, ChunkId, read_footer, read_header};
use strandline_core::manifest::{Extent, ObjectId, Partition};
use strandline_core::record::{BatchHeader, crc_holds, records};
use strandline_core::rope::Rope;
use uuid::Uuid;

use super::keys::ByKey;
use super::log::{Entry, Of};
use super::truth::{Aborted, Truth};
use crate::bucket::Bucket;
use crate::history::Record;
use crate::keys::Key;
use crate::tree::Tree;

type Faults = Vec<(&'static str, String)>;
type Fault = (&'static str, String);

/// Everything that is wrong with what extents and indexes refer to.
pub(super) async fn check(bucket: &Bucket, truth: &Truth, faults: &mut Faults) {
    for topic in truth.manifest.topics() {
        for (number, partition) in (0..).zip(&topic.partitions) {
            let log = truth.logs.get(&(topic.id, number)).map_or(&[][..], Vec::as_slice);
            let aborted = truth.aborted(topic.id, number);
            let keyed = truth.by_key(topic.id, number);
            let now_ms = truth.manifest.now_ms;
            let of = Kept { bucket, topic: topic.id, number, partition, log, aborted, keyed, now_ms };
            if let Err((invariant, what)) = of.check().await {
                faults.push((invariant, format!("{}/{number}: {what}", topic.name)));
            }
        }
    }
}

/// A partition, and what it must hold.
struct Kept<'a> {
    bucket: &'a Bucket,
    topic: Uuid,
    number: u32,
    partition: &'a Partition,
    log: &'a [Entry],
    aborted: Vec<Aborted>,
    /// What may be missing.
    keyed: Option<ByKey<'a>>,
    now_ms: i64,
}

/// A run of batches that stands for some offsets.
struct Run {
    base_offset: i64,
    end_offset: i64,
    at: usize,
    bytes: usize,
    /// Batches have their offsets in their headers.
    chunk: bool,
}

impl Kept<'_> {
    /// The first thing that is wrong.
    async fn check(&self) -> Result<(), Fault> {
        let Partition { log_start, high_watermark, .. } = *self.partition;
        let (mut first, mut next) = (None, None);
        if let Some(root) = self.partition.index {
            let tree = Tree::read(self.bucket, self.topic, self.number, (root, log_start)).await;
            for entry in tree.map_err(|why| ("D1", why))?.entries {
                let place = (entry.chunk.base_offset..entry.end_offset, entry.at, entry.bytes);
                first = first.or(Some(place.0.start));
                follows(&mut next, place.0.start, place.0.end)?;
                self.chunk(&entry.chunk, place, Some(&entry.aborted)).await?;
            }
        }
        for extent in &self.partition.extents {
            first = first.or(Some(extent.base_offset));
            follows(&mut next, extent.base_offset, extent.end_offset())?;
            self.extent(extent).await?;
        }
        if first.unwrap_or(log_start) > log_start || next.unwrap_or(high_watermark) != high_watermark {
            let what =
                format!("it has {first:?} to {next:?}, and should have {log_start} to {high_watermark}");
            return Err(("J4", what));
        }
        Ok(())
    }

    async fn extent(&self, extent: &Extent) -> Result<(), Fault> {
        let place = (extent.base_offset..extent.end_offset(), extent.at, u64::from(extent.bytes));
        match extent.object {
            ObjectId::Marker(marker) => {
                let right = self.log.get(extent.base_offset as usize).map(|entry| entry.of);
                match right == Some(Of::Marker(marker.producer_id, marker.commit)) {
                    true => Ok(()),
                    false => Err(("D5", format!("{extent:?} stands where {right:?} was"))),
                }
            }
            ObjectId::Chunk(chunk) => self.chunk(&chunk, place, None).await,
            ObjectId::Segment(_) | ObjectId::Merged(_) | ObjectId::Slot(_) => {
                let invariant = if matches!(extent.object, ObjectId::Slot(_)) { "D2" } else { "D1" };
                let object = self.get(&extent.object.key(), invariant).await?;
                self.run(&object, &Run::new(place, false))
                    .map(drop)
                    .map_err(|(invariant, what)| (invariant, format!("{extent:?} {what}")))
            }
        }
    }

    async fn get(&self, key: &str, invariant: &'static str) -> Result<Rope, Fault> {
        let object = self.bucket.get(key).await;
        object.map(Rope::from).ok_or_else(|| (invariant, format!("{key} is gone, and records lie in it")))
    }

    async fn chunk(
        &self,
        chunk: &ChunkId,
        place: (std::ops::Range<i64>, u64, u64),
        indexed: Option<&[AbortedSpan]>,
    ) -> Result<(), Fault> {
        let key = chunk.key();
        let object = self.get(&key, "D1").await?.to_bytes();
        let damaged = |error: strandline_core::Error| ("D1", error.to_string());
        let (named, run_at) = read_header(&key, &object).map_err(damaged)?;
        let end = (place.1 + place.2) as usize;
        let footer = read_footer(&key, object.get(end..).unwrap_or_default()).map_err(damaged)?;
        let said = (chunk.base_offset..footer.end_offset, run_at, footer.bytes);
        if named != *chunk || said != place {
            return Err(("D1", format!("{key} is {said:?}, and should be {place:?}")));
        }
        let within = |message: &str| format!("{key} {message}");
        let there = self.run(&Rope::from(object), &Run::new(place.clone(), true));
        let there = there.map_err(|(invariant, what)| (invariant, within(&what)))?;
        // What ended before the first offset, nobody needs to know.
        let start = self.partition.log_start;
        let inside = |(_, first, last): &&Aborted| *first < place.0.end && *last >= place.0.start.max(start);
        let right: Vec<_> = self.aborted.iter().filter(inside).copied().collect();
        let told = [Some(footer.aborted.as_slice()), indexed];
        // Of those that compaction by key has left nothing of, it need not tell.
        let left = |(producer, first, last): &&Aborted| {
            let of = Some(Of::Transaction(*producer));
            there.range(*first..*last).any(|at| self.log.get(*at as usize).map(|entry| entry.of) == of)
        };
        let is_right = |spans: &&[AbortedSpan]| {
            let spans = spans.iter().filter(|span| span.last_offset >= start);
            let told: Vec<_> =
                spans.map(|span| (span.producer_id, span.first_offset, span.last_offset)).collect();
            match self.keyed {
                None => told == right,
                Some(_) => {
                    told.iter().all(|one| right.contains(one))
                        && right.iter().filter(left).all(|one| told.contains(one))
                }
            }
        };
        match told.iter().flatten().find(|spans| !is_right(spans)) {
            None => Ok(()),
            Some(wrong) => Err(("K5", within(&format!("says that {wrong:?} was aborted, not {right:?}")))),
        }
    }

    /// Batch after batch, record after record. The offsets that are there.
    fn run(&self, object: &Rope, run: &Run) -> Result<BTreeSet<i64>, Fault> {
        let (mut at, mut offset) = (run.at, run.base_offset);
        let mut there = BTreeSet::new();
        while at < run.at + run.bytes {
            let header = BatchHeader::at(object, at).ok().filter(|header| crc_holds(object, at, header));
            let header = header.ok_or_else(|| ("D1", format!("is damaged at offset {offset}")))?;
            if run.chunk && header.base_offset < offset {
                return Err(("D5", format!("has {} where {offset} should be", header.base_offset)));
            }
            let base_offset = if run.chunk { header.base_offset } else { offset };
            let batch = object.slice(at..at + header.bytes).unwrap_or_default().to_bytes();
            self.batch(&header, &batch, base_offset, &mut there)?;
            at += header.bytes;
            offset = base_offset + i64::from(header.offsets);
        }
        if (at, offset) != (run.at + run.bytes, run.end_offset) {
            return Err(("D1", format!("ends at offset {offset}")));
        }
        let mut missing = (run.base_offset..run.end_offset).filter(|offset| !there.contains(offset));
        match missing.find(|offset| !(run.chunk && self.may_go(*offset))) {
            None => Ok(there),
            Some(offset) => {
                Err(("D5", format!("has nothing at {offset}, of {:?}", self.log.get(offset as usize))))
            }
        }
    }

    /// Whether compaction by key may have taken it away.
    fn may_go(&self, offset: i64) -> bool {
        let Some(keyed) = &self.keyed else { return false };
        match self.log.get(offset as usize).map(|entry| entry.of) {
            Some(Of::Marker(..)) => offset < self.partition.compacted,
            _ => keyed.may_go(offset, self.partition.last_stable_offset(), self.now_ms),
        }
    }

    fn batch(
        &self,
        header: &BatchHeader,
        batch: &Bytes,
        base_offset: i64,
        there: &mut BTreeSet<i64>,
    ) -> Result<(), Fault> {
        let damaged = |what: String| ("D1", format!("at {base_offset}: {what}"));
        for one in records(batch).map_err(|bad| damaged(bad.to_string()))? {
            let offset = base_offset + i64::from(one.offset_delta);
            let right = self.log.get(offset as usize);
            let same = right.is_some_and(|right| match right.of {
                Of::Marker(producer, commit) => {
                    let kind = one.key.as_ref().and_then(|key| key.get(2..4));
                    header.control()
                        && header.producer_id == producer
                        && kind == Some(&i16::from(commit).to_be_bytes()[..])
                }
                Of::Nobody | Of::Transaction(_) => {
                    !header.control()
                        && Record::of(&one) == Some(right.record)
                        && Key::of(&one) == right.key
                        && one.timestamp == right.timestamp
                        && header.transactional() == (right.of != Of::Nobody)
                }
            });
            if !same {
                return Err(("D5", format!("has {one:?} at {offset}, where {right:?} was written")));
            }
            there.insert(offset);
        }
        Ok(())
    }
}

impl Run {
    fn new((offsets, at, bytes): (std::ops::Range<i64>, u64, u64), chunk: bool) -> Run {
        let (at, bytes) = (at as usize, bytes as usize);
        Run { base_offset: offsets.start, end_offset: offsets.end, at, bytes, chunk }
    }
}

/// Offsets go on where those before ended.
fn follows(next: &mut Option<i64>, base_offset: i64, end_offset: i64) -> Result<(), Fault> {
    if next.is_some_and(|next| next != base_offset) {
        return Err(("J4", format!("{base_offset} stands where {next:?} was to come")));
    }
    *next = Some(end_offset);
    Ok(())
}
