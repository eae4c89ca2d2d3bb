//! The journal part: every slot in order, its own checksums, and the fold against every checkpoint that it meets.
//!
//! Holds one manifest, and a second one only while it is open whether the journal or a checkpoint is wrong: the next
//! checkpoint tells. Below the floor nothing is a fault: slots there may be gone, or filled anew by a proposer that slept.
//! A slot that cannot be folded ends the fold until the next checkpoint; the slots in between are still looked at.

mod inline;

use std::ops::RangeInclusive;

use futures_util::StreamExt;

use super::context::Context;
use super::report::{Finding, Findings, JournalPart, Kind, Records};
use super::survey::Survey;
use super::{Part, Progress};
use crate::error::{Error, Result};
use crate::manifest::journal::unknown_level;
use crate::manifest::state::{FEATURE_LEVEL, apply};
use crate::manifest::{Change, Commit, Manifest, Outcome, checkpoint};
use crate::paths;
use crate::rope::Rope;
use inline::Damage;

const RESTORE_SLOT: &str =
    "restore the object from a copy or from the bucket's versions; nodes that must fold it stop until then";

pub(super) struct Walk<'a> {
    ctx: &'a Context<'a>,
    pub(super) manifest: Option<Manifest>,
    /// The manifest does not follow from the slots any more; the next checkpoint will.
    broken: bool,
    doubt: Option<Doubt>,
    /// The last slot at which fold and checkpoint agreed, or where the fold began.
    agreed: u64,
    floor: u64,
    pub(super) part: JournalPart,
    /// A checkpoint from which a node may start was met.
    pub(super) usable: bool,
    /// The next slot, if it was stopped.
    pub(super) stopped_at: Option<u64>,
}

/// A checkpoint that differs from the fold, and what it holds, folded on.
struct Doubt {
    slot: u64,
    since: u64,
    /// The slot that it says it is the state of.
    held: u64,
    theirs: Manifest,
}

