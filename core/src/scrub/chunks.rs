//! One chunk: is it what extents, leaves and its own footer say?
//!
//! Must not know who leads to it. It goes by in windows, so that its size does not matter; its footer is held.

use super::batches::{Problem, RunCheck, Span};
use super::context::Context;
use super::history::{Known, fingerprint};
use super::objects::{MISMATCH, Plan, RESTORE, stream_through};
use super::report::{Finding, Kind, Records};
use crate::chunk::{self, Footer, Format, TRAILER_BYTES};
use crate::error::{Error, Result};
use crate::index::Entry;
use crate::limits::{SCRUB_BYTES, SCRUB_WINDOW_BYTES};
use crate::rope::Rope;

/// Reads the chunk and gives what is wrong with it. `records` are the offsets that it stands for.
pub(super) async fn check(
    ctx: &Context<'_>,
    known: &Known,
    size: u64,
    records: Option<Records>,
) -> Result<Vec<Finding>> {
    let once = async || check_once(ctx, known, size, &records).await;
    let found = once().await?;
    // The bytes may have changed on the way: what is damaged is read again.
    if found.is_empty() { Ok(found) } else { once().await }
}

/// By its size alone.
pub(super) fn check_size(known: &Known, size: u64, records: Option<Records>) -> Option<Finding> {
    let least = run_end(known).saturating_add(TRAILER_BYTES as u64);
    let what = format!("it has {size} bytes, at least {least} were written");
    let finding = Finding::new(Kind::ChunkTruncated, "D1", known.chunk.key(), what, RESTORE);
    (size < least).then(|| finding.records(records))
}

fn run_end(known: &Known) -> u64 {
    known.at.saturating_add(known.bytes)
}

async fn check_once(
    ctx: &Context<'_>,
    known: &Known,
    size: u64,
    records: &Option<Records>,
) -> Result<Vec<Finding>> {
    let key = known.chunk.key();
    if let Some(truncated) = check_size(known, size, records.clone()) {
        return Ok(vec![truncated]);
    }
    let damaged = |what: String| {
        let finding = Finding::new(Kind::ChunkDamaged, "D1", &key, what, RESTORE);
        finding.records(records.clone())
    };
    let window = size.min(SCRUB_WINDOW_BYTES as u64);
    let _entered = ctx.enter(window).await;
    let first = ctx.read_range(&key, 0..window).await?;
    let mut found = Vec::new();
    match read_header(&key, known, &first) {
        Err(Error::Corrupt { what, .. }) => found.push(damaged(what)),
        other => other?,
    }
    let footer = match read_footer(ctx, &key, known, size).await {
        Ok(footer) => footer,
        Err(Error::Corrupt { what, .. }) => {
            // Without it, nobody knows what the bytes should be.
            found.push(damaged(what));
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    if !agrees(known, &footer) {
        let what = "its footer and what names the chunk disagree about its offsets, its bytes or its times";
        let finding = Finding::new(Kind::ExtentMismatch, "D1", &key, what, MISMATCH);
        found.push(finding.records(records.clone()));
        return Ok(found);
    }
    let (spans, mut plans): (Vec<_>, Vec<_>) = blocks(known, &footer).unzip();
    stream_through(ctx, &key, size, first, &mut plans).await?;
    let plans = spans.into_iter().zip(plans);
    found.extend(plans.filter_map(|(span, plan)| finish(&key, span, plan.check, records)));
    Ok(found)
}

fn read_header(key: &str, known: &Known, first: &Rope) -> Result<()> {
    if known.chunk.format == Format::Parquet {
        // It has none of ours: its key and its footer say whose it is.
        return Ok(());
    }
    let (_, run_at) = chunk::read_header(key, &first.to_bytes())?;
    match run_at == known.at {
        true => Ok(()),
        false => Err(Error::corrupt(key, format!("its run begins at {run_at}, not at {}", known.at))),
    }
}

async fn read_footer(ctx: &Context<'_>, key: &str, known: &Known, size: u64) -> Result<Footer> {
    let end = run_end(known);
    if size.saturating_sub(end) > SCRUB_BYTES as u64 {
        let behind = size.saturating_sub(end);
        return Err(Error::corrupt(key, format!("{behind} bytes follow its run, more than a footer has")));
    }
    let tail = ctx.read_range(key, end..size).await?.to_bytes();
    match known.chunk.format {
        Format::Batches => chunk::read_footer(key, &tail),
        Format::Parquet => (ctx.parquet_footer)(&known.chunk, end, &tail),
    }
}

fn agrees(known: &Known, footer: &Footer) -> bool {
    let whole = match known.fingerprint {
        Some(leafs) => fingerprint(&Entry::new(known.chunk, footer)) == leafs,
        None => true,
    };
    let said = (footer.end_offset, footer.bytes, footer.max_timestamp);
    whole && said == (known.end_offset, known.bytes, known.max_timestamp)
}

/// From each position of the footer to the next.
fn blocks(known: &Known, footer: &Footer) -> impl Iterator<Item = (Span, Plan<'static>)> {
    let ends = footer.positions.iter().skip(1).map(|next| (next.at, next.offset));
    let ends = ends.chain([(run_end(known), footer.end_offset)]);
    footer.positions.iter().zip(ends).map(|(position, (upto, end_offset))| {
        let span = Span {
            at: position.at,
            bytes: upto.saturating_sub(position.at),
            offsets: end_offset.saturating_sub(position.offset) as u64,
            from: Some(position.offset),
        };
        let check = match known.chunk.format {
            Format::Batches => RunCheck::new(span.at, span.bytes, Some(position.crc), vec![span]),
            Format::Parquet => RunCheck::of_checksum(span.at, span.bytes, position.crc),
        };
        (span, Plan { check, uses: &[] })
    })
}

fn finish(key: &str, span: Span, check: RunCheck, records: &Option<Records>) -> Option<Finding> {
    let Problem { offsets, damaged, what, .. } = check.finish()?;
    let from = span.from.unwrap_or(0);
    let (first, last) = offsets.unwrap_or((0, span.offsets.saturating_sub(1)));
    let mut records = records.clone();
    if let Some(Records { offsets: Some((base, end)), .. }) = &mut records {
        *end = from.saturating_add_unsigned(last).min(*end);
        *base = from.saturating_add_unsigned(first).max(*base).min(*end);
    }
    let (kind, what, advice) = match damaged {
        true => (Kind::RunDamaged, format!("records are not what was written: {what}"), RESTORE),
        false => (Kind::ExtentMismatch, format!("the footer and the records disagree: {what}"), MISMATCH),
    };
    Some(Finding::new(kind, "D1", key, what, advice).records(records))
}
