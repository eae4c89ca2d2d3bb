//! HTTP/1.1 connections: accepted, counted, ended.
//!
//! Must not know routes. Invariants: the number of connections is bounded, and so is the time that a request's head may take, and
//! that a client may leave an answer lying; when it returns none is left.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

use crate::limits::{ACCEPT_PAUSE, HTTP_CONNECTIONS, HTTP_HEAD_TIMEOUT, WRITE_STALL};
use crate::phase::{Phase, Phases};

/// Serves until the node has stopped, then lets requests end that are under way.
pub(super) async fn serve(listener: TcpListener, phases: Phases, router: Router) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HTTP_HEAD_TIMEOUT);
    loop {
        tokio::select! {
            biased;
            () = phases.reached(Phase::Stopped) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if connections.len() < HTTP_CONNECTIONS => {
                    // Answers are small; a client that waits for one must not wait for the kernel.
                    let _ = stream.set_nodelay(true);
                    let service = TowerToHyperService::new(router.clone());
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(WRITE_STALL));
                    let connection = graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), service));
                    connections.spawn(async move {
                        if let Err(error) = connection.await {
                            debug!(%peer, %error, "an HTTP connection broke");
                        }
                    });
                }
                Ok((_, peer)) => warn!(%peer, limit = HTTP_CONNECTIONS, "HTTP connection refused: too many are open"),
                Err(error) => {
                    warn!(%error, "no HTTP connection can be accepted at the moment");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}
