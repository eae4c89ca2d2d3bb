//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};
use strandline_core::metrics::registered;

/// Where the bytes of a read came from: `tail`, `cache` or `store`.
pub(crate) static READS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    registered(IntCounterVec::new(
        Opts::new("strandline_reader_reads_total", "Reads by where their bytes came from"),
        &["from"],
    ))
});

/// Blocks fetched before anybody asked for them.
pub(crate) static READ_AHEAD: LazyLock<IntCounter> = LazyLock::new(|| {
    registered(IntCounter::new(
        "strandline_reader_read_ahead_total",
        "Blocks fetched before anybody asked for them",
    ))
});

/// Bytes given to readers.
pub(crate) static BYTES: LazyLock<IntCounter> = LazyLock::new(|| {
    registered(IntCounter::new("strandline_reader_bytes_total", "Record batch bytes given to readers"))
});

/// Pulls that wait for records.
pub(crate) static WAITING: LazyLock<IntGauge> = LazyLock::new(|| {
    registered(IntGauge::new("strandline_reader_waiting_fetches", "Pulls that wait for records"))
});

/// Bytes in the block cache.
pub(crate) static CACHE_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    registered(IntGauge::new("strandline_reader_cache_bytes", "Bytes in the cache of historic blocks"))
});

/// Makes every figure of this crate appear, also those that nothing was counted in yet.
pub(crate) fn appear() {
    LazyLock::force(&READS);
    LazyLock::force(&READ_AHEAD);
    LazyLock::force(&BYTES);
    LazyLock::force(&WAITING);
    LazyLock::force(&CACHE_BYTES);
}
