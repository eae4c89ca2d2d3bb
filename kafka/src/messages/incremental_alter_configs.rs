//! IncrementalAlterConfigs: changes single settings of topics and brokers (KIP-339).

pub use super::alter_configs::ResourceResult;
use crate::codec::message;

message! {
    /// Asks to change settings.
    pub struct Request {
        /// The topics and brokers.
        resources: Vec<Resource> [0..],
        /// Only check; change nothing.
        validate_only: bool [0..],
    }

    /// The changes to one topic or broker.
    pub struct Resource {
        /// 2: topic; 4: broker.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: String [0..],
        /// The changes.
        configs: Vec<ConfigChange> [0..],
    }

    /// The change to one setting.
    pub struct ConfigChange {
        /// The setting.
        name: String [0..],
        /// 0: set; 1: delete, back to the default; 2: append to the list; 3: subtract from the list.
        config_operation: i8 [0..],
        /// The value; null with a delete.
        value: Option<String> [0.., null 0..],
    }

    /// Says which resources were changed.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, by resource.
        responses: Vec<ResourceResult> [0..],
    }
}
