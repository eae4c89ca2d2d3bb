//! DescribeGroups: state and members of classic groups.

use bytes::Bytes;

use crate::codec::message;

message! {
    /// Asks about groups.
    pub struct Request {
        /// The groups.
        groups: Vec<String> [0..],
        /// Whether to say what the client may do with each group.
        include_authorized_operations: bool [3..],
    }

    /// Tells about groups.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// The groups.
        groups: Vec<Group> [0..],
    }

    /// One group.
    pub struct Group {
        /// 0 if the rest is valid. Up to v5 an unknown group has 0 here and is `Dead`; from v6 69.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [6.., null 6..],
        /// The group.
        group_id: String [0..],
        /// Its state, as Kafka names it: `Empty`, `PreparingRebalance`, `CompletingRebalance`,
        /// `Stable` or `Dead`.
        group_state: String [0..],
        /// The kind of group.
        protocol_type: String [0..],
        /// The name of the protocol that all members speak, empty for none.
        protocol_data: String [0..],
        /// Its members.
        members: Vec<Member> [0..],
        /// What the client may do with it, as bits; `i32::MIN` if it did not ask.
        authorized_operations: i32 [3..] = i32::MIN,
    }

    /// One member.
    pub struct Member {
        /// Its id.
        member_id: String [0..],
        /// The static member.
        group_instance_id: Option<String> [4.., null 4..],
        /// The name that the client gave itself.
        client_id: String [0..],
        /// The client's address, with a slash in front as Java writes it.
        client_host: String [0..],
        /// Its subscription in the protocol chosen.
        member_metadata: Bytes [0..],
        /// Its assignment.
        member_assignment: Bytes [0..],
    }
}
