//! The record batches in what a reader gave: one by one, with their place in the partition.
//!
//! Must not know topics or what is done with records. A reader's answer starts with the batch that holds the offset
//! asked for, holds whole batches only, and has their checksums behind it.

use bytes::Bytes;
use strandline_core::record::{BadBatch, BatchHeader};
use strandline_core::rope::Rope;
use strandline_reader::Fetched;

/// One batch of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Its fixed fields, with the true base offset.
    pub(crate) header: BatchHeader,
    bytes: Rope,
}

impl Batch {
    /// The offset after its last one.
    pub(crate) fn end_offset(&self) -> i64 {
        self.header.base_offset.saturating_add(i64::from(self.header.offsets))
    }

    /// The whole batch in one piece.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.to_bytes()
    }
}

/// Cuts an answer into its batches.
pub(crate) fn split(fetched: &Fetched) -> Result<Vec<Batch>, BadBatch> {
    let rope = Rope::new(fetched.batches.iter().cloned());
    let mut found = Vec::new();
    let mut at = 0;
    while at < rope.len() {
        let header = BatchHeader::at(&rope, at)?;
        let end = at + header.bytes;
        let bytes = rope.slice(at..end).ok_or(BadBatch::Length("the batch ends before its length says"))?;
        found.push(Batch { header, bytes });
        at = end;
    }
    Ok(found)
}
