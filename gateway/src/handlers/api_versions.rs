//! ApiVersions: what we serve.
//!
//! Must not know more than the codec's own table. Invariant: what is finalized is served by every program that knows
//! transactions at all; older ones stop at the first change of one.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::api_versions::{
    FinalizedFeature, Request, Response, SupportedFeature, advertised,
};

use crate::metrics;

/// The first version in which clients name their software.
const NAMES_SOFTWARE: i16 = 3;
/// The feature by which clients choose how they end transactions.
const TRANSACTION_VERSION: &str = "transaction.version";
/// KIP-890, part 2: batches add their partitions themselves, and each transaction has an epoch of its own.
const NEWEST: i16 = 2;

/// The table, unless the client's software has no proper name.
pub(crate) fn answer(version: i16, request: &Request) -> Response {
    let named = is_name(&request.client_software_name) && is_name(&request.client_software_version);
    if version >= NAMES_SOFTWARE && !named {
        let error_code = metrics::failed(ApiKey::ApiVersions, ErrorCode::InvalidRequest);
        return Response { error_code, ..Response::default() };
    }
    let name = || TRANSACTION_VERSION.to_owned();
    Response {
        api_keys: advertised(),
        supported_features: vec![SupportedFeature { name: name(), min_version: 1, max_version: NEWEST }],
        finalized_features_epoch: 0,
        finalized_features: vec![FinalizedFeature {
            name: name(),
            max_version_level: NEWEST,
            min_version_level: NEWEST,
        }],
        ..Response::default()
    }
}

/// Kafka's rule: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_name(name: &str) -> bool {
    let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    ends(name.chars().next()) && ends(name.chars().next_back()) && name.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn software_names_follow_kafkas_rule() {
        for good in ["a", "librdkafka", "apache-kafka-java", "2.16.1", "1.0.0-RC1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".", "a b", "ä", "a_b", "a\n"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
