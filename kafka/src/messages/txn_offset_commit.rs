//! TxnOffsetCommit: stores how far a group has read, if and when a transaction commits.
//!
//! Without generation and member up to v2; from v3 (KIP-447) they fence members that have left the
//! group. v5 has the layout of v4, but adds the group to the transaction by itself (KIP-890).

use crate::codec::message;

message! {
    /// Asks to store offsets with a transaction.
    pub struct Request {
        /// The transactional id.
        transactional_id: String [0..],
        /// The group.
        group_id: String [0..],
        /// The id of the producer.
        producer_id: i64 [0..],
        /// Its epoch.
        producer_epoch: i16 [0..],
        /// The generation of a classic group or the member epoch of a KIP-848 group, -1 for neither.
        generation_id: i32 [3..] = -1,
        /// The member, empty for none.
        member_id: String [3..],
        /// The static member.
        group_instance_id: Option<String> [3.., null 3..],
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
        committed_leader_epoch: i32 [2..] = -1,
        /// What the client wants to find again beside the offset; null is the same as empty.
        committed_metadata: Option<String> [0.., null 0..],
    }

    /// Says which offsets the transaction will store.
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
        /// 0 if the transaction will store the offset.
        error_code: i16 [0..],
    }
}
