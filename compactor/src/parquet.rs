//! Extents of one partition become one Parquet chunk, streamed.
//!
//! Must not know which chunks are worth it. Invariants: each batch is checked before its records are read; what no committed
//! reader may see, and the ends of transactions, stay out, all else keeps its offset, time, key, value and headers; what is held
//! is a row group and what is read ahead.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use strandline_archive::value::CONFIGS;
use strandline_archive::{Encoder, Options, Row, Summary, Unfold};
use strandline_core::Result;
use strandline_core::chunk::{AbortedSpan, Footer, Format};
use strandline_core::rope::Rope;
use strandline_core::store::Upload;

use crate::aborts::Aborts;
use crate::input::Input;
use crate::job::Run;
use crate::means::Means;
use crate::output;
use crate::pace::Pace;
use crate::written::{self, Written};

/// Writes the chunk. `None`: no record of the run can be a row, or there is none; it can still be a chunk of batches.
pub(crate) async fn write(means: Means<'_>, run: &Run, aborted: &[AbortedSpan]) -> Result<Option<Written>> {
    let Means { journal, pace, .. } = means;
    let configs = journal.view(|manifest| manifest.topic(&run.topic).map(|topic| topic.configs.clone()));
    let configs = configs.unwrap_or_default();
    let id = output::name_by(journal, output::now_ms(journal), &run.extents, &words(&configs));
    let (chunk, last) = written::chunk(run, id, Format::Parquet)?;
    let options =
        Options { unfold: unfold(run, &configs), ..Options::new(chunk.partition, chunk.base_offset) };
    let mut encoder = Encoder::new(options)?;
    let mut upload = journal.store().upload(&chunk.key());
    let input = Input::new(means, run.extents.clone());
    let copied = copy(&mut encoder, &mut upload, input, pace, Aborts::new(aborted)).await;
    if !matches!(copied, Ok(true)) {
        written::give_up(upload, &chunk).await;
        return copied.map(|_| None);
    }
    let (pieces, summary) = encoder.finish(last.end_offset())?;
    let rest = Rope::new(pieces);
    // The last row group, and what lies behind it.
    let tail_bytes = (summary.file_bytes - chunk.run_at() - summary.bytes) as usize;
    let border = rest.len().saturating_sub(tail_bytes);
    let tail = rest.slice(border..rest.len()).unwrap_or_default().to_bytes();
    upload.write(rest.slice(0..border).unwrap_or_default()).await?;
    let Summary { bytes, records, max_timestamp, positions, .. } = summary;
    let (end_offset, aborted) = (last.end_offset(), Vec::new());
    let footer = Footer { end_offset, bytes, records, max_timestamp, positions, aborted };
    written::finish(journal, upload, &chunk, bytes, tail).await?;
    Ok(Some(Written { chunk, footer }))
}

/// What decides, together with what is there, what the file holds.
fn words(configs: &BTreeMap<String, String>) -> [u64; 3] {
    CONFIGS.map(|name| configs.get(name).map_or(0, |value| u64::from(crc32c::crc32c(value.as_bytes()))))
}

/// How the values of the topic become columns, if they do.
fn unfold(run: &Run, configs: &BTreeMap<String, String>) -> Option<Arc<Unfold>> {
    // Nobody could have set a schema that cannot be read; without it the values are still there as bytes.
    let unfold = Unfold::of_configs(configs);
    let unfold =
        unfold.inspect_err(|error| tracing::warn!(topic = %run.topic, %error, "a schema cannot be read"));
    unfold.ok().flatten().map(Arc::new)
}

/// `false`: there is no row, or some batch has records that cannot be read (nobody checks compressed ones on their way in).
async fn copy(
    encoder: &mut Encoder,
    upload: &mut Upload,
    mut input: Input,
    pace: &Pace,
    aborts: Aborts,
) -> Result<bool> {
    let mut any = false;
    while let Some(batch) = input.next().await? {
        if batch.header.control() || aborts.has(&batch) {
            continue;
        }
        let Some(records) = batch.records() else { return Ok(false) };
        for record in records {
            any = true;
            encoder.push(Row {
                offset: batch.base_offset + i64::from(record.offset_delta),
                timestamp: record.timestamp,
                append_time: batch.header.append_time(),
                key: record.key,
                value: record.value,
                headers: record.headers,
            })?;
        }
        let ready: Vec<Bytes> = encoder.take();
        for piece in ready {
            pace.spend(piece.len() as u64).await;
            upload.write(piece).await?;
        }
    }
    Ok(any)
}
