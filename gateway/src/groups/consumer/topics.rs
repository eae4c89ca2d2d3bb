//! What a group sees of the topics: those that its members subscribe to, by name or by pattern.
//!
//! Must not know members. Invariants: a pattern costs memory and time that are bounded by its length, whatever it is; a
//! view changes only when a topic that somebody subscribed to came, went or grew.

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::manifest::Manifest;
use uuid::Uuid;

use crate::pattern::pattern;

/// A topic, as far as groups care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic {
    /// Its id.
    pub(crate) id: Uuid,
    /// How many it has.
    pub(crate) partitions: u32,
}

impl Topic {
    /// The same as the manifest has it.
    pub(crate) fn of(topic: &strandline_core::manifest::Topic) -> Topic {
        Topic { id: topic.id, partitions: topic.partitions.len() as u32 }
    }
}

/// Partitions by topic id.
pub(crate) type Partitions = BTreeSet<(Uuid, u32)>;

/// What a group wants to know of the topics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    /// Topics that members name.
    pub(crate) names: BTreeSet<String>,
    /// Patterns that are to be matched with all topics.
    pub(crate) patterns: BTreeSet<String>,
}

impl Wanted {
    /// Copies it out of the manifest; patterns are matched later, since that may take long.
    pub(crate) fn of(&self, manifest: &Manifest) -> BTreeMap<String, Topic> {
        let topic = |topic: &strandline_core::manifest::Topic| (topic.name.clone(), Topic::of(topic));
        match self.patterns.is_empty() {
            true => self.names.iter().filter_map(|name| manifest.topic_named(name).map(topic)).collect(),
            false => manifest.topics().map(topic).collect(),
        }
    }
}

/// The subscribed topics, as they were when somebody looked last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    named: BTreeMap<String, Topic>,
    /// What each pattern in use matches.
    matched: BTreeMap<String, Vec<Topic>>,
}

impl View {
    /// What is wanted of these topics.
    pub(super) fn new(wanted: &Wanted, topics: &BTreeMap<String, Topic>) -> View {
        let named = |name: &String| Some((name.clone(), *topics.get(name)?));
        let matched = wanted.patterns.iter().map(|text| {
            let regex = pattern(text).ok();
            let matches = |name: &str| regex.as_ref().is_some_and(|regex| regex.is_match(name.as_bytes()));
            let topics = topics.iter().filter(|(name, _)| matches(name)).map(|(_, topic)| *topic);
            (text.clone(), topics.collect())
        });
        View { named: wanted.names.iter().filter_map(named).collect(), matched: matched.collect() }
    }

    /// A topic that was wanted by its name, if it is there.
    pub(super) fn named(&self, name: &str) -> Option<Topic> {
        self.named.get(name).copied()
    }

    /// The same the other way round.
    pub(super) fn names(&self) -> BTreeMap<Uuid, &str> {
        self.named.iter().map(|(name, topic)| (topic.id, name.as_str())).collect()
    }

    pub(super) fn has_patterns(&self) -> bool {
        !self.matched.is_empty()
    }

    /// The topics of a subscription that are there.
    pub(super) fn of<'a>(
        &'a self,
        names: &'a BTreeSet<String>,
        pattern: &str,
    ) -> impl Iterator<Item = Topic> + use<'a> {
        let matched = self.matched.get(pattern).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(|name| self.named.get(name)).chain(matched).copied()
    }
}

/// Tells whether topics came, went or grew: FNV-1a over their ids and partitions. Written out here, since the result is
/// kept in the manifest.
pub(super) fn hash(topics: &BTreeMap<Uuid, u32>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for (topic, partitions) in topics {
        for byte in topic.as_bytes().iter().chain(&partitions.to_be_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
