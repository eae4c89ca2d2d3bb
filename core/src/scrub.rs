//! Is everything in the bucket that should be there, and is it whole? Answered by reading alone.
//!
//! Checks the journal (J3: every slot from the floor to the tail, its checksums and those of its records), the checkpoints
//! (J2: each equals the fold), the floors (J7) and the data (D1: every extent's object, run, batches; every node of every
//! index, every chunk that it leads to), and counts what nobody refers to. Must not write, nor know the command line. The
//! bucket may move meanwhile: the tail is taken at the start, and what is gone is looked at again from a newer manifest. What
//! the store does not give was not checked; that is never damage.
//!
//! Memory, for a manifest of E extents and a journal of S slots: 64 E bytes for the manifest (twice that while it is open
//! whether a checkpoint or the journal is wrong, or while something missing is looked at again), about 30 E for a
//! checkpoint and its comparison, 48 bytes for each of at most a million references (128 for each chunk), 5 S for the table of slots, and
//! [`SCRUB_BYTES`](crate::limits::SCRUB_BYTES) of objects under way.
//!
//! Modules import only modules listed after them.

mod data;
mod chunks;
mod history;
mod objects;
mod walk;
mod end;
mod survey;
mod context;
mod batches;
mod slots;
mod report;

use std::ops::{ControlFlow, RangeInclusive};

use tokio::time::Instant;

pub use report::{
    Count, DataPart, Finding, GoOn, JournalPart, Kind, Orphans, Records, Report, Unchecked, Unknown, Verdict,
};

use crate::chunk::{ChunkId, Footer};
use crate::error::{Error, Result};
use crate::limits::SCRUB_REQUESTS;
use crate::manifest::Manifest;
use crate::paths;
use crate::store::Store;
use context::Context;
use data::Data;
use end::End;
use report::Findings;
use survey::Survey;
use walk::Walk;

/// Reads the footer of a Parquet chunk from all of the bytes behind its run, which ends at the given byte of the object.
pub type ReadFooter = fn(&ChunkId, u64, &[u8]) -> Result<Footer>;

/// What is to be checked, and how fast. Without ranges: everything; with one of them: that part alone.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests side by side, at least 1.
    pub concurrency: usize,
    /// Presence and sizes only: checkpoints but the newest, and record bytes in segments, are not read.
    pub quick: bool,
    /// Slots of the journal part.
    pub slots: Option<RangeInclusive<u64>>,
    /// Shards of the data part: the two hex digits of segments' keys, and the last byte of the names of chunks and of index
    /// nodes.
    pub shards: Option<RangeInclusive<u8>>,
    /// Without it, Parquet chunks are not checked, and the report says so.
    pub parquet_footer: ReadFooter,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            concurrency: SCRUB_REQUESTS,
            quick: false,
            slots: None,
            shards: None,
            parquet_footer: unread,
        }
    }
}

fn unread(chunk: &ChunkId, _: u64, _: &[u8]) -> Result<Footer> {
    Err(Error::Unsupported(format!("{} is a Parquet file, which is not read", chunk.key()).into()))
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Slots and checkpoints.
    Journal,
    /// Segments, chunks, and slots that extents still refer to.
    Data,
}

/// How far a scrub has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Of which part.
    pub part: Part,
    /// Slots, or bytes of extents.
    pub done: u64,
    /// So many there are.
    pub total: u64,
    /// Faults found so far in this part.
    pub faults: u64,
}

/// Hears of the progress after every object; `Break` ends the scrub, whose report then says how to go on.
pub type Watch<'a> = dyn Fn(&Progress) -> ControlFlow<()> + Send + Sync + 'a;

