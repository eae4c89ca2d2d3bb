//! The nodes of the cluster that are alive, and which of them looks after what.
//!
//! Must not know requests. Invariant: all of it is a hint that spreads the load. Any node serves any partition, and
//! nothing that is decided here is relied on for correctness: two nodes that disagree are still a correct cluster.

mod placement;
mod zone;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use placement::{Key, replicas};
pub(crate) use zone::of_client as zone_of_client;

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

/// What is known of the nodes of the cluster.
#[derive(Debug)]
pub(crate) struct Nodes {
    own: i32,
    view: watch::Receiver<Arc<[Peer]>>,
}

impl Nodes {
    /// A node that neither looks for others nor tells them of itself.
    pub(crate) fn alone(own: Peer) -> Nodes {
        let id = own.id;
        let (_, view) = watch::channel(Arc::from([own]));
        Nodes { own: id, view }
    }

    /// The nodes that live, this one among them, in the order of their ids.
    pub(crate) fn live(&self) -> Arc<[Peer]> {
        Arc::clone(&self.view.borrow())
    }

    /// The node that looks after a group or a transactional id.
    pub(crate) fn coordinator(&self, key: &str) -> Peer {
        let live = self.view.borrow();
        // There is always one: this node itself.
        placement::first(&live, &Key::coordinated(key), None).unwrap_or(&live[0]).clone()
    }

    /// Whether this node looks after a group or a transactional id.
    pub(crate) fn is_coordinator(&self, key: &str) -> bool {
        self.coordinator(key).id == self.own
    }

    /// A client is here: the node is busy, and wakes if it slept.
    pub(crate) fn activity(&self) {}

    /// Looks for other nodes if what is known of them is old. Waits for a moment at most; a store that does not answer
    /// leaves what was known.
    pub(crate) async fn refresh(&self) {}
}
