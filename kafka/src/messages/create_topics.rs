//! CreateTopics: makes topics, or says whether it would.

use crate::codec::{Uuid, message};

message! {
    /// Asks for new topics.
    pub struct Request {
        /// The topics.
        topics: Vec<NewTopic> [0..],
        /// How long the client waits for the response.
        timeout_ms: i32 [0..] = 60_000,
        /// Only check; create nothing.
        validate_only: bool [1..],
    }

    /// One topic to create.
    pub struct NewTopic {
        /// Its name.
        name: String [0..],
        /// Its number of partitions, -1 for the default or with `assignments`.
        num_partitions: i32 [0..],
        /// Its number of replicas, -1 for the default or with `assignments`.
        replication_factor: i16 [0..],
        /// The brokers of each partition, if the client wants to choose them.
        assignments: Vec<Assignment> [0..],
        /// Its configuration, where it is not the default.
        configs: Vec<ConfigEntry> [0..],
    }

    /// The brokers of one partition.
    pub struct Assignment {
        /// The partition.
        partition_index: i32 [0..],
        /// The brokers.
        broker_ids: Vec<i32> [0..],
    }

    /// One setting of a topic to create.
    pub struct ConfigEntry {
        /// The setting.
        name: String [0..],
        /// Its value.
        value: Option<String> [0.., null 0..],
    }

    /// Says which topics were created.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [2..],
        /// The results, by topic.
        topics: Vec<TopicResult> [0..],
    }

    /// The result of one topic.
    pub struct TopicResult {
        /// Its name.
        name: String [0..],
        /// Its id.
        topic_id: Uuid [7..],
        /// 0 if it was created, or would be.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [1.., null 0..],
        /// Why `configs` is null, if the client may not see it.
        topic_config_error_code: i16 [5.., tag 0],
        /// Its number of partitions.
        num_partitions: i32 [5..] = -1,
        /// Its number of replicas.
        replication_factor: i16 [5..] = -1,
        /// Its whole configuration.
        configs: Option<Vec<ResultConfig>> [5.., null 5..],
    }

    /// One setting of a created topic.
    pub struct ResultConfig {
        /// The setting.
        name: String [5..],
        /// Its value.
        value: Option<String> [5.., null 5..],
        /// Whether it cannot be changed.
        read_only: bool [5..],
        /// Where the value comes from: 1 the topic, 5 the default.
        config_source: i8 [5..] = -1,
        /// Whether the value is a secret, and therefore null.
        is_sensitive: bool [5..],
    }
}
