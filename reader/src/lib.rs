//! From the bucket to record batches, live and historic.
//!
//! Owns pulls by offset: long polls at the end of the log, lookup, caching, stamping of offsets. Must not know Kafka's
//! requests, nor how records got into the bucket: ingest and reader meet at [`strandline_core::manifest`].
//!
//! Modules stand in the order in which a pull meets them, and import only modules that stand after them:
//!
//! - [`reader`]: the handle: fetch, offsets
//! - `locate`: from an offset or a timestamp to bytes
//! - `plan`: which partitions are read how far, and whether there is enough yet
//! - `resume`: where in an extent the next pull goes on
//! - `cache`: blocks of objects, read once
//! - `error`: why something cannot be read
//! - `metrics`: the figures of this crate
pub mod reader;
mod locate;
mod plan;
mod resume;
mod cache;
mod error;
mod metrics;

pub use error::ReadError;
pub use locate::{OffsetFound, OffsetSpec};
pub use plan::{FetchLimits, FetchPartition, Fetched, Isolation};
pub use reader::{Config, Reader};
