//! From record batches to acknowledged commits.
//!
//! Owns the way of a batch from admission to its acknowledgement: bytes first, then the pointer. Must not know Kafka's
//! requests, nor how records are read: ingest and reader meet in the bucket, at [`strandline_core::manifest`].
//!
//! Modules stand in the order in which a batch meets them, and import only modules that stand after them:
//!
//! - [`ingest`]: the handle: admit, append, close
//! - [`batcher`]: what waits to be flushed, by partition, in order of arrival
//! - [`flush`]: when it is flushed, and the way to the bucket
//! - [`pace`]: how many requests may be paid for
//! - [`ack`]: who hears what the fold decided
//! - [`admit`]: how many bytes may be on their way
//! - [`metrics`]: the figures of this crate
pub mod ingest;
mod batcher;
mod flush;
mod pace;
mod ack;
mod admit;
mod metrics;

pub use ack::{Append, AppendError, Appended};
pub use admit::Admission;
pub use ingest::{Config, Ingest};
