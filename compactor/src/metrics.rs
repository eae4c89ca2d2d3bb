//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.

use prometheus::{IntCounter, IntCounterVec};
use strandline_core::figures;
use strandline_core::metrics::opts;

figures! { pub(crate),
    /// Bytes that were read to be written anew.
    READ_BYTES: IntCounter = IntCounter::new("strandline_compactor_read_bytes_total", "Record bytes that the compactor has read");
    /// Jobs by kind and by what came of them.
    JOBS: IntCounterVec = IntCounterVec::new(opts("strandline_compactor_jobs_total", "Jobs of the compactor, by kind and result"), &["kind", "result"]);
    /// Record bytes written, by kind of job.
    WRITTEN_BYTES: IntCounterVec = IntCounterVec::new(opts("strandline_compactor_written_bytes_total", "Record bytes that the compactor has written, by kind of job"), &["kind"]);
}
