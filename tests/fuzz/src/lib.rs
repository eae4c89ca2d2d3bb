//! What every decoder of bytes from outside promises, one function a decoder: it never panics, what decodes can be
//! written and read again as the same value, and memory stays within a stated multiple of the input.
//!
//! Each target takes any bytes. libFuzzer (`cargo-fuzz/`) and the seeded smoke test (`tests/smoke.rs`) call the same
//! functions. A broken promise is a panic, so this crate panics on purpose. Must not know how inputs come to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod requests;
mod batches;
mod objects;
mod chunks;
mod fold;
mod urls;
mod manifests;
mod seal;
mod trees;
mod memory;

/// One decoder and what it promises.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its libFuzzer target and of its corpus.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub check: fn(&[u8]),
}

/// Every target, in the order in which bytes meet the decoders.
pub const TARGETS: [Target; 11] = [
    Target { name: "frame", check: frame },
    Target { name: "message", check: message },
    Target { name: "batch", check: batch },
    Target { name: "unfold", check: unfold },
    Target { name: "commit", check: commit },
    Target { name: "fold", check: fold },
    Target { name: "checkpoint", check: checkpoint },
    Target { name: "segment", check: segment },
    Target { name: "chunk", check: chunk },
    Target { name: "index", check: index },
    Target { name: "url", check: url },
];

pub use batches::{batch, unfold};
pub use chunks::{chunk, index};
pub use fold::fold;
pub use objects::{checkpoint, commit, segment};
pub use requests::{frame, message};
pub use urls::url;
