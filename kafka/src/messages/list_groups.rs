//! ListGroups: the groups that this broker coordinates; clients ask every broker and add up.

use crate::codec::message;

message! {
    /// Asks for groups.
    pub struct Request {
        /// The states to list, empty for all.
        states_filter: Vec<String> [4..],
        /// The types to list, `classic` or `consumer`, empty for all.
        types_filter: Vec<String> [5..],
    }

    /// Carries groups.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// 0 if the list is complete.
        error_code: i16 [0..],
        /// The groups.
        groups: Vec<Group> [0..],
    }

    /// One group.
    pub struct Group {
        /// Its id.
        group_id: String [0..],
        /// The kind of group: `consumer`, `connect`, `sr`, `stream` or any other.
        protocol_type: String [0..],
        /// Its state, as Kafka names it.
        group_state: String [4..],
        /// Its type: `classic` or `consumer` (KIP-848).
        group_type: String [5..],
    }
}
