//! Where the journal ends, and which slots before that are not there.
//!
//! Must not fold. A slot that is not there while later ones are may have been deleted, or never filled: proposers have
//! several slots in flight and may die. Nothing beyond a slot that was never filled is folded or acknowledged by anyone,
//! so that proof that somebody folded beyond it is proof that it was there: a checkpoint, or what a proposer's later
//! commits say about its earlier ones.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use ulid::Ulid;

use super::context::Context;
use super::report::{Finding, Findings, Kind};
use super::survey::Survey;
use crate::error::{Error, Result};
use crate::limits::COMMIT_WINDOW;
use crate::manifest::{Commit, checkpoint};
use crate::paths;

/// Slots behind a gap that are looked at for proof. Each proposer has fewer in flight than [`COMMIT_WINDOW`]: so many
/// from proposers who all died at the same slot are not to be had.
const PROOF_SLOTS: usize = 4_096;
/// Slots of one gap that are asked for, in case the listing did not show them.
const LOOKED_FOR: u64 = 64;
const MOST_GAPS: usize = 1_000;

const MISSING: &str =
    "restore them from a copy or from the bucket's versions at once, before a node fills them anew";

/// From where to where the journal is there.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The last slot that was folded by anybody; 0: none.
    pub(super) tail: u64,
}

impl End {
    /// Says which slots from `first` on are missing.
    pub(super) async fn find(
        ctx: &Context<'_>,
        survey: &mut Survey,
        findings: &mut Findings,
        first: u64,
    ) -> Result<End> {
        let certain = newest_checkpoint(ctx, survey).await?;
        let mut expected = first;
        let mut folded = certain.unwrap_or(0);
        let mut gaps = 0;
        while let Some(found) = next_gap(survey, expected) {
            let Gap { from, until } = found;
            if let Some(there) = look_again(ctx, survey, &found).await? {
                expected = there + 1;
                continue;
            }
            if until > folded {
                folded = folded.max(proof(ctx, survey, until).await?.unwrap_or(0));
            }
            if from > folded {
                // Nobody folded this slot: here the journal ends.
                warn_open_end(survey, findings, &found);
                return Ok(End { tail: from - 1 });
            }
            gaps += 1;
            if gaps <= MOST_GAPS {
                report_gap(findings, from, until - 1, Some(until));
            }
            expected = until;
        }
        let last = survey.slots.last().unwrap_or(0).max(first.saturating_sub(1));
        if let Some(certain) = certain.filter(|certain| *certain > last) {
            report_gap(findings, last.max(first.saturating_sub(1)) + 1, certain, None);
        }
        Ok(End { tail: last.max(certain.unwrap_or(0)) })
    }
}

/// Slots from `from` to below `until` are not there, `until` is.
struct Gap {
    from: u64,
    until: u64,
}

fn next_gap(survey: &Survey, mut expected: u64) -> Option<Gap> {
    for (slot, _) in survey.slots.from(expected) {
        if slot != expected {
            return Some(Gap { from: expected, until: slot });
        }
        expected = slot.checked_add(1)?;
    }
    None
}

