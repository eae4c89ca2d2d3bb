//! A group as tools are shown it: its state, its members, what they subscribe to.
//!
//! Must not know requests. What the coordinator holds in memory goes before what was folded, which is a generation behind
//! while members come and go.

use std::collections::BTreeSet;

use bytes::Bytes;
use strandline_core::manifest::{Group, GroupKind, GroupMember};
use strandline_kafka::consumer_protocol;

use crate::services::Services;

/// Kafka's names of states.
pub(crate) const STABLE: &str = "Stable";
/// Without members.
pub(crate) const EMPTY: &str = "Empty";
/// Not there.
pub(crate) const DEAD: &str = "Dead";

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupView {
    /// How its members agree.
    pub(crate) kind: GroupKind,
    /// As Kafka names it.
    pub(crate) state: &'static str,
    /// `consumer`, `connect` and so on; empty: it never had members.
    pub(crate) protocol_type: String,
    /// What its members agreed on.
    pub(crate) protocol: String,
    /// By id.
    pub(crate) members: Vec<MemberView>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberView {
    /// Its id.
    pub(crate) id: String,
    /// `group.instance.id`.
    pub(crate) instance_id: Option<String>,
    /// As the client calls itself.
    pub(crate) client_id: String,
    /// Where it connects from.
    pub(crate) client_host: String,
    /// Its subscription in the protocol that its group agreed on.
    pub(crate) metadata: Bytes,
    /// Its assignment.
    pub(crate) assignment: Bytes,
}

impl MemberView {
    /// Bytes that it takes in an answer, about.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.id.len() + self.client_id.len() + self.client_host.len();
        let instance = self.instance_id.as_ref().map_or(0, String::len);
        texts + instance + self.metadata.len() + self.assignment.len() + 24
    }
}

/// The groups that are known here, whoever looks after them.
pub(crate) fn names(services: &Services) -> BTreeSet<String> {
    services.journal.view(|manifest| manifest.groups().map(|(name, _)| name.to_owned()).collect())
}

impl GroupView {
    /// The group, if it is there.
    pub(crate) fn of(services: &Services, name: &str) -> Option<GroupView> {
        services.journal.view(|manifest| manifest.group(name).map(GroupView::folded))
    }

    fn folded(group: &Group) -> GroupView {
        let member = |member: &GroupMember| MemberView {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.subscription.clone(),
            assignment: member.assignment.clone(),
        };
        GroupView {
            kind: group.kind,
            state: if group.members.is_empty() { EMPTY } else { STABLE },
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            members: group.members.values().map(member).collect(),
        }
    }

    /// As Kafka names the kind.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            GroupKind::Simple | GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
        }
    }

    /// What its members read. `None`: it cannot be told, and may be anything.
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        let topics = self.members.iter().map(|of| consumer_protocol::subscribed_topics(&of.metadata).ok());
        topics.collect::<Option<Vec<_>>>().map(|topics| topics.into_iter().flatten().collect())
    }
}
