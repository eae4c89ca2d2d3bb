//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.

use std::sync::LazyLock;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts};
use strandline_core::metrics::registered;

/// Record bytes between admission and acknowledgement.
pub(crate) static INFLIGHT_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    registered(IntGauge::new(
        "strandline_ingest_inflight_bytes",
        "Record bytes between admission and acknowledgement",
    ))
});

/// Batches taken in.
pub(crate) static BATCHES: LazyLock<IntCounter> = LazyLock::new(|| {
    registered(IntCounter::new("strandline_ingest_batches_total", "Record batches taken in"))
});

/// Records taken in.
pub(crate) static RECORDS: LazyLock<IntCounter> =
    LazyLock::new(|| registered(IntCounter::new("strandline_ingest_records_total", "Records taken in")));

/// Bytes taken in.
pub(crate) static BYTES: LazyLock<IntCounter> = LazyLock::new(|| {
    registered(IntCounter::new("strandline_ingest_bytes_total", "Record batch bytes taken in"))
});

/// Batches that were not appended, by why.
pub(crate) static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    registered(IntCounterVec::new(
        Opts::new("strandline_ingest_refused_total", "Record batches not appended"),
        &["why"],
    ))
});

/// Bytes of a flush.
pub(crate) static FLUSH_BYTES: LazyLock<Histogram> = LazyLock::new(|| {
    let buckets = prometheus::exponential_buckets(1024.0, 4.0, 10).unwrap_or_default();
    registered(Histogram::with_opts(
        HistogramOpts::new("strandline_ingest_flush_bytes", "Bytes of a flush").buckets(buckets),
    ))
});

/// Seconds that the oldest batch of a flush had waited.
pub(crate) static FLUSH_AGE: LazyLock<Histogram> = LazyLock::new(|| {
    registered(Histogram::with_opts(HistogramOpts::new(
        "strandline_ingest_flush_age_seconds",
        "Seconds that the oldest batch of a flush had waited",
    )))
});

/// Seconds from append to acknowledgement.
pub(crate) static ACK_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    let buckets = prometheus::exponential_buckets(0.001, 2.0, 15).unwrap_or_default();
    registered(Histogram::with_opts(
        HistogramOpts::new("strandline_ingest_ack_seconds", "Seconds from append to acknowledgement")
            .buckets(buckets),
    ))
});

/// Makes every figure of this crate appear, also those that nothing was counted in yet.
pub(crate) fn appear() {
    LazyLock::force(&INFLIGHT_BYTES);
    LazyLock::force(&BATCHES);
    LazyLock::force(&RECORDS);
    LazyLock::force(&BYTES);
    LazyLock::force(&REFUSED);
    LazyLock::force(&FLUSH_BYTES);
    LazyLock::force(&FLUSH_AGE);
    LazyLock::force(&ACK_SECONDS);
}
