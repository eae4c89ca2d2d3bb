//! Tests of Strandline from the outside; the crate itself holds nothing.
//!
//! - `conformance/`: what must hold on every store, as library functions called once a store
//! - `tidy.rs`: the rules of the house: layout, sizes, headers
//! - `clients/`, `faults/`: real Kafka clients and kills, in Python, started by `tests/run`
//! - `bench/`: figures that anyone can measure again
