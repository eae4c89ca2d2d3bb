//! The operators' door: health, readiness, metrics over HTTP.
//!
//! Must not know Kafka. Invariant: nothing here waits for the store, so a probe is answered while the store is away.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};
use strandline_core::manifest::Journal;
use tokio::net::TcpListener;
use tracing::{error, warn};

use crate::phase::{Phase, Phases};
use crate::task::Task;

#[derive(Clone)]
struct Health {
    phases: Phases,
    journal: Journal,
}

/// [`serve`] in a task; not `async` for the reason of the listener's `start`.
pub(crate) fn start(listener: TcpListener, phases: Phases, journal: Journal) -> Task<()> {
    Task::spawn(serve(listener, phases, journal))
}

/// Answers until every Kafka connection is closed.
async fn serve(listener: TcpListener, phases: Phases, journal: Journal) {
    let end = phases.clone();
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Health { phases, journal });
    let stopped = async move { end.reached(Phase::Stopped).await };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        error!(%error, "the HTTP server failed");
    }
}

/// The process runs.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Requests are answered; a load balancer sends clients elsewhere otherwise.
async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let unavailable = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    match (health.phases.now(), health.journal.health()) {
        (Phase::Starting, _) => unavailable("starting"),
        (Phase::Stopping | Phase::Stopped, _) => unavailable("stopping"),
        (Phase::Serving, Ok(())) => (StatusCode::OK, "ready\n".to_owned()),
        (Phase::Serving, Err(error)) => unavailable(&error.to_string()),
    }
}

async fn metrics() -> impl IntoResponse {
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
