//! What ends a chunk, whichever way its records lie in it.
//!
//! Must not know the store. Invariant: whoever only wants to find offsets need not know the format.

use strandline_core::chunk::{self, ChunkId, Footer, Format, Position};
use strandline_core::{Error, Result};

use crate::layout::{Layout, RowGroup};

/// Reads the footer of a chunk from all of the bytes behind its run, which ends at `tail_at` in the object; of a Parquet file
/// also what is needed to read its row groups.
///
/// # Errors
/// [`strandline_core::Error::Corrupt`] for what nobody wrote, [`strandline_core::Error::Unsupported`] for what a later version did.
pub fn read_footer(chunk: &ChunkId, tail_at: u64, tail: &[u8]) -> Result<(Footer, Option<Layout>)> {
    let key = chunk.key();
    match chunk.format {
        Format::Batches => Ok((chunk::read_footer(&key, tail)?, None)),
        Format::Parquet => {
            let layout = Layout::read(&key, tail_at, tail)?;
            if (layout.partition(), layout.base_offset()) != (chunk.partition, chunk.base_offset) {
                return Err(Error::corrupt(key, "its footer names another chunk than its key"));
            }
            Ok((footer(&layout), Some(layout)))
        }
    }
}

fn footer(layout: &Layout) -> Footer {
    let position = |group: &RowGroup| Position {
        offset: group.offset,
        at: group.range.start,
        max_timestamp: group.max_timestamp,
        crc: group.crc,
    };
    let run = layout.run();
    Footer {
        end_offset: layout.end_offset(),
        bytes: run.end - run.start,
        records: layout.records(),
        max_timestamp: layout.max_timestamp(),
        positions: layout.row_groups().iter().map(position).collect(),
        aborted: Vec::new(),
    }
}
