//! Who we are: node id, rack, cluster, and the address that clients are told.
//!
//! Must not know requests. Invariant: a client is told an address under which it can reach us: the one from the
//! configuration, or else the one it has just used.

use std::net::SocketAddr;

/// The Kafka leader epoch of every partition, on every node, for ever. Clients ignore metadata whose epoch is older
/// than what they know, so an epoch that moved with the node would fence them.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// What everybody may do to a topic while there are no access rules, as Kafka's bits: read, write, create, delete,
/// alter, describe, describe and alter configs.
pub(crate) const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// What everybody may do to a group: read, delete, describe.
pub(crate) const GROUP_OPERATIONS: i32 = bits(&[3, 6, 8]);
/// What everybody may do to the cluster: create, alter, describe, cluster action, describe and alter configs,
/// idempotent write.
pub(crate) const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

const fn bits(operations: &[u32]) -> i32 {
    let (mut set, mut next) = (0, 0);
    while next < operations.len() {
        set |= 1 << operations[next];
        next += 1;
    }
    set
}

/// Node ids: Java opens coordinator connections as `i32::MAX - id`, so the upper half is taken.
pub(crate) const MAX_NODE_ID: i32 = 1 << 30;

/// This node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The id that clients know it by.
    pub(crate) id: i32,
    /// The availability zone.
    pub(crate) rack: Option<String>,
    /// The cluster, the same on every node.
    pub(crate) cluster_id: String,
    /// Host and port from the configuration.
    pub(crate) advertise: Option<(String, u16)>,
}

/// Host and port, as told to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or a literal address.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: i32,
}

impl Node {
    /// What to tell a client whose connection arrived on `local`.
    pub(crate) fn endpoint(&self, local: SocketAddr) -> Endpoint {
        match &self.advertise {
            Some((host, port)) => Endpoint { host: host.clone(), port: i32::from(*port) },
            // A socket bound to `::` shows IPv4 clients as mapped addresses, which not every client can dial.
            None => Endpoint { host: local.ip().to_canonical().to_string(), port: i32::from(local.port()) },
        }
    }
}
