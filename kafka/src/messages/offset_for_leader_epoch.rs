//! OffsetForLeaderEpoch: where an epoch ends, for clients that check their log after a failover.

use crate::codec::message;

message! {
    /// Asks where epochs end.
    pub struct Request {
        /// -1 for a consumer, -2 for one that may read from any replica.
        replica_id: i32 [3..] = -2,
        /// What to look up, by topic.
        topics: Vec<RequestTopic> [0..],
    }

    /// What to look up in one topic.
    pub struct RequestTopic {
        /// The topic.
        topic: String [0..],
        /// What to look up, by partition.
        partitions: Vec<RequestPartition> [0..],
    }

    /// What to look up in one partition.
    pub struct RequestPartition {
        /// The partition.
        partition: i32 [0..],
        /// The leader epoch the client knows, -1 for none.
        current_leader_epoch: i32 [2..] = -1,
        /// The epoch to look up.
        leader_epoch: i32 [0..],
    }

    /// Says where epochs end.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [2..],
        /// The results, by topic.
        topics: Vec<TopicResponse> [0..],
    }

    /// The results of one topic.
    pub struct TopicResponse {
        /// The topic.
        topic: String [0..],
        /// The results, by partition.
        partitions: Vec<PartitionResponse> [0..],
    }

    /// The result of one partition.
    pub struct PartitionResponse {
        /// 0 if it could be looked up.
        error_code: i16 [0..],
        /// The partition.
        partition: i32 [0..],
        /// The epoch found, -1 for none.
        leader_epoch: i32 [1..] = -1,
        /// The offset after its last record, -1 for none.
        end_offset: i64 [0..] = -1,
    }
}
