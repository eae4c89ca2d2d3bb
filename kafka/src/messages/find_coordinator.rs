//! FindCoordinator: the broker that looks after a group or a transactional id.
//!
//! One key up to v3, a list of keys from v4.

use crate::codec::message;

message! {
    /// Asks for coordinators.
    pub struct Request {
        /// The group or transactional id, up to v3.
        key: String [..=3],
        /// 0: groups; 1: transactional ids.
        key_type: i8 [1..],
        /// The groups or transactional ids, from v4.
        coordinator_keys: Vec<String> [4..],
    }

    /// Says who the coordinators are.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// 0 if there is a coordinator; up to v3, as are the next four.
        error_code: i16 [..=3],
        /// What is wrong, in words.
        error_message: Option<String> [1..=3, null 1..=3],
        /// The coordinator.
        node_id: i32 [..=3],
        /// Its host name or address.
        host: String [..=3],
        /// Its port.
        port: i32 [..=3],
        /// The coordinators, from v4.
        coordinators: Vec<Coordinator> [4..],
    }

    /// The coordinator of one key.
    pub struct Coordinator {
        /// The group or transactional id.
        key: String [4..],
        /// The coordinator.
        node_id: i32 [4..],
        /// Its host name or address.
        host: String [4..],
        /// Its port.
        port: i32 [4..],
        /// 0 if there is a coordinator.
        error_code: i16 [4..],
        /// What is wrong, in words.
        error_message: Option<String> [4.., null 4..],
    }
}
