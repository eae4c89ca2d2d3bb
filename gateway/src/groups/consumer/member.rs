//! One member of a group: what it wants, what it holds, and its next step towards its target.
//!
//! Must not know other members or the wire. Invariant: a partition that the member was told to hold is its own until
//! the member says that it has given it up, or is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::SESSION_TIMEOUT;
use super::assignor::Assignor;
use super::topics::Partitions;

/// The epoch of a heartbeat that joins.
pub(crate) const JOIN: i32 = 0;
/// The epoch of a heartbeat that leaves.
pub(super) const LEAVE: i32 = -1;
/// The epoch of a static member that leaves for a while.
pub(super) const LEAVE_STATIC: i32 = -2;

/// Where a member stands on its way to its target (KIP-848).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Step {
    /// It holds what it was told to hold, and that is its target as of its epoch.
    #[default]
    Stable,
    /// It was told to give partitions up and has not said that it did.
    Unrevoked,
    /// Others still hold partitions of its target.
    Unreleased,
}

/// What a member says of itself that speaks the classic protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Classic {
    /// Its session, milliseconds.
    pub(super) session_ms: i32,
    /// Best first. The first one is the one it goes by.
    pub(super) protocols: Vec<(String, Bytes)>,
}

impl Classic {
    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.protocols.iter().map(|(name, data)| name.len() + data.len() + 64).sum()
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rack: Option<String>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) names: BTreeSet<String>,
    /// Empty: none.
    pub(super) regex: String,
    pub(super) assignor: Option<Assignor>,
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) step: Step,
    /// What it was told to hold.
    pub(super) assigned: Partitions,
    /// What it was told to give up.
    pub(super) revoking: Partitions,
    /// What it is to hold in the end.
    pub(super) target: Partitions,
    /// It speaks the classic protocol; none: the new one.
    pub(super) classic: Option<Classic>,
}

impl Member {
    /// The same, back under another id.
    pub(super) fn renamed(&self, id: &str) -> Member {
        Member { id: id.to_owned(), epoch: 0, previous_epoch: 0, ..self.clone() }
    }

    /// The classic protocol that it goes by, and what it says of itself in it.
    pub(super) fn protocol(&self) -> Option<&(String, Bytes)> {
        self.classic.as_ref().and_then(|classic| classic.protocols.first())
    }

    /// Silence after which it is gone.
    pub(super) fn session(&self) -> Duration {
        let milliseconds = |classic: &Classic| classic.session_ms.max(0).unsigned_abs().into();
        self.classic.as_ref().map_or(SESSION_TIMEOUT, |classic| Duration::from_millis(milliseconds(classic)))
    }

    /// Time that it has to do what it is asked to.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.rebalance_timeout_ms.max(0).unsigned_abs().into())
    }

    /// Goes on towards the target, if it can. `owned`: what the member says it holds, if it says so; `held`: whether
    /// somebody else holds a partition.
    pub(super) fn reconcile(
        &mut self,
        target_epoch: i32,
        owned: Option<&Partitions>,
        held: impl Fn(&(Uuid, u32)) -> bool,
    ) {
        match self.step {
            Step::Stable if self.epoch == target_epoch => {}
            Step::Stable | Step::Unreleased => self.advance(self.epoch, target_epoch, owned, held),
            Step::Unrevoked => {
                // Silence about what it holds is no word that it gave anything up.
                if owned.is_some_and(|owned| owned.is_disjoint(&self.revoking)) {
                    self.advance(self.epoch + 1, target_epoch, owned, held);
                }
            }
        }
    }

    fn advance(
        &mut self,
        epoch: i32,
        target_epoch: i32,
        owned: Option<&Partitions>,
        held: impl Fn(&(Uuid, u32)) -> bool,
    ) {
        let revoking = &self.assigned - &self.target;
        let kept = &self.assigned & &self.target;
        // What the member does not hold any more needs no revocation.
        if !revoking.is_empty() && owned.is_none_or(|owned| !owned.is_disjoint(&revoking)) {
            self.set_epoch(epoch);
            (self.step, self.assigned, self.revoking) = (Step::Unrevoked, kept, revoking);
            return;
        }
        let (unreleased, free): (Partitions, Partitions) =
            (&self.target - &kept).into_iter().partition(|of| held(of));
        self.set_epoch(target_epoch);
        self.step = if unreleased.is_empty() { Step::Stable } else { Step::Unreleased };
        self.assigned = &kept | &free;
        self.revoking = Partitions::new();
    }

    fn set_epoch(&mut self, epoch: i32) {
        if self.epoch != epoch {
            self.previous_epoch = self.epoch;
            self.epoch = epoch;
        }
    }

    /// Everything that nobody else may be given.
    pub(super) fn holds(&self) -> impl Iterator<Item = &(Uuid, u32)> {
        self.assigned.iter().chain(&self.revoking)
    }

    /// Whether it has its target of this epoch.
    pub(super) fn is_settled(&self, target_epoch: i32) -> bool {
        self.step == Step::Stable && self.epoch == target_epoch
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let partitions = self.assigned.len() + self.revoking.len() + self.target.len();
        let names: usize = self.names.iter().map(|name| name.len() + 24).sum();
        let texts = self.id.len() * 2 + self.client_id.len() + self.client_host.len() + self.regex.len();
        let protocols = self.classic.as_ref().map_or(0, Classic::bytes);
        // A partition stands in the sets of the member, and who holds it, with the member's id, in the group's.
        512 + texts + names + protocols + partitions * (size_of::<(Uuid, u32)>() + 32 + self.id.len())
    }

    /// Whether a heartbeat of this epoch is its own. The answer to its last one may have been lost: then it comes with
    /// the epoch before, and holds no more than it was told.
    pub(super) fn accepts(&self, epoch: i32, owned: Option<&Partitions>) -> bool {
        let answer_lost =
            || epoch == self.previous_epoch && owned.is_some_and(|owned| owned.is_subset(&self.assigned));
        epoch == self.epoch || (epoch < self.epoch && answer_lost())
    }
}
