//! The figures of this crate, in Prometheus' default registry: connections, requests, errors, bytes.
//!
//! Must not know who scrapes them. Labels are bounded: API names, error codes and reasons from our own tables, never
//! anything that a client chose.

use std::sync::LazyLock;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use strandline_core::figures;
use strandline_core::metrics::{opts, seconds};
use strandline_kafka::api::{self, ApiKey};
use strandline_kafka::error::ErrorCode;
use tokio::time::Instant;

figures! { pub(crate),
    /// Kafka connections open now.
    CONNECTIONS: IntGauge = IntGauge::new("strandline_connections", "Kafka connections open now");
    /// Kafka connections accepted.
    CONNECTIONS_TOTAL: IntCounter = IntCounter::new("strandline_connections_total", "Kafka connections accepted");
    /// Kafka connections closed at once, since there were too many.
    CONNECTIONS_REFUSED: IntCounter = IntCounter::new("strandline_connections_refused_total", "Kafka connections closed at once because of the connection limit");
    /// Kafka connections that we closed for a fault, by reason.
    CONNECTIONS_CLOSED: IntCounterVec = IntCounterVec::new(opts("strandline_connections_closed_total", "Kafka connections closed for a fault, by reason"), &["reason"]);
    /// Requests read, by API.
    REQUESTS: IntCounterVec = IntCounterVec::new(opts("strandline_requests_total", "Kafka requests read"), &["api"]);
    /// Error codes in answers, by API and code. One request may carry several.
    REQUEST_ERRORS: IntCounterVec = IntCounterVec::new(opts("strandline_request_errors_total", "Error codes in Kafka answers"), &["api", "code"]);
    /// Seconds from a request read to its answer written, by API.
    REQUEST_SECONDS: HistogramVec = HistogramVec::new(seconds("strandline_request_seconds", "Seconds from a request read to its answer written; a long poll counts its waiting"), &["api"]);
    /// Batches sent with acks=0 that were not written. Their producer is never told.
    UNACKED_FAILURES: IntCounter = IntCounter::new("strandline_produce_unacked_failures_total", "Batches sent with acks=0 that could not be written");
    /// Bytes received from Kafka clients.
    BYTES_IN: IntCounter = IntCounter::new("strandline_kafka_bytes_in_total", "Bytes received from Kafka clients");
    /// Bytes sent to Kafka clients.
    BYTES_OUT: IntCounter = IntCounter::new("strandline_kafka_bytes_out_total", "Bytes sent to Kafka clients");
    /// HTTP requests answered, by method, route and status. What no route takes is not counted.
    HTTP_REQUESTS: IntCounterVec = IntCounterVec::new(opts("strandline_http_requests_total", "HTTP requests answered, by method, route and status"), &["method", "route", "status"]);
    /// Nodes of the cluster that live, as far as this one knows; it is one of them.
    NODES_LIVE: IntGauge = IntGauge::new("strandline_nodes_live", "Nodes of the cluster that live, as far as this one knows");
    /// Bytes of the Fetch budget that are in use.
    FETCH_BYTES: IntGauge = IntGauge::new("strandline_fetch_inflight_bytes", "Record bytes of Fetch answers between the reader and the sockets");
}

/// The figures of one API, looked up once: a label lookup for each request would hash and lock.
struct PerApi {
    api: ApiKey,
    requests: IntCounter,
    seconds: Histogram,
}

static PER_API: LazyLock<Vec<PerApi>> = LazyLock::new(|| {
    let figures = |range: &api::ApiRange| PerApi {
        api: range.key,
        requests: REQUESTS.with_label_values(&[range.key.name()]),
        seconds: REQUEST_SECONDS.with_label_values(&[range.key.name()]),
    };
    api::table().iter().map(figures).collect()
});

fn per_api(api: ApiKey) -> Option<&'static PerApi> {
    PER_API.iter().find(|figures| figures.api == api)
}

/// A request was read.
pub(crate) fn request(api: ApiKey) {
    if let Some(figures) = per_api(api) {
        figures.requests.inc();
    }
}

/// The answer to a request that was read at `started` is written.
pub(crate) fn answered(api: ApiKey, started: Instant) {
    if let Some(figures) = per_api(api) {
        figures.seconds.observe(started.elapsed().as_secs_f64());
    }
}

/// An error code goes into an answer. Gives the number on the wire.
pub(crate) fn failed(api: ApiKey, code: ErrorCode) -> i16 {
    if code != ErrorCode::None {
        REQUEST_ERRORS.with_label_values(&[api.name(), &code.code().to_string()]).inc();
    }
    code.code()
}

/// An error code that is in an answer already.
pub(crate) fn failed_code(api: ApiKey, code: i16) {
    failed(api, ErrorCode::try_from(code).unwrap_or(ErrorCode::UnknownServerError));
}

/// Makes every figure appear, with zero for each API, before anything has happened.
pub(crate) fn register() {
    appear();
    LazyLock::force(&PER_API);
}
