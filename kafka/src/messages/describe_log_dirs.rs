//! DescribeLogDirs: how much room partitions take; clients ask every broker.

use crate::codec::message;

message! {
    /// Asks for sizes.
    pub struct Request {
        /// The topics, null for all.
        topics: Option<Vec<RequestTopic>> [0.., null 0..],
    }

    /// One topic to tell about.
    pub struct RequestTopic {
        /// The topic.
        topic: String [0..],
        /// The partitions.
        partitions: Vec<i32> [0..],
    }

    /// Carries sizes.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// An error of the whole request.
        error_code: i16 [3..],
        /// The results, by directory.
        results: Vec<DirResult> [0..],
    }

    /// What lies in one directory.
    pub struct DirResult {
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// The directory.
        log_dir: String [0..],
        /// What lies there, by topic.
        topics: Vec<Topic> [0..],
        /// The room of the volume in bytes, -1 if unknown.
        total_bytes: i64 [4..] = -1,
        /// What is left of it in bytes, -1 if unknown.
        usable_bytes: i64 [4..] = -1,
    }

    /// What lies there of one topic.
    pub struct Topic {
        /// The topic.
        name: String [0..],
        /// What lies there, by partition.
        partitions: Vec<Partition> [0..],
    }

    /// What lies there of one partition.
    pub struct Partition {
        /// The partition.
        partition_index: i32 [0..],
        /// Its size in bytes.
        partition_size: i64 [0..],
        /// How far the replica is behind the high watermark, in records.
        offset_lag: i64 [0..],
        /// Whether the replica is to replace the present one.
        is_future_key: bool [0..],
    }
}
