//! ApiVersions: what we serve.
//!
//! Must not know more than the codec's own table. Invariant: no feature is ever finalized here, since clients switch
//! to the newer transaction protocol when one is.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::api_versions::{Request, Response, advertised};

use crate::metrics;

/// The first version in which clients name their software.
const NAMES_SOFTWARE: i16 = 3;

/// The table, unless the client's software has no proper name.
pub(crate) fn answer(version: i16, request: &Request) -> Response {
    let named = is_name(&request.client_software_name) && is_name(&request.client_software_version);
    if version >= NAMES_SOFTWARE && !named {
        let error_code = metrics::failed(ApiKey::ApiVersions, ErrorCode::InvalidRequest);
        return Response { error_code, ..Response::default() };
    }
    Response { api_keys: advertised(), ..Response::default() }
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
