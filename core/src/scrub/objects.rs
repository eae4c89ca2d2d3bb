//! One object that extents refer to: a segment, or a slot below those that the journal part read.
//!
//! Must not know who refers to it beyond the extents that it is given. A segment goes by in windows, so that its size does
//! not matter; its own index tells runs and their checksums, the extents tell what of it is read.

use uuid::Uuid;

use super::batches::{Problem, RunCheck, Span};
use super::context::Context;
use super::report::{Finding, Kind, Records};
use crate::error::{Error, Result};
use crate::limits::{SCRUB_BYTES, SCRUB_WINDOW_BYTES};
use crate::manifest::{Append, Change, Commit, Extent, ObjectId};
use crate::object::{self, PREFIX_BYTES, Shape};
use crate::rope::Rope;
use crate::segment;

pub(super) const RESTORE: &str =
    "restore the object from a copy or from the bucket's versions; until then reading these offsets fails";

/// An extent and whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use<'a> {
    pub(super) topic: Uuid,
    pub(super) name: &'a str,
    pub(super) partition: u32,
    pub(super) extent: &'a Extent,
}

impl Use<'_> {
    fn end(&self) -> u64 {
        self.extent.at.saturating_add(u64::from(self.extent.bytes))
    }

    fn span(&self) -> Span {
        let Extent { at, bytes, offsets, .. } = *self.extent;
        Span { at, bytes: u64::from(bytes), offsets: u64::from(offsets), from: None }
    }

    pub(super) fn records(&self) -> Records {
        let offsets = Some((self.extent.base_offset, self.extent.end_offset() - 1));
        Records {
            topic: self.name.to_owned(),
            topic_id: self.topic.to_string(),
            partition: self.partition,
            offsets,
        }
    }
}

/// A run as the object itself describes it, and the extents that lie in it.
pub(super) struct Plan<'a> {
    pub(super) check: RunCheck,
    pub(super) uses: &'a [Use<'a>],
}

