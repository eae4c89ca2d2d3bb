//! DescribeProducers: who has written to a partition, and which of them has a transaction open there
//! (KIP-664).

use crate::codec::message;

message! {
    /// Asks for producers.
    pub struct Request {
        /// What to tell about, by topic.
        topics: Vec<RequestTopic> [0..],
    }

    /// What to tell about of one topic.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// The partitions.
        partition_indexes: Vec<i32> [0..],
    }

    /// Carries producers.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The producers, by topic.
        topics: Vec<TopicResponse> [0..],
    }

    /// The producers of one topic.
    pub struct TopicResponse {
        /// The topic.
        name: String [0..],
        /// The producers, by partition.
        partitions: Vec<PartitionResponse> [0..],
    }

    /// The producers of one partition.
    pub struct PartitionResponse {
        /// The partition.
        partition_index: i32 [0..],
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// The producers that the partition remembers.
        active_producers: Vec<ProducerState> [0..],
    }

    /// One producer.
    pub struct ProducerState {
        /// Its id.
        producer_id: i64 [0..],
        /// Its epoch; wider here than anywhere else.
        producer_epoch: i32 [0..],
        /// The sequence number of its last record, -1 for none.
        last_sequence: i32 [0..] = -1,
        /// When it wrote last, in milliseconds since 1970, -1 for never.
        last_timestamp: i64 [0..] = -1,
        /// The epoch of the coordinator that ended its last transaction.
        coordinator_epoch: i32 [0..],
        /// The first offset of its open transaction, -1 for none.
        current_txn_start_offset: i64 [0..] = -1,
    }
}
