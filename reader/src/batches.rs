//! The record batches in what a reader gave: one by one, with their place in the partition.
//!
//! Must not know topics or what is done with records. A reader's answer starts with the batch that holds the offset
//! asked for, holds whole batches only, and has their checksums behind it.

use bytes::Bytes;
use strandline_core::manifest::Aborted;
use strandline_core::record::{BadBatch, BatchHeader};
use strandline_core::rope::Rope;

use crate::plan::Fetched;

/// One batch of an answer.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its fixed fields, with the true base offset.
    pub header: BatchHeader,
    bytes: Rope,
}

impl Batch {
    /// The offset after its last one.
    pub fn end_offset(&self) -> i64 {
        self.header.base_offset.saturating_add(i64::from(self.header.offsets))
    }

    /// The whole batch in one piece.
    pub fn bytes(&self) -> Bytes {
        self.bytes.to_bytes()
    }
}

/// Leaves out the batches of these aborted transactions. Where each of them ends is told: its end itself may be compacted away.
pub fn without_aborted(mut batches: Vec<Batch>, aborted: &[Aborted]) -> Vec<Batch> {
    batches.retain(|batch| {
        let BatchHeader { base_offset, producer_id, .. } = batch.header;
        let is_part = |one: &Aborted| {
            one.producer_id == producer_id && (one.first_offset..=one.last_offset).contains(&base_offset)
        };
        !(batch.header.transactional() && aborted.iter().any(is_part))
    });
    batches
}

/// Cuts an answer into its batches.
///
/// # Errors
/// [`BadBatch`] if the answer is none of a reader's.
pub fn split(fetched: &Fetched) -> Result<Vec<Batch>, BadBatch> {
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
