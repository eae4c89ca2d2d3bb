//! AddPartitionsToTxn: says which partitions a transaction will write to, before it does.
//!
//! From v4 on the request carries many transactions and is sent by brokers only; the newer
//! transaction protocol (KIP-890) has clients send none, since Produce adds the partition.

use crate::codec::message;

message! {
    /// Asks to add partitions.
    pub struct Request {
        /// The transactional id.
        transactional_id: String [0..],
        /// The id of the producer.
        producer_id: i64 [0..],
        /// Its epoch.
        producer_epoch: i16 [0..],
        /// What to add, by topic.
        topics: Vec<RequestTopic> [0..],
    }

    /// What to add of one topic.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// The partitions.
        partitions: Vec<i32> [0..],
    }

    /// Says which partitions were added: all, or none of them.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, by topic; every partition of the request has one.
        topics: Vec<TopicResponse> [0..],
    }

    /// The results of one topic.
    pub struct TopicResponse {
        /// The topic.
        name: String [0..],
        /// The results, by partition.
        partitions: Vec<PartitionResponse> [0..],
    }

    /// The result of one partition.
    pub struct PartitionResponse {
        /// The partition.
        partition_index: i32 [0..],
        /// 0 if it was added; 55 if it could be, but another one could not.
        error_code: i16 [0..],
    }
}
