//! CreatePartitions: adds partitions to topics, or says whether it would.

use crate::codec::message;

message! {
    /// Asks for more partitions.
    pub struct Request {
        /// The topics.
        topics: Vec<RequestTopic> [0..],
        /// How long the client waits for the response.
        timeout_ms: i32 [0..],
        /// Only check; create nothing.
        validate_only: bool [0..],
    }

    /// One topic to widen.
    pub struct RequestTopic {
        /// The topic.
        name: String [0..],
        /// How many partitions it shall have in all.
        count: i32 [0..],
        /// The brokers of each new partition, null if the client does not choose them.
        assignments: Option<Vec<Assignment>> [0.., null 0..],
    }

    /// The brokers of one new partition.
    pub struct Assignment {
        /// The brokers.
        broker_ids: Vec<i32> [0..],
    }

    /// Says which topics were widened.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, by topic.
        results: Vec<TopicResult> [0..],
    }

    /// The result of one topic.
    pub struct TopicResult {
        /// The topic.
        name: String [0..],
        /// 0 if it was widened, or would be.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
    }
}
