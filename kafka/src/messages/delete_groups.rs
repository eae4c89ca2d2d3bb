//! DeleteGroups: deletes groups that have no members, with their offsets.

use crate::codec::message;

message! {
    /// Asks to delete groups.
    pub struct Request {
        /// The groups.
        groups_names: Vec<String> [0..],
    }

    /// Says which groups were deleted.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, by group.
        results: Vec<GroupResult> [0..],
    }

    /// The result of one group.
    pub struct GroupResult {
        /// The group.
        group_id: String [0..],
        /// 0 if it was deleted.
        error_code: i16 [0..],
    }
}
