//! Metadata: the brokers, the topics, and which broker leads which partition.

use crate::codec::{Uuid, message};

message! {
    /// Asks about topics.
    pub struct Request {
        /// The topics; null means all. v0 has no null: there an empty list means all.
        topics: Option<Vec<RequestTopic>> [0.., null 1..],
        /// Whether to create topics that do not exist; always so before v4.
        allow_auto_topic_creation: bool [4..] = true,
        /// Whether to say what the client may do with the cluster.
        include_cluster_authorized_operations: bool [8..=10],
        /// Whether to say what the client may do with each topic.
        include_topic_authorized_operations: bool [8..],
    }

    /// One topic to tell about.
    pub struct RequestTopic {
        /// The topic, if `name` is null.
        topic_id: Uuid [10..],
        /// The topic.
        name: Option<String> [0.., null 10..],
    }

    /// Tells about brokers and topics.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [3..],
        /// The brokers that the client may talk to.
        brokers: Vec<Broker> [0..],
        /// The cluster.
        cluster_id: Option<String> [2.., null 2..],
        /// The broker to send admin requests to.
        controller_id: i32 [1..] = -1,
        /// The topics.
        topics: Vec<Topic> [0..],
        /// What the client may do with the cluster, as bits; `i32::MIN` if it did not ask.
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        /// An error of the whole request.
        error_code: i16 [13..],
    }

    /// One broker.
    pub struct Broker {
        /// Its id.
        node_id: i32 [0..],
        /// Its host name or address.
        host: String [0..],
        /// Its port.
        port: i32 [0..],
        /// Its rack (zone).
        rack: Option<String> [1.., null 1..],
    }

    /// One topic.
    pub struct Topic {
        /// 0 if the topic exists.
        error_code: i16 [0..],
        /// Its name; null only from v12, for an id that no topic has.
        name: Option<String> [0.., null 12..],
        /// Its id.
        topic_id: Uuid [10..],
        /// Whether clients should hide it.
        is_internal: bool [1..],
        /// Its partitions.
        partitions: Vec<Partition> [0..],
        /// What the client may do with it, as bits; `i32::MIN` if it did not ask.
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// One partition.
    pub struct Partition {
        /// 0 if the partition has a leader.
        error_code: i16 [0..],
        /// The partition.
        partition_index: i32 [0..],
        /// The broker to send to.
        leader_id: i32 [0..],
        /// The leader's epoch; clients ignore an answer with an older one than they know.
        leader_epoch: i32 [7..] = -1,
        /// The brokers that hold the partition.
        replica_nodes: Vec<i32> [0..],
        /// Those of them that are in sync.
        isr_nodes: Vec<i32> [0..],
        /// Those of them that are down.
        offline_replicas: Vec<i32> [5..],
    }
}
