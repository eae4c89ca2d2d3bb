//! Extents of one partition become one chunk, streamed.
//!
//! Must not know which chunks are worth it. Invariants: each batch is checked and keeps its bytes, but for the offset in its
//! header, which is the real one from now on; what is held is bounded, however long the chunk.

use bytes::Bytes;
use strandline_core::chunk::{AbortedSpan, ChunkId, Format, Writer};
use strandline_core::manifest::{Change, Journal, ObjectName, Swap, SwapOutput, SwapRun};
use strandline_core::record::BatchHeader;
use strandline_core::rope::Rope;
use strandline_core::store::Upload;
use strandline_core::{Error, Result};

use crate::input::Input;
use crate::job::Run;
use crate::output;
use crate::pace::Pace;

/// Writes the chunk, and gives the change that puts it in the place of its inputs.
pub(crate) async fn gather(journal: &Journal, pace: &Pace, block_bytes: u64, run: &Run) -> Result<Change> {
    let (Some(first), Some(last)) = (run.extents.first(), run.extents.last()) else {
        return Err(Error::Invalid("a chunk of nothing".into()));
    };
    let (topic, partition, base_offset) = (run.topic, run.partition, first.base_offset);
    let (id, format) = (output::name(journal, &run.extents), Format::Batches);
    let chunk = ChunkId { topic, partition, base_offset, id, format };
    let end_offset = last.end_offset();
    let aborted = aborted_in(journal, &chunk, end_offset);
    let (mut writer, header) = Writer::new(chunk, block_bytes);
    let mut upload = journal.store().upload(&chunk.key());
    upload.write(header).await?;
    if let Err(error) =
        copy(&mut writer, &mut upload, Input::new(journal, pace, run.extents.clone()), pace).await
    {
        give_up(upload, &chunk).await;
        return Err(error);
    }
    let (footer, bytes) = writer.finish(aborted, end_offset)?;
    finish(journal, upload, &chunk, footer.bytes, bytes).await?;
    let output = SwapOutput {
        object: ObjectName::Chunk(id, format),
        at: chunk.run_at(),
        bytes: u32::try_from(footer.bytes).map_err(|_| too_large())?,
        offsets: u32::try_from(end_offset - base_offset).map_err(|_| too_large())?,
        max_timestamp: footer.max_timestamp,
    };
    let inputs = run.extents.iter().map(|extent| extent.object.into()).collect();
    let run = SwapRun { topic, partition, base_offset, inputs, outputs: vec![output] };
    Ok(Change::Swap(Swap { runs: vec![run] }))
}

fn too_large() -> Error {
    Error::Invalid("a chunk is larger than an extent can be".into())
}

/// All of them: nothing in the chunk is undecided.
fn aborted_in(journal: &Journal, chunk: &ChunkId, end_offset: i64) -> Vec<AbortedSpan> {
    let found = journal.view(|manifest| {
        let partition = manifest.partition(&chunk.topic, chunk.partition);
        partition.map(|partition| partition.aborted_in(chunk.base_offset, end_offset))
    });
    let span = |aborted: strandline_core::manifest::Aborted| AbortedSpan {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
        last_offset: aborted.last_offset,
    };
    let inside = |span: &AbortedSpan| span.first_offset < end_offset && span.last_offset >= chunk.base_offset;
    found.unwrap_or_default().into_iter().map(span).filter(inside).collect()
}

async fn copy(writer: &mut Writer, upload: &mut Upload, mut input: Input, pace: &Pace) -> Result<()> {
    while let Some(batch) = input.next().await? {
        let pieces = batch.stamped()?;
        writer.push(&BatchHeader { base_offset: batch.base_offset, ..batch.header }, &pieces)?;
        pace.spend(batch.header.bytes as u64).await;
        upload.write(Rope::new(pieces)).await?;
    }
    Ok(())
}

async fn give_up(upload: Upload, chunk: &ChunkId) {
    if let Err(error) = upload.abort().await {
        tracing::debug!(key = chunk.key(), %error, "parts of a chunk that was given up may be left");
    }
}

/// After an unclear answer the object itself tells: under its name there can be no other content.
async fn finish(
    journal: &Journal,
    mut upload: Upload,
    chunk: &ChunkId,
    run_bytes: u64,
    footer: Bytes,
) -> Result<()> {
    let footer = Rope::from(footer);
    upload.write(footer.clone()).await?;
    let unclear = match upload.finish().await {
        Err(error @ Error::Unknown(_)) => error,
        decided => return decided,
    };
    let at = chunk.run_at() + run_bytes;
    match journal.store().get_range(&chunk.key(), at..at + footer.len() as u64).await {
        Ok(there) if there == footer => Ok(()),
        _ => Err(unclear),
    }
}
