//! DescribeAcls: the access rules that match a filter.
//!
//! Resource types, pattern types, operations and permissions are Kafka's numbers, 1 meaning any.

use crate::codec::message;

message! {
    /// Asks for access rules.
    pub struct Request {
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

    /// Carries access rules.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// 0 if the rest is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// The rules, by resource.
        resources: Vec<Resource> [0..],
    }

    /// The rules of one resource.
    pub struct Resource {
        /// Its type.
        resource_type: i8 [0..],
        /// Its name or prefix.
        resource_name: String [0..],
        /// 3: literal; 4: prefixed.
        pattern_type: i8 [1..] = 3,
        /// The rules.
        acls: Vec<Acl> [0..],
    }

    /// One rule.
    pub struct Acl {
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
