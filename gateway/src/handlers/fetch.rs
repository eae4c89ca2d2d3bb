//! Fetch: record batches by reference, and the long poll at the ends of partitions.
//!
//! Must not know where records lie. Invariants: every requested partition is in the answer, in the order of the
//! request (there are no fetch sessions, and clients throw away an answer that lacks one); record bytes of all answers
//! together stay within the Fetch budget, and a request that only waits holds none of it.

use std::time::Duration;

use strandline_core::manifest::Aborted;
use strandline_kafka::api::ApiKey;
use strandline_kafka::codec::Records;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::frame::RequestHeader;
use strandline_kafka::messages::fetch::{
    AbortedTransaction, PartitionResponse, Request, Response, TopicResponse,
};
use strandline_reader::{FetchLimits, FetchPartition, Fetched, Isolation, ReadError};
use tokio::time::Instant;

use crate::budget::Share;
use crate::errors;
use crate::limits::{FETCH_RESPONSE_BYTES, FETCH_WAIT, FETCH_WAITED_BYTES};
use crate::metrics;
use crate::phase::Phase;
use crate::reply::{Answer, ReplyError};
use crate::session::Session;
use crate::topics::{self, Wanted};
use crate::transactions::isolation;

/// The first version that names topics by id.
const BY_ID: i16 = 13;

type Read = Result<Fetched, ReadError>;

/// One requested partition: its place among those asked of the reader, or the code it gets.
type Place = Result<usize, ErrorCode>;

/// Reads, waits if the client wants it and there is not enough, and builds the answer.
pub(crate) async fn answer(
    session: &Session,
    header: &RequestHeader,
    request: Request,
) -> Result<Answer, ReplyError> {
    // We offer no sessions, so whoever speaks of one means another node or another time.
    if request.session_id != 0 || request.session_epoch > 0 {
        let code = metrics::failed(ApiKey::Fetch, ErrorCode::FetchSessionIdNotFound);
        return Answer::encode(header, &Response { error_code: code, ..Response::default() }.into());
    }
    let started = Instant::now();
    // Clients send one Fetch at a time; one that sends many must not make us read for all of them at once.
    let _slot = session.fetch_slots.acquire().await;
    let (asked, places, unknown) = plan(session, header.api_version, &request).await;
    let incomplete = places.iter().any(Result::is_err) || asked.is_empty();
    let patience = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(FETCH_WAIT);
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(FETCH_RESPONSE_BYTES);
    let limits = FetchLimits {
        // More than the answer may hold would never be there.
        min_bytes: usize::try_from(request.min_bytes).unwrap_or(0).min(max_bytes),
        max_bytes,
        // A partition that is not there is an answer already.
        max_wait: if incomplete { Duration::ZERO } else { patience.saturating_sub(started.elapsed()) },
        isolation: isolation(request.isolation_level),
    };
    let turn = session.next_fetch() % asked.len().max(1);
    let (results, budget) = read_in_turn(session, asked, turn, limits).await;
    let response = assemble(request, places, unknown, results);
    Ok(Answer { budget, ..Answer::encode(header, &response.into())? })
}

/// What to ask of the reader, the place of each requested partition in it, and each topic's code if it is gone.
async fn plan(
    session: &Session,
    version: i16,
    request: &Request,
) -> (Vec<FetchPartition>, Vec<Place>, Vec<ErrorCode>) {
    let topics = request.topics.iter();
    let wanted: Vec<Wanted<'_>> =
        topics.map(|topic| Wanted::new(version >= BY_ID, &topic.topic, topic.topic_id)).collect();
    let found = topics::resolve(session, &wanted, |topic| topic.id).await;
    let (mut asked, mut places) = (Vec::new(), Vec::new());
    for (topic, id) in request.topics.iter().zip(found) {
        for partition in &topic.partitions {
            let place = id.and_then(|id| {
                let index = u32::try_from(partition.partition);
                let index = index.map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
                asked.push(FetchPartition {
                    topic: id,
                    partition: index,
                    offset: partition.fetch_offset,
                    max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
                });
                Ok(asked.len() - 1)
            });
            places.push(place);
        }
    }
    (asked, places, wanted.iter().map(|wanted| wanted.unknown()).collect())
}

/// Reads with the partition `turn` first, so that a busy one at the front cannot starve those behind it. The results
/// stand in the order of `asked` again.
async fn read_in_turn(
    session: &Session,
    mut asked: Vec<FetchPartition>,
    turn: usize,
    limits: FetchLimits,
) -> (Vec<Read>, Option<Share>) {
    asked.rotate_left(turn);
    let (mut results, budget) = read(session, &asked, limits).await;
    // The reader answers one for one; a rotation by more than there is would panic.
    let turn = turn.min(results.len());
    results.rotate_right(turn);
    (results, budget)
}

