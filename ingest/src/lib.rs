//! From record batches to acknowledged commits.
//!
//! Owns the way of a batch from admission to its acknowledgement: bytes first, then the pointer. Must not know Kafka's
//! requests, nor how records are read: ingest and reader meet in the bucket, at [`strandline_core::manifest`].
//!
//! Modules stand in the order in which a batch meets them, and import only modules that stand after them:
//!
//! - [`ingest`]: the handle: admit, append, close
//! - `flush`: when what waits is flushed, and its way to the bucket
//! - `check`: what a topic asks of a batch: its size, keys and times
//! - `batcher`: what waits, by partition, in order of arrival
//! - `pace`: how many requests may be paid for
//! - `ack`: who hears what the fold decided
//! - `admit`: how many bytes may be on their way
//! - [`partitioner`]: which partition a key belongs to
//! - `config`: what a process decides
//! - `metrics`: the figures of this crate
pub mod ingest;
mod flush;
mod check;
mod batcher;
mod pace;
mod ack;
mod admit;
pub mod partitioner;
mod config;
mod metrics;

pub use ack::{Append, AppendError, Appended, Refused};
pub use admit::Admission;
pub use config::Config;
pub use ingest::Ingest;
