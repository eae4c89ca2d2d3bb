//! OffsetCommit: stores how far a group has read.
//!
//! v1, which Kafka 4 has dropped, carries a timestamp per partition; librdkafka 1.0 to 1.2 and old
//! Sarama still send it. Topics go by name in all versions here; by id only from v10.

use crate::codec::message;

message! {
    /// Asks to store offsets.
    pub struct Request {
        /// The group.
        group_id: String [0..],
        /// The generation of a classic group or the member epoch of a KIP-848 group, -1 for neither.
        generation_id_or_member_epoch: i32 [1..] = -1,
        /// The member, empty for none.
        member_id: String [1..],
        /// The static member, from v7.
        group_instance_id: Option<String> [7.., null 7..],
        /// How long to keep the offsets, in milliseconds, -1 for as long as the broker wants.
        retention_time_ms: i64 [2..=4] = -1,
        /// What to store, by topic.
        topics: Vec<RequestTopic> [0..],
    }

    /// What to store for one topic.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// What to store, by partition.
        partitions: Vec<RequestPartition> [0..],
    }

    /// What to store for one partition.
    pub struct RequestPartition {
        /// The partition.
        partition_index: i32 [0..],
        /// The offset of the next record to read.
        committed_offset: i64 [0..],
        /// The leader epoch of the last record read, -1 for none.
        committed_leader_epoch: i32 [6..] = -1,
        /// When the commit counts as made, in milliseconds, -1 for now; v1 only.
        commit_timestamp: i64 [1..=1] = -1,
        /// What the client wants to find again beside the offset; null is the same as empty.
        committed_metadata: Option<String> [0.., null 0..],
    }

    /// Says which offsets were stored.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [3..],
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
        /// 0 if the offset was stored.
        error_code: i16 [0..],
    }
}
