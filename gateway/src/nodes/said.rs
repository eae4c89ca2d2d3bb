//! What a node says of itself: the object `node/<id>`, as JSON.
//!
//! Must not know when it is written or read. Invariant: what is read was written by anybody; nothing of it is taken
//! that is not within the bounds and fit to be told to clients.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{NODE_LISTENERS, NODE_NAME_BYTES};
use crate::node::{Address, MAX_NODE_ID, Peer};

/// The object. Fields are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    id: i32,
    /// Another one after each start.
    pub(super) incarnation: String,
    /// The store's stamp of the first object of this incarnation, once it knows it.
    #[serde(default)]
    pub(super) since_ms: Option<i64>,
    listeners: Vec<Listener>,
    #[serde(default)]
    rack: Option<String>,
    /// Whether clients were there in the last minute.
    #[serde(default)]
    pub(super) busy: bool,
    /// No client shall be sent there any more.
    #[serde(default)]
    pub(super) draining: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listener {
    name: String,
    host: String,
    port: u16,
}

impl Said {
    /// What this node says of itself.
    pub(super) fn of(own: &Peer, (incarnation, since_ms): (&str, Option<i64>), busy: bool) -> Said {
        let listener = |address: &Address| {
            let Address { name, host, port } = address.clone();
            Listener { name, host, port }
        };
        Said {
            id: own.id,
            incarnation: incarnation.to_owned(),
            since_ms,
            listeners: own.listeners.iter().map(listener).collect(),
            rack: own.rack.clone(),
            busy,
            draining: false,
        }
    }

    /// The bytes of the object.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Plain fields: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What lies under the key of this node; `None` if it is not what a node says.
    pub(super) fn decode(id: i32, bytes: &[u8]) -> Option<Said> {
        let said: Said = serde_json::from_slice(bytes).ok()?;
        let sound = said.id == id
            && (1..=MAX_NODE_ID).contains(&id)
            && name(&said.incarnation)
            && (1..=NODE_LISTENERS).contains(&said.listeners.len())
            && said.listeners.iter().all(|at| name(&at.name) && name(&at.host) && at.port != 0)
            && said
                .rack
                .as_deref()
                .is_none_or(|rack| rack.len() <= NODE_NAME_BYTES && !rack.contains(char::is_control));
        sound.then_some(said)
    }

    /// The node as clients are told of it.
    pub(super) fn peer(&self) -> Peer {
        let address = |at: &Listener| Address { name: at.name.clone(), host: at.host.clone(), port: at.port };
        let listeners: Arc<[Address]> = self.listeners.iter().map(address).collect();
        Peer { id: self.id, rack: self.rack.clone(), listeners }
    }

    /// Whether the incarnation that says this began after the other one.
    pub(super) fn is_younger(&self, incarnation: &str, since_ms: Option<i64>) -> bool {
        let age = |since_ms: Option<i64>| since_ms.unwrap_or(i64::MAX);
        (age(self.since_ms), self.incarnation.as_str()) > (age(since_ms), incarnation)
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        let place = self.listeners.first().map(|at| format!("{}:{}", at.host, at.port));
        place.unwrap_or_default()
    }
}

/// Printable ASCII without spaces: goes to clients and into logs.
fn name(name: &str) -> bool {
    (1..=NODE_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}
