//! ConsumerGroupHeartbeat: a member of a group whose coordinator assigns says that it lives, and hears what to hold (KIP-848).
//!
//! Must not know how groups assign. Invariant: a request that Kafka would not take reaches no group.

use strandline_kafka::api::ApiKey;
use strandline_kafka::messages::consumer_group_heartbeat::{Request, Response};

use crate::groups::{Caller, consumer};
use crate::metrics;
use crate::session::Session;

/// The group's answer.
pub(crate) async fn answer(
    session: &Session,
    version: i16,
    client_id: Option<String>,
    mut request: Request,
) -> Response {
    let caller =
        Caller { client_id: client_id.unwrap_or_default(), client_host: session.client_host.clone() };
    let answer = match consumer::check(&request, version) {
        Ok(()) => {
            // Only clients of version 0 leave it to us.
            if request.member_id.is_empty() {
                request.member_id = session.journal.env().uuid().to_string();
            }
            session.groups.consumer_heartbeat(caller, request).await
        }
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(|refusal| Response {
        error_code: metrics::failed(ApiKey::ConsumerGroupHeartbeat, refusal.code),
        error_message: Some(refusal.message),
        ..Response::default()
    })
}
