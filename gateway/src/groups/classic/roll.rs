//! The members of a group by id, by instance id, and what they have in common.
//!
//! Must not know the protocol. Invariant: the counts are those of the members: a group of thousands is never counted
//! through because one of them asks.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use strandline_kafka::error::ErrorCode;

use super::Ticket;
use super::member::Member;

#[derive(Debug, Default)]
pub(super) struct Roll {
    members: BTreeMap<String, Member>,
    /// From instance id to member id.
    instances: BTreeMap<String, String>,
    /// How many members speak each protocol.
    spoken: BTreeMap<String, usize>,
    joining: usize,
    bytes: usize,
}

impl Roll {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Members whose JoinGroup waits.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    pub(super) fn get(&self, id: &str) -> Option<&Member> {
        self.members.get(id)
    }

    /// For everything but what is counted: protocols, assignment, joining.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// As [`Roll::get_mut`].
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    /// The member that has this instance id.
    pub(super) fn instance(&self, instance_id: &str) -> Option<&str> {
        self.instances.get(instance_id).map(String::as_str)
    }

    /// Whether a client is who it says it is.
    pub(super) fn check(&self, id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.instance(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get(id).map(|_| ()).ok_or(ErrorCode::UnknownMemberId)
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.remove(&member.id);
        self.bytes += member.bytes();
        self.joining += usize::from(member.joining.is_some());
        for (name, _) in &member.protocols {
            *self.spoken.entry(name.clone()).or_default() += 1;
        }
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(instance_id.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        self.bytes -= member.bytes();
        self.joining -= usize::from(member.joining.is_some());
        for (name, _) in &member.protocols {
            if let Some(count) = self.spoken.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.spoken.remove(name);
                }
            }
        }
        if let Some(instance_id) = &member.instance_id {
            self.instances.remove(instance_id);
        }
        Some(member)
    }

    /// The JoinGroup of the member no longer waits.
    pub(super) fn take_joining(&mut self, id: &str) -> Option<Ticket> {
        let before = self.members.get_mut(id)?.joining.take();
        self.joining -= usize::from(before.is_some());
        before
    }

    pub(super) fn assign(&mut self, id: &str, assignment: Bytes) {
        if let Some(member) = self.members.get_mut(id) {
            self.bytes = self.bytes + assignment.len() - member.assignment.len();
            member.assignment = assignment;
        }
    }

    /// Whether all members speak at least one of these.
    pub(super) fn speaks_any(&self, names: impl Iterator<Item = impl AsRef<str>>) -> bool {
        let mut names = names;
        names.any(|name| self.spoken.get(name.as_ref()) == Some(&self.members.len()))
    }

    /// The protocol that all speak and most like best; on a tie, the one whose name comes first.
    pub(super) fn elect(&self) -> String {
        let common = |name: &str| self.spoken.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied().unwrap_or(0);
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.to_owned())
            .unwrap_or_default()
    }

    /// The longest that any member takes to rejoin.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }
}
