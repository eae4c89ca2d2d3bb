//! The record batches in what a reader gave: one by one, with their place in the partition.
//!
//! Must not know topics or what is done with records. A reader's answer starts with the batch that holds the offset
//! asked for, holds whole batches only, and has their checksums behind it.

use std::collections::BTreeSet;

use bytes::Bytes;
use strandline_core::manifest::Aborted;
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

/// Leaves out the batches of aborted transactions, which are named by their first offsets, as a consumer does: what an aborted
/// producer wrote from there on is void, up to its next marker.
pub(crate) fn without_aborted(batches: Vec<Batch>, aborted: &[Aborted]) -> Vec<Batch> {
    let mut begins = aborted.iter().peekable();
    let mut void = BTreeSet::new();
    let mut is_kept = |batch: &Batch| {
        let BatchHeader { base_offset, producer_id, .. } = batch.header;
        while let Some(begun) = begins.next_if(|one| one.first_offset <= base_offset) {
            void.insert(begun.producer_id);
        }
        match batch.header.control() {
            true => !void.remove(&producer_id),
            false => !(batch.header.transactional() && void.contains(&producer_id)),
        }
    };
    batches.into_iter().filter(|batch| is_kept(batch)).collect()
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
