//! ListOffsets: the offset at a timestamp, at the start or at the end of a partition.
//!
//! v0 answers with an array of offsets per partition. Kafka 4 has dropped it; librdkafka 1.0 to
//! 1.7 still sends it to reset offsets.

use crate::codec::message;

message! {
    /// Asks for offsets.
    pub struct Request {
        /// -1 for a consumer.
        replica_id: i32 [0..],
        /// 0: read uncommitted; 1: read committed.
        isolation_level: i8 [2..],
        /// What to look up, by topic.
        topics: Vec<RequestTopic> [0..],
        /// How long the client waits for tiered storage.
        timeout_ms: i32 [10..],
    }

    /// What to look up in one topic.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// What to look up, by partition.
        partitions: Vec<RequestPartition> [0..],
    }

    /// What to look up in one partition.
    pub struct RequestPartition {
        /// The partition.
        partition_index: i32 [0..],
        /// The leader epoch the client knows, -1 for none.
        current_leader_epoch: i32 [4..] = -1,
        /// A time in milliseconds, or -1 latest, -2 earliest, -3 of the largest timestamp, -4
        /// earliest local, -5 latest tiered.
        timestamp: i64 [0..],
        /// The most offsets to answer with; v0 only.
        max_num_offsets: i32 [..=0] = 1,
    }

    /// Carries offsets.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [2..],
        /// The results, by topic.
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
        /// 0 if it could be looked up.
        error_code: i16 [0..],
        /// The result in v0: the offset found, or none.
        old_style_offsets: Vec<i64> [..=0],
        /// The timestamp of the record found, -1 for none.
        timestamp: i64 [1..] = -1,
        /// The offset found, -1 for none.
        offset: i64 [1..] = -1,
        /// The leader epoch of the record found, -1 for none.
        leader_epoch: i32 [4..] = -1,
    }
}
