//! Groups in the order of the journal: every state of every committed offset, and who owned what in which generation.
//!
//! Must not know the clients. An owner is a member, or the static member that it stands for: its id changes when its
//! process starts again.

use std::collections::BTreeMap;

use strandline_core::manifest::{Change, Commit, Manifest, Outcome};
use uuid::Uuid;

use crate::history::OfGroup;
use crate::member::numbers;

/// One state of a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// -1: none.
    pub(crate) offset: i64,
    /// The metadata; empty: none.
    pub(crate) commit: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// All states after the first one, which is that nothing was committed.
    pub(crate) states: BTreeMap<OfGroup, Vec<State>>,
    /// How often a group began. Whoever comes after it has expired begins at generation 1 again.
    pub(crate) lives: BTreeMap<String, u32>,
    /// Of each group, life and generation: partition and owner.
    pub(crate) owners: BTreeMap<(String, u32, i32), BTreeMap<u32, String>>,
}

impl Commits {
    /// Takes the next commit, which was folded into the manifest already. Says what is wrong.
    pub(super) fn fold(&mut self, commit: &Commit, outcomes: &[Outcome], manifest: &Manifest) -> Vec<String> {
        let mut broken = Vec::new();
        let mut touched = false;
        for (change, outcome) in commit.changes.iter().zip(outcomes) {
            match (change, outcome) {
                (Change::CommitOffsets(commit), Outcome::Applied) => {
                    let there = |topic: &Uuid, partition| manifest.partition(topic, partition).is_some();
                    for one in commit.offsets.iter().filter(|one| there(&one.topic, one.partition)) {
                        let of = (commit.group.clone(), one.topic, one.partition);
                        let state = State { offset: one.offset, commit: one.metadata.clone() };
                        self.states.entry(of).or_default().push(state);
                    }
                }
                (Change::UpdateGroup(update), Outcome::GroupVersion(_)) => {
                    *self.lives.entry(update.group.clone()).or_default() +=
                        u32::from(update.seen_version == 0);
                    self.assigned(&update.group, manifest, &mut broken);
                }
                _ => {}
            }
            touched |= !matches!(change, Change::Append(_));
        }
        // Time makes offsets expire, too.
        if touched || !self.states.is_empty() {
            self.compare(manifest);
        }
        broken
    }

    /// What was deleted or has expired is a state, too.
    fn compare(&mut self, manifest: &Manifest) {
        for ((group, topic, partition), states) in &mut self.states {
            let held = manifest.group(group).and_then(|group| group.offsets.get(&(*topic, *partition)));
            let now = match held {
                Some(held) => State { offset: held.offset, commit: held.metadata.clone() },
                None => State { offset: -1, commit: String::new() },
            };
            if states.last() != Some(&now) {
                states.push(now);
            }
        }
    }

    fn assigned(&mut self, name: &str, manifest: &Manifest, broken: &mut Vec<String>) {
        let Some(group) = manifest.group(name) else { return };
        let life = self.lives.get(name).copied().unwrap_or_default();
        for member in group.members.values().filter(|member| member.epoch == group.epoch) {
            let owner = member.instance_id.as_ref().unwrap_or(&member.id);
            let owners = self.owners.entry((name.to_owned(), life, group.epoch)).or_default();
            for partition in numbers(&member.assignment).unwrap_or_default() {
                let other = owners.insert(partition, owner.clone()).filter(|other| other != owner);
                if let Some(other) = other {
                    broken.push(format!(
                        "{owner} and {other} own {partition} of {name} in generation {}",
                        group.epoch
                    ));
                }
            }
        }
    }
}
