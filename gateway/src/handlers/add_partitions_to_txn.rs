//! AddPartitionsToTxn: partitions are going to take part in a transaction.
//!
//! Must not know batches. Invariant: once it is answered, the fold takes the producer's batches in these partitions, and
//! everything in them is decided with the transaction. All of them are added, or none.

use std::collections::BTreeSet;

use strandline_core::manifest::{AddToTransaction, Change};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::add_partitions_to_txn::{
    PartitionResponse, Request, Response, TopicResponse,
};
use uuid::Uuid;

use crate::limits::CHANGED_PER_REQUEST;
use crate::metrics;
use crate::session::Session;
use crate::topics::{self, Wanted};
use crate::transactions::{self, Intent, Meant};

/// The first version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;

/// Adds them with one change.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let producer = (request.producer_id, request.producer_epoch);
    let meant = transactions::meant(session, &request.transactional_id, producer, Intent::Join).await;
    let (codes, known) = look_up(session, &request).await;
    let all = match codes.iter().any(|code| *code != ErrorCode::None) {
        true => Err(ErrorCode::OperationNotAttempted),
        false => add(session, meant, known).await,
    };
    let all = all.map_or_else(|code| transactions::fenced(code, version, FENCED), |()| ErrorCode::None);
    let mut codes = codes.into_iter();
    let mut partition = |index: &i32| {
        let own = codes.next().filter(|code| *code != ErrorCode::None);
        let error_code = metrics::failed(ApiKey::AddPartitionsToTxn, own.unwrap_or(all));
        PartitionResponse { partition_index: *index, error_code }
    };
    let topics = request.topics.into_iter().map(|topic| TopicResponse {
        partitions: topic.partitions.iter().map(&mut partition).collect(),
        name: topic.name,
    });
    Response { topics: topics.collect(), ..Response::default() }
}

/// A code for each partition of the request, and those that are there.
async fn look_up(session: &Session, request: &Request) -> (Vec<ErrorCode>, Vec<(Uuid, u32)>) {
    let wanted: Vec<Wanted<'_>> = request.topics.iter().map(|topic| Wanted::Name(&topic.name)).collect();
    let mut found = topics::resolve(session, &wanted, |topic| (topic.id, topic.partitions.len())).await;
    let grown = request.topics.iter().zip(&found).any(|(topic, found)| {
        let beyond = |index: &i32, size: usize| usize::try_from(*index).is_ok_and(|index| index >= size);
        found.is_ok_and(|(_, size)| topic.partitions.iter().any(|index| beyond(index, size)))
    });
    if grown {
        found = topics::resolve_latest(session, &wanted, |topic| (topic.id, topic.partitions.len())).await;
    }
    let (mut codes, mut known) = (Vec::new(), Vec::new());
    for (topic, found) in request.topics.iter().zip(found) {
        for index in &topic.partitions {
            let place = found.and_then(|(id, size)| match u32::try_from(*index) {
                Ok(index) if (index as usize) < size => Ok((id, index)),
                _ => Err(ErrorCode::UnknownTopicOrPartition),
            });
            codes.push(place.err().map_or(ErrorCode::None, retriable));
            known.extend(place.ok());
        }
    }
    (codes, known)
}

/// Of the codes for a journal that cannot be read, the one that all producers retry in this API.
fn retriable(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::KafkaStorageError => ErrorCode::CoordinatorNotAvailable,
        code => code,
    }
}

async fn add(
    session: &Session,
    meant: Result<Meant, ErrorCode>,
    known: Vec<(Uuid, u32)>,
) -> Result<(), ErrorCode> {
    let of = meant?.of;
    let partitions: BTreeSet<(Uuid, u32)> = known.into_iter().collect();
    if partitions.len() > CHANGED_PER_REQUEST {
        return Err(ErrorCode::PolicyViolation);
    }
    let partitions = partitions.into_iter().collect();
    let change = Change::AddToTransaction(AddToTransaction { of, partitions, groups: Vec::new() });
    transactions::decide(session, change).await.map(drop)
}
