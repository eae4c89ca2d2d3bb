//! A whole node, over TCP or in memory: what clients hear. One program, because each that holds a node takes a minute to compile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod admin;
mod apis;
mod coordinators;
mod groups;
mod nodes;
mod offsets;
mod pipeline;
mod support;
mod transactions;
