//! Chunks as Parquet files: the records of a partition in columns, for Kafka's clients and for analytics alike.
//!
//! Owns what such a file is: its columns, its row groups, what its footer says and how damage is noticed. It must not know
//! the manifest, the store, or Kafka's requests; it does no I/O.
//!
//! Modules stand in the order in which a record meets them, and import only modules that stand after them:
//!
//! - [`encoder`]: rows become a file, a row group at a time
//! - [`decoder`]: the bytes of one row group become columns
//! - [`layout`]: what the footer of a file says
//! - `facts`: our entries in the footer, and the seal over it
//! - [`rows`]: rows and Arrow's columns, in both directions
//! - [`schema`]: the columns, their types and their ids
//! - [`value`]: columns out of what values hold
//! - [`error`]: what can go wrong
pub mod encoder;
pub mod decoder;
pub mod layout;
mod facts;
pub mod rows;
pub mod schema;
pub mod value;
pub mod error;
#[cfg(test)]
mod testing;

pub use decoder::{decode, decode_rows};
pub use encoder::{Encoder, Options, Summary};
pub use error::{ArchiveError, Result};
pub use layout::{Layout, RowGroup};
pub use rows::{RowsBuilder, rows, times};
pub use schema::{Column, schema};
pub use strandline_core::record::Row;
pub use value::{Framing, Unfold, ValueFormat};
