//! Who reads what: from subscriptions and the assignment so far to a new target.
//!
//! Must not know epochs or how members are told. Invariants: every partition of a subscribed topic goes to exactly one
//! member that subscribes to it; the same input gives the same target on every node.

mod range;
mod uniform;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::topics::Partitions;

/// How partitions are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Assignor {
    /// As evenly as subscriptions allow, moving as few partitions as that takes.
    #[default]
    Uniform,
    /// Each topic in runs, in the order of the members: partitions of the same number meet at the same member.
    Range,
}

impl Assignor {
    /// All of them, the default first.
    pub(crate) const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Kafka's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// The target of each of the members, in their order. `topics`: how many partitions the topics have.
    pub(super) fn assign(self, members: &[Subscriber<'_>], topics: &BTreeMap<Uuid, u32>) -> Vec<Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(members, topics),
            Assignor::Range => range::assign(members, topics),
        }
    }
}

/// A member as an assignor sees it.
#[derive(Debug)]
pub(super) struct Subscriber<'a> {
    /// Its id, by which the members are ordered.
    pub(super) id: &'a str,
    /// `group.instance.id`.
    pub(super) instance_id: Option<&'a str>,
    /// Only topics that are there.
    pub(super) topics: &'a BTreeSet<Uuid>,
    /// Its target so far.
    pub(super) target: &'a Partitions,
}
