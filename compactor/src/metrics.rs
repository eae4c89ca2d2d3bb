//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use strandline_core::figures;
use strandline_core::metrics::opts;

figures! { pub(crate),
    /// Bytes that were read to be written anew.
    READ_BYTES: IntCounter = IntCounter::new("strandline_compactor_read_bytes_total", "Record bytes that the compactor has read");
    /// Jobs by kind and by what came of them.
    JOBS: IntCounterVec = IntCounterVec::new(opts("strandline_compactor_jobs_total", "Jobs of the compactor, by kind and result"), &["kind", "result"]);
    /// Record bytes written, by kind of job.
    WRITTEN_BYTES: IntCounterVec = IntCounterVec::new(opts("strandline_compactor_written_bytes_total", "Record bytes that the compactor has written, by kind of job"), &["kind"]);
    /// Objects that were deleted, by what they were.
    SWEPT: IntCounterVec = IntCounterVec::new(opts("strandline_sweep_deleted_objects_total", "Objects deleted because nobody needs them any more, by what they were"), &["kind"]);
    /// Their bytes.
    SWEPT_BYTES: IntCounterVec = IntCounterVec::new(opts("strandline_sweep_deleted_bytes_total", "Bytes of objects deleted because nobody needs them any more, by what they were"), &["kind"]);
    /// Looks at the Iceberg tables of topics, by what came of them.
    TABLES: IntCounterVec = IntCounterVec::new(opts("strandline_tables_total", "Looks at the Iceberg table of a topic that may be behind its log, by result"), &["result"]);
    /// The slot that the floor is at.
    FLOOR: IntGauge = IntGauge::new("strandline_sweep_floor_slot", "The slot below which slots may be deleted, as the last sweep saw it");
}
