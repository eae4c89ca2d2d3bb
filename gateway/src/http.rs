//! The HTTP door: records, topics and groups for everybody without a Kafka client; health and metrics for operators.
//!
//! Must not know Kafka's protocol. Everything below `door` works on journal, ingest and reader alone, so that the same handlers
//! serve where there is no node. Memory is bounded whatever clients send.
//!
//! Modules stand in the order in which a request meets them, and import only modules that stand after them:
//!
//! - `server`: connections
//! - `openapi`: the routes, and the document about them
//! - `page`: the document for humans
//! - `guard`: what every request must pass
//! - `unread`: what is left of a body that was refused
//! - `unpack`: bodies that come packed
//! - `append`, `follow`, `read`: records
//! - `groups`, `topics`
//! - `health`
//! - `writer`: from records to batches and acknowledgements
//! - `rows`: from pulls to records
//! - `body`: what comes in: whole, or line after line
//! - `record`: one record as JSON
//! - `params`: path and query
//! - `door`: what all requests share
//! - `problem`: what a client hears when something does not work
mod server;
mod openapi;
mod page;
mod guard;
mod unread;
mod unpack;
mod append;
mod follow;
mod read;
mod groups;
mod topics;
mod health;
mod writer;
mod rows;
mod body;
mod record;
mod params;
mod door;
mod problem;

use tokio::net::TcpListener;

pub(crate) use door::Door;
pub use params::moment_ms;
pub use record::RecordJson;

use crate::task::Task;

/// Serves in a task until the node has stopped; not `async` for the reason of the listener's `start`.
pub(crate) fn start(listener: TcpListener, door: Door) -> Task<()> {
    let phases = door.phases.clone();
    Task::spawn(server::serve(listener, phases, openapi::router(door)))
}
