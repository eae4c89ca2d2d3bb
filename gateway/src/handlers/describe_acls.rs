//! DescribeAcls: there are no access rules yet, which is an answer that tools know.
//!
//! Must not know rules.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::describe_acls::Response;

use crate::metrics;

/// What Kafka says without an authorizer; MirrorMaker and UIs go on without access rules then.
pub(crate) fn answer() -> Response {
    Response {
        error_code: metrics::failed(ApiKey::DescribeAcls, ErrorCode::SecurityDisabled),
        error_message: Some("No Authorizer is configured on the broker".to_owned()),
        ..Response::default()
    }
}
