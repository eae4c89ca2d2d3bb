//! What is in the bucket, as listings show it: slots, checkpoints, floors, and what is none of ours.
//!
//! Must not know the fold. Checkpoints are listed before the journal, so that the journal must reach all of them; floors
//! are read after it, so that a slot that was gone by then lies below the newest of them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use futures_util::{StreamExt, stream};

use super::context::Context;
use super::report::{Finding, Findings, Kind, Unknown};
use super::slots::SlotTable;
use crate::error::{Error, Result};
use crate::manifest::floor;
use crate::manifest::journal::read_cluster;
use crate::paths;
use crate::store::Listed;

/// Unknown objects that are counted; their keys that are shown.
const MOST_UNKNOWN: u64 = 100_000;
const SHOWN_UNKNOWN: usize = 10;
/// Folders that this scrub looks into.
const FOLDERS: [&str; 6] = ["journal", "checkpoint", "floor", "segment", "chunk", "index"];
/// Ours too; hints, scratch objects and tables, on which the log does not rely.
const HINTS: [&str; 3] = ["node", "probe", "table"];
/// Ours too, and of a later version than this scrub.
const LATER: [&str; 1] = ["inbox"];

#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) slots: SlotTable,
    pub(super) checkpoints: BTreeSet<u64>,
    /// What the floor objects name.
    floors: Vec<u64>,
    next_floor: u64,
    pub(super) unknown: Unknown,
}

impl Survey {
    pub(super) async fn take(ctx: &Context<'_>, findings: &mut Findings) -> Result<Survey> {
        let mut survey =
            Survey { unknown: Unknown { complete: true, ..Unknown::default() }, ..Survey::default() };
        survey.list_checkpoints(ctx).await?;
        survey.list_slots(ctx).await?;
        survey.list_floors(ctx, findings).await?;
        survey.check_cluster(ctx, findings).await?;
        survey.check_hint(ctx, findings).await;
        survey.list_others(ctx, findings).await?;
        Ok(survey)
    }

    /// The newest floor that does not lie above `tail`.
    pub(super) fn floor(&self, tail: u64) -> u64 {
        self.floors.iter().copied().filter(|floor| *floor <= tail).max().unwrap_or(0)
    }

    pub(super) fn highest_floor(&self) -> u64 {
        self.floors.iter().copied().max().unwrap_or(0)
    }

