//! DescribeCluster: the nodes that live and the cluster id, for admin clients.
//!
//! Must not know how they find each other.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::describe_cluster::{Broker, Request, Response};

use crate::metrics;
use crate::node::{CLUSTER_OPERATIONS, Endpoint, Peer};
use crate::session::Session;

/// Kafka's endpoint types: brokers, and the controllers that we do not have.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// The nodes that live.
pub(crate) async fn answer(session: &Session, request: &Request) -> Response {
    let node = &session.node;
    let code = match request.endpoint_type {
        BROKERS => ErrorCode::None,
        CONTROLLERS => ErrorCode::MismatchedEndpointType,
        _ => ErrorCode::UnsupportedEndpointType,
    };
    if code != ErrorCode::None {
        return Response {
            error_code: metrics::failed(ApiKey::DescribeCluster, code),
            error_message: Some("this is a broker endpoint; ask with endpoint type 1".to_owned()),
            endpoint_type: request.endpoint_type,
            ..Response::default()
        };
    }
    session.nodes.refresh().await;
    let broker = |peer: &Peer| {
        let Endpoint { host, port } = session.endpoint_of(peer);
        Broker { broker_id: peer.id, host, port, rack: peer.rack.clone(), is_fenced: false }
    };
    Response {
        cluster_id: node.cluster_id.clone(),
        controller_id: node.id,
        brokers: session.nodes.live().iter().map(broker).collect(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..Response::default()
    }
}
