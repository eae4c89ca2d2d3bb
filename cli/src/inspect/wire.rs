//! Fields of our objects that `core` decodes but does not show.
//!
//! Must not be used to decide anything: it names only what is printed, by the tags of the format, and skips the rest.

use prost::Message;

/// A move of the floor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Floor {
    #[prost(uint64, tag = "1")]
    pub(super) slot: u64,
}

/// What a checkpoint knows beside topics and extents.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Checkpoint {
    #[prost(int64, tag = "4")]
    pub(super) next_producer_id: i64,
    #[prost(message, repeated, tag = "5")]
    pub(super) proposers: Vec<Proposer>,
    #[prost(message, repeated, tag = "6")]
    pub(super) topics: Vec<Topic>,
}

/// A node that committed within the last day of journal time.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Proposer {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) incarnation: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) highest: u64,
    #[prost(int64, tag = "4")]
    pub(super) last_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Topic {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub(super) partitions: Vec<Partition>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Partition {
    #[prost(message, repeated, tag = "8")]
    pub(super) producers: Vec<Producer>,
}

/// The last batches of one idempotent producer.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Producer {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    #[prost(uint32, tag = "2")]
    pub(super) epoch: u32,
    #[prost(int64, tag = "3")]
    pub(super) last_ms: i64,
    #[prost(int32, repeated, tag = "4")]
    pub(super) sequences: Vec<i32>,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) offsets: Vec<u32>,
    #[prost(int64, repeated, tag = "6")]
    pub(super) base_offsets: Vec<i64>,
}
