//! Which batches belong to a transaction that was aborted.
//!
//! Must not know what becomes of them. Invariant: of the transactions of one producer in a partition no two overlap.

use std::collections::BTreeSet;

use strandline_core::chunk::AbortedSpan;

use crate::input::Batch;

/// The transactions that were aborted: producer, last and first offset.
pub(crate) struct Aborts(BTreeSet<(i64, i64, i64)>);

impl Aborts {
    pub(crate) fn new(spans: &[AbortedSpan]) -> Aborts {
        Aborts(spans.iter().map(|span| (span.producer_id, span.last_offset, span.first_offset)).collect())
    }

    /// Whether the batch is part of one; the batch that ends it is not.
    pub(crate) fn has(&self, batch: &Batch) -> bool {
        let id = batch.header.producer_id;
        let ended = (id, batch.base_offset, i64::MIN)..=(id, i64::MAX, i64::MAX);
        // They follow each other: the first that ends behind the batch is the one that it may be in.
        let next = self.0.range(ended).next();
        batch.header.transactional()
            && !batch.header.control()
            && next.is_some_and(|(.., first)| *first <= batch.base_offset)
    }
}
