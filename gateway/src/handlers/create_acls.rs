//! CreateAcls: there are no access rules yet, so that none can be made.
//!
//! Must not know rules.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::create_acls::{CreationResult, Request, Response};

use crate::metrics;

/// What Kafka says without an authorizer, for each rule.
pub(crate) fn answer(request: &Request) -> Response {
    let refuse = |_: &_| CreationResult {
        error_code: metrics::failed(ApiKey::CreateAcls, ErrorCode::SecurityDisabled),
        error_message: Some("No Authorizer is configured.".to_owned()),
    };
    Response { results: request.creations.iter().map(refuse).collect(), ..Response::default() }
}
