//! AlterConfigs: replaces all settings of topics and brokers; what it does not name goes back to the default.

use crate::codec::message;

message! {
    /// Asks to replace settings.
    pub struct Request {
        /// The topics and brokers.
        resources: Vec<Resource> [0..],
        /// Only check; change nothing.
        validate_only: bool [0..],
    }

    /// The new settings of one topic or broker.
    pub struct Resource {
        /// 2: topic; 4: broker.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: String [0..],
        /// The settings.
        configs: Vec<ConfigEntry> [0..],
    }

    /// One setting.
    pub struct ConfigEntry {
        /// The setting.
        name: String [0..],
        /// Its value.
        value: Option<String> [0.., null 0..],
    }

    /// Says which resources were changed.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, by resource.
        responses: Vec<ResourceResult> [0..],
    }

    /// The result of one resource.
    pub struct ResourceResult {
        /// 0 if it was changed, or would be.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
        /// 2: topic; 4: broker.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: String [0..],
    }
}
