//! Whether a node that should live takes connections: a quicker sign of its end than stamps that stop.
//!
//! Must not know stamps. Invariant: only a refusal counts, and only until the node says again that it lives: addresses are
//! for clients, and it may be that other nodes cannot reach them.

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
    /// It refused a connection after this stamp.
    refused_at: Option<i64>,
    /// Connections tell nothing of this one.
    deaf: bool,
}

impl Reached {
    /// A node was seen with this stamp. One that refuses connections and goes on saying that it lives does live.
    pub(super) fn seen(&mut self, id: i32, incarnation: &str, stamp_ms: i64) {
        let Some(found) = self.0.get_mut(&id) else { return };
        if found.incarnation != incarnation {
            self.0.remove(&id);
        } else if found.refused_at.is_some_and(|at| at != stamp_ms) {
            (found.refused_at, found.deaf) = (None, true);
        }
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        self.0.retain(|id, _| keep(*id));
    }

    /// Whether it refused a connection and has not said since that it lives.
    pub(super) fn is_gone(&self, id: i32) -> bool {
        self.0.get(&id).is_some_and(|found| found.refused_at.is_some())
    }

    /// Dials all of them side by side, but for those of which connections tell nothing.
    pub(super) async fn dial(&mut self, targets: Vec<Target>) {
        let deaf = |id: &i32| self.0.get(id).is_some_and(|found| found.deaf);
        let targets = targets.into_iter().filter(|target| !deaf(&target.id));
        let dials: Vec<_> = targets.map(dial).collect();
        let found: Vec<_> = stream::iter(dials).buffered(NODES_READ_SIDE_BY_SIDE).collect().await;
        self.0.extend(found);
    }
}

async fn dial(target: Target) -> (i32, Found) {
    let Target { id, incarnation, stamp_ms, host, port } = target;
    let (refused_at, deaf) = match timeout(NODE_DIAL, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => (None, false),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => (Some(stamp_ms), false),
        Ok(Err(_)) | Err(_) => (None, true),
    };
    (id, Found { incarnation, refused_at, deaf })
}
