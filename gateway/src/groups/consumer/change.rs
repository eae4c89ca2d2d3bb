//! What the manifest is told of a group: as it is, or as a classic group once nobody speaks the new protocol any more.
//!
//! Must not know how it gets there. Invariant: a group changes its kind together with all its members, in one change.

use strandline_core::manifest::{GroupKind, GroupMember, UpdateGroup};

use super::member::{Classic, Member};
use super::{ConsumerGroup, PROTOCOL_TYPE, records};
use crate::groups::classic::{self, subscription};

impl ConsumerGroup {
    /// What the manifest does not know yet, as one change. `None`: it knows all.
    pub(crate) fn update(&self) -> Option<UpdateGroup> {
        if self.downgrades() {
            return Some(self.downgrade());
        }
        let (put, remove) = self.members.changes();
        let state_same = self.known == (self.epoch, self.state);
        if put.is_empty() && remove.is_empty() && state_same {
            return None;
        }
        Some(UpdateGroup {
            group: self.name.clone(),
            seen_version: self.version,
            kind: GroupKind::Consumer,
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocol: self.assignor().name().to_owned(),
            epoch: self.epoch,
            leader: String::new(),
            state: prost::Message::encode_to_vec(&self.state).into(),
            // Of a group of another kind nothing stays as it was.
            replace: self.converts,
            put: put.into_iter().map(records::encode).collect(),
            remove,
        })
    }

    /// The last [`update`](ConsumerGroup::update) holds: the group has this version.
    pub(crate) fn committed(&mut self, version: u64) {
        (self.version, self.known, self.converts) = (version, (self.epoch, self.state), false);
        self.members.told();
    }

    /// Whether its members can do without this coordinator's assignments: all of them speak the classic protocol. Its next
    /// update makes it a classic group, which others look after.
    pub(crate) fn downgrades(&self) -> bool {
        !self.is_empty() && !self.members.any_new()
    }

    fn downgrade(&self) -> UpdateGroup {
        let unfinished =
            self.epoch > self.state.assignment_epoch || self.members.unsettled(self.state.assignment_epoch);
        let spoken = |member: &Member| member.classic.clone().unwrap_or_default();
        UpdateGroup {
            group: self.name.clone(),
            seen_version: self.version,
            kind: GroupKind::Classic,
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocol: self.common_protocol(),
            epoch: self.epoch,
            leader: self.members.iter().next().map(|member| member.id.clone()).unwrap_or_default(),
            state: classic::initial_state(self.orphaned || unfinished),
            replace: true,
            put: self.members.iter().map(|member| self.as_classic(member, spoken(member))).collect(),
            remove: Vec::new(),
        }
    }

    fn as_classic(&self, member: &Member, spoken: Classic) -> GroupMember {
        GroupMember {
            id: member.id.clone(),
            epoch: self.epoch,
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout_ms: spoken.session_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            subscription: subscription::encode(&spoken.protocols),
            assignment: self.assignment_bytes(member),
        }
    }

    /// That all speak, and the first member likes best.
    fn common_protocol(&self) -> String {
        let first = self.members.iter().next().and_then(|member| member.classic.as_ref());
        let mut names = first.iter().flat_map(|classic| classic.protocols.iter().map(|(name, _)| name));
        names.find(|name| self.all_speak("", name)).cloned().unwrap_or_default()
    }
}
