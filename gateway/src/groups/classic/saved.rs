//! From and to the manifest.
//!
//! Must not know how it gets there. What is saved is taken at the moment at which it was decided; of several saves that
//! wait, the last one stands for all.

use std::time::Duration;

use bytes::Bytes;
use strandline_core::manifest::{Group, GroupKind, GroupMember, UpdateGroup};
use tokio::time::Instant;

use super::member::Member;
use super::{Classic, State, subscription};
use crate::groups::classic::roll::Roll;

/// A group that is to be saved.
#[derive(Debug)]
pub(in crate::groups) struct Save {
    /// For [`Classic::saved`].
    pub(in crate::groups) number: u64,
    /// Without the version that was seen.
    pub(in crate::groups) update: UpdateGroup,
}

/// What a classic group keeps beside its members.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Saving {
    /// Its members are to join again before they go on: they were assigned their partitions by somebody who could tell.
    #[prost(bool, tag = "1")]
    rebalance: bool,
}

/// The state of a group that was of another kind; `rebalance`: its members are to join again.
pub(in crate::groups) fn initial_state(rebalance: bool) -> Bytes {
    prost::Message::encode_to_vec(&Saving { rebalance }).into()
}

impl Classic {
    /// A group as the manifest has it, with sessions that begin now: a coordinator that comes anew disturbs nobody.
    pub(in crate::groups) fn load(name: &str, group: Option<&Group>, now: Instant) -> Classic {
        let mut roll = Roll::default();
        for member in group.into_iter().flat_map(|group| group.members.values()) {
            roll.insert(from_saved(member, now));
        }
        let text = |of: fn(&Group) -> &String| group.map(|group| of(group).clone()).unwrap_or_default();
        let mut classic = Classic {
            name: name.to_owned(),
            state: if roll.is_empty() { State::Empty } else { State::Stable },
            generation: group.map_or(0, |group| group.epoch),
            protocol_type: text(|group| &group.protocol_type),
            protocol: text(|group| &group.protocol),
            leader: text(|group| &group.leader),
            roll,
            pending: Default::default(),
            sync_until: None,
            known: group.is_some(),
            removed: false,
            saves: 0,
            queued: None,
            held: Vec::new(),
            answers: Vec::new(),
            check_at: None,
        };
        classic.check_at = classic.roll.iter().map(|member| member.deadline).min();
        let saved = group.and_then(|group| <Saving as prost::Message>::decode(group.state.clone()).ok());
        if classic.state == State::Stable && saved.is_some_and(|saved| saved.rebalance) {
            classic.begin_rebalance(now);
        }
        classic
    }

    /// The group as it is now, with the members whose clients know their ids.
    pub(in crate::groups) fn snapshot(&self, version: u64) -> Group {
        let named = self.roll.iter().filter(|member| member.named);
        let members = named.map(|member| (member.id.clone(), to_save(member, self.generation)));
        Group {
            kind: GroupKind::Classic,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            epoch: self.generation,
            leader: self.leader.clone(),
            version,
            members: members.collect(),
            ..Group::default()
        }
    }

    /// Ids that were handed out stay good when the group is loaded anew.
    pub(in crate::groups) fn inherit(&mut self, from: &mut Classic) {
        self.pending.append(&mut from.pending);
        if let Some(until) = self.pending.values().min().copied() {
            self.wake_at(until);
        }
    }

    /// What is to be saved next.
    pub(in crate::groups) fn take_save(&mut self) -> Option<Save> {
        self.queued.take()
    }

    /// The group as it is now is to be saved; gives the number of the save.
    pub(super) fn want_save(&mut self) -> u64 {
        self.saves += 1;
        let update = UpdateGroup {
            group: self.name.clone(),
            seen_version: 0,
            kind: GroupKind::Classic,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            epoch: self.generation,
            leader: self.leader.clone(),
            state: Bytes::new(),
            replace: true,
            put: self.roll.iter().map(|member| to_save(member, self.generation)).collect(),
            remove: Vec::new(),
        };
        self.queued = Some(Save { number: self.saves, update });
        self.saves
    }
}

fn to_save(member: &Member, generation: i32) -> GroupMember {
    GroupMember {
        id: member.id.clone(),
        epoch: generation,
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        session_timeout_ms: milliseconds(member.session),
        rebalance_timeout_ms: milliseconds(member.rebalance),
        subscription: subscription::encode(&member.protocols),
        assignment: member.assignment.clone(),
    }
}

fn from_saved(member: &GroupMember, now: Instant) -> Member {
    let session = duration(member.session_timeout_ms);
    Member {
        id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        session,
        rebalance: duration(member.rebalance_timeout_ms),
        protocols: subscription::decode(&member.subscription),
        assignment: member.assignment.clone(),
        deadline: now + session,
        joining: None,
        syncing: None,
        synced: true,
        named: true,
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn duration(milliseconds: i32) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}
