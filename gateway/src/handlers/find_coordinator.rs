//! FindCoordinator: who looks after a group or a transactional id.
//!
//! Must not know groups. Nodes that know of each other share the keys out among them; for a moment after one came or
//! went they may disagree, and the fold decides.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::find_coordinator::{Coordinator, Request, Response};

use crate::metrics;
use crate::node::Endpoint;
use crate::session::Session;

/// The first version that asks for several keys at once.
const BATCHED: i16 = 4;
/// Groups and transactional ids.
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

/// The node for each key.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let code = match KEY_TYPES.contains(&request.key_type) {
        true => ErrorCode::None,
        false => ErrorCode::InvalidRequest,
    };
    session.nodes.refresh().await;
    let find = |key| coordinator(session, key, code);
    if version >= BATCHED {
        let coordinators = request.coordinator_keys.into_iter().map(find).collect();
        return Response { coordinators, ..Response::default() };
    }
    let found = find(request.key);
    Response {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Response::default()
    }
}

fn coordinator(session: &Session, key: String, code: ErrorCode) -> Coordinator {
    if code != ErrorCode::None {
        let error_code = metrics::failed(ApiKey::FindCoordinator, code);
        let error_message = Some("the key type is neither a group nor a transactional id".to_owned());
        return Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code,
            error_message,
            ..Coordinator::default()
        };
    }
    let peer = session.nodes.coordinator(&key);
    let Endpoint { host, port } = session.endpoint_of(&peer);
    Coordinator { key, node_id: peer.id, host, port, ..Coordinator::default() }
}
