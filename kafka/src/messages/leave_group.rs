//! LeaveGroup: takes members out of a group without waiting for their sessions to end.
//!
//! One member up to v2, a list of members from v3.

use crate::codec::message;

message! {
    /// Asks to take members out.
    pub struct Request {
        /// The group.
        group_id: String [0..],
        /// The member, up to v2.
        member_id: String [..=2],
        /// The members, from v3.
        members: Vec<Member> [3..],
    }

    /// One member to take out.
    pub struct Member {
        /// The member; empty if only the static member is known.
        member_id: String [3..],
        /// The static member.
        group_instance_id: Option<String> [3.., null 3..],
        /// Why the member leaves, in words.
        reason: Option<String> [5.., null 5..],
    }

    /// Says which members are out.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// An error of the whole request; up to v2 the result of the one member.
        error_code: i16 [0..],
        /// The results, by member, from v3.
        members: Vec<MemberResponse> [3..],
    }

    /// The result of one member.
    pub struct MemberResponse {
        /// The member, as in the request.
        member_id: String [3..],
        /// The static member, as in the request.
        group_instance_id: Option<String> [3.., null 3..],
        /// 0 if it is out.
        error_code: i16 [3..],
    }
}
