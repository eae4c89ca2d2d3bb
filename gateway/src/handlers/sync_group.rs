//! SyncGroup: a member gets what the leader of its generation assigned to it.
//!
//! Must not know what is assigned.

use strandline_kafka::api::ApiKey;
use strandline_kafka::messages::sync_group::{Request, Response};

use crate::metrics;
use crate::session::Session;

/// The member's assignment.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let response = session.groups.sync(request).await;
    metrics::failed_code(ApiKey::SyncGroup, response.error_code);
    response
}
