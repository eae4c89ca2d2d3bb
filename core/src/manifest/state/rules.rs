//! What a topic asks of the batches that join it, and what becomes of old ones, read from its configs once, when they change.
//!
//! Must not know batches. Invariant: a pure function of the configs; what cannot be read there counts as not set. The
//! gateway refuses such values, and every node reads the same.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::limits::{DELETE_RETENTION, MAX_MESSAGE_BYTES_DEFAULT, RETENTION, TIMESTAMP_AFTER_MAX};

/// What is asked of a batch on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendRules {
    /// Its length, at most (`max.message.bytes`).
    pub max_message_bytes: usize,
    /// Its records get the time at which they join (`message.timestamp.type`).
    pub append_time: bool,
    /// Each of its records needs a key: the topic is compacted (`cleanup.policy`).
    pub keyed: bool,
    /// How far its records' times may lie behind now, milliseconds (`message.timestamp.before.max.ms`).
    pub before_max_ms: i64,
    /// How far they may lie ahead of it (`message.timestamp.after.max.ms`).
    pub after_max_ms: i64,
}

impl Default for AppendRules {
    fn default() -> AppendRules {
        AppendRules {
            max_message_bytes: MAX_MESSAGE_BYTES_DEFAULT,
            append_time: false,
            keyed: false,
            before_max_ms: i64::MAX,
            after_max_ms: TIMESTAMP_AFTER_MAX.as_millis() as i64,
        }
    }
}

impl AppendRules {
    pub(super) fn of(configs: &BTreeMap<String, String>) -> AppendRules {
        let default = AppendRules::default();
        AppendRules {
            max_message_bytes: number(configs, "max.message.bytes").unwrap_or(default.max_message_bytes),
            append_time: has(configs, "message.timestamp.type", "LogAppendTime"),
            keyed: has(configs, "cleanup.policy", "compact"),
            before_max_ms: number(configs, "message.timestamp.before.max.ms")
                .unwrap_or(default.before_max_ms),
            after_max_ms: number(configs, "message.timestamp.after.max.ms").unwrap_or(default.after_max_ms),
        }
    }
}

/// What becomes of a topic's old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// They are deleted by their age and their bytes (`cleanup.policy`).
    pub deletes: bool,
    /// Of each key the last one stays (`cleanup.policy`).
    pub compacts: bool,
    /// Age beyond which they are deleted, milliseconds (`retention.ms`); negative: no bound.
    pub ms: i64,
    /// Bytes of a partition beyond which they are deleted (`retention.bytes`); negative: no bound.
    pub bytes: i64,
    /// How long a tombstone can be read, at least, milliseconds (`delete.retention.ms`).
    pub tombstones_ms: i64,
    /// Share of uncompacted bytes from which on it is compacted, in thousandths (`min.cleanable.dirty.ratio`).
    pub dirty_per_mille: u32,
    /// Age of records from which on they are compacted, however few they are, milliseconds (`segment.ms`).
    pub segment_ms: i64,
    /// How long a record stays uncompacted, at least, milliseconds (`min.compaction.lag.ms`).
    pub min_lag_ms: i64,
    /// And at most (`max.compaction.lag.ms`).
    pub max_lag_ms: i64,
}

impl Retention {
    pub(super) fn of(configs: &BTreeMap<String, String>) -> Retention {
        Retention {
            deletes: !configs.contains_key("cleanup.policy") || has(configs, "cleanup.policy", "delete"),
            compacts: has(configs, "cleanup.policy", "compact"),
            ms: number(configs, "retention.ms").unwrap_or(RETENTION.as_millis() as i64),
            bytes: number(configs, "retention.bytes").unwrap_or(-1),
            tombstones_ms: number(configs, "delete.retention.ms")
                .unwrap_or(DELETE_RETENTION.as_millis() as i64),
            dirty_per_mille: number::<f64>(configs, "min.cleanable.dirty.ratio")
                .map_or(500, |ratio| (ratio.clamp(0.0, 1.0) * 1_000.0) as u32),
            segment_ms: number(configs, "segment.ms").unwrap_or(RETENTION.as_millis() as i64),
            min_lag_ms: number(configs, "min.compaction.lag.ms").unwrap_or(0),
            max_lag_ms: number(configs, "max.compaction.lag.ms").unwrap_or(i64::MAX),
        }
    }
}

fn number<T: FromStr>(configs: &BTreeMap<String, String>, name: &str) -> Option<T> {
    configs.get(name)?.trim().parse().ok()
}

/// Whether a list holds an element.
fn has(configs: &BTreeMap<String, String>, name: &str, element: &str) -> bool {
    configs.get(name).is_some_and(|list| list.split(',').any(|one| one.trim() == element))
}
