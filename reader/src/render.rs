//! A row group of a Parquet chunk, as the batches that consumers take.
//!
//! Must not know the store. Invariants: each record has the offset, time, key, value and headers that it was written with; the
//! last batch of a chunk ends where the chunk does, or consumers would wait before that end for ever.

use bytes::Bytes;
use strandline_archive::Layout;
use strandline_core::Error;
use strandline_core::record;
use strandline_core::rope::Rope;

use crate::history::Run;

/// The row group that begins at `at` in the object: its number, and where it ends.
pub(crate) fn group_at(run: &Run, layout: &Layout, at: u64) -> Result<(usize, u64), Error> {
    let groups = layout.row_groups();
    let found = groups.iter().position(|group| group.range.start == at);
    let found = found.and_then(|number| Some((number, groups.get(number)?.range.end)));
    found.ok_or_else(|| Error::corrupt(run.object.key(), format!("no row group begins at {at}")))
}

/// The batches of a row group, from all of its bytes.
pub(crate) fn render(run: &Run, layout: &Layout, number: usize, bytes: &Bytes) -> Result<Rope, Error> {
    let mut batches = strandline_archive::batches(layout, number, bytes)?;
    let last = layout.row_groups().len() == number + 1;
    let reached = batches
        .last()
        .map_or(run.base_offset, |(header, _)| header.base_offset.saturating_add(i64::from(header.offsets)));
    if last && reached < run.end_offset {
        batches.push(record::empty(run.end_offset - 1, run.max_timestamp));
    }
    Ok(Rope::new(batches.into_iter().map(|(_, bytes)| bytes)))
}
