//! Extents of many partitions become one merged segment: long runs where there were short ones.
//!
//! Must not know which merges are worth it. Invariants: the bytes of the batches stay as they are, and each of them is
//! checked; each object is read once; what is held is bounded by the job.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use strandline_core::manifest::{Change, Extent, Journal, ObjectId, ObjectName, Swap, SwapOutput, SwapRun};
use strandline_core::mutation::{self, Mutation};
use strandline_core::record::{self, BatchHeader, RecordBuilder};
use strandline_core::rope::Rope;
use strandline_core::segment::Segment;
use strandline_core::{Error, Result, env};

use crate::input::{damaged, marker_batch, read_range};
use crate::job::Run;
use crate::means::Means;
use crate::output;
use crate::pace::Pace;

/// Reads side by side.
const READS_AT_ONCE: usize = 16;

/// The bytes of each object that the job needs, and where they begin in it.
type Objects = BTreeMap<ObjectId, (u64, Rope)>;

/// Writes the merged segment, and gives the change that puts it in the place of its inputs.
pub(crate) async fn merge(means: Means<'_>, runs: &[Run]) -> Result<Change> {
    let Means { journal, pace, .. } = means;
    let objects = read_objects(journal, pace, runs).await?;
    let id = output::name(journal, output::now_ms(journal), runs.iter().flat_map(|run| &run.extents));
    let mut laid = Vec::with_capacity(runs.len());
    let mut swaps = Vec::with_capacity(runs.len());
    for run in runs {
        let (batches, swap) = lay(&objects, run)?;
        laid.push((run.topic, run.partition, batches));
        swaps.push(swap);
    }
    drop(objects);
    let segment = Segment::new(id, laid);
    pace.spend(segment.body.len() as u64).await;
    write(journal, &segment).await?;
    for (swap, placed) in swaps.iter_mut().zip(&segment.runs) {
        for output in &mut swap.outputs {
            (output.object, output.at) = (ObjectName::Merged(id), placed.at);
        }
    }
    Ok(Change::Swap(Swap { runs: swaps }))
}

async fn write(journal: &Journal, segment: &Segment) -> Result<()> {
    if !mutation::is(Mutation::MergedTooEarly) {
        return segment.write(journal.store()).await;
    }
    let (journal, segment) = (journal.clone(), segment.clone());
    env::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        segment.write(journal.store()).await
    });
    Ok(())
}

async fn read_objects(journal: &Journal, pace: &Pace, runs: &[Run]) -> Result<Objects> {
    let mut wanted: BTreeMap<ObjectId, Range<u64>> = BTreeMap::new();
    for extent in runs.iter().flat_map(|run| &run.extents).filter(|extent| !extent.is_marker()) {
        let end = extent.at + u64::from(extent.bytes);
        let range = wanted.entry(extent.object).or_insert(extent.at..end);
        *range = range.start.min(extent.at)..range.end.max(end);
    }
    let reads = wanted.into_iter().map(|(object, range)| async move {
        pace.spend(range.end - range.start).await;
        let at = range.start;
        read_range(journal, object, range).await.map(|rope| (object, (at, rope)))
    });
    stream::iter(reads).buffer_unordered(READS_AT_ONCE).try_collect().await
}

/// The batches of a run in order, and its swap, whose place in the segment is still open.
fn lay(objects: &Objects, run: &Run) -> Result<(Vec<Bytes>, SwapRun)> {
    let mut batches = Vec::new();
    let (mut bytes, mut offsets, mut max_timestamp) = (0_u64, 0_u64, -1);
    for extent in &run.extents {
        let rope = match extent.object {
            ObjectId::Marker(_) if mutation::is(Mutation::MarkersLost) => no_marker(extent.max_timestamp),
            ObjectId::Marker(marker) => marker_batch(&marker, extent.max_timestamp),
            object => cut(objects, object, extent)?,
        };
        check(extent, &rope)?;
        if !extent.is_marker() {
            max_timestamp = max_timestamp.max(extent.max_timestamp);
        }
        bytes += rope.len() as u64;
        offsets += u64::from(extent.offsets);
        batches.extend(rope.pieces().iter().cloned());
    }
    let too_large = |_| Error::Invalid("a run is larger than an extent can be".into());
    let swap = SwapRun {
        topic: run.topic,
        partition: run.partition,
        base_offset: run.extents.first().map_or(0, |extent| extent.base_offset),
        inputs: run.extents.iter().map(|extent| extent.object.into()).collect(),
        outputs: vec![SwapOutput {
            object: ObjectName::Marker,
            at: 0,
            bytes: u32::try_from(bytes).map_err(too_large)?,
            offsets: u32::try_from(offsets).map_err(too_large)?,
            max_timestamp,
        }],
    };
    Ok((batches, swap))
}

/// For [`Mutation::MarkersLost`].
fn no_marker(timestamp_ms: i64) -> Rope {
    let mut builder = RecordBuilder::default();
    builder.push(timestamp_ms, None, None);
    Rope::from(builder.finish())
}

fn cut(objects: &Objects, object: ObjectId, extent: &Extent) -> Result<Rope> {
    let (begin, rope) = objects.get(&object).ok_or_else(|| damaged(extent, "it was not read"))?;
    let from = (extent.at - begin) as usize;
    let rope = rope.slice(from..from + extent.bytes as usize);
    rope.ok_or_else(|| damaged(extent, "it is shorter than the records that it should hold"))
}

/// Whole batches with good checksums, whose offsets are those of the extent.
fn check(extent: &Extent, rope: &Rope) -> Result<()> {
    let (mut at, mut offsets) = (0, 0_u64);
    while at < rope.len() {
        let header = BatchHeader::at(rope, at).map_err(|bad| damaged(extent, &bad.to_string()))?;
        if !record::crc_holds(rope, at, &header) && !mutation::is(Mutation::DamagedMerged) {
            return Err(damaged(extent, "the checksum of a batch does not match"));
        }
        at += header.bytes;
        offsets += u64::from(header.offsets);
    }
    match offsets == u64::from(extent.offsets) {
        true => Ok(()),
        false => Err(damaged(extent, "its batches have other offsets than it")),
    }
}
