//! Folding what is known of the slots, answering, and writing checkpoints.
//!
//! Must not know how slots are put or read. The manifest changes here and nowhere else, one slot after the other.

use std::sync::Arc;

use super::super::Shared;
use super::super::lease::{Loaded, unknown_level};
use super::super::retry;
use super::super::slots::Found;
use super::{Answer, Proposal, Sequencer, Slot};
use crate::env;
use crate::error::Result;
use crate::limits::{CHECKPOINT_BYTES_PER_COMMIT, DAY, FOLLOW_POLL};
use crate::manifest::checkpoint;
use crate::manifest::commit::{Change, Commit, Outcome};
use crate::manifest::state::{FEATURE_LEVEL, Manifest, ObjectId, apply};
use crate::metrics;
use crate::mutation::{self, Mutation};
use crate::paths;
use crate::rope::Rope;
use crate::store::Store;

impl Sequencer {
    /// Folds every slot that follows the folded ones without a gap.
    pub(super) fn fold_ready(&mut self) -> Result<()> {
        let mut answers = Vec::new();
        let mut applied = self.applied();
        while let Some(slot) = self.slots.remove(&(applied + 1)) {
            match slot {
                Slot::Open(_) => {
                    self.slots.insert(applied + 1, slot);
                    break;
                }
                Slot::Won(proposal, begun) => {
                    answers.extend(self.fold_ours(applied + 1, proposal)?);
                    self.lease.renew(begun);
                    // Where this node writes, others may.
                    (self.polled_at, self.poll_pause) = (tokio::time::Instant::now(), FOLLOW_POLL.0);
                    self.checkpoint_if_due(applied + 1);
                }
                Slot::Theirs(found) => self.fold_theirs(applied + 1, found)?,
            }
            applied += 1;
        }
        metrics::TAIL_LAG
            .set(self.slots.values().filter(|slot| !matches!(slot, Slot::Open(_))).count() as i64);
        if applied > self.applied() {
            metrics::APPLIED.set(applied as i64);
            self.shared.applied.send_replace(applied);
        }
        for (proposal, outcomes) in answers {
            answer(proposal, outcomes);
        }
        let (ready, rest) =
            std::mem::take(&mut self.caught_up).into_iter().partition(|(slot, _)| *slot <= applied);
        self.caught_up = rest;
        for (_, reply) in ready {
            // Nobody may be listening any more.
            let _ = reply.send(Ok(applied));
        }
        Ok(())
    }

    fn fold_ours(&mut self, slot: u64, mut proposal: Proposal) -> Result<Option<(Proposal, Vec<Outcome>)>> {
        let Some((commit, object)) = proposal.commit.take() else { return Ok(None) };
        let payload_at = (object.len() - proposal.payload.len()) as u64;
        if !proposal.payload.is_empty() {
            self.shared.tail.insert(ObjectId::Slot(slot), object);
        }
        // Asked before the fold, as the fold does: only then are its refusals for sequence numbers not the last word.
        let overtaken = self.shared.view(|manifest| manifest.overtaken(&commit));
        let outcomes = self.fold(slot, &commit, payload_at)?;
        if !overtaken || mutation::is(Mutation::OvertakenIsFinal) {
            return Ok(Some((proposal, outcomes)));
        }
        match retry::out_of_order(&commit.changes, &proposal.payload, outcomes) {
            Err(outcomes) => Ok(Some((proposal, outcomes))),
            Ok(again) => {
                metrics::REPROPOSED.inc_by(again.changes.len() as u64);
                proposal.changes = again.changes;
                proposal.payload = again.payload;
                proposal.partials.push(again.partial);
                self.waiting.insert(proposal.order, proposal);
                Ok(None)
            }
        }
    }

    fn fold_theirs(&mut self, slot: u64, Found { object, commit }: Found) -> Result<()> {
        let (commit, payload_at) = commit?;
        if object.len() as u64 > payload_at {
            self.shared.tail.insert(ObjectId::Slot(slot), object);
        }
        self.fold(slot, &commit, payload_at).map(drop)
    }

    fn fold(&self, slot: u64, commit: &Commit, payload_at: u64) -> Result<Vec<Outcome>> {
        metrics::FOLDED.inc();
        let outcomes = self.shared.change(|manifest| {
            // A rule that this program does not know must not be folded by the rules that it does.
            let level = commit.changes.iter().map(|change| match change {
                Change::FeatureLevel { level } => *level,
                _ => 0,
            });
            match level.max().filter(|level| *level > FEATURE_LEVEL) {
                Some(level) => Err(unknown_level(level)),
                None => Ok(apply(manifest, slot, commit, payload_at)),
            }
        })?;
        if mutation::is(Mutation::LocalClockInFold) {
            let now_ms = self.shared.store.env().wall_ms();
            self.shared.change(|manifest| manifest.now_ms = now_ms);
        }
        Ok(outcomes)
    }

