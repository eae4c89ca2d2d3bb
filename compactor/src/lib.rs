//! Years of history: what was written stays cheap to keep and to find.
//!
//! Owns merging, the index over chunks, retention and garbage. Must not know how records come in or go out: it meets ingest
//! and reader in the bucket, at [`strandline_core::manifest`]. Any number of compactors may be at work: what one of them has
//! done in the meantime makes the change of the other void, never wrong.
//!
//! Modules stand in the order in which work meets them, and import only modules that stand after them:
//!
//! - [`compactor`]: looks at the manifest now and then, and does what is worth it
//! - [`sweep`]: what nobody needs any more: the floor, slots, checkpoints, orphans
//! - [`table`]: Iceberg tables over the Parquet chunks of topics
//! - `retention`: what is too old or too much
//! - `clean`: of each key the last record stays
//! - `merge`: extents of many partitions become one merged segment
//! - `gather`: extents of one partition become one chunk
//! - `parquet`: the same as a Parquet file
//! - `tree`: chunks join the index of their partition
//! - `keys`: the last offset of each key
//! - `aborts`: which batches belong to an aborted transaction
//! - `input`: the batches of extents, read and checked
//! - `written`: a chunk on its way into the bucket
//! - `output`: names of what is written
//! - `means`: what every job is done with
//! - [`plan`]: what is worth doing
//! - `pace`: how fast bytes may be moved
//! - [`job`]: a piece of work
//! - `metrics`: the figures of this crate
pub mod compactor;
pub mod sweep;
pub mod table;
mod retention;
mod clean;
mod merge;
mod gather;
mod parquet;
mod tree;
mod keys;
mod aborts;
mod input;
mod written;
mod output;
mod means;
pub mod plan;
mod pace;
pub mod job;
mod metrics;
#[cfg(test)]
mod testing;

pub use compactor::{Compactor, Config, Done, Progress, Turn};
