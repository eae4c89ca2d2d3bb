//! CreateAcls: makes access rules.

use crate::codec::message;

message! {
    /// Asks for new access rules.
    pub struct Request {
        /// The rules.
        creations: Vec<Creation> [0..],
    }

    /// One rule to make.
    pub struct Creation {
        /// The type of the resource.
        resource_type: i8 [0..],
        /// Its name or prefix.
        resource_name: String [0..],
        /// 3: literal; 4: prefixed.
        resource_pattern_type: i8 [1..] = 3,
        /// The principal.
        principal: String [0..],
        /// The host.
        host: String [0..],
        /// The operation.
        operation: i8 [0..],
        /// 2: deny; 3: allow.
        permission_type: i8 [0..],
    }

    /// Says which rules were made.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, in the order of the request.
        results: Vec<CreationResult> [0..],
    }

    /// The result of one rule.
    pub struct CreationResult {
        /// 0 if it was made.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
    }
}