    /// For [`Mutation::AckBeforeFold`].
    pub(super) fn answer_early(&self, slot: u64, proposal: &mut Proposal) {
        let Some((commit, object)) = &proposal.commit else { return };
        let payload_at = (object.len() - proposal.payload.len()) as u64;
        let outcomes = self.shared.view(|manifest| apply(&mut manifest.clone(), slot, commit, payload_at));
        let unheard = tokio::sync::oneshot::channel().0;
        let _ = std::mem::replace(&mut proposal.reply, unheard).send(Ok(outcomes));
    }

    /// The floor moved past us while we were away: go on from a newer manifest.
    pub(super) fn reload(&mut self, loaded: Loaded) -> Result<()> {
        let applied = loaded.manifest.applied;
        tracing::warn!(
            from = self.applied(),
            to = applied,
            "the journal was trimmed past this node, its manifest was loaded anew"
        );
        self.lease = loaded.lease;
        self.checkpointed = applied;
        self.shared.change(|manifest| *manifest = loaded.manifest);
        self.shared.applied.send_replace(applied);
        let above = self.slots.split_off(&(applied + 1));
        for (slot, known) in std::mem::replace(&mut self.slots, above) {
            match known {
                // Its answer is still to come, and will find the slot below the manifest.
                Slot::Open(_) => drop(self.slots.insert(slot, known)),
                Slot::Won(proposal, _) => self.put_again_unless_seen(proposal),
                Slot::Theirs(_) => {}
            }
        }
        // A read of deleted slots says nothing about the end: whoever waits for the end waits for a new one.
        self.unverified.retain(|answer| matches!(answer, Answer::Put(..)));
        self.read = None;
        self.read_ahead();
        self.fold_ready()
    }

    /// For a commit whose slot lies below the manifest: it took effect if its id was folded, else it is put again. After
    /// a day the manifest has forgotten which.
    pub(super) fn put_again_unless_seen(&mut self, proposal: Proposal) {
        let day_ms = DAY.as_millis() as i64;
        let decided = |commit: &Commit| {
            let forgotten =
                |manifest: &Manifest| manifest.now_ms.saturating_sub(commit.timestamp_ms) >= day_ms;
            self.shared.view(|manifest| manifest.has_seen(commit.id) || forgotten(manifest))
        };
        if proposal.commit.as_ref().is_some_and(|(commit, _)| decided(commit)) {
            // What the fold made of it was not seen here.
            proposal.give_up("this node slept while its commit was folded");
        } else {
            self.waiting.insert(proposal.order, proposal);
        }
    }

    /// The winner of a slot writes the checkpoint when it is due, beside everything else.
    fn checkpoint_if_due(&mut self, slot: u64) {
        // An extent takes about a dozen bytes in a checkpoint.
        let every = self.shared.view(|manifest| {
            (manifest.extents() as u64 * 12 / CHECKPOINT_BYTES_PER_COMMIT).max(self.shared.checkpoint_every)
        });
        if slot < self.checkpointed + every {
            return;
        }
        self.checkpointed = slot;
        let mut body = self.shared.view(checkpoint::encode);
        if mutation::is(Mutation::CheckpointTooFar) {
            body = self.shared.view(|manifest| {
                checkpoint::encode(&Manifest { applied: manifest.applied + 1, ..manifest.clone() })
            });
        }
        env::spawn(write_checkpoint(Arc::clone(&self.shared), slot, body.into()));
    }
}

async fn write_checkpoint(shared: Arc<Shared>, slot: u64, body: Rope) {
    if let Err(error) = put_checkpoint(&shared.store, slot, body).await {
        // The next one will do; starting takes a little longer until then.
        tracing::warn!(slot, %error, "cannot write a checkpoint");
    }
}

/// The manifest at `slot`, and the hint at it.
pub(in crate::manifest::journal) async fn put_checkpoint(store: &Store, slot: u64, body: Rope) -> Result<()> {
    store.create(&paths::checkpoint(slot), &body).await?;
    store.put(paths::LATEST, &Rope::from(bytes::Bytes::from(slot.to_string()))).await?;
    metrics::CHECKPOINTS.inc();
    Ok(())
}

fn answer(mut proposal: Proposal, mut outcomes: Vec<Outcome>) {
    while let Some(partial) = proposal.partials.pop() {
        outcomes = partial.complete(outcomes);
    }
    metrics::WAITING.dec();
    metrics::COMMIT_SECONDS.observe(proposal.begun.elapsed().as_secs_f64());
    // Nobody may be listening any more.
    let _ = proposal.reply.send(Ok(outcomes));
}
