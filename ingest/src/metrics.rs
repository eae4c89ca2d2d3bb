//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge};
use strandline_core::figures;
use strandline_core::metrics::{opts, seconds};

figures! { pub(crate),
    /// Record bytes between admission and acknowledgement.
    INFLIGHT_BYTES: IntGauge = IntGauge::new("strandline_ingest_inflight_bytes", "Record bytes between admission and acknowledgement");
    /// Batches taken in.
    BATCHES: IntCounter = IntCounter::new("strandline_ingest_batches_total", "Record batches taken in");
    /// Records taken in.
    RECORDS: IntCounter = IntCounter::new("strandline_ingest_records_total", "Records taken in");
    /// Bytes taken in.
    BYTES: IntCounter = IntCounter::new("strandline_ingest_bytes_total", "Record batch bytes taken in");
    /// Batches that were not appended, by why.
    REFUSED: IntCounterVec = IntCounterVec::new(opts("strandline_ingest_refused_total", "Record batches not appended"), &["why"]);
    /// Bytes of a flush.
    FLUSH_BYTES: Histogram = Histogram::with_opts(bytes("strandline_ingest_flush_bytes", "Bytes of a flush"));
    /// Seconds that the oldest batch of a flush had waited.
    FLUSH_AGE: Histogram = Histogram::with_opts(seconds("strandline_ingest_flush_age_seconds", "Seconds that the oldest batch of a flush had waited"));
    /// Seconds from append to acknowledgement.
    ACK_SECONDS: Histogram = Histogram::with_opts(seconds("strandline_ingest_ack_seconds", "Seconds from append to acknowledgement"));
}

/// Buckets for bytes, from 1 KiB to 256 MiB.
fn bytes(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .buckets(prometheus::exponential_buckets(1024.0, 4.0, 10).unwrap_or_default())
}
