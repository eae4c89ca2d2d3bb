//! Extents of one partition become one chunk, streamed.
//!
//! Must not know which chunks are worth it. Invariants: each batch is checked and keeps its bytes, but for the offset in its
//! header, which is the real one from now on; what is held is bounded, however long the chunk.

use bytes::Bytes;
use strandline_core::Result;
use strandline_core::chunk::{AbortedSpan, Format, Writer};
use strandline_core::manifest::{Aborted, Change, Journal};
use strandline_core::mutation::{self, Mutation};
use strandline_core::record::{self, BatchHeader};
use strandline_core::rope::Rope;
use strandline_core::store::Upload;
use ulid::Ulid;

use crate::input::{Batch, Input};
use crate::job::Run;
use crate::means::Means;
use crate::output;
use crate::pace::Pace;
use crate::parquet;
use crate::written::{self, Written};

/// A batch as it is written: its header and its bytes, with the real base offset in both.
pub(crate) type Laid = (BatchHeader, Vec<Bytes>);

/// How a chunk is to be written.
#[derive(Debug)]
pub(crate) struct Form {
    /// Its name: under it there can be no other content.
    pub(crate) id: Ulid,
    /// The transactions that it tells of.
    pub(crate) aborted: Vec<AbortedSpan>,
}

/// Writes the chunk, and gives the change that puts it in the place of its inputs.
pub(crate) async fn gather(means: Means<'_>, run: &Run) -> Result<Change> {
    let journal = means.journal;
    let aborted = aborted_in(journal, run);
    if in_columns(journal, run)
        && let Some(written) = parquet::write(means, run, &aborted).await?
    {
        return written.swap(run);
    }
    let id = output::name(journal, output::now_ms(journal), &run.extents);
    let form = Form { id, aborted };
    let written = write(means, run, form, |batch| lay(batch).map(Some)).await?;
    written.swap(run)
}

/// Whether the topic's chunks are Parquet files. One that is compacted by key has batches: they alone say when a tombstone may go.
fn in_columns(journal: &Journal, run: &Run) -> bool {
    journal.view(|manifest| {
        let topic = manifest.topic(&run.topic);
        topic.is_some_and(|topic| topic.archive_format() == Format::Parquet && !topic.retention().compacts)
    })
}

/// As it is.
pub(crate) fn lay(batch: &Batch) -> Result<Laid> {
    Ok((BatchHeader { base_offset: batch.base_offset, ..batch.header }, batch.stamped()?))
}

/// Writes a chunk of what `filter` leaves of the batches. If nothing is left at its end, a batch without records stands there:
/// consumers go on behind the last batch that they get, and would wait before the end for ever.
pub(crate) async fn write(
    means: Means<'_>,
    run: &Run,
    form: Form,
    filter: impl FnMut(&Batch) -> Result<Option<Laid>>,
) -> Result<Written> {
    let Means { journal, pace, policy } = means;
    let Form { id, aborted } = form;
    let (chunk, last) = written::chunk(run, id, Format::Batches)?;
    let (mut writer, header) = Writer::new(chunk, policy.block_bytes);
    let mut upload = journal.store().upload(&chunk.key());
    upload.write(header).await?;
    let input = Input::new(means, run.extents.clone());
    let copied = async {
        let reached = copy(&mut writer, &mut upload, input, pace, filter).await?;
        if reached < last.end_offset() {
            let (header, bytes) = record::empty(last.end_offset() - 1, last.max_timestamp);
            writer.push(&header, std::slice::from_ref(&bytes))?;
            upload.write(bytes).await?;
        }
        Ok(())
    };
    if let Err(error) = copied.await {
        written::give_up(upload, &chunk).await;
        return Err(error);
    }
    let (footer, bytes) = writer.finish(aborted, last.end_offset())?;
    written::finish(journal, upload, &chunk, footer.bytes, bytes).await?;
    Ok(Written { chunk, footer })
}

pub(crate) fn span(aborted: &Aborted) -> AbortedSpan {
    let Aborted { producer_id, first_offset, last_offset, .. } = *aborted;
    AbortedSpan { producer_id, first_offset, last_offset }
}

/// Whether a span has offsets in a range.
pub(crate) fn overlaps(span: &AbortedSpan, from: i64, upto: i64) -> bool {
    span.first_offset < upto && span.last_offset >= from
}

/// All of them: nothing in the chunk is undecided.
fn aborted_in(journal: &Journal, run: &Run) -> Vec<AbortedSpan> {
    let (Some(first), Some(last)) = (run.extents.first(), run.extents.last()) else { return Vec::new() };
    let (from, upto) = (first.base_offset, last.end_offset());
    let found = journal.view(|manifest| {
        manifest.partition(&run.topic, run.partition).map(|partition| partition.aborted_in(from, upto))
    });
    let found = found.filter(|_| !mutation::is(Mutation::AbortedNotIndexed));
    found.iter().flatten().map(span).filter(|span| overlaps(span, from, upto)).collect()
}

/// Gives the offset behind the last batch.
async fn copy(
    writer: &mut Writer,
    upload: &mut Upload,
    mut input: Input,
    pace: &Pace,
    mut filter: impl FnMut(&Batch) -> Result<Option<Laid>>,
) -> Result<i64> {
    let mut reached = 0;
    while let Some(batch) = input.next().await? {
        let Some((header, pieces)) = filter(&batch)? else { continue };
        writer.push(&header, &pieces)?;
        pace.spend(header.bytes as u64).await;
        upload.write(Rope::new(pieces)).await?;
        reached = header.base_offset + i64::from(header.offsets);
    }
    Ok(reached)
}
