//! JoinGroup: enters a classic group and waits until the generation is complete.
//!
//! Subscription bytes are opaque to us, whatever the protocol type.

use bytes::Bytes;

use crate::codec::message;

message! {
    /// Asks to enter a group.
    pub struct Request {
        /// The group.
        group_id: String [0..],
        /// How long the member may be silent before it is dropped.
        session_timeout_ms: i32 [0..],
        /// How long the member takes to rejoin, -1 for as long as the session.
        rebalance_timeout_ms: i32 [1..] = -1,
        /// The member, empty if it has no id yet.
        member_id: String [0..],
        /// The static member (KIP-345).
        group_instance_id: Option<String> [5.., null 5..],
        /// The kind of group: `consumer`, `connect`, `sr`, `stream` or any other.
        protocol_type: String [0..],
        /// The protocols that the member speaks, best first.
        protocols: Vec<Protocol> [0..],
        /// Why the member joins, in words.
        reason: Option<String> [8.., null 8..],
    }

    /// One protocol that a member speaks.
    pub struct Protocol {
        /// Its name.
        name: String [0..],
        /// The member's subscription, a slice of the request frame: copy it to keep it.
        metadata: Bytes [0..],
    }

    /// Tells about the generation.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [2..],
        /// 0 if the generation is complete.
        error_code: i16 [0..],
        /// The generation.
        generation_id: i32 [0..] = -1,
        /// The kind of group.
        protocol_type: Option<String> [7.., null 7..],
        /// The protocol that all members speak. Up to v6 empty, not null, if there is none.
        protocol_name: Option<String> [0.., null 7..] = Some(String::new()),
        /// The member that assigns, empty for none.
        leader: String [0..],
        /// Whether the leader shall not assign, since the old assignment stays (KIP-814).
        skip_assignment: bool [9..],
        /// The member that asked.
        member_id: String [0..],
        /// All members, for the leader only.
        members: Vec<Member> [0..],
    }

    /// One member.
    pub struct Member {
        /// Its id.
        member_id: String [0..],
        /// The static member.
        group_instance_id: Option<String> [5.., null 5..],
        /// Its subscription in the protocol chosen.
        metadata: Bytes [0..],
    }
}
