//! What a process decides about ingest; everything else is a limit.
//!
//! Must not know where the values come from.

use std::time::Duration;

use strandline_core::limits;

/// The settings of ingest.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time between requests that are paid for; zero: flush as soon as the pipeline allows.
    pub flush_interval: Duration,
    /// Flushes up to this size ride in the commit: one PUT in place of two.
    pub inline_max_bytes: usize,
    /// Target size of a segment. A flush of twice as much goes out without waiting.
    pub segment_bytes: usize,
    /// Bytes of requests between their first byte and their acknowledgement.
    pub inflight_bytes: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            flush_interval: Duration::ZERO,
            inline_max_bytes: limits::INLINE_MAX_BYTES_DEFAULT,
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
            inflight_bytes: limits::INFLIGHT_BYTES_DEFAULT,
        }
    }
}

impl Config {
    /// A flush of this size does not wait for anything.
    pub(crate) fn full_bytes(&self) -> usize {
        self.segment_bytes.saturating_mul(2)
    }
}
