//! The range assignor: each topic is cut into runs of consecutive partitions, one for each subscriber.
//!
//! Must not know the assignment so far. Invariant: static members come first, in the order of their instance ids, so
//! that a restart under a new member id moves nothing.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::topics::Partitions;
use super::Subscriber;

pub(super) fn assign(members: &[Subscriber<'_>], topics: &BTreeMap<Uuid, u32>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|&at| {
        let member = &members[at];
        (member.instance_id.is_none(), member.instance_id, member.id)
    });
    let mut targets = vec![Partitions::new(); members.len()];
    for (topic, &partitions) in topics {
        let subscribers: Vec<usize> =
            order.iter().copied().filter(|&at| members[at].topics.contains(topic)).collect();
        if subscribers.is_empty() {
            continue;
        }
        let (each, more) = (partitions / subscribers.len() as u32, partitions % subscribers.len() as u32);
        let mut next = 0;
        for (rank, at) in subscribers.into_iter().enumerate() {
            let end = next + each + u32::from((rank as u32) < more);
            targets[at].extend((next..end).map(|partition| (*topic, partition)));
            next = end;
        }
    }
    targets
}
