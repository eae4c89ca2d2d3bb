//! Rows become Arrow's columns, and columns rows.
//!
//! Must not know files. Invariant: what went in comes out, bit for bit, whatever offsets, times, keys, values and headers are;
//! columns of others give an error and never a panic.

mod build;
mod read;

pub use build::RowsBuilder;
pub(crate) use build::row_bytes;
pub(crate) use read::{Part, rows_of};
pub use read::{rows, times};

/// Microseconds, as the columns have them, in a millisecond, as Kafka has it.
const MICROS: i64 = 1_000;

#[cfg(test)]
mod tests;
