//! Whether the nodes that should live can be reached, asked when a client asks for nodes.
//!
//! Must not know how nodes are listed. A process that died is noticed here within a second, long before its beats are
//! missed. Invariants: a hint like all of it; at most one round of connections each [`NODE_PROBE_EVERY`], whatever
//! clients ask; whoever is suspected is asked again in the next round, and this node never suspects itself.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::info;

use crate::limits::{NODE_PROBE, NODE_PROBE_EVERY, NODES_PROBED_SIDE_BY_SIDE};
use crate::node::Peer;

/// What the last round gave.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Held during a round: whoever comes meanwhile waits for its result.
    round: tokio::sync::Mutex<Option<Instant>>,
    // Never held across an await.
    found: Mutex<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    /// The list that was probed.
    listed: Arc<[Peer]>,
    reachable: Arc<[Peer]>,
}

impl Probe {
    /// Those of the listed nodes that answered the last time; all of a list that was not probed yet.
    pub(super) fn reachable(&self, listed: Arc<[Peer]>) -> Arc<[Peer]> {
        match &*self.found.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(found) if Arc::ptr_eq(&found.listed, &listed) => Arc::clone(&found.reachable),
            _ => listed,
        }
    }

    /// Connects to all listed nodes but `own`, unless that was done a moment ago.
    pub(super) async fn round(&self, own: i32, listed: Arc<[Peer]>) {
        if listed.len() < 2 {
            return;
        }
        let mut last = self.round.lock().await;
        if last.is_some_and(|last| last.elapsed() < NODE_PROBE_EVERY) {
            return;
        }
        let answers: Vec<bool> = stream::iter(listed.iter().cloned())
            .map(|peer| async move { peer.id == own || answers(&peer).await })
            .buffered(NODES_PROBED_SIDE_BY_SIDE)
            .collect()
            .await;
        *last = Some(Instant::now());
        let pairs = listed.iter().zip(answers);
        let reachable: Arc<[Peer]> =
            pairs.filter(|(_, answers)| *answers).map(|(peer, _)| peer.clone()).collect();
        let before = self.reachable(Arc::clone(&listed));
        if before.len() != reachable.len() {
            let ids = |peers: &[Peer]| peers.iter().map(|peer| peer.id).collect::<Vec<_>>();
            info!(before = ?ids(&before), now = ?ids(&reachable), "the nodes that can be reached have changed");
        }
        let found = Found { listed, reachable };
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }
}

async fn answers(peer: &Peer) -> bool {
    let Some(address) = peer.listeners.first() else { return false };
    let connected = timeout(NODE_PROBE, TcpStream::connect((address.host.as_str(), address.port))).await;
    matches!(connected, Ok(Ok(_)))
}
