//! SyncGroup: hands the leader's assignments to the members of a generation.
//!
//! Assignment bytes are opaque to us, whatever the protocol type.

use bytes::Bytes;

use crate::codec::message;

message! {
    /// Asks for the member's assignment; the leader brings those of all.
    pub struct Request {
        /// The group.
        group_id: String [0..],
        /// The generation the member knows.
        generation_id: i32 [0..],
        /// The member.
        member_id: String [0..],
        /// The static member.
        group_instance_id: Option<String> [3.., null 3..],
        /// The kind of group that the member believes to be in, null if it does not say.
        protocol_type: Option<String> [5.., null 5..],
        /// The protocol that the member believes was chosen, null if it does not say.
        protocol_name: Option<String> [5.., null 5..],
        /// The assignments, from the leader only.
        assignments: Vec<Assignment> [0..],
    }

    /// The assignment of one member.
    pub struct Assignment {
        /// The member.
        member_id: String [0..],
        /// What it shall work on, a slice of the request frame: copy it to keep it.
        assignment: Bytes [0..],
    }

    /// Carries the member's assignment.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// 0 if the assignment is valid.
        error_code: i16 [0..],
        /// The kind of group.
        protocol_type: Option<String> [5.., null 5..],
        /// The protocol that all members speak.
        protocol_name: Option<String> [5.., null 5..],
        /// What the member shall work on, as the leader sent it.
        assignment: Bytes [0..],
    }
}
