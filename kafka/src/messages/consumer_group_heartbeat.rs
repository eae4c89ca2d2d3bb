//! ConsumerGroupHeartbeat: joins, keeps, changes and leaves a group whose broker assigns (KIP-848).
//!
//! A null says that nothing changed since the last heartbeat.

use crate::codec::{Uuid, message};

message! {
    /// Says that a member lives, and what has changed about it.
    pub struct Request {
        /// The group.
        group_id: String [0..],
        /// The member; from v1 the client makes it up, in v0 it is empty at first.
        member_id: String [0..],
        /// The epoch the member knows: 0 to join, -1 to leave, -2 to leave for a while as a static member.
        member_epoch: i32 [0..],
        /// The static member.
        instance_id: Option<String> [0.., null 0..],
        /// The rack (zone) of the consumer.
        rack_id: Option<String> [0.., null 0..],
        /// How long the member takes to give partitions up, -1 if unchanged.
        rebalance_timeout_ms: i32 [0..] = -1,
        /// The topics subscribed to by name.
        subscribed_topic_names: Option<Vec<String>> [0.., null 0..],
        /// The topics subscribed to by regular expression, in RE2 syntax; empty for none.
        subscribed_topic_regex: Option<String> [1.., null 1..],
        /// The assignor that the member wants, null for any.
        server_assignor: Option<String> [0.., null 0..],
        /// The partitions that the member holds.
        topic_partitions: Option<Vec<TopicPartitions>> [0.., null 0..],
    }

    /// Tells the member what to hold.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// The member.
        member_id: Option<String> [0.., null 0..],
        /// Its epoch.
        member_epoch: i32 [0..],
        /// How long to wait for the next heartbeat.
        heartbeat_interval_ms: i32 [0..],
        /// What to hold, null if unchanged.
        assignment: Option<Assignment> [0.., null 0..],
    }

    /// What a member shall hold.
    pub struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions> [0..],
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// The topic.
        topic_id: Uuid [0..],
        /// The partitions.
        partitions: Vec<i32> [0..],
    }
}
