//! A chunk on its way into the bucket: its name, its last bytes, and the change that makes it count.
//!
//! Must not know what lies in it. Invariants: under its name there is one content or none; nobody knows of it before the change.

use bytes::Bytes;
use strandline_core::chunk::{ChunkId, Footer, Format};
use strandline_core::manifest::{Change, Extent, Journal, ObjectName, Swap, SwapOutput, SwapRun};
use strandline_core::rope::Rope;
use strandline_core::store::Upload;
use strandline_core::{Error, Result};
use ulid::Ulid;

use crate::job::Run;

/// A chunk that is in the bucket, and that nobody knows of yet.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) chunk: ChunkId,
    pub(crate) footer: Footer,
}

/// The chunk of this name that a run becomes, and the run's last extent.
pub(crate) fn chunk(run: &Run, id: Ulid, format: Format) -> Result<(ChunkId, Extent)> {
    let (Some(first), Some(last)) = (run.extents.first(), run.extents.last()) else {
        return Err(Error::Invalid("a chunk of nothing".into()));
    };
    let (topic, partition, base_offset) = (run.topic, run.partition, first.base_offset);
    Ok((ChunkId { topic, partition, base_offset, id, format }, *last))
}

pub(crate) async fn give_up(upload: Upload, chunk: &ChunkId) {
    if let Err(error) = upload.abort().await {
        tracing::debug!(key = chunk.key(), %error, "parts of a chunk that was given up may be left");
    }
}

/// Ends the object with what lies behind its run. After an unclear answer the object itself tells: under its name there can be
/// no other content.
pub(crate) async fn finish(
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

impl Written {
    /// The change that puts it in the place of the extents that it was made of.
    pub(crate) fn swap(&self, run: &Run) -> Result<Change> {
        let too_large = |_| Error::Invalid("a chunk is larger than an extent can be".into());
        let ChunkId { topic, partition, base_offset, id, format } = self.chunk;
        let output = SwapOutput {
            object: ObjectName::Chunk(id, format),
            at: self.chunk.run_at(),
            bytes: u32::try_from(self.footer.bytes).map_err(too_large)?,
            offsets: u32::try_from(self.footer.end_offset - base_offset).map_err(too_large)?,
            max_timestamp: self.footer.max_timestamp,
        };
        let inputs = run.extents.iter().map(|extent| extent.object.into()).collect();
        let run = SwapRun { topic, partition, base_offset, inputs, outputs: vec![output] };
        Ok(Change::Swap(Swap { runs: vec![run] }))
    }
}
