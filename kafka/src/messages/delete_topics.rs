//! DeleteTopics: by name, from v6 also by id.

use crate::codec::{Uuid, message};

message! {
    /// Asks to delete topics.
    pub struct Request {
        /// The topics, from v6.
        topics: Vec<TopicState> [6..],
        /// The topics, up to v5.
        topic_names: Vec<String> [..=5],
        /// How long the client waits for the response.
        timeout_ms: i32 [0..],
    }

    /// One topic to delete.
    pub struct TopicState {
        /// The topic, null if it goes by id.
        name: Option<String> [6.., null 6..],
        /// The topic, if `name` is null.
        topic_id: Uuid [6..],
    }

    /// Says which topics were deleted.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// The results, by topic.
        responses: Vec<TopicResult> [0..],
    }

    /// The result of one topic.
    pub struct TopicResult {
        /// The topic; null only from v6, for an id that no topic has.
        name: Option<String> [0.., null 6..],
        /// Its id.
        topic_id: Uuid [6..],
        /// 0 if it was deleted.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [5.., null 5..],
    }
}
