//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use strandline_core::figures;
use strandline_core::metrics::opts;

figures! { pub(crate),
    /// Where the bytes of a read came from: `tail`, `cache` or `store`.
    READS: IntCounterVec = IntCounterVec::new(opts("strandline_reader_reads_total", "Reads by where their bytes came from"), &["from"]);
    /// Blocks fetched before anybody asked for them.
    READ_AHEAD: IntCounter = IntCounter::new("strandline_reader_read_ahead_total", "Blocks fetched before anybody asked for them");
    /// Where an index node or the footer of a chunk came from: `cache` or `store`.
    INDEX_READS: IntCounterVec = IntCounterVec::new(opts("strandline_reader_index_reads_total", "Reads of index nodes and chunk footers by where they came from"), &["from"]);
    /// Bytes given to readers.
    BYTES: IntCounter = IntCounter::new("strandline_reader_bytes_total", "Record batch bytes given to readers");
    /// Pulls that wait for records.
    WAITING: IntGauge = IntGauge::new("strandline_reader_waiting_fetches", "Pulls that wait for records");
    /// Bytes in the block cache.
    CACHE_BYTES: IntGauge = IntGauge::new("strandline_reader_cache_bytes", "Bytes in the cache of historic blocks");
    /// Bytes of decoded index nodes and footers.
    INDEX_BYTES: IntGauge = IntGauge::new("strandline_reader_index_cache_bytes", "Bytes in the cache of index nodes and chunk footers");
}
