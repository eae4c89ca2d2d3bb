//! ConsumerGroupDescribe: state and members of groups whose broker assigns (KIP-848).

use crate::codec::{Uuid, message};

message! {
    /// Asks about groups.
    pub struct Request {
        /// The groups.
        group_ids: Vec<String> [0..],
        /// Whether to say what the client may do with each group.
        include_authorized_operations: bool [0..],
    }

    /// Tells about groups.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The groups.
        groups: Vec<Group> [0..],
    }

    /// One group.
    pub struct Group {
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// The group.
        group_id: String [0..],
        /// Its state, as Kafka names it: `Empty`, `Assigning`, `Reconciling`, `Stable` or `Dead`.
        group_state: String [0..],
        /// The epoch of its members and subscriptions.
        group_epoch: i32 [0..],
        /// The group epoch that the target assignment was made for.
        assignment_epoch: i32 [0..],
        /// The assignor.
        assignor_name: String [0..],
        /// Its members.
        members: Vec<Member> [0..],
        /// What the client may do with it, as bits; `i32::MIN` if it did not ask.
        authorized_operations: i32 [0..] = i32::MIN,
    }

    /// One member.
    pub struct Member {
        /// Its id.
        member_id: String [0..],
        /// The static member.
        instance_id: Option<String> [0.., null 0..],
        /// The rack (zone) of the consumer.
        rack_id: Option<String> [0.., null 0..],
        /// Its epoch.
        member_epoch: i32 [0..],
        /// The name that the client gave itself.
        client_id: String [0..],
        /// The client's address, with a slash in front as Java writes it.
        client_host: String [0..],
        /// The topics subscribed to by name.
        subscribed_topic_names: Vec<String> [0..],
        /// The topics subscribed to by regular expression, null for none.
        subscribed_topic_regex: Option<String> [0.., null 0..],
        /// What it holds.
        assignment: Assignment [0..],
        /// What it shall hold.
        target_assignment: Assignment [0..],
        /// 0: a classic member; 1: a KIP-848 member; -1: unknown.
        member_type: i8 [1..] = -1,
    }

    /// What a member holds or shall hold.
    pub struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions> [0..],
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        /// The topic.
        topic_id: Uuid [0..],
        /// Its name.
        topic_name: String [0..],
        /// The partitions.
        partitions: Vec<i32> [0..],
    }
}
