//! The log itself: how records become bytes in a bucket, and how the bucket becomes an order.
//!
//! Owns the journal, the fold, segments, the view over record batches and the way to the store. It must not know
//! Kafka's requests, sockets or the command line.
//!
//! Modules stand in the order in which a record meets them, and import only modules that stand after them:
//!
//! - [`scrub`]: is everything in the bucket that should be there, and is it whole?
//! - [`manifest`]: the order of everything: proposing, folding, loading, following
//! - [`index`]: the tree over the chunks of a partition
//! - [`segment`]: one immutable object that holds the batches of many partitions
//! - [`chunk`]: one immutable object that holds a long run of one partition
//! - [`probe`]: is this store safe to keep a log in?
//! - [`store`]: the bucket: URL, retries, metering
//! - [`record`]: a checked view over Kafka's RecordBatch v2
//! - [`object`]: the frame that every object of ours starts with
//! - [`rope`]: bytes in several pieces that are never joined
//! - [`paths`]: the keys of the bucket
//! - [`mod@env`]: the clock, the dice and the scheduler, the only door to all three
//! - [`mutation`]: rules that a test may break
//! - [`metrics`]: the figures of this crate
//! - [`error`]: what can go wrong, sorted by what the caller must do
//! - [`limits`]: every bound, in one place
pub mod scrub;
pub mod manifest;
pub mod index;
pub mod segment;
pub mod chunk;
pub mod probe;
pub mod store;
pub mod record;
pub mod object;
pub mod rope;
pub mod paths;
pub mod env;
pub mod mutation;
pub mod metrics;
pub mod error;
pub mod limits;
#[cfg(test)]
mod testing;

pub use error::{Error, Kind, Result};
