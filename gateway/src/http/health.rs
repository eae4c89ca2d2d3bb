//! Health, readiness and metrics, for operators.
//!
//! Must not know requests. Invariant: nothing here waits for the store, so a probe is answered while the store is away.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use prometheus::{Encoder, TextEncoder};
use tracing::warn;

use super::door::Door;
use crate::phase::Phase;

/// The process runs.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Requests are answered; a load balancer sends clients elsewhere otherwise.
pub(super) async fn readyz(State(door): State<Door>) -> (StatusCode, String) {
    let unavailable = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    match (door.phases.now(), door.journal.health()) {
        (Phase::Starting, _) => unavailable("starting"),
        (Phase::Stopping | Phase::Stopped, _) => unavailable("stopping"),
        (Phase::Serving, Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
        (Phase::Serving, Err(error)) => unavailable(&error.to_string()),
    }
}

/// All figures of the process, in Prometheus' text format.
pub(super) async fn metrics() -> impl IntoResponse {
    let encoder = TextEncoder::new();
    let mut body = Vec::new();
    match encoder.encode(&prometheus::default_registry().gather(), &mut body) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, encoder.format_type().to_owned())], body),
        Err(error) => {
            warn!(%error, "the metrics could not be written");
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain".to_owned())], Vec::new())
        }
    }
}
