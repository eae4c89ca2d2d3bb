//! Changes of what was written before: most of them such as a compactor could send that has read what is there, the rest by
//! one that has read something else, or made it up.
//!
//! Must not know what the fold makes of them.

use arbitrary::{Result, Unstructured};
use strandline_core::chunk::Format;
use strandline_core::index::Branch;
use strandline_core::manifest::{
    Change, Compacted, Expire, IndexChunks, Manifest, ObjectName, Partition, Swap, SwapOutput, SwapRun,
};
use ulid::Ulid;
use uuid::Uuid;

pub(super) fn change(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Change> {
    Ok(match from.int_in_range(0..=7)? {
        0 => Change::Expire(expire(from, manifest)?),
        1 => Change::Compacted(compacted(from, manifest)?),
        2 | 3 => Change::IndexChunks(index(from, manifest)?),
        _ => {
            let runs = (0..from.int_in_range(1..=2)?).map(|_| run(from, manifest));
            Change::Swap(Swap { runs: runs.collect::<Result<_>>()? })
        }
    })
}

/// Where something lies, if there is such a place.
fn place(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<(Uuid, u32)> {
    let filled = manifest.topics().flat_map(|topic| {
        let filled = topic.partitions.iter().zip(0..).filter(|(one, _)| !one.extents.is_empty());
        filled.map(|(_, number)| (topic.id, number))
    });
    let filled: Vec<_> = filled.collect();
    match filled.is_empty() || from.ratio(1, 16)? {
        true => Ok((super::topic(from)?, from.int_in_range(0..=2)?)),
        false => Ok(*from.choose(&filled)?),
    }
}

fn id(from: &mut Unstructured<'_>) -> Result<Ulid> {
    let late = if from.ratio(3, 4)? { super::HOUR_MS * 48 } else { 0 };
    Ok(Ulid::from_parts(super::time_ms(from)? + late, from.int_in_range(0..=3)?))
}

fn object(from: &mut Unstructured<'_>) -> Result<ObjectName> {
    Ok(match from.int_in_range(0..=5)? {
        0 => ObjectName::Segment(id(from)?),
        1 => ObjectName::Slot(from.int_in_range(0..=64)?),
        2 => ObjectName::Marker,
        3 => ObjectName::Merged(id(from)?),
        4 => ObjectName::Chunk(id(from)?, Format::Batches),
        _ => ObjectName::Chunk(id(from)?, Format::Parquet),
    })
}

/// Now and then one name is another.
fn misread(from: &mut Unstructured<'_>, names: &mut Vec<ObjectName>) -> Result<()> {
    match from.int_in_range(0..=23)? {
        0 => drop(names.pop()),
        1 => names.push(object(from)?),
        2 if !names.is_empty() => names[0] = object(from)?,
        _ => {}
    }
    Ok(())
}

fn run(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<SwapRun> {
    let (topic, partition) = place(from, manifest)?;
    let known = manifest.partition(&topic, partition).map_or(&[][..], |known| &known.extents);
    let first = from.int_in_range(0..=known.len().saturating_sub(1))?;
    let read: Vec<_> = known.iter().skip(first).take(from.int_in_range(1..=4)?).collect();
    let mut inputs: Vec<_> = read.iter().map(|extent| ObjectName::from(extent.object)).collect();
    misread(from, &mut inputs)?;
    let base_offset = read.first().map_or(0, |first| first.base_offset);
    let base_offset = if from.ratio(1, 24)? { from.arbitrary()? } else { base_offset };
    let mut left = read.iter().map(|extent| u64::from(extent.offsets)).sum::<u64>();
    let mut outputs = Vec::new();
    let chunks = from.arbitrary()?;
    while left > 0 && outputs.len() < 4 {
        let most = u32::try_from(left).unwrap_or(u32::MAX);
        let offsets =
            if outputs.len() == 3 || from.ratio(1, 2)? { most } else { from.int_in_range(1..=most)? };
        left -= u64::from(offsets);
        let mut output = output(from, chunks)?;
        output.offsets = if from.ratio(1, 32)? { from.arbitrary()? } else { offsets };
        outputs.push(output);
    }
    Ok(SwapRun { topic, partition, base_offset, inputs, outputs })
}

fn output(from: &mut Unstructured<'_>, chunk: bool) -> Result<SwapOutput> {
    let object = match (from.ratio(1, 24)?, chunk) {
        (true, _) => object(from)?,
        (_, true) => ObjectName::Chunk(id(from)?, *from.choose(&[Format::Batches, Format::Parquet])?),
        (_, false) => ObjectName::Merged(id(from)?),
    };
    let at = if from.ratio(1, 16)? { from.arbitrary()? } else { from.int_in_range(0..=1_024)? };
    let bytes = if from.ratio(1, 16)? { from.arbitrary()? } else { from.int_in_range(1..=1_024)? };
    let max_timestamp = if from.ratio(1, 8)? { from.arbitrary()? } else { super::time_ms(from)? as i64 };
    Ok(SwapOutput { object, at, bytes, offsets: 0, max_timestamp })
}

fn index(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<IndexChunks> {
    let (topic, partition) = place(from, manifest)?;
    let nothing = Partition::default();
    let known = manifest.partition(&topic, partition).unwrap_or(&nothing);
    let names = known.extents.iter().map(|extent| ObjectName::from(extent.object));
    let chunks = names.take_while(|name| matches!(name, ObjectName::Chunk(..)));
    let mut absorbs: Vec<_> = chunks.take(from.int_in_range(0..=3)?).collect();
    let last = absorbs.len().checked_sub(1).and_then(|last| known.extents.get(last));
    let end = last.map(|last| last.end_offset()).or(known.index.map(|index| index.end_offset));
    misread(from, &mut absorbs)?;
    let replaces = known.index.map(|index| index.id);
    let replaces = if from.ratio(1, 16)? { Some(id(from)?) } else { replaces };
    let end_offset = if from.ratio(1, 16)? { from.arbitrary()? } else { end.unwrap_or(1) };
    let base_offset = match from.int_in_range(0..=15)? {
        0 => from.arbitrary()?,
        1..8 => known.log_start,
        _ => known.index.map_or(0, |index| index.base_offset),
    };
    let (chunks, bytes, max_timestamp) = (from.int_in_range(0..=20)?, from.arbitrary()?, from.arbitrary()?);
    let root = Branch { id: id(from)?, base_offset, end_offset, chunks, bytes, max_timestamp };
    Ok(IndexChunks { topic, partition, replaces, absorbs, root })
}

fn compacted(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Compacted> {
    let (topic, partition) = place(from, manifest)?;
    let stable = manifest.partition(&topic, partition).map_or(0, Partition::last_stable_offset);
    let upto = match from.int_in_range(0..=7)? {
        0 => from.arbitrary()?,
        1 => stable.saturating_add(1),
        2..5 => stable,
        _ => from.int_in_range(0..=9)?,
    };
    Ok(Compacted { topic, partition, upto, tombstones_ms: from.arbitrary()? })
}

fn expire(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Expire> {
    let (topic, partition) = place(from, manifest)?;
    let known = manifest.topic(&topic).map(|topic| (topic.retention().ms, topic.retention().bytes));
    let (ms, bytes) = known.unwrap_or_default();
    let retention_ms = if from.ratio(1, 16)? { from.arbitrary()? } else { ms };
    let retention_bytes = if from.ratio(1, 16)? { from.arbitrary()? } else { bytes };
    let stable = manifest.partition(&topic, partition).map_or(0, Partition::last_stable_offset);
    let before = match from.int_in_range(0..=7)? {
        0 => from.arbitrary()?,
        1 => stable.saturating_add(1),
        2 => stable,
        _ => from.int_in_range(0..=9)?,
    };
    Ok(Expire { topic, partition, before, retention_ms, retention_bytes })
}