impl<'a> Walk<'a> {
    pub(super) fn new(ctx: &'a Context<'a>, floor: u64) -> Walk<'a> {
        let (manifest, doubt, stopped_at) = (None, None, None);
        let (part, usable, agreed) = (JournalPart::default(), false, 0);
        Walk { ctx, manifest, broken: true, doubt, agreed, floor, part, usable, stopped_at }
    }

    /// Whether the manifest is the fold of everything up to `slot`.
    pub(super) fn reached(&self, slot: u64) -> bool {
        !self.broken && self.manifest.as_ref().is_some_and(|manifest| manifest.applied == slot)
    }

    /// Folds from the beginning of everything.
    pub(super) fn begin(&mut self) {
        self.manifest = Some(Manifest::default());
        (self.broken, self.agreed) = (false, 0);
        self.part.folded_from = Some(0);
    }

    /// Takes the newest good checkpoint from the floor to below `slot`. Gives the slot from which on to fold.
    pub(super) async fn begin_before(
        &mut self,
        survey: &Survey,
        findings: &mut Findings,
        slot: u64,
    ) -> Option<u64> {
        for found in survey.checkpoints.range(self.floor..slot).rev() {
            if self.adopt(findings, *found).await {
                self.part.folded_from = Some(*found);
                return Some(found + 1);
            }
        }
        None
    }

    /// Reads the slots of the range, those that are there.
    pub(super) async fn run(
        &mut self,
        survey: &mut Survey,
        findings: &mut Findings,
        range: RangeInclusive<u64>,
    ) {
        let ctx = self.ctx;
        let (first, last) = range.into_inner();
        self.part.slots = Some((first, last));
        let mut expected = first;
        let table = std::mem::take(&mut survey.slots);
        let slots = table.from(first).take_while(|(slot, _)| *slot <= last);
        let mut reads = ctx.read_slots(slots);
        while let Some((slot, read, _entered)) = reads.next().await {
            self.cross_gap(survey, findings, expected, slot).await;
            self.take(survey, findings, slot, read).await;
            if survey.checkpoints.contains(&slot) {
                self.meet(findings, slot).await;
            }
            expected = slot + 1;
            let (done, total) = (expected - first, last - first + 1);
            ctx.tell(&Progress { part: Part::Journal, done, total, faults: findings.faults.len() });
            if ctx.is_stopped() {
                self.stopped_at = Some(expected).filter(|next| *next <= last);
                // Whoever goes on meets the same checkpoint again, and then the next one.
                if let Some(doubt) = self.doubt.take_if(|_| self.stopped_at.is_some()) {
                    self.stopped_at = Some(doubt.slot);
                }
                break;
            }
        }
        drop(reads);
        survey.slots = table;
        if self.stopped_at.is_none() {
            self.cross_gap(survey, findings, expected, last + 1).await;
        }
        self.settle(findings, None);
    }

    /// Slots that are not there end the fold; a checkpoint among them begins it anew.
    async fn cross_gap(&mut self, survey: &Survey, findings: &mut Findings, from: u64, below: u64) {
        if from >= below {
            return;
        }
        self.break_off(findings);
        for slot in survey.checkpoints.range(from..below).rev() {
            if self.adopt(findings, *slot).await {
                // Slots behind it are missing too: this is as far as anybody comes.
                self.broken = slot + 1 != below;
                return;
            }
        }
    }

    async fn take(&mut self, survey: &mut Survey, findings: &mut Findings, slot: u64, read: Result<Rope>) {
        let key = paths::slot(slot);
        match self.decode_twice(&key, read).await {
            Ok((commit, payload_at, object)) => {
                self.part.slots_read += 1;
                self.fold(findings, slot, &commit, payload_at, &object).await;
            }
            Err(Error::NotFound(_)) => {
                self.break_off(findings);
                self.vanished(survey, findings, slot).await;
            }
            Err(Error::Corrupt { what, .. }) => {
                self.break_off(findings);
                let finding = Finding::new(Kind::SlotDamaged, "J3", key, what, RESTORE_SLOT);
                findings.fault_if(slot >= self.floor, finding.slots(slot, slot));
            }
            Err(error) => {
                self.break_off(findings);
                self.ctx.failed(findings, &key, &error);
            }
        }
    }

    /// What is damaged is read again: the bytes may have changed on the way.
    async fn decode_twice(&self, key: &str, read: Result<Rope>) -> Result<(Commit, u64, Rope)> {
        let mut object = read?;
        let mut decoded = decode(key, &object);
        if matches!(decoded, Err(Error::Corrupt { .. })) {
            object = self.ctx.read(key).await?;
            decoded = decode(key, &object);
        }
        decoded.map(|(commit, payload_at)| (commit, payload_at, object))
    }
    async fn fold(
        &mut self,
        findings: &mut Findings,
        slot: u64,
        commit: &Commit,
        payload_at: u64,
        object: &Rope,
    ) {
        let mut damage = inline::check(commit, payload_at, object);
        if !damage.is_empty()
            && let Ok(again) = self.ctx.read(&paths::slot(slot)).await
        {
            damage = inline::check(commit, payload_at, &again);
        }
        let mut outcomes = Vec::new();
        if let Some(manifest) = self.manifest.as_mut().filter(|_| !self.broken) {
            outcomes = apply(manifest, slot, commit, payload_at);
        }
        if let Some(doubt) = &mut self.doubt {
            apply(&mut doubt.theirs, slot, commit, payload_at);
        }
        for damage in damage {
            self.inline_damage(findings, slot, &damage, outcomes.get(damage.change));
        }
    }

    fn inline_damage(&self, findings: &mut Findings, slot: u64, damage: &Damage, outcome: Option<&Outcome>) {
        let mut records = Records::unplaced(damage.topic, damage.partition);
        let topic = self.manifest.as_ref().and_then(|manifest| manifest.topic(&damage.topic));
        records.topic = topic.map(|topic| topic.name.clone()).unwrap_or_default();
        let mut read = true;
        if let Some(outcome) = outcome {
            records.offsets = damage.offsets(outcome);
            read = records.offsets.is_some();
        }
        let advice = "restore the object from a copy or from the bucket's versions; until then reading these offsets fails";
        let finding =
            Finding::new(Kind::InlineRunDamaged, "J3", paths::slot(slot), damage.what.clone(), advice);
        // What the fold refused is never read.
        findings.fault_if(read && slot >= self.floor, finding.slots(slot, slot).records(Some(records)));
    }

    /// A slot that was listed is gone: the floor may have passed it meanwhile.
    async fn vanished(&mut self, survey: &mut Survey, findings: &mut Findings, slot: u64) {
        if slot < self.floor {
            return;
        }
        if let Err(error) = survey.renew(self.ctx).await {
            return self.ctx.failed(findings, &paths::slot(slot), &error);
        }
        self.floor = self.floor.max(survey.highest_floor());
        if slot >= self.floor {
            let what = format!(
                "slot {slot} was there when this scrub began and is gone, and no floor lies above it"
            );
            let advice = "find out who deletes from the journal, and restore the object at once";
            let finding = Finding::new(Kind::SlotMissing, "J3", paths::slot(slot), what, advice);
            findings.fault(finding.slots(slot, slot));
        }
    }

    fn break_off(&mut self, findings: &mut Findings) {
        self.settle(findings, None);
        self.broken = true;
    }

    /// The fold has come to a slot that has a checkpoint.
    async fn meet(&mut self, findings: &mut Findings, slot: u64) {
        let Some(manifest) = self.manifest.as_ref().filter(|_| !self.broken) else {
            self.adopt(findings, slot).await;
            return;
        };
        let ours = checkpoint::encode(manifest);
        let theirs = match self.read_checkpoint(slot, Some(&ours)).await {
            Ok(None) => None,
            Ok(Some(theirs)) => Some(theirs).filter(|theirs| theirs != manifest),
            Err(error) => return self.checkpoint_failed(findings, slot, error),
        };
        self.part.checkpoints_compared += 1;
        match theirs {
            None => {
                self.usable |= slot >= self.floor;
                self.settle(findings, Some(true));
                self.agreed = slot;
            }
            Some(theirs) => self.differs(findings, slot, theirs),
        }
    }

    fn differs(&mut self, findings: &mut Findings, slot: u64, theirs: Manifest) {
        if self.agreed + 1 < self.floor {
            let what = format!(
                "slots {} to {slot} do not fold to this checkpoint; some of them lie below the floor {}, where a proposer that slept may have filled a deleted slot anew",
                self.agreed + 1,
                self.floor
            );
            let advice = "nothing need be done: nobody reads slots below the floor";
            findings.warn(
                Finding::new(Kind::HistoryDiffers, "J2", paths::checkpoint(slot), what, advice)
                    .slots(self.agreed + 1, slot),
            );
            self.broken = slot < self.floor;
            self.usable |= !self.broken;
            (self.manifest, self.agreed) = (Some(theirs), slot);
            return;
        }
        self.usable |= theirs.applied == slot;
        let confirmed = self.doubt.as_ref().is_some_and(|doubt| doubt.theirs == theirs);
        if confirmed {
            self.settle(findings, Some(false));
            self.manifest = Some(theirs);
            self.agreed = slot;
            return;
        }
        self.settle(findings, None);
        self.doubt = Some(Doubt { slot, since: self.agreed, held: theirs.applied, theirs });
    }

    /// What is to be said of a checkpoint that differed: `Some(true)`: the fold was right; `None`: nobody can tell.
    fn settle(&mut self, findings: &mut Findings, fold_is_right: Option<bool>) {
        let Some(Doubt { slot, since, held, .. }) = self.doubt.take() else { return };
        let (first, key) = (since + 1, paths::checkpoint(slot));
        let (kind, what, advice) = match fold_is_right {
            Some(false) => (
                Kind::HistoryDiffers,
                format!(
                    "slots {first} to {slot} do not give this checkpoint, and later ones follow from it: slots were changed after it was made"
                ),
                "restore these slots from a copy or from the bucket's versions; nodes that started from this checkpoint are right",
            ),
            Some(true) => (
                Kind::CheckpointDiffers,
                format!(
                    "it holds another state than slots {first} to {slot} give, and the next checkpoint agrees with the slots"
                ),
                "delete this checkpoint after the nodes that started from it are stopped: they serve a wrong state",
            ),
            None if held != slot => (
                Kind::CheckpointDiffers,
                format!("it holds the state of slot {held}, not of {slot}"),
                "delete this checkpoint after the nodes that started from it are stopped",
            ),
            None => (
                Kind::CheckpointDiffers,
                format!(
                    "it holds another state than slots {first} to {slot} give; no later checkpoint tells which of them is wrong"
                ),
                "stop all nodes, compare the slots and this checkpoint with a copy, and restore what differs from it",
            ),
        };
        findings.fault(Finding::new(kind, "J2", key, what, advice).slots(first, slot));
    }

    /// Goes on from a checkpoint, which cannot be compared with anything.
    async fn adopt(&mut self, findings: &mut Findings, slot: u64) -> bool {
        match self.read_checkpoint(slot, None).await {
            Ok(Some(manifest)) if manifest.applied == slot => {
                (self.manifest, self.broken, self.agreed) = (Some(manifest), false, slot);
                self.part.folded_from.get_or_insert(slot);
                self.usable |= slot >= self.floor;
                let key = paths::checkpoint(slot);
                findings
                    .not_checked(format!("{key} was taken as it is, not compared with the slots before it"));
                true
            }
            Ok(Some(manifest)) => {
                let what = format!("it holds the state of slot {}, not of {slot}", manifest.applied);
                let advice = "delete this checkpoint after the nodes that started from it are stopped";
                let finding =
                    Finding::new(Kind::CheckpointDiffers, "J2", paths::checkpoint(slot), what, advice);
                findings.fault_if(slot >= self.floor, finding.slots(slot, slot));
                false
            }
            Ok(None) => false,
            Err(error) => {
                self.checkpoint_failed(findings, slot, error);
                false
            }
        }
    }

    /// What a checkpoint holds; `None`: exactly `expected`.
    async fn read_checkpoint(&self, slot: u64, expected: Option<&[u8]>) -> Result<Option<Manifest>> {
        let key = paths::checkpoint(slot);
        let mut tried = 0;
        loop {
            tried += 1;
            let body = self.ctx.read(&key).await?.to_bytes();
            if expected.is_some_and(|expected| expected == body) {
                return Ok(None);
            }
            match checkpoint::decode(&key, &body) {
                Ok(manifest) if manifest.feature_level > FEATURE_LEVEL => {
                    return Err(unknown_level(manifest.feature_level));
                }
                Err(Error::Corrupt { .. }) if tried == 1 => {}
                decided => return decided.map(Some),
            }
        }
    }

    fn checkpoint_failed(&self, findings: &mut Findings, slot: u64, error: Error) {
        let key = paths::checkpoint(slot);
        match error {
            // The collector may remove all but the newest.
            Error::NotFound(_) => {}
            Error::Corrupt { what, .. } => {
                let advice = "delete it: nodes then start from another one";
                let finding = Finding::new(Kind::CheckpointDamaged, "J2", key, what, advice);
                findings.fault_if(slot >= self.floor, finding.slots(slot, slot));
            }
            error => self.ctx.failed(findings, &key, &error),
        }
    }
}

fn decode(key: &str, object: &Rope) -> Result<(Commit, u64)> {
    let (commit, payload_at) = Commit::decode(key, object)?;
    let levels = commit.changes.iter().filter_map(|change| match change {
        Change::FeatureLevel { level } => Some(*level),
        _ => None,
    });
    match levels.max().filter(|level| *level > FEATURE_LEVEL) {
        Some(level) => Err(unknown_level(level)),
        None => Ok((commit, payload_at)),
    }
}