/// A listing of a journal that grows may leave out what a GET finds. Gives the last slot that is there after all.
async fn look_again(ctx: &Context<'_>, survey: &mut Survey, gap: &Gap) -> Result<Option<u64>> {
    let mut there = None;
    for slot in gap.from..gap.until.min(gap.from.saturating_add(LOOKED_FOR)) {
        match ctx.read(&paths::slot(slot)).await {
            Ok(object) => {
                survey.slots.insert(slot, object.len() as u64);
                there = Some(slot);
            }
            Err(Error::NotFound(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(there)
}

/// The newest checkpoint that is one: everything up to it was folded.
async fn newest_checkpoint(ctx: &Context<'_>, survey: &Survey) -> Result<Option<u64>> {
    for slot in survey.checkpoints.iter().rev() {
        // One that the journal reaches proves itself by and by.
        if survey.slots.last().is_some_and(|last| *slot <= last) {
            return Ok(Some(*slot));
        }
        let key = paths::checkpoint(*slot);
        match ctx.read(&key).await.and_then(|body| checkpoint::decode(&key, &body.to_bytes())) {
            Ok(manifest) if manifest.applied == *slot => return Ok(Some(*slot)),
            Ok(_) | Err(Error::Corrupt { .. } | Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// What is known of one proposer's commits behind a gap: counters, and the slot of the first that had nothing ahead.
#[derive(Debug, Default)]
struct Proposer {
    /// Counter and slot, by counter; fewer than [`COMMIT_WINDOW`].
    alone: BTreeMap<u64, u64>,
    all: BTreeMap<u64, u64>,
}

impl Proposer {
    /// Takes a commit. Gives the slot of one of this proposer's that was folded when this one was made.
    fn add(&mut self, slot: u64, counter: u64, oldest_open: u64) -> Option<u64> {
        // Made when nothing of the same proposer was ahead: whatever it made later came behind it in order, and names it
        // as open until it is folded.
        let settled = self.alone.range(..oldest_open).map(|(_, slot)| *slot).max();
        // A proposer makes nothing new while its oldest open commit is a whole window behind.
        let beyond = counter.checked_sub(COMMIT_WINDOW);
        let left = beyond.and_then(|last| self.all.range(..=last).map(|(_, slot)| *slot).max());
        if oldest_open == counter {
            self.alone.insert(counter, slot);
        }
        self.all.insert(counter, slot);
        settled.max(left)
    }
}

/// The slot from `from` on that was certainly folded by somebody, if there is one.
async fn proof(ctx: &Context<'_>, survey: &Survey, from: u64) -> Result<Option<u64>> {
    let mut proposers: BTreeMap<Ulid, Proposer> = BTreeMap::new();
    let mut reads = ctx.read_slots(survey.slots.from(from).take(PROOF_SLOTS));
    let mut looked_at = 0;
    while let Some((slot, read, _entered)) = reads.next().await {
        looked_at += 1;
        let commit = match read.and_then(|object| Commit::decode(&paths::slot(slot), &object)) {
            Ok((commit, _)) => commit,
            // What it would have said is not known.
            Err(Error::Corrupt { .. } | Error::NotFound(_) | Error::Unsupported(_)) => continue,
            Err(error) => return Err(error),
        };
        let proposer = proposers.entry(commit.id.incarnation).or_default();
        if let Some(folded) = proposer.add(slot, commit.id.counter, commit.oldest_open) {
            return Ok(Some(folded));
        }
        if looked_at == PROOF_SLOTS {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}

fn report_gap(findings: &mut Findings, first: u64, last: u64, later: Option<u64>) {
    let (is, they) = if first == last { ("is", "it was") } else { ("are", "they were") };
    let seen = match later {
        Some(later) => format!("slot {later} was written and folded after {they}"),
        None => format!("checkpoint {last} was made when {they}"),
    };
    let what = match first == last {
        true => format!("slot {first} {is} not there, though {seen}"),
        false => format!("slots {first} to {last} {is} not there, though {seen}"),
    };
    findings
        .fault(Finding::new(Kind::SlotMissing, "J3", paths::slot(first), what, MISSING).slots(first, last));
}

fn warn_open_end(survey: &Survey, findings: &mut Findings, gap: &Gap) {
    let last = survey.slots.last().unwrap_or(gap.until);
    let what = format!(
        "this slot is empty while slots {} to {last} are filled: a proposer died or is at work; they were not acknowledged yet",
        gap.until
    );
    let advice = "nothing need be done, the next proposer fills it; if no node died or wrote just now, look whether somebody deleted it";
    let finding = Finding::new(Kind::OpenEnd, "J3", paths::slot(gap.from), what, advice);
    findings.warn(finding.slots(gap.from, last));
}
