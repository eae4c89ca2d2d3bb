//! Why the gateway cannot start or go on, said to the operator.
//!
//! Must not know requests: what goes wrong inside one is answered on its connection and never stops the node.

use std::io;
use std::net::SocketAddr;

/// An error of the gateway. `Display` is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket could not be bound.
    #[error(
        "cannot listen on {address} for {purpose}: {source}; is another server running there? choose another address with {flag}"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// `Kafka` or `HTTP`.
        purpose: &'static str,
        /// The setting that changes it.
        flag: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A setting that cannot work.
    #[error("{0}")]
    Config(&'static str),
    /// Another node that lives has our id.
    #[error(
        "the node at {other} serves this store under the same node id {id}: give each node its own --node-id, or a \
         different --advertise address to derive it from"
    )]
    NodeId {
        /// The id.
        id: i32,
        /// Where the other node is.
        other: String,
    },
    /// A task that must outlive all others ended.
    #[error("the {0} server stopped without being asked to; restart the node and report this")]
    Stopped(&'static str),
}
