//! The figures of this crate, in Prometheus' default registry.
//!
//! Must not know who scrapes them. No label takes a name that a user chose.
