//! The Kafka wire protocol as values: bytes to requests, responses to bytes, and both ways round for tests and clients.
//!
//! Owns the layout of every request and response we serve, the version table and the error codes.
//! Must not know sockets, storage, time or any other crate of ours.
//!
//! Invariant: no input makes it panic, and no count on the wire makes it allocate more than the
//! bytes that follow the count can back.
//!
//! The modules in the order in which a frame meets them; each imports only those after it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod frame;
pub mod messages;
pub mod consumer_protocol;
pub mod api;
pub mod codec;
pub mod error;
