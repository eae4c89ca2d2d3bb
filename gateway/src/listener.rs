//! Accepts Kafka connections, counts them, and waits for them at the end.
//!
//! Must not know what a connection does. Invariant: the number of connections is bounded, and when `run` returns none
//! is left.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{Instrument, error_span, info, warn};

use crate::connection;
use crate::limits::{ACCEPT_PAUSE, MAX_CONNECTIONS, SHUTDOWN};
use crate::metrics;
use crate::phase::Phase;
use crate::services::Services;
use crate::task::Task;

/// [`run`] in a task. A function that is not `async`: what it starts is compiled here, once, and not in every program that
/// holds a node.
pub(crate) fn start(listener: TcpListener, which: usize, services: Arc<Services>) -> Task<()> {
    Task::spawn(run(listener, which, services))
}

/// Accepts on the listener of number `which` until the node stops, then lets the connections answer what is in flight.
async fn run(listener: TcpListener, which: usize, services: Arc<Services>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = services.phases.reached(Phase::Stopping) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if connections.len() < MAX_CONNECTIONS => {
                    // An error span, so that a warning says whose it is under every log filter.
                    let span = error_span!("connection", %peer);
                    connections.spawn(connection::accept(stream, which, Arc::clone(&services)).instrument(span));
                }
                Ok((_, peer)) => {
                    metrics::CONNECTIONS_REFUSED.inc();
                    warn!(%peer, limit = MAX_CONNECTIONS, "connection refused: too many are open");
                }
                Err(error) => {
                    warn!(%error, "no connection can be accepted at the moment");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // Closed first, so that a client which reconnects meets another node or a refusal, not silence.
    drop(listener);
    info!(connections = connections.len(), "waiting for the answers in flight");
    let drained = timeout(SHUTDOWN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        warn!(connections = connections.len(), "some connections did not end in time and are cut");
    }
    connections.shutdown().await;
}
