//! Years of history: what was written stays cheap to keep and to find.
//!
//! Owns merging, the index over chunks, retention and garbage. Must not know how records come in or go out: it meets ingest
//! and reader in the bucket, at [`strandline_core::manifest`]. Any number of compactors may be at work: what one of them has
//! done in the meantime makes the change of the other void, never wrong.
//!
//! Modules stand in the order in which work meets them, and import only modules that stand after them:
//!
//! - [`sweep`]: what nobody needs any more: the floor, slots, checkpoints, orphans
//! - `metrics`: the figures of this crate
pub mod sweep;
mod metrics;
