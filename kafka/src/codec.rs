//! The rules that all messages share: integers, lengths, arrays, nulls, compact forms, tagged
//! fields and record bytes, and the macro in which messages are written.
//!
//! Must not know any message, nor what a frame is. Invariant: an array reserves memory in one
//! place only ([`Wire`] for `Vec`), and never more than the bytes left in the frame.

mod message;
mod wire;

#[cfg(test)]
pub mod random;
#[cfg(test)]
mod tests;

mod reader;
mod writer;

mod records;

pub(crate) use message::message;
pub use reader::Reader;
pub use records::Records;
pub use wire::{Nullable, Uuid, Wire};
pub use writer::{TaggedFields, Writer};

#[cfg(test)]
pub(crate) use wire::random_field;
pub(crate) use wire::{decode_field, encode_field};
