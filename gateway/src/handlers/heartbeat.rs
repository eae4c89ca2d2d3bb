//! Heartbeat: a member lives, and hears whether it must rejoin.
//!
//! Must not know how members agree.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::heartbeat::{Request, Response};

use crate::metrics;
use crate::session::Session;

/// Whether the generation goes on.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let code = session.groups.heartbeat(request).await.err().unwrap_or(ErrorCode::None);
    Response { error_code: metrics::failed(ApiKey::Heartbeat, code), ..Response::default() }
}