/// Scrubs the cluster under the store's prefix.
///
/// An error means that nothing could be checked: the store did not answer or refused access ([`crate::Kind::Unavailable`],
/// [`crate::Kind::Denied`]), there is no cluster ([`crate::Kind::NotFound`]), or it is newer than this program.
pub async fn scrub(store: &Store, options: &Options, watch: &Watch<'_>) -> Result<Report> {
    let begun = Instant::now();
    let ctx = Context::new(store, options, watch);
    let mut findings = Findings::default();
    let mut survey = Survey::take(&ctx, &mut findings).await?;
    let floor = check_floor(&survey, &mut findings);
    let tail = End::find(&ctx, &mut survey, &mut findings, floor.max(1)).await?.tail;
    let mut scrub = Scrub { ctx: &ctx, options, survey, findings, floor, tail, covered: Vec::new() };
    scrub.say_what_is_left_out();

    let mut done = Done::default();
    let mut manifest = None;
    if options.slots.is_some() || options.shards.is_none() {
        let from = options.slots.as_ref().map(|slots| *slots.start());
        let to = options.slots.as_ref().map_or(tail, |slots| *slots.end()).min(tail);
        let walk = scrub.journal(from.or(options.quick.then_some(tail + 1)), to).await;
        done.take(walk, tail, &mut manifest);
    }
    if options.shards.is_some() || options.slots.is_none() {
        if manifest.is_none() && !done.through && !ctx.is_stopped() {
            // Whoever checks data alone needs the manifest all the same.
            let walk = scrub.journal(Some(tail + 1), tail).await;
            done.take(walk, tail, &mut manifest);
            done.part = if options.slots.is_some() { done.part } else { JournalPart::default() };
        }
        scrub.data(&mut done, manifest).await;
    }
    Ok(scrub.report(done, begun))
}

struct Scrub<'a> {
    ctx: &'a Context<'a>,
    options: &'a Options,
    survey: Survey,
    findings: Findings,
    floor: u64,
    tail: u64,
    covered: Vec<RangeInclusive<u64>>,
}

/// How far the parts came.
#[derive(Default)]
struct Done {
    part: JournalPart,
    /// The journal was walked to its tail.
    through: bool,
    /// The last manifest that could be had, where the fold could not be brought to the tail.
    stale: Option<Manifest>,
    slot_stopped_at: Option<u64>,
    data: data::Outcome,
    shards_stopped_at: Option<u8>,
    judged_orphans: bool,
}

impl Done {
    fn take(&mut self, walk: Walk<'_>, tail: u64, manifest: &mut Option<Manifest>) {
        let reached = walk.reached(tail);
        self.slot_stopped_at = self.slot_stopped_at.or(walk.stopped_at);
        let last = walk.part.slots.map_or(tail, |(_, last)| last);
        self.through |= last == tail && walk.stopped_at.is_none();
        self.part = walk.part;
        match reached {
            true => *manifest = walk.manifest,
            false => self.stale = walk.manifest,
        }
    }
}

