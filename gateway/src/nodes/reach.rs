//! Whether a node that should live takes connections: a quicker sign of its end than stamps that stop.
//!
//! Must not know what stamps mean, only that another one is a later word of the node. Invariant: only a refusal counts, and
//! only until the node surely says after it that it lives: addresses are for clients, and it may be that other nodes cannot
//! reach them.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use futures_util::{StreamExt, stream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{NODE_DIAL, NODES_READ_SIDE_BY_SIDE};

/// How to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By stamps alone: where there are no sockets.
    Trust,
    /// By a connection, on which nothing is said.
    Dial,
}

/// A node to be dialled.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) id: i32,
    pub(super) incarnation: String,
    /// Its stamp when it was seen last.
    pub(super) stamp_ms: i64,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What connections have told.
#[derive(Debug, Default)]
pub(super) struct Reached(BTreeMap<i32, Found>);

#[derive(Debug)]
struct Found {
    incarnation: String,
    /// It refused a connection.
    refused: Option<Refused>,
    /// Connections tell nothing of this one.
    deaf: bool,
}

#[derive(Debug)]
struct Refused {
    /// The newest that was seen.
    stamp_ms: i64,
    /// How many stamps were seen since the refusal that were not known when it happened.
    stamps: u32,
}

/// The first new stamp may be of the time between the last look and the node's end. The second is younger than the look at
/// the first, and so than the refusal.
const ALIVE: u32 = 2;

impl Reached {
    /// A node was seen with this stamp. One that refuses connections and goes on saying that it lives does live.
    pub(super) fn seen(&mut self, id: i32, incarnation: &str, stamp_ms: i64) {
        let Some(found) = self.0.get_mut(&id) else { return };
        if found.incarnation != incarnation {
            self.0.remove(&id);
        } else if let Some(refused) = found.refused.as_mut().filter(|refused| refused.stamp_ms != stamp_ms) {
            (refused.stamp_ms, refused.stamps) = (stamp_ms, refused.stamps + 1);
            if refused.stamps >= ALIVE {
                (found.refused, found.deaf) = (None, true);
            }
        }
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        self.0.retain(|id, _| keep(*id));
    }

    /// Whether it refused a connection and has not said since that it lives.
    pub(super) fn is_gone(&self, id: i32) -> bool {
        self.0.get(&id).is_some_and(|found| found.refused.is_some())
    }

    /// Dials all of them side by side, but for those of which connections tell nothing.
    pub(super) async fn dial(&mut self, targets: Vec<Target>) {
        let deaf = |id: &i32| self.0.get(id).is_some_and(|found| found.deaf);
        let targets = targets.into_iter().filter(|target| !deaf(&target.id));
        let dials: Vec<_> = targets.map(dial).collect();
        let found: Vec<(i32, Found)> = stream::iter(dials).buffered(NODES_READ_SIDE_BY_SIDE).collect().await;
        for (id, mut found) in found {
            let before = self.0.remove(&id).filter(|before| before.incarnation == found.incarnation);
            // A second refusal does not make older what was said since the first.
            let since = before.and_then(|before| before.refused);
            found.refused = found.refused.map(|refused| since.unwrap_or(refused));
            self.0.insert(id, found);
        }
    }
}

async fn dial(target: Target) -> (i32, Found) {
    let Target { id, incarnation, stamp_ms, host, port } = target;
    let (refused, deaf) = match timeout(NODE_DIAL, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => (None, false),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            (Some(Refused { stamp_ms, stamps: 0 }), false)
        }
        Ok(Err(_)) | Err(_) => (None, true),
    };
    (id, Found { incarnation, refused, deaf })
}
