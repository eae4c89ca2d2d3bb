//! What a topic asks of the batches that join it, read from its configs once, when they change.
//!
//! Must not know batches. Invariant: a pure function of the configs; what cannot be read there counts as not set. The
//! gateway refuses such values, and every node reads the same.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::limits::{MAX_MESSAGE_BYTES_DEFAULT, TIMESTAMP_AFTER_MAX};

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
        fn number<T: FromStr>(configs: &BTreeMap<String, String>, name: &str) -> Option<T> {
            configs.get(name)?.trim().parse().ok()
        }
        let default = AppendRules::default();
        let is = |name: &str, value: &str| {
            configs.get(name).is_some_and(|set| set.split(',').any(|element| element.trim() == value))
        };
        AppendRules {
            max_message_bytes: number(configs, "max.message.bytes").unwrap_or(default.max_message_bytes),
            append_time: is("message.timestamp.type", "LogAppendTime"),
            keyed: is("cleanup.policy", "compact"),
            before_max_ms: number(configs, "message.timestamp.before.max.ms")
                .unwrap_or(default.before_max_ms),
            after_max_ms: number(configs, "message.timestamp.after.max.ms").unwrap_or(default.after_max_ms),
        }
    }
}
