//! EndTxn: a transaction is committed or aborted.
//!
//! Must not know what takes part in it. Invariant: it is decided by one change, for everything at once; what is answered is
//! what the fold made of that.

use strandline_core::manifest::{Change, EndTransaction, Identity, Outcome};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::end_txn::{Request, Response};

use crate::metrics;
use crate::session::Session;
use crate::transactions::{self, Intent};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;
/// The first version whose clients go on under a new epoch after each transaction (KIP-890).
const BUMPS: i16 = 5;

/// Decides it.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    match end(session, version, &request).await {
        Ok(Identity { id, epoch }) if version >= BUMPS => {
            Response { producer_id: id, producer_epoch: epoch, ..Response::default() }
        }
        Ok(_) => Response::default(),
        Err(code) => {
            let code = transactions::fenced(code, version, FENCED);
            Response { error_code: metrics::failed(ApiKey::EndTxn, code), ..Response::default() }
        }
    }
}

async fn end(session: &Session, version: i16, request: &Request) -> Result<Identity, ErrorCode> {
    let producer = (request.producer_id, request.producer_epoch);
    let of = transactions::meant(session, &request.transactional_id, producer, Intent::End).await?.of;
    let (commit, bump) = (request.committed, version >= BUMPS);
    let change = Change::EndTransaction(EndTransaction { of, commit, bump, if_due: false });
    match transactions::decide(session, change).await? {
        Outcome::Producer(identity) => Ok(identity),
        _ => Err(ErrorCode::UnknownServerError),
    }
}
