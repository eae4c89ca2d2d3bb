//! Produce: appends record batches to partitions.
//!
//! Topics go by name up to v12 and by id from v13. A request with `acks` 0 gets no response.

pub use super::fetch::{LeaderIdAndEpoch, NodeEndpoint};
use crate::codec::{Records, Uuid, message};

message! {
    /// Asks to append record batches.
    pub struct Request {
        /// The transaction that the records belong to.
        transactional_id: Option<String> [3.., null 3..],
        /// 0: no response wanted; 1 and -1: answer when the records are durable.
        acks: i16 [0..],
        /// How long the client waits for the response.
        timeout_ms: i32 [0..],
        /// What to append, by topic.
        topic_data: Vec<TopicData> [0..],
    }

    /// What to append to one topic.
    pub struct TopicData {
        /// The topic, up to v12.
        name: String [..=12],
        /// The topic, from v13.
        topic_id: Uuid [13..],
        /// What to append, by partition.
        partition_data: Vec<PartitionData> [0..],
    }

    /// What to append to one partition.
    pub struct PartitionData {
        /// The partition.
        index: i32 [0..],
        /// The record batches, a slice of the request frame, unchecked.
        records: Option<Records> [0.., null 0..],
    }

    /// Says where the batches went.
    pub struct Response {
        /// The results, by topic.
        responses: Vec<TopicResponse> [0..],
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// Where the leaders in `current_leader` can be reached.
        node_endpoints: Vec<NodeEndpoint> [10.., tag 0],
    }

    /// The results of one topic.
    pub struct TopicResponse {
        /// The topic, up to v12.
        name: String [..=12],
        /// The topic, from v13.
        topic_id: Uuid [13..],
        /// The results, by partition.
        partition_responses: Vec<PartitionResponse> [0..],
    }

    /// The result of one partition.
    pub struct PartitionResponse {
        /// The partition.
        index: i32 [0..],
        /// 0 if the batch is in the log.
        error_code: i16 [0..],
        /// The offset of the first record.
        base_offset: i64 [0..],
        /// The time the broker put on the records, or -1 if it kept the producer's times.
        log_append_time_ms: i64 [2..] = -1,
        /// The first offset of the partition.
        log_start_offset: i64 [5..] = -1,
        /// The records that made the broker refuse the batch.
        record_errors: Vec<RecordError> [8..],
        /// What is wrong, in words.
        error_message: Option<String> [8.., null 8..],
        /// The leader, if it is another broker.
        current_leader: LeaderIdAndEpoch [10.., tag 0],
    }

    /// One record that made the broker refuse the batch.
    pub struct RecordError {
        /// The record, counted from the start of the batch.
        batch_index: i32 [8..],
        /// What is wrong with it.
        batch_index_error_message: Option<String> [8.., null 8..],
    }
}
