//! The members of a group, who holds which partition, and what of it the manifest does not know yet.
//!
//! Must not know epochs or time. Invariant: whatever changes is noted, so that one change of the group carries all that
//! came together since the last one.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::member::Member;

/// All members.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<String, Member>,
    holders: BTreeMap<(Uuid, u32), String>,
    bytes: usize,
    /// Put or removed since the manifest was told.
    changed: BTreeSet<String>,
}

impl Members {
    /// Those that the manifest knows.
    pub(super) fn load(members: Vec<Member>) -> Members {
        let mut loaded = Members::found(members);
        loaded.changed.clear();
        loaded
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    /// The static member with this instance id, which has this member id most of the time.
    pub(super) fn instance(&self, instance_id: &str, id: &str) -> Option<&Member> {
        let is = |member: &&Member| member.instance_id.as_deref() == Some(instance_id);
        self.get(id).filter(is).or_else(|| self.by_id.values().find(is))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    /// Members that the manifest knows nothing of yet.
    pub(super) fn found(members: Vec<Member>) -> Members {
        let mut found = Members::default();
        for member in members {
            found.put(member);
        }
        found
    }

    /// Whether somebody speaks the new protocol.
    pub(super) fn any_new(&self) -> bool {
        self.by_id.values().any(|member| member.classic.is_none())
    }

    /// Bytes that they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether somebody does not have its target of this epoch.
    pub(super) fn unsettled(&self, target_epoch: i32) -> bool {
        self.by_id.values().any(|member| !member.is_settled(target_epoch))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether somebody else than this member holds the partition.
    pub(super) fn holds_other(&self, of: &(Uuid, u32), id: &str) -> bool {
        self.holders.get(of).is_some_and(|holder| holder != id)
    }

    /// Puts a member in the place of the one with its id.
    pub(super) fn put(&mut self, member: Member) {
        if self.by_id.get(&member.id) == Some(&member) {
            return;
        }
        self.release(&member.id);
        self.bytes += member.bytes();
        for of in member.holds() {
            self.holders.insert(*of, member.id.clone());
        }
        self.changed.insert(member.id.clone());
        self.by_id.insert(member.id.clone(), member);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        self.release(id);
        let member = self.by_id.remove(id)?;
        self.changed.insert(member.id.clone());
        Some(member)
    }

    /// Forgets what the member that has this id so far holds and takes.
    fn release(&mut self, id: &str) {
        let Some(member) = self.by_id.get(id) else { return };
        self.bytes -= member.bytes();
        for of in member.holds() {
            if self.holders.get(of).is_some_and(|holder| holder == id) {
                self.holders.remove(of);
            }
        }
    }

    /// The members put and the ids removed that the manifest does not know.
    pub(super) fn changes(&self) -> (Vec<&Member>, Vec<String>) {
        let (put, removed): (Vec<_>, Vec<_>) =
            self.changed.iter().partition(|id| self.by_id.contains_key(*id));
        let put = put.into_iter().filter_map(|id| self.by_id.get(id)).collect();
        (put, removed.into_iter().cloned().collect())
    }

    /// The manifest knows all of it.
    pub(super) fn told(&mut self) {
        self.changed.clear();
    }
}
