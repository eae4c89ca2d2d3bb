//! The classic protocol, state by state, without any I/O.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod kit;
mod joining;
mod rebalancing;
mod statics;
mod random;
