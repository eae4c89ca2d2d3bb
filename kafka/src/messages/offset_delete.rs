//! OffsetDelete: deletes stored offsets of partitions that the group no longer reads.

use crate::codec::message;

message! {
    /// Asks to delete offsets.
    pub struct Request {
        /// The group.
        group_id: String [0..],
        /// What to delete, by topic.
        topics: Vec<RequestTopic> [0..],
    }

    /// What to delete of one topic.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// The partitions.
        partitions: Vec<RequestPartition> [0..],
    }

    /// One partition to delete the offset of.
    pub struct RequestPartition {
        /// The partition.
        partition_index: i32 [0..],
    }

    /// Says which offsets were deleted.
    pub struct Response {
        /// An error of the whole request.
        error_code: i16 [0..],
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
        /// 0 if the offset was deleted.
        error_code: i16 [0..],
    }
}
