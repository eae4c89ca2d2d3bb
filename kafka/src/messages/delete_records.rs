//! DeleteRecords: moves the start of partitions forward.

use crate::codec::message;

message! {
    /// Asks to delete records.
    pub struct Request {
        /// What to delete, by topic.
        topics: Vec<RequestTopic> [0..],
        /// How long the client waits for the response.
        timeout_ms: i32 [0..],
    }

    /// What to delete of one topic.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// What to delete, by partition.
        partitions: Vec<RequestPartition> [0..],
    }

    /// What to delete of one partition.
    pub struct RequestPartition {
        /// The partition.
        partition_index: i32 [0..],
        /// The first offset to keep, -1 for the high watermark.
        offset: i64 [0..],
    }

    /// Says where the partitions now start.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
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
        /// The first offset of the partition, -1 with an error.
        low_watermark: i64 [0..] = -1,
        /// 0 if the records are gone.
        error_code: i16 [0..],
    }
}