impl Scrub<'_> {
    fn say_what_is_left_out(&mut self) {
        let Options { quick, slots, shards, .. } = self.options;
        if *quick {
            self.findings.not_checked(
                "record bytes of segments, and all checkpoints but the newest: only their presence",
            );
        }
        match (slots, shards) {
            (Some(slots), _) => {
                let (first, last) = slots.clone().into_inner();
                if first > self.floor.max(1) {
                    self.findings.not_checked(format!("slots before {first}"));
                }
                if last < self.tail {
                    self.findings.not_checked(format!("slots after {last}"));
                }
            }
            (None, Some(_)) => self.findings.not_checked("the journal, but for its end"),
            (None, None) => {}
        }
        match (slots, shards) {
            (_, Some(shards)) if *shards != (0..=255) => {
                let (first, last) = shards.clone().into_inner();
                self.findings
                    .not_checked(format!("data and orphans outside of the shards {first:02x} to {last:02x}"));
            }
            (Some(_), None) => self.findings.not_checked("data and orphans"),
            _ => {}
        }
    }

    /// Walks the slots from `from` on, or all of them, and folds them from the newest good checkpoint before.
    async fn journal(&mut self, from: Option<u64>, to: u64) -> Walk<'_> {
        let Scrub { ctx, survey, findings, floor, tail, .. } = self;
        let mut walk = Walk::new(ctx, *floor);
        let whole = *floor == 0 || survey.slots.has_all(1, *floor);
        let first = match from {
            Some(from) => walk.begin_before(survey, findings, from).await,
            None => None,
        };
        let first = match first {
            Some(first) => first,
            None if whole => {
                walk.begin();
                1
            }
            None => from.unwrap_or(*floor).max(*floor),
        };
        if first <= to {
            walk.run(survey, findings, first..=to).await;
            let last = walk.stopped_at.map_or(to, |next| next - 1);
            self.covered.push(first.max(*floor)..=last);
        }
        let startable = *floor == 0 || walk.usable;
        let judged = to == *tail && walk.stopped_at.is_none();
        let any = survey.checkpoints.range(*floor..).next().is_some();
        if !startable && (judged || !any) {
            let whole = if whole { "; the journal is whole from its beginning, nothing is lost" } else { "" };
            let what = format!(
                "no node can start: there is no good checkpoint at or above the floor {floor}{whole}"
            );
            let advice = "restore a checkpoint at or above the floor from a copy; a node that still runs writes one by and by";
            let key = paths::checkpoint(*floor);
            findings.fault(Finding::new(Kind::CheckpointMissing, "J7", key, what, advice));
        }
        walk
    }

    async fn data(&mut self, done: &mut Done, manifest: Option<Manifest>) {
        let shards = self.options.shards.clone().unwrap_or(0..=255);
        if self.ctx.is_stopped() {
            done.shards_stopped_at = Some(*shards.start());
            return;
        }
        let is_stale = manifest.is_none();
        let Some(manifest) = manifest.or_else(|| done.stale.take()) else {
            self.findings.not_checked("data and orphans: there is no manifest to go by, see the faults");
            return;
        };
        let listed = match list_shards(self.ctx).await {
            Ok(listed) => listed,
            Err(error) => return self.ctx.failed(&mut self.findings, "segment", &error),
        };
        let data = Data::new(self.ctx, &manifest, &self.survey.slots, &self.covered);
        done.data = data.run(shards.clone(), &listed, &mut self.findings).await;
        done.shards_stopped_at = done.data.stopped_at;
        done.judged_orphans = !is_stale;
        done.data.part.shards = Some((format!("{:02x}", shards.start()), format!("{:02x}", shards.end())));
        if is_stale {
            let known = manifest.applied;
            self.findings.not_checked(format!(
                "orphans, and data of slots after {known}: the journal cannot be folded beyond it"
            ));
        }
    }

    fn go_on(&self, done: &Done) -> Option<GoOn> {
        let Options { slots, shards, .. } = self.options;
        let from = done.slot_stopped_at;
        let to = slots.as_ref().map(|slots| *slots.end()).filter(|to| from.is_some() && *to < self.tail);
        let last = shards.as_ref().map_or(255, |shards| *shards.end());
        let shard = done.shards_stopped_at.map(|first| format!("{first:02x}..{last:02x}"));
        (from.is_some() || shard.is_some()).then_some(GoOn { from, to, shard })
    }

    fn report(mut self, done: Done, begun: Instant) -> Report {
        let go_on = self.go_on(&done);
        let Findings { faults, warnings, unchecked, not_checked, .. } = self.findings;
        let verdict = match (faults.len(), unchecked.len(), &go_on) {
            (0, 0, None) => Verdict::Clean,
            (0, ..) => Verdict::Incomplete,
            _ => Verdict::Damaged,
        };
        self.survey.join_unknown(done.data.unknown);
        Report {
            verdict,
            tail: self.tail,
            floor: self.floor,
            journal: done.part,
            data: done.data.part,
            faults: faults.kept,
            more_faults: faults.more,
            warnings: warnings.kept,
            more_warnings: warnings.more,
            unchecked: unchecked.kept,
            more_unchecked: unchecked.more,
            not_checked,
            orphans: done.judged_orphans.then_some(done.data.orphans),
            unknown: self.survey.unknown,
            go_on,
            requests: self.ctx.requests(),
            bytes_read: self.ctx.bytes_read(),
            seconds: begun.elapsed().as_secs_f64(),
        }
    }
}

/// The newest floor that can be one: it never lies above everything that was ever written.
fn check_floor(survey: &Survey, findings: &mut Findings) -> u64 {
    let written = survey.slots.last().max(survey.checkpoints.last().copied()).unwrap_or(0);
    let highest = survey.highest_floor();
    if highest > written {
        let what = format!("a floor names slot {highest}, but nothing above slot {written} was ever written");
        let advice = "find out what wrote it, or which slots and checkpoints were deleted; no node can start";
        findings
            .fault(Finding::new(Kind::FloorMisplaced, "J7", "floor", what, advice).slots(highest, highest));
    }
    survey.floor(written)
}

/// The shards in which there is something.
async fn list_shards(ctx: &Context<'_>) -> Result<std::collections::BTreeSet<u8>> {
    let (folders, _) = ctx.list_level("segment").await?;
    Ok(folders.iter().filter_map(|name| u8::from_str_radix(name, 16).ok()).collect())
}

#[cfg(test)]
mod tests;
