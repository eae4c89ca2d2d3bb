//! OffsetFetch: how far groups have read.
//!
//! One group up to v7, a list of groups from v8.

use crate::codec::message;

message! {
    /// Asks for stored offsets.
    pub struct Request {
        /// The group, up to v7.
        group_id: String [..=7],
        /// The topics, up to v7; null, from v2, means all that the group has offsets for.
        topics: Option<Vec<RequestTopic>> [..=7, null 2..=7] = Some(Vec::new()),
        /// The groups, from v8.
        groups: Vec<RequestGroup> [8..],
        /// Whether an offset that an open transaction may still change is an error (KIP-447).
        require_stable: bool [7..],
    }

    /// What to look up in one group.
    pub struct RequestGroup {
        /// The group.
        group_id: String [8..],
        /// The member of a KIP-848 group that asks, null for none.
        member_id: Option<String> [9.., null 9..],
        /// The epoch of this member, -1 for none.
        member_epoch: i32 [9..] = -1,
        /// The topics; null means all that the group has offsets for.
        topics: Option<Vec<RequestTopic>> [8.., null 8..],
    }

    /// What to look up for one topic.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// The partitions.
        partition_indexes: Vec<i32> [0..],
    }

    /// Carries stored offsets.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [3..],
        /// The results, by topic, up to v7.
        topics: Vec<TopicResponse> [..=7],
        /// An error of the whole group, up to v7. v1 has none: there it stands at each partition.
        error_code: i16 [2..=7],
        /// The results, by group, from v8.
        groups: Vec<GroupResponse> [8..],
    }

    /// The results of one group.
    pub struct GroupResponse {
        /// The group.
        group_id: String [8..],
        /// The results, by topic.
        topics: Vec<TopicResponse> [8..],
        /// An error of the whole group.
        error_code: i16 [8..],
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
        /// The offset of the next record to read, -1 if none is stored; that is no error.
        committed_offset: i64 [0..] = -1,
        /// The leader epoch of the last record read, -1 for none.
        committed_leader_epoch: i32 [5..] = -1,
        /// What the client stored beside the offset.
        metadata: Option<String> [0.., null 0..] = Some(String::new()),
        /// 0 if it could be looked up.
        error_code: i16 [0..],
    }
}
