//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

fn register<M: prometheus::core::Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.unwrap_or_else(|e| unreachable!("a metric has a bad name: {e}"));
    // Registering twice is impossible behind a `LazyLock`; a name clash would only hide the second metric.
    let _ = prometheus::register(Box::new(metric.clone()));
    metric
}

/// Where the bytes of a read came from: `tail`, `cache` or `store`.
pub(crate) static READS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register(IntCounterVec::new(
        Opts::new("strandline_reader_reads_total", "Reads by where their bytes came from"),
        &["from"],
    ))
});

/// Blocks fetched before anybody asked for them.
pub(crate) static READ_AHEAD: LazyLock<IntCounter> = LazyLock::new(|| {
    register(IntCounter::new(
        "strandline_reader_read_ahead_total",
        "Blocks fetched before anybody asked for them",
    ))
});

/// Bytes given to readers.
pub(crate) static BYTES: LazyLock<IntCounter> = LazyLock::new(|| {
    register(IntCounter::new("strandline_reader_bytes_total", "Record batch bytes given to readers"))
});

/// Pulls that wait for records.
pub(crate) static WAITING: LazyLock<IntGauge> = LazyLock::new(|| {
    register(IntGauge::new("strandline_reader_waiting_fetches", "Pulls that wait for records"))
});

/// Bytes in the block cache.
pub(crate) static CACHE_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    register(IntGauge::new("strandline_reader_cache_bytes", "Bytes in the cache of historic blocks"))
});
