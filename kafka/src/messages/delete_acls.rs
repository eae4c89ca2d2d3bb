//! DeleteAcls: deletes the access rules that match filters.

use crate::codec::message;

message! {
    /// Asks to delete access rules.
    pub struct Request {
        /// The filters.
        filters: Vec<Filter> [0..],
    }

    /// One filter.
    pub struct Filter {
        /// The resource type.
        resource_type_filter: i8 [0..],
        /// The resource, null for any.
        resource_name_filter: Option<String> [0.., null 0..],
        /// How the rule names the resource: 1 any, 2 match, 3 literal, 4 prefixed.
        pattern_type_filter: i8 [1..] = 3,
        /// The principal, null for any.
        principal_filter: Option<String> [0.., null 0..],
        /// The host, null for any.
        host_filter: Option<String> [0.., null 0..],
        /// The operation.
        operation: i8 [0..],
        /// 1: any; 2: deny; 3: allow.
        permission_type: i8 [0..],
    }

    /// Says which rules were deleted.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, in the order of the request.
        filter_results: Vec<FilterResult> [0..],
    }

    /// The result of one filter.
    pub struct FilterResult {
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// The rules that matched.
        matching_acls: Vec<MatchingAcl> [0..],
    }

    /// One rule that matched.
    pub struct MatchingAcl {
        /// 0 if it was deleted.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// The type of the resource.
        resource_type: i8 [0..],
        /// Its name or prefix.
        resource_name: String [0..],
        /// 3: literal; 4: prefixed.
        pattern_type: i8 [1..] = 3,
        /// The principal.
        principal: String [0..],
        /// The host.
        host: String [0..],
        /// The operation.
        operation: i8 [0..],
        /// 2: deny; 3: allow.
        permission_type: i8 [0..],
    }
}
