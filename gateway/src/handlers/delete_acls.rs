//! DeleteAcls: there are no access rules yet, so that none can be deleted.
//!
//! Must not know rules.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::delete_acls::{FilterResult, Request, Response};

use crate::metrics;

/// What Kafka says without an authorizer, for each filter.
pub(crate) fn answer(request: &Request) -> Response {
    let refuse = |_: &_| FilterResult {
        error_code: metrics::failed(ApiKey::DeleteAcls, ErrorCode::SecurityDisabled),
        error_message: Some("No Authorizer is configured.".to_owned()),
        ..FilterResult::default()
    };
    Response { filter_results: request.filters.iter().map(refuse).collect(), ..Response::default() }
}
