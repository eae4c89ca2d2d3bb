//! A row group as the batches that Kafka's consumers take.
//!
//! Must not know the store. Invariants: each record has the offset, time, key, value and headers that it was written with; equal
//! bytes give equal batches, so that a reader may go on inside them after they were made anew.

use bytes::Bytes;
use strandline_core::record::{self, BatchHeader, Row};
use strandline_core::{Error, Result};

use crate::decoder::{rows_in, slices};
use crate::layout::Layout;

/// Bytes that a batch aims at: about what producers send.
const BATCH_BYTES: usize = 256 * 1024;

/// The batches of a row group, from all of its bytes; each with its header.
///
/// # Errors
/// [`Error::Corrupt`] if the bytes are not those that were written.
pub fn batches(layout: &Layout, number: usize, bytes: &Bytes) -> Result<Vec<(BatchHeader, Bytes)>> {
    let (row_group, slices) = slices(layout, number, bytes)?;
    let rows: Vec<Row<&[u8]>> = rows_in(layout, row_group, &slices)?;
    record::compose(&rows, BATCH_BYTES).map_err(|bad| Error::corrupt(layout.key(), bad.to_string()))
}
