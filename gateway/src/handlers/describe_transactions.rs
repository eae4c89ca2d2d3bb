//! DescribeTransactions: where a transaction stands and what takes part in it (KIP-664).
//!
//! Must not know records. Invariant: the journal is read to its end first, so that a transaction whose end was acknowledged
//! is not called open.

use std::collections::BTreeMap;

use strandline_core::manifest::{Manifest, Phase, Transaction};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::describe_transactions::{Request, Response, Topic, TransactionState};

use crate::errors;
use crate::limits::DESCRIBED_PER_REQUEST;
use crate::metrics;
use crate::session::Session;
use crate::topics;
use crate::transactions::state;

/// Each id once, however often it is named.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let known = session.catch_up().await.map_err(|error| errors::transaction(&error));
    let ids = topics::once(request.transactional_ids.iter().map(String::as_str));
    let look_up = |id: &str| {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        known?;
        let found = |manifest: &Manifest| manifest.transaction(id).map(|of| describe(manifest, id, of));
        session.journal.view(found).ok_or(ErrorCode::TransactionalIdNotFound)
    };
    let answer = |id: &str| {
        look_up(id).unwrap_or_else(|code| TransactionState {
            error_code: metrics::failed(ApiKey::DescribeTransactions, code),
            transactional_id: id.to_owned(),
            ..TransactionState::default()
        })
    };
    let transaction_states = ids.into_iter().take(DESCRIBED_PER_REQUEST).map(answer).collect();
    Response { transaction_states, ..Response::default() }
}

fn describe(manifest: &Manifest, id: &str, of: &Transaction) -> TransactionState {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in of.partitions.keys() {
        if let (Some(topic), Ok(partition)) = (manifest.topic(topic), i32::try_from(*partition)) {
            topics.entry(&topic.name).or_default().push(partition);
        }
    }
    let topic = |(name, partitions): (&str, _)| Topic { topic: name.to_owned(), partitions };
    TransactionState {
        transactional_id: id.to_owned(),
        transaction_state: state(of).to_owned(),
        transaction_timeout_ms: of.timeout_ms,
        // There is a time for the last one, too, once it is over.
        transaction_start_time_ms: if of.phase == Phase::Empty || of.begun_ms == 0 {
            -1
        } else {
            of.begun_ms
        },
        producer_id: of.producer.id,
        producer_epoch: of.producer.epoch,
        topics: topics.into_iter().map(topic).collect(),
        ..TransactionState::default()
    }
}
