//! AddOffsetsToTxn: a transaction is going to commit offsets of a group.
//!
//! Must not know offsets. Invariant: once it is answered, the fold takes the producer's TxnOffsetCommit for the group.

use strandline_core::limits::MAX_GROUP_NAME_BYTES;
use strandline_core::manifest::{AddToTransaction, Change};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::add_offsets_to_txn::{Request, Response};

use crate::metrics;
use crate::session::Session;
use crate::transactions::{self, Intent};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;

/// Adds the group.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let code = add(session, request).await.err().unwrap_or(ErrorCode::None);
    let code = transactions::fenced(code, version, FENCED);
    Response { error_code: metrics::failed(ApiKey::AddOffsetsToTxn, code), ..Response::default() }
}

async fn add(session: &Session, request: Request) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() || request.group_id.len() > MAX_GROUP_NAME_BYTES {
        return Err(ErrorCode::InvalidGroupId);
    }
    let producer = (request.producer_id, request.producer_epoch);
    let of = transactions::meant(session, &request.transactional_id, producer, Intent::Join).await?.of;
    let (partitions, groups) = (Vec::new(), vec![request.group_id]);
    let change = Change::AddToTransaction(AddToTransaction { of, partitions, groups });
    transactions::decide(session, change).await.map(drop)
}
