//! Who we are: node id, rack, cluster, and the address that clients are told.
//!
//! Must not know requests. Invariant: a client is told an address under which it can reach us: the one from the
//! configuration, or else the one it has just used.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tracing::warn;

use crate::error::Error;
use crate::hash::{fnv1a, mix};
use crate::limits::NODE_LISTENERS;
use crate::{Config, Listener};

/// The Kafka leader epoch of every partition, on every node, for ever. Clients ignore metadata whose epoch is older
/// than what they know, so an epoch that moved with the node would fence them.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// What everybody may do to a topic while there are no access rules, as Kafka's bits: read, write, create, delete,
/// alter, describe, describe and alter configs.
pub(crate) const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// What everybody may do to a group: read, delete, describe, describe and alter configs.
pub(crate) const GROUP_OPERATIONS: i32 = bits(&[3, 6, 8, 10, 11]);
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
    /// Where clients come in; never empty.
    listeners: Vec<Listener>,
}

/// Host and port, as told to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or a literal address.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: i32,
}

/// A node of the cluster, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The id that clients know it by.
    pub(crate) id: i32,
    /// The availability zone.
    pub(crate) rack: Option<String>,
    /// Where clients reach it, by listener; never empty.
    pub(crate) listeners: Arc<[Address]>,
}

/// Where clients reach one listener of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The listener, the same on all nodes.
    pub(crate) name: String,
    /// A name or a literal address.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

impl Peer {
    /// Where clients reach it that came in on this listener; the first one if it has none of that name.
    pub(crate) fn address(&self, listener: &str) -> Option<&Address> {
        self.listeners.iter().find(|address| address.name == listener).or_else(|| self.listeners.first())
    }
}

impl Node {
    /// The node of a configuration whose addresses are bound.
    pub(crate) fn new(config: &Config, cluster_id: &str) -> Result<Node, Error> {
        let Some(first) = config.listeners.first() else {
            return Err(Error::Config("there is no address for Kafka clients"));
        };
        let names: BTreeSet<&str> = config.listeners.iter().map(|listener| &*listener.name).collect();
        if names.len() < config.listeners.len() || names.len() > NODE_LISTENERS {
            return Err(Error::Config(
                "each listener needs a name of its own, and a node has at most 8 of them",
            ));
        }
        let id = config.node_id.unwrap_or_else(|| {
            let (host, port) = told(first);
            id_of_address(&host, port)
        });
        if !(1..=MAX_NODE_ID).contains(&id) {
            return Err(Error::Config("the node id must be from 1 to 1073741824"));
        }
        let (rack, cluster_id) = (config.rack.clone(), cluster_id.to_owned());
        Ok(Node { id, rack, cluster_id, listeners: config.listeners.clone() })
    }

    /// What to tell a client whose connection to the listener of this number arrived on `local`.
    pub(crate) fn endpoint(&self, listener: usize, local: SocketAddr) -> Endpoint {
        match self.listeners.get(listener).and_then(|listener| listener.advertise.as_ref()) {
            Some((host, port)) => Endpoint { host: host.clone(), port: i32::from(*port) },
            // A socket bound to `::` shows IPv4 clients as mapped addresses, which not every client can dial.
            None => Endpoint { host: local.ip().to_canonical().to_string(), port: i32::from(local.port()) },
        }
    }

    /// The name of the listener of this number.
    pub(crate) fn listener(&self, number: usize) -> &str {
        self.listeners.get(number).map_or("", |listener| &listener.name)
    }

    /// What the other nodes are told.
    pub(crate) fn as_peer(&self) -> Peer {
        let address = |listener: &Listener| {
            let (host, port) = told(listener);
            Address { name: listener.name.clone(), host, port }
        };
        let listeners: Arc<[Address]> = self.listeners.iter().map(address).collect();
        Peer { id: self.id, rack: self.rack.clone(), listeners }
    }
}

/// Where clients of other nodes are sent: the address from the configuration, or else the one that is bound. A socket
/// that is bound to all addresses has none of its own; then it is the one from which the network is reached.
fn told(listener: &Listener) -> (String, u16) {
    if let Some((host, port)) = &listener.advertise {
        return (host.clone(), *port);
    }
    let (ip, port) = (listener.bind.ip(), listener.bind.port());
    if !ip.is_unspecified() {
        return (ip.to_canonical().to_string(), port);
    }
    let guess = outward(ip).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    warn!(
        listener = listener.name,
        address = %guess,
        "this listener is bound to all addresses: clients of other nodes are told this one; name another with --advertise"
    );
    (guess.to_string(), port)
}

/// The address of this machine from which it would reach others. Nothing is sent.
fn outward(bound: IpAddr) -> Option<IpAddr> {
    // From the ranges that are set aside for documentation: any address that is not local will do.
    let v4 = ("0.0.0.0:0", "192.0.2.1:9");
    let v6 = ("[::]:0", "[2001:db8::1]:9");
    let ways = if bound.is_ipv6() { vec![v4, v6] } else { vec![v4] };
    ways.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    })
}

/// An id for the node that clients reach at this address, from 1 to 2^30: the same at every start, and another one for
/// another address, since clients do not expect an id to move.
fn id_of_address(host: &str, port: u16) -> i32 {
    let hash = mix(fnv1a(&[host.as_bytes(), &port.to_be_bytes()]));
    // 30 bits, so it fits.
    (hash >> 34) as i32 + 1
}
