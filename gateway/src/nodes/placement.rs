//! Rendezvous hashing: which of the nodes looks after a partition or a group.
//!
//! Must not know who lives, or how that is found out. Invariants: every version of the program places the same key on
//! the same node of the same set, so the hash never changes; a node that comes or goes moves
//! only what it gets or had.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::hash::{fnv1a, mix};
use crate::node::Peer;

/// What is placed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(u64);

impl Key {
    /// A partition: by its topic's id, so that a new topic of the same name is a new draw.
    pub(crate) fn partition(topic: Uuid, partition: u32) -> Key {
        Key(fnv1a(&[topic.as_bytes(), &partition.to_be_bytes()]))
    }

    /// A group or a transactional id.
    pub(crate) fn coordinated(key: &str) -> Key {
        Key(fnv1a(&[key.as_bytes()]))
    }

    /// How much this node is the right one; the largest weight wins.
    fn weight(self, node: i32) -> u64 {
        mix(self.0 ^ mix(u64::from(node.cast_unsigned())))
    }
}

/// The first of the nodes of this rack by weight; of all nodes if none is in it, or no rack is asked for.
pub(crate) fn first<'a>(nodes: &'a [Peer], key: &Key, rack: Option<&str>) -> Option<&'a Peer> {
    let best = |nodes: &mut dyn Iterator<Item = &'a Peer>| {
        nodes.max_by_key(|node| (key.weight(node.id), std::cmp::Reverse(node.id)))
    };
    let near =
        rack.and_then(|rack| best(&mut nodes.iter().filter(|node| node.rack.as_deref() == Some(rack))));
    near.or_else(|| best(&mut nodes.iter()))
}

/// The replicas of a partition as clients of this rack are told: its leader, which is the first of the nodes, then the first of every other rack, in the order of the racks.
pub(crate) fn replicas(nodes: &[Peer], key: &Key, rack: Option<&str>) -> Vec<i32> {
    let Some(leader) = first(nodes, key, rack) else { return Vec::new() };
    let mut racks: BTreeMap<Option<&str>, (u64, i32)> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.rack != leader.rack) {
        let weight = key.weight(node.id);
        let best = racks.entry(node.rack.as_deref()).or_insert((weight, node.id));
        if weight > best.0 {
            *best = (weight, node.id);
        }
    }
    std::iter::once(leader.id).chain(racks.into_values().map(|(_, id)| id)).collect()
}
