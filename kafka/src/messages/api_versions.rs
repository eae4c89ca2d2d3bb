//! ApiVersions: which APIs and versions we serve; most clients send it first.
//!
//! The response header is always v0, whatever the version of the body, since the client cannot
//! know yet what we understand.

use crate::api;
use crate::codec::message;

message! {
    /// Asks what we serve.
    pub struct Request {
        /// The client library.
        client_software_name: String [3..],
        /// Its version.
        client_software_version: String [3..],
    }

    /// Says what we serve.
    pub struct Response {
        /// 0, or 35 if we do not serve the version of the request.
        error_code: i16 [0..],
        /// What we serve.
        api_keys: Vec<ApiVersion> [0..],
        /// How long the client has to pause for a quota.
        throttle_time_ms: i32 [1..],
        /// Features that we support. In v3 none may have `min_version` 0: old Java clients fail.
        supported_features: Vec<SupportedFeature> [3.., tag 0],
        /// The epoch of `finalized_features`, -1 for none.
        finalized_features_epoch: i64 [3.., tag 1] = -1,
        /// Features that are switched on.
        finalized_features: Vec<FinalizedFeature> [3.., tag 2],
        /// Whether a move away from ZooKeeper may start.
        zk_migration_ready: bool [3.., tag 3],
    }

    /// The versions of one API.
    pub struct ApiVersion {
        /// The API.
        api_key: i16 [0..],
        /// The lowest version.
        min_version: i16 [0..],
        /// The highest version.
        max_version: i16 [0..],
    }

    /// A feature that we support.
    pub struct SupportedFeature {
        /// Its name.
        name: String [0..],
        /// The lowest level.
        min_version: i16 [0..],
        /// The highest level.
        max_version: i16 [0..],
    }

    /// A feature that is switched on.
    pub struct FinalizedFeature {
        /// Its name.
        name: String [0..],
        /// The highest level.
        max_version_level: i16 [0..],
        /// The lowest level.
        min_version_level: i16 [0..],
    }
}

/// The whole version table, as the response carries it.
pub fn advertised() -> Vec<ApiVersion> {
    let entry = |range: &api::ApiRange| ApiVersion {
        api_key: range.key.code(),
        min_version: range.advertised_min,
        max_version: range.max,
    };
    api::table().iter().map(entry).collect()
}
