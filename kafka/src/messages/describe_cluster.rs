//! DescribeCluster: the brokers and the cluster id, for admin clients.

use crate::codec::message;

message! {
    /// Asks about the cluster.
    pub struct Request {
        /// Whether to say what the client may do with the cluster.
        include_cluster_authorized_operations: bool [0..],
        /// 1: brokers; 2: controllers.
        endpoint_type: i8 [1..] = 1,
        /// Whether to list brokers that take no traffic.
        include_fenced_brokers: bool [2..],
    }

    /// Tells about the cluster.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// 1: brokers; 2: controllers.
        endpoint_type: i8 [1..] = 1,
        /// The cluster.
        cluster_id: String [0..],
        /// The broker to send admin requests to.
        controller_id: i32 [0..] = -1,
        /// The brokers.
        brokers: Vec<Broker> [0..],
        /// What the client may do with the cluster, as bits; `i32::MIN` if it did not ask.
        cluster_authorized_operations: i32 [0..] = i32::MIN,
    }

    /// One broker.
    pub struct Broker {
        /// Its id.
        broker_id: i32 [0..],
        /// Its host name or address.
        host: String [0..],
        /// Its port.
        port: i32 [0..],
        /// Its rack (zone).
        rack: Option<String> [0.., null 0..],
        /// Whether it takes no traffic.
        is_fenced: bool [2..],
    }
}
