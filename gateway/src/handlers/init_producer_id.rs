//! InitProducerId: an id for an idempotent producer, or the next epoch of one with transactions.
//!
//! Must not know what the id is used for. Invariants: an id is handed out once in the life of the cluster; of the producers
//! that have a transactional id only the one that asked last goes on, and nothing that another left open.

use strandline_core::manifest::{Change, Identity, InitProducer, Outcome};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::init_producer_id::{Request, Response};

use crate::errors;
use crate::limits::TRANSACTION_TIMEOUT_MAX;
use crate::metrics;
use crate::session::Session;
use crate::transactions;

/// The first version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 4;

/// A fresh id at epoch 0.
///
/// A producer without transactions that names its old id and epoch (KIP-360) gets a fresh id, too, as it does from Kafka:
/// its sequences start at 0, and batches of the old id that are still under way cannot be mixed up with the new ones. Java
/// and librdkafka do not even ask: they raise the epoch of such an id themselves, which the fold lets them.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let code = match request.transactional_id.as_deref() {
        Some("") => ErrorCode::InvalidRequest,
        // Both or neither.
        _ if (request.producer_id == -1) != (request.producer_epoch == -1) => ErrorCode::InvalidRequest,
        Some(id) => match begin(session, id, &request).await {
            Ok(Identity { id, epoch }) => {
                return Response { producer_id: id, producer_epoch: epoch, ..Response::default() };
            }
            Err(code) => transactions::fenced(code, version, FENCED),
        },
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

async fn begin(session: &Session, id: &str, request: &Request) -> Result<Identity, ErrorCode> {
    let timeout_ms = request.transaction_timeout_ms;
    if !(1..=TRANSACTION_TIMEOUT_MAX.as_millis() as i32).contains(&timeout_ms) {
        return Err(ErrorCode::InvalidTransactionTimeout);
    }
    let known = (request.producer_id >= 0).then_some((request.producer_id, request.producer_epoch));
    if known.is_some_and(|(_, epoch)| epoch < 0) {
        return Err(ErrorCode::InvalidRequest);
    }
    let begun = session.journal.view(|manifest| manifest.transaction(id).map_or(0, |of| of.begun));
    let change = InitProducer { transactional_id: id.to_owned(), timeout_ms, known, begun };
    match transactions::decide(session, Change::InitProducer(change)).await? {
        Outcome::Producer(identity) => Ok(identity),
        _ => Err(ErrorCode::UnknownServerError),
    }
}
