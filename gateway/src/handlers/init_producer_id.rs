//! InitProducerId: an id for an idempotent producer.
//!
//! Must not know what the id is used for. Invariant: an id is handed out once in the life of the cluster.

use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::init_producer_id::{Request, Response};

use crate::errors;
use crate::metrics;
use crate::session::Session;

/// A fresh id at epoch 0.
///
/// A producer without transactions that names its old id and epoch (KIP-360) gets a fresh id, too, as it does from Kafka:
/// its sequences start at 0, and batches of the old id that are still under way cannot be mixed up with the new ones. Java
/// and librdkafka do not even ask: they raise the epoch of such an id themselves, which the fold lets them.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let code = match request.transactional_id.as_deref() {
        Some("") => ErrorCode::InvalidRequest,
        // Both or neither.
        _ if (request.producer_id == -1) != (request.producer_epoch == -1) => ErrorCode::InvalidRequest,
        // Transactions are not served yet, and producers give up on this code at once, with its text.
        Some(_) => ErrorCode::UnsupportedVersion,
        None => match session.journal.allocate_producer_id().await {
            Ok(producer_id) => return Response { producer_id, ..Response::default() },
            Err(error) => match errors::journal(&error) {
                // What Kafka says while it has no ids to give; older Java producers give up on a time-out here.
                ErrorCode::RequestTimedOut => ErrorCode::CoordinatorLoadInProgress,
                code => code,
            },
        },
    };
    let error_code = metrics::failed(ApiKey::InitProducerId, code);
    Response { error_code, producer_epoch: -1, ..Response::default() }
}
