//! A group as tools are shown it: its state, its members, what they subscribe to.
//!
//! Must not know requests. What the coordinator holds in memory goes before what was folded, which is a generation behind
//! while members come and go.

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::manifest::{Group, GroupKind, GroupMember, Manifest};
use strandline_kafka::consumer_protocol;
use uuid::Uuid;

use crate::groups::classic::subscription;
use crate::groups::{Live, LiveMember, consumer};
use crate::services::Services;

/// Kafka's names of states.
pub(crate) const STABLE: &str = "Stable";
/// Without members.
pub(crate) const EMPTY: &str = "Empty";
/// Those that only groups of the classic protocol go through.
const REBALANCES: [&str; 2] = ["PreparingRebalance", "CompletingRebalance"];
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
    pub(crate) members: Vec<LiveMember>,
}

/// Kafka's name for the state of a group, as far as the manifest tells it; `None`: it is not there.
pub fn state(name: &str, manifest: &Manifest) -> Option<&'static str> {
    manifest.group(name).map(|group| GroupView::without_members(group).state)
}

/// The member that each partition is assigned to, as far as it can be told.
fn readers(name: &str, manifest: &Manifest) -> BTreeMap<(Uuid, u32), String> {
    let mut readers = BTreeMap::new();
    let mut read = |member: &str, topic: &str, partitions: Vec<i32>| {
        let Some(topic) = manifest.topic_named(topic) else { return };
        let numbers = partitions.into_iter().filter_map(|number| u32::try_from(number).ok());
        readers.extend(numbers.map(|number| ((topic.id, number), member.to_owned())));
    };
    for member in consumer::describe(name, manifest).map(|group| group.members).unwrap_or_default() {
        for of in member.assignment.topic_partitions {
            read(&member.member_id, &of.topic_name, of.partitions);
        }
    }
    let is_classic = |group: &&Group| {
        group.kind == GroupKind::Classic && group.protocol_type == consumer_protocol::PROTOCOL_TYPE
    };
    let classic = manifest.group(name).filter(is_classic).map(|group| group.members.values());
    for member in classic.into_iter().flatten() {
        for of in consumer_protocol::assigned_partitions(&member.assignment).unwrap_or_default() {
            read(&member.id, &of.topic, of.partitions);
        }
    }
    readers
}

/// One partition that a group reads or has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRead {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The next offset that it will read; `None`: it has committed none.
    pub committed: Option<i64>,
    /// The offset that the next record will get.
    pub end: i64,
    /// What was noted beside the offset.
    pub metadata: String,
    /// The member that reads it, as far as it can be told.
    pub member: Option<String>,
}

impl GroupRead {
    /// Records that are still to be read; `None`: nobody knows.
    pub fn lag(&self) -> Option<u64> {
        self.committed.map(|committed| u64::try_from(self.end.saturating_sub(committed)).unwrap_or(0))
    }
}

/// All that a group reads or has read, by topic and partition.
pub fn reads(name: &str, manifest: &Manifest) -> Vec<GroupRead> {
    let mut readers = readers(name, manifest);
    let Some(group) = manifest.group(name) else { return Vec::new() };
    let partitions: BTreeSet<(Uuid, u32)> = group.offsets.keys().chain(readers.keys()).copied().collect();
    let read = |of: (Uuid, u32)| {
        let committed = group.offsets.get(&of);
        Some(GroupRead {
            topic: manifest.topic(&of.0)?.name.clone(),
            partition: of.1,
            committed: committed.map(|committed| committed.offset),
            end: manifest.partition(&of.0, of.1)?.high_watermark,
            metadata: committed.map(|committed| committed.metadata.clone()).unwrap_or_default(),
            member: readers.remove(&of),
        })
    };
    let mut reads: Vec<_> = partitions.into_iter().filter_map(read).collect();
    reads.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    reads
}

/// As Kafka's tools name the kind; a group that never had members is one of its own here.
pub fn kind(group: &Group) -> &'static str {
    match group.kind {
        GroupKind::Simple => "simple",
        GroupKind::Classic => "classic",
        GroupKind::Consumer => "consumer",
    }
}

impl GroupView {
    /// The group, if it is there.
    pub(crate) async fn of(services: &Services, name: &str) -> Option<GroupView> {
        let folded = services.journal.view(|manifest| manifest.group(name).map(GroupView::folded));
        let Some(live) = services.groups.describe(name).await else { return folded };
        if folded.is_none() && live.members.is_empty() {
            return None;
        }
        let Live { state, protocol_type, protocol, members } = live;
        // Whoever is here and was never folded is about to complete a first generation, be it of a group that was of the
        // other kind until its last member left.
        let kind = match folded {
            Some(folded) if members.is_empty() => folded.kind,
            Some(_) | None => GroupKind::Classic,
        };
        Some(GroupView { kind, state, protocol_type, protocol, members })
    }

    /// The same as tools list it: without its members.
    pub(crate) fn listed(services: &Services) -> BTreeMap<String, GroupView> {
        let listed = |(name, group): (&str, &Group)| (name.to_owned(), GroupView::without_members(group));
        let mut groups: BTreeMap<_, _> =
            services.journal.view(|manifest| manifest.groups().map(listed).collect());
        for (name, group) in &mut groups {
            group.state = services.groups.state(name).unwrap_or(group.state);
            if REBALANCES.contains(&group.state) {
                group.kind = GroupKind::Classic;
            }
        }
        groups
    }

    fn folded(group: &Group) -> GroupView {
        let member = |member: &GroupMember| LiveMember {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: subscription::metadata(&member.subscription, &group.protocol),
            assignment: member.assignment.clone(),
        };
        let members = group.members.values().map(member).collect();
        GroupView { members, ..GroupView::without_members(group) }
    }

    fn without_members(group: &Group) -> GroupView {
        GroupView {
            kind: group.kind,
            state: match group.kind {
                _ if group.members.is_empty() => EMPTY,
                GroupKind::Consumer => consumer::state(group).unwrap_or(DEAD),
                GroupKind::Simple | GroupKind::Classic => STABLE,
            },
            protocol_type: group.protocol_type.clone(),
            protocol: group.protocol.clone(),
            members: Vec::new(),
        }
    }

    /// Bytes that its members take in an answer, about.
    pub(crate) fn bytes(&self) -> usize {
        let member = |of: &LiveMember| {
            let texts = of.id.len() + of.client_id.len() + of.client_host.len();
            let instance = of.instance_id.as_ref().map_or(0, String::len);
            texts + instance + of.metadata.len() + of.assignment.len() + 24
        };
        self.members.iter().map(member).sum()
    }

    /// As Kafka names the kind.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.kind {
            GroupKind::Simple | GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
        }
    }

    /// What its members read. `None`: it cannot be told, and may be anything.
    pub(crate) fn subscribed_topics(&self, services: &Services, name: &str) -> Option<BTreeSet<String>> {
        if self.kind == GroupKind::Consumer {
            let described = services.journal.view(|manifest| consumer::describe(name, manifest))?;
            // What a pattern matches is in the targets.
            let topics = described.members.into_iter().flat_map(|member| {
                let targets = member.target_assignment.topic_partitions.into_iter().map(|of| of.topic_name);
                member.subscribed_topic_names.into_iter().chain(targets)
            });
            return Some(topics.collect());
        }
        let topics = self.members.iter().map(|of| consumer_protocol::subscribed_topics(&of.metadata).ok());
        topics.collect::<Option<Vec<_>>>().map(|topics| topics.into_iter().flatten().collect())
    }
}
