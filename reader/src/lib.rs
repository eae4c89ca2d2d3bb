//! From the bucket to record batches, live and historic.
//!
//! Owns pulls by offset: long polls at the end of the log, lookup, caching, stamping of offsets. Must not know Kafka's
//! requests, nor how records got into the bucket: ingest and reader meet at [`strandline_core::manifest`].
//!
//! Modules stand in the order in which a pull meets them, and import only modules that stand after them:
//!
//! - [`replay`]: a range of a topic as columns
//! - [`batches`]: what a pull gave, batch by batch, as a consumer sees it
//! - [`reader`]: the handle: fetch, offsets
//! - `times`: from a timestamp to an offset
//! - `locate`: from an offset to bytes
//! - `plan`: which partitions are read how far, and whether there is enough yet
//! - `walk`: batch after batch through a run
//! - `render`: row groups of Parquet chunks as batches
//! - `history`: which runs hold the offsets: index and extents
//! - `resume`: where in a run the next pull goes on
//! - `cache`: blocks of objects, read once
//! - `error`: why something cannot be read
//! - `metrics`: the figures of this crate
pub mod replay;
pub mod batches;
pub mod reader;
mod times;
mod locate;
mod plan;
mod walk;
mod render;
mod history;
mod resume;
mod cache;
mod error;
mod metrics;

pub use error::ReadError;
pub use plan::{FetchLimits, FetchPartition, Fetched, Isolation};
pub use reader::{Config, Reader};
pub use times::{OffsetFound, OffsetSpec};
