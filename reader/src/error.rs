//! Why something cannot be read, by what the caller must do.
//!
//! Must not know Kafka's codes.

use strandline_core::{Error, Kind};

/// Why a partition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No such topic, also after reading the journal to its end.
    #[error("the topic does not exist")]
    UnknownTopic,
    /// The topic has fewer partitions.
    #[error("the partition does not exist")]
    UnknownPartition,
    /// The offset does not exist, also after reading the journal to its end.
    #[error("the offset is out of range, the partition has {log_start} to {high_watermark}")]
    OutOfRange {
        /// First offset that is there.
        log_start: i64,
        /// The offset after the last one.
        high_watermark: i64,
    },
    /// The bytes in the bucket are damaged.
    #[error("{0}")]
    Corrupt(String),
    /// The store does not answer: try again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<&Error> for ReadError {
    fn from(error: &Error) -> ReadError {
        match error.kind() {
            Kind::Corrupt | Kind::Unsupported => ReadError::Corrupt(error.to_string()),
            _ => ReadError::Unavailable(error.to_string()),
        }
    }
}
