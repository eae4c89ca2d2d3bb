//! Heartbeat: keeps a member of a classic group alive and tells it when to rejoin.

use crate::codec::message;

message! {
    /// Says that a member lives.
    pub struct Request {
        /// The group.
        group_id: String [0..],
        /// The generation the member knows.
        generation_id: i32 [0..],
        /// The member.
        member_id: String [0..],
        /// The static member.
        group_instance_id: Option<String> [3.., null 3..],
    }

    /// Says whether the generation still stands.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// 0 if it does; 27 tells the member to rejoin.
        error_code: i16 [0..],
    }
}