/// Reads the object and gives what is wrong with it. `uses` must be sorted by place and not be empty.
pub(super) async fn check(
    ctx: &Context<'_>,
    object: ObjectId,
    size: u64,
    uses: &[Use<'_>],
) -> Result<Vec<Finding>> {
    let once = async || match object {
        ObjectId::Segment(_) | ObjectId::Merged(_) | ObjectId::Chunk(_) => {
            check_segment(ctx, object, size, uses).await
        }
        ObjectId::Slot(_) | ObjectId::Marker(_) => check_slot(ctx, object, size, uses).await,
    };
    let found = once().await?;
    // The bytes may have changed on the way: what is damaged is read again.
    if found.is_empty() { Ok(found) } else { once().await }
}

/// By its size alone: is everything there that extents refer to?
pub(super) fn check_size(object: ObjectId, size: u64, uses: &[Use<'_>]) -> Option<Finding> {
    let end = uses.iter().map(Use::end).max().unwrap_or(0);
    (end > size).then(|| truncated(object, size, end, uses))
}

fn truncated(object: ObjectId, size: u64, end: u64, uses: &[Use<'_>]) -> Finding {
    let kind = match object {
        ObjectId::Segment(_) | ObjectId::Merged(_) | ObjectId::Chunk(_) => Kind::SegmentTruncated,
        ObjectId::Slot(_) | ObjectId::Marker(_) => Kind::SlotDamaged,
    };
    let what = format!("it has {size} bytes, at least {end} were written");
    let cut = uses.iter().find(|one| one.end() > size);
    Finding::new(kind, "D1", object.key(), what, RESTORE).records(cut.map(Use::records))
}

async fn check_segment(
    ctx: &Context<'_>,
    object: ObjectId,
    size: u64,
    uses: &[Use<'_>],
) -> Result<Vec<Finding>> {
    let key = object.key();
    let window = size.min(SCRUB_WINDOW_BYTES as u64);
    let _entered = ctx.enter(window).await;
    let first = if size == 0 { Rope::default() } else { ctx.read_range(&key, 0..window).await? };
    let mut found = Vec::new();
    let runs = match read_runs(ctx, object, &key, size, &first).await {
        Ok(runs) => runs,
        Err(Error::Corrupt { what, .. }) => {
            if let Some(truncated) = check_size(object, size, uses) {
                return Ok(vec![truncated]);
            }
            let advice = "restore it from a copy or from the bucket's versions; readers do without the header, and their records were checked";
            found.push(Finding::new(Kind::SegmentDamaged, "D1", &key, what, advice));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let end = runs.last().map_or(0, |run| run.at.saturating_add(u64::from(run.bytes)));
    if end > size {
        found.push(truncated(object, size, end, uses));
    } else if end < size && found.is_empty() {
        let what = format!("it has {size} bytes, {end} were written");
        found.push(Finding::new(
            Kind::SegmentDamaged,
            "D1",
            &key,
            what,
            "find out who wrote to it: segments never change",
        ));
    }
    let mut plans = match found.iter().any(|finding| finding.kind == Kind::SegmentDamaged) && end == 0 {
        true => bare(uses),
        false => place(&runs, uses, &key, &mut found),
    };
    plans.retain(|plan| plan.check.end() <= size);
    stream_through(ctx, &key, size, first, &mut plans).await?;
    found.extend(plans.into_iter().filter_map(|plan| finish(Kind::RunDamaged, &key, plan)));
    Ok(found)
}

/// The runs of a segment, from its header.
async fn read_runs(
    ctx: &Context<'_>,
    object: ObjectId,
    key: &str,
    size: u64,
    first: &Rope,
) -> Result<Vec<segment::Run>> {
    let prefix = first.array::<PREFIX_BYTES>(0);
    let end = object::header_end(key, Shape::Segment, prefix.as_ref().map_or(&[], |prefix| prefix))?;
    if end as u64 > size {
        return Err(Error::corrupt(key, "it ends inside its header"));
    }
    if end > SCRUB_BYTES {
        return Err(Error::Unsupported(
            format!("{key} has a header of {end} bytes, too large to be held").into(),
        ));
    }
    let header = match first.slice(0..end) {
        Some(header) => header,
        None => ctx.read_range(key, 0..end as u64).await?,
    };
    let (id, runs) = segment::read_header(key, &header.to_bytes())?;
    if ObjectId::Segment(id) != object && ObjectId::Merged(id) != object {
        return Err(Error::corrupt(key, format!("it is the segment {id}")));
    }
    Ok(runs)
}

/// Each extent alone: nothing tells in which run it lies.
fn bare<'a>(uses: &'a [Use<'a>]) -> Vec<Plan<'a>> {
    let plan = |one: &'a Use<'a>| {
        let span = one.span();
        Plan { check: RunCheck::new(span.at, span.bytes, None, vec![span]), uses: std::slice::from_ref(one) }
    };
    uses.iter().map(plan).collect()
}

/// Extents into the runs that hold them. One that lies in none, or in another partition's, is a finding.
fn place<'a>(
    runs: &[segment::Run],
    mut uses: &'a [Use<'a>],
    key: &str,
    found: &mut Vec<Finding>,
) -> Vec<Plan<'a>> {
    let mut plans = Vec::new();
    let mut astray = None;
    for run in runs {
        let end = run.at.saturating_add(u64::from(run.bytes));
        let before = uses.partition_point(|one| one.extent.at < run.at);
        astray = astray.or(uses.get(..before).and_then(<[_]>::first));
        let (inside, rest) = uses
            .get(before..)
            .unwrap_or_default()
            .split_at(uses.get(before..).unwrap_or_default().partition_point(|one| one.extent.at < end));
        uses = rest;
        let fits =
            |one: &&Use<'_>| one.end() <= end && one.topic == run.topic && one.partition == run.partition;
        if let Some(other) = inside.iter().find(|one| !fits(one)) {
            astray = astray.or(Some(other));
        } else if !inside.is_empty() {
            let spans = inside.iter().map(Use::span).collect();
            let check = RunCheck::new(run.at, u64::from(run.bytes), Some(run.crc), spans);
            plans.push(Plan { check, uses: inside });
        }
    }
    if let Some(astray) = astray.or(uses.first()) {
        let what = "the manifest looks for records where the segment has none of that partition";
        found.push(
            Finding::new(Kind::ExtentMismatch, "D1", key, what, MISMATCH).records(Some(astray.records())),
        );
    }
    plans
}

pub(super) const MISMATCH: &str =
    "find out whether the object or the journal was replaced: compare both with a copy of the bucket";

/// Reads on, window by window, and gives each run its bytes.
pub(super) async fn stream_through(
    ctx: &Context<'_>,
    key: &str,
    size: u64,
    first: Rope,
    plans: &mut [Plan<'_>],
) -> Result<()> {
    let last = plans.iter().map(|plan| plan.check.end()).max().unwrap_or(0);
    let (mut at, mut window) = (0, first);
    loop {
        let mut piece_at: u64 = at;
        for piece in window.pieces() {
            let piece_end = piece_at + piece.len() as u64;
            let from = plans.partition_point(|plan| plan.check.end() <= piece_at);
            for plan in plans.iter_mut().skip(from).take_while(|plan| plan.check.at() < piece_end) {
                let (begin, end) = (plan.check.at().max(piece_at), plan.check.end().min(piece_end));
                let range = (begin - piece_at) as usize..end.saturating_sub(piece_at) as usize;
                // Extents that share bytes, which is a finding of its own, may end in another order.
                plan.check.feed(piece.get(range).unwrap_or_default());
            }
            piece_at = piece_end;
        }
        if window.is_empty() || piece_at >= last {
            return Ok(());
        }
        at = piece_at;
        window = ctx.read_range(key, at..size.min(at + SCRUB_WINDOW_BYTES as u64)).await?;
    }
}

fn finish(kind: Kind, key: &str, plan: Plan<'_>) -> Option<Finding> {
    let Plan { check, uses } = plan;
    let Problem { span, offsets, damaged, what } = check.finish()?;
    let first = uses.first()?;
    let mut records = span.and_then(|span| uses.get(span)).unwrap_or(first).records();
    match (span, offsets, &mut records.offsets) {
        (Some(_), Some((from, upto)), Some((base, end))) => {
            *end = base.saturating_add_unsigned(upto).min(*end);
            *base = base.saturating_add_unsigned(from).min(*end);
        }
        (None, _, Some((_, end))) => {
            *end = uses.last().map_or(*end, |last| last.extent.end_offset() - 1).max(*end);
        }
        _ => {}
    }
    let (kind, what, advice) = match damaged {
        true => (kind, format!("records are not what was written: {what}"), RESTORE),
        false => (Kind::ExtentMismatch, format!("the manifest and the records disagree: {what}"), MISMATCH),
    };
    Some(Finding::new(kind, "D1", key, what, advice).records(Some(records)))
}

/// A slot that the journal part did not read: its commit and the runs that extents refer to.
async fn check_slot(
    ctx: &Context<'_>,
    object: ObjectId,
    size: u64,
    uses: &[Use<'_>],
) -> Result<Vec<Finding>> {
    let key = object.key();
    let _entered = ctx.enter(size).await;
    let body = ctx.read(&key).await?;
    let (commit, payload_at) = match Commit::decode(&key, &body) {
        Ok(decoded) => decoded,
        Err(Error::Corrupt { what, .. }) => {
            let records = uses.first().map(Use::records);
            return Ok(vec![Finding::new(Kind::SlotDamaged, "D1", &key, what, RESTORE).records(records)]);
        }
        Err(error) => return Err(error),
    };
    let inline = |change: &Change| match change {
        Change::Append(append) if append.segment.is_none() => Some(run_of(append, payload_at)),
        _ => None,
    };
    let mut runs: Vec<_> = commit.changes.iter().filter_map(inline).collect();
    runs.sort_by_key(|run| run.at);
    let mut found = Vec::new();
    let mut plans = place(&runs, uses, &key, &mut found);
    for plan in &mut plans {
        let range = plan.check.at() as usize..plan.check.end() as usize;
        let run = body.slice(range).unwrap_or_default();
        run.pieces().iter().for_each(|piece| plan.check.feed(piece));
    }
    found.extend(plans.into_iter().filter_map(|plan| finish(Kind::InlineRunDamaged, &key, plan)));
    Ok(found)
}

fn run_of(append: &Append, payload_at: u64) -> segment::Run {
    let bytes = u32::try_from(append.bytes()).unwrap_or(u32::MAX);
    let at = payload_at.saturating_add(append.at);
    segment::Run { topic: append.topic, partition: append.partition, at, bytes, crc: append.crc }
}
