//! ListPartitionReassignments: the partitions that are being moved between brokers.

use crate::codec::message;

message! {
    /// Asks for moves.
    pub struct Request {
        /// How long the client waits for the response.
        timeout_ms: i32 [0..] = 60_000,
        /// The topics, null for all.
        topics: Option<Vec<RequestTopic>> [0.., null 0..],
    }

    /// One topic to tell about.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// The partitions.
        partition_indexes: Vec<i32> [0..],
    }

    /// Carries moves.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// The moves, by topic.
        topics: Vec<Topic> [0..],
    }

    /// The moves of one topic.
    pub struct Topic {
        /// The topic.
        name: String [0..],
        /// The moves, by partition.
        partitions: Vec<Partition> [0..],
    }

    /// The move of one partition.
    pub struct Partition {
        /// The partition.
        partition_index: i32 [0..],
        /// The brokers that hold it.
        replicas: Vec<i32> [0..],
        /// Those of them that are new.
        adding_replicas: Vec<i32> [0..],
        /// Those of them that shall go.
        removing_replicas: Vec<i32> [0..],
    }
}
