//! JoinGroup: a client becomes a member of a classic group, and waits for its generation.
//!
//! Must not know how members agree. Invariant: the answer has the shape of its version.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::join_group::{Request, Response};

use crate::groups::Caller;
use crate::metrics;
use crate::session::Session;

/// The first version in which no protocol is null.
const NULL_PROTOCOL: i16 = 7;

/// The member's generation; for the leader also its fellows.
pub(crate) async fn answer(
    session: &Session,
    version: i16,
    client_id: Option<String>,
    request: Request,
) -> Response {
    let caller =
        Caller { client_id: client_id.unwrap_or_default(), client_host: session.client_host.clone() };
    let mut response = session.groups.join(caller, version, request).await;
    if response.error_code != ErrorCode::None.code() {
        response.protocol_name = (version < NULL_PROTOCOL).then(String::new);
        metrics::failed_code(ApiKey::JoinGroup, response.error_code);
    }
    response
}