    /// Looks again: the collector may have been at work.
    pub(super) async fn renew(&mut self, ctx: &Context<'_>) -> Result<()> {
        self.list_checkpoints(ctx).await?;
        loop {
            let key = paths::floor(self.next_floor);
            match ctx.read(&key).await {
                Ok(body) => self.floors.push(floor::decode(&key, &body.to_bytes())?),
                Err(Error::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
            self.next_floor += 1;
        }
    }

    async fn check_cluster(&self, ctx: &Context<'_>, findings: &mut Findings) -> Result<()> {
        let missing = match ctx.read(paths::CLUSTER).await.and_then(|body| read_cluster(&body)) {
            Ok(_) => return Ok(()),
            Err(error @ Error::NotFound(_)) if self.slots.last().is_none() && self.checkpoints.is_empty() => {
                return Err(error);
            }
            Err(Error::NotFound(_)) => "it is not there, though a journal is".to_owned(),
            Err(Error::Corrupt { what, .. }) => format!("it does not decode: {what}"),
            Err(error) => return Err(error),
        };
        let advice = "restore it from a copy before a node starts: without it a node makes another cluster of this prefix";
        findings.fault(Finding::new(Kind::Cluster, "D1", paths::CLUSTER, missing, advice));
        Ok(())
    }

    async fn list_checkpoints(&mut self, ctx: &Context<'_>) -> Result<()> {
        let (mut slots, mut unknown) = (BTreeSet::new(), Unknown::default());
        ctx.list(paths::CHECKPOINTS, |found| {
            match paths::numbered(&found.key, paths::CHECKPOINTS) {
                Some(slot) => drop(slots.insert(slot)),
                None if found.key == paths::LATEST => {}
                None => note(&mut unknown, found),
            }
            ControlFlow::Continue(())
        })
        .await?;
        // Only the first of several looks counts what is unknown.
        if self.checkpoints.is_empty() {
            self.join_unknown(unknown);
        }
        self.checkpoints = slots;
        Ok(())
    }

    async fn list_slots(&mut self, ctx: &Context<'_>) -> Result<()> {
        let (slots, unknown) = (&mut self.slots, &mut self.unknown);
        ctx.list("journal", |found| {
            match paths::numbered(&found.key, "journal") {
                Some(slot) => slots.insert(slot, found.size),
                None => note(unknown, found),
            }
            ControlFlow::Continue(())
        })
        .await
    }

    async fn list_floors(&mut self, ctx: &Context<'_>, findings: &mut Findings) -> Result<()> {
        let (mut numbers, unknown) = (BTreeSet::new(), &mut self.unknown);
        ctx.list("floor", |found| {
            match paths::numbered(&found.key, "floor") {
                Some(k) => drop(numbers.insert(k)),
                None => note(unknown, found),
            }
            ControlFlow::Continue(())
        })
        .await?;
        let mut reads = stream::iter(&numbers)
            .map(|k| async move { (*k, read_floor(ctx, *k).await) })
            .buffered(ctx.width);
        while let Some((k, read)) = reads.next().await {
            self.take_floor(ctx, findings, k, read);
        }
        Ok(())
    }

    fn take_floor(&mut self, ctx: &Context<'_>, findings: &mut Findings, k: u64, read: Result<u64>) {
        let key = paths::floor(k);
        if k > self.next_floor {
            let what = format!("floors from {} on are not there, though {k} is", self.next_floor);
            let advice =
                "restore them from a copy: floors are never deleted, and a node that sleeps relies on them";
            let missing = paths::floor(self.next_floor);
            findings.fault(Finding::new(Kind::FloorMissing, "J7", missing, what, advice));
        }
        self.next_floor = k.saturating_add(1);
        match read {
            Ok(slot) => {
                let before = self.highest_floor();
                if slot < before {
                    let what = format!("it names slot {slot}, below {before} that an earlier one names");
                    let advice = "find out what wrote it: floors only rise; nodes go by the highest";
                    findings
                        .fault(Finding::new(Kind::FloorMisplaced, "J7", key, what, advice).slots(slot, slot));
                }
                self.floors.push(slot);
            }
            Err(Error::Corrupt { what, .. }) => {
                let advice = "restore it from a copy: nodes that read it stop";
                findings.fault(Finding::new(Kind::FloorDamaged, "J7", key, what, advice));
            }
            Err(error) => ctx.failed(findings, &key, &error),
        }
    }

    /// The hint may be stale or absent without harm, but it must be a slot.
    async fn check_hint(&self, ctx: &Context<'_>, findings: &mut Findings) {
        let hint = match ctx.read(paths::LATEST).await {
            Ok(hint) => hint.to_bytes(),
            Err(Error::NotFound(_)) => return,
            Err(error) => return ctx.failed(findings, paths::LATEST, &error),
        };
        let slot = std::str::from_utf8(&hint).ok().and_then(|text| text.trim().parse::<u64>().ok());
        if slot.is_none() {
            let advice =
                "nothing need be done: nodes start a little slower until the next checkpoint is written";
            let what = "the hint at the newest checkpoint is not a slot";
            findings.warn(Finding::new(Kind::HintDamaged, "J2", paths::LATEST, what, advice));
        }
    }

    async fn list_others(&mut self, ctx: &Context<'_>, findings: &mut Findings) -> Result<()> {
        let (folders, objects) = ctx.list_level("").await?;
        for found in objects.into_iter().filter(|found| found.key != paths::CLUSTER) {
            note(&mut self.unknown, found);
        }
        for folder in folders {
            match folder.as_str() {
                "segment" => self.list_foreign_shards(ctx).await?,
                known if FOLDERS.contains(&known) || HINTS.contains(&known) => {}
                later if LATER.contains(&later) => {
                    if !ctx.store.list(later, 1).await?.is_empty() {
                        findings
                            .not_checked(format!("{later}/: this version does not know what is in there"));
                    }
                }
                foreign => self.list_foreign(ctx, foreign).await?,
            }
        }
        Ok(())
    }

    async fn list_foreign_shards(&mut self, ctx: &Context<'_>) -> Result<()> {
        let (shards, objects) = ctx.list_level("segment").await?;
        objects.into_iter().for_each(|found| note(&mut self.unknown, found));
        for name in shards {
            let ours = u8::from_str_radix(&name, 16).is_ok_and(|shard| format!("{shard:02x}") == name);
            if !ours {
                self.list_foreign(ctx, &format!("segment/{name}")).await?;
            }
        }
        Ok(())
    }

    async fn list_foreign(&mut self, ctx: &Context<'_>, folder: &str) -> Result<()> {
        let unknown = &mut self.unknown;
        ctx.list(folder, |found| {
            if unknown.count.objects >= MOST_UNKNOWN {
                unknown.complete = false;
                return ControlFlow::Break(());
            }
            note(unknown, found);
            ControlFlow::Continue(())
        })
        .await
    }

    pub(super) fn join_unknown(&mut self, other: Unknown) {
        self.unknown.count.join(other.count);
        let room = SHOWN_UNKNOWN.saturating_sub(self.unknown.first.len());
        self.unknown.first.extend(other.first.into_iter().take(room));
    }
}

/// Counts an object that is none of ours.
pub(super) fn note(unknown: &mut Unknown, found: Listed) {
    unknown.count.add(found.size);
    if unknown.first.len() < SHOWN_UNKNOWN {
        unknown.first.push(found.key);
    }
}

async fn read_floor(ctx: &Context<'_>, k: u64) -> Result<u64> {
    let key = paths::floor(k);
    let mut read = Err(Error::NotFound(key.clone()));
    // What does not decode is read again: the bytes may have changed on the way.
    for _ in 0..2 {
        read = floor::decode(&key, &ctx.read(&key).await?.to_bytes());
        if !matches!(read, Err(Error::Corrupt { .. })) {
            break;
        }
    }
    read
}
