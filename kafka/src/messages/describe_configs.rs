//! DescribeConfigs: the settings of topics and brokers, with where each value comes from.

use crate::codec::message;

message! {
    /// Asks for settings.
    pub struct Request {
        /// The topics and brokers.
        resources: Vec<Resource> [0..],
        /// Whether to list every place that a value may come from.
        include_synonyms: bool [1..],
        /// Whether to say what each setting does.
        include_documentation: bool [3..],
    }

    /// A topic or broker to tell about.
    pub struct Resource {
        /// 2: topic; 4: broker.
        resource_type: i8 [0..],
        /// The topic's name or the broker's id.
        resource_name: String [0..],
        /// The settings, null for all.
        configuration_keys: Option<Vec<String>> [0.., null 0..],
    }

    /// Carries settings.
    pub struct Response {
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [0..],
        /// The results, by resource.
        results: Vec<ResourceResult> [0..],
    }

    /// The settings of one resource.
    pub struct ResourceResult {
        /// 0 if `configs` is valid.
        error_code: i16 [0..],
        /// What is wrong, in words.
        error_message: Option<String> [0.., null 0..],
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
        /// Whether it cannot be changed.
        read_only: bool [0..],
        /// Whether nobody has set it.
        is_default: bool [0..=0],
        /// Where the value comes from: 1 the topic, 2 to 4 the broker, 5 the default.
        config_source: i8 [1..] = -1,
        /// Whether the value is a secret, and therefore null.
        is_sensitive: bool [0..],
        /// Every place that the value may come from.
        synonyms: Vec<Synonym> [1..],
        /// Its type: 0 unknown, 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list,
        /// 8 class, 9 password.
        config_type: i8 [3..],
        /// What it does.
        documentation: Option<String> [3.., null 0..],
    }

    /// One place that a value may come from.
    pub struct Synonym {
        /// The setting there.
        name: String [1..],
        /// Its value there.
        value: Option<String> [1.., null 0..],
        /// The place, numbered as in `config_source`.
        source: i8 [1..],
    }
}