async fn read(
    session: &Session,
    asked: &[FetchPartition],
    limits: FetchLimits,
) -> (Vec<Read>, Option<Share>) {
    let ready = ready_bytes(session, asked).min(limits.max_bytes);
    if ready > 0 || limits.max_wait.is_zero() {
        let share = session.fetch_budget.share(ready).await;
        let now = FetchLimits { max_wait: Duration::ZERO, ..limits };
        let results = session.reader.fetch(asked, now).await;
        let bytes = fetched_bytes(&results);
        if bytes >= limits.min_bytes || limits.max_wait.is_zero() || results.iter().any(Result::is_err) {
            return (results, share.and_then(|share| share.shrink(bytes)));
        }
        // Not enough yet. The share goes back while we wait; what little there is will be in the cache.
    }
    let waited =
        FetchLimits { max_bytes: limits.max_bytes.min(limits.min_bytes.max(FETCH_WAITED_BYTES)), ..limits };
    let results = tokio::select! {
        biased;
        results = session.reader.fetch(asked, waited) => results,
        () = session.phases.reached(Phase::Stopping) => nothing(session, asked),
    };
    let share = session.fetch_budget.share(fetched_bytes(&results)).await;
    (results, share)
}

/// The most that can be there for the asked partitions now; nothing for those at their end.
fn ready_bytes(session: &Session, asked: &[FetchPartition]) -> usize {
    session.journal.view(|manifest| {
        let ready = |asked: &&FetchPartition| {
            let partition = manifest.topic(&asked.topic)?.partitions.get(asked.partition as usize)?;
            Some(asked.offset < partition.high_watermark)
        };
        // A partition with a tiny limit still gives its first batch.
        let bytes = |asked: &FetchPartition| asked.max_bytes.max(1);
        asked.iter().filter(|asked| ready(asked) == Some(true)).map(bytes).fold(0, usize::saturating_add)
    })
}

fn fetched_bytes(results: &[Read]) -> usize {
    results.iter().flatten().map(|fetched| fetched.bytes).sum()
}

/// The answer to a request whose waiting was cut short: all is well, nothing came.
fn nothing(session: &Session, asked: &[FetchPartition]) -> Vec<Read> {
    session.journal.view(|manifest| {
        let empty = |asked: &FetchPartition| {
            let topic = manifest.topic(&asked.topic).ok_or(ReadError::UnknownTopic)?;
            let partition =
                topic.partitions.get(asked.partition as usize).ok_or(ReadError::UnknownPartition)?;
            Ok(Fetched {
                high_watermark: partition.high_watermark,
                last_stable: partition.last_stable_offset(),
                log_start: partition.log_start,
                ..Fetched::default()
            })
        };
        asked.iter().map(empty).collect()
    })
}

fn assemble(request: Request, places: Vec<Place>, unknown: Vec<ErrorCode>, results: Vec<Read>) -> Response {
    let committed = isolation(request.isolation_level) == Isolation::ReadCommitted;
    let mut results: Vec<Option<Read>> = results.into_iter().map(Some).collect();
    let mut places = places.into_iter();
    let mut responses = Vec::with_capacity(request.topics.len());
    for (topic, unknown) in request.topics.into_iter().zip(unknown) {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (asked, place) in topic.partitions.iter().zip(&mut places) {
            let result = place.map(|place| results.get_mut(place).and_then(Option::take));
            let read = match result {
                Ok(Some(Ok(fetched))) => Ok(fetched),
                Ok(Some(Err(error))) => Err(errors::read(&error, unknown)),
                // The reader answers one for one.
                Ok(None) => Err(ErrorCode::UnknownServerError),
                Err(code) => Err(code),
            };
            partitions.push(partition(asked.partition, committed, read));
        }
        responses.push(TopicResponse { topic: topic.topic, topic_id: topic.topic_id, partitions });
    }
    Response { responses, ..Response::default() }
}

fn partition(index: i32, committed: bool, read: Result<Fetched, ErrorCode>) -> PartitionResponse {
    // Null for those who do not ask, as Kafka does.
    let of = |aborted: &Aborted| AbortedTransaction {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
    };
    let aborted = read.iter().flat_map(|fetched| &fetched.aborted).map(of);
    let aborted_transactions = committed.then(|| aborted.collect());
    match read {
        Ok(fetched) => PartitionResponse {
            partition_index: index,
            high_watermark: fetched.high_watermark,
            last_stable_offset: fetched.last_stable,
            log_start_offset: fetched.log_start,
            aborted_transactions,
            records: Some(Records::from(fetched.batches)),
            ..PartitionResponse::default()
        },
        Err(code) => PartitionResponse {
            partition_index: index,
            error_code: metrics::failed(ApiKey::Fetch, code),
            high_watermark: -1,
            aborted_transactions,
            records: Some(Records::default()),
            ..PartitionResponse::default()
        },
    }
}
