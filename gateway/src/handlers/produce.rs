//! Produce: batches go to ingest in order of arrival, their acknowledgements are awaited on the side.
//!
//! Must not know how batches are stored or checked, except that a partition gets exactly one batch in a request.
//! Invariant: success is answered only for a batch that the fold has accepted; a batch whose outcome is open is
//! answered with a code that producers retry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strandline_core::env;
use strandline_core::manifest::Joins;
use strandline_core::mutation::{self, Mutation};
use strandline_ingest::{Admission, Append, AppendError, Appended};
use strandline_kafka::api::ApiKey;
use strandline_kafka::codec::Records;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::frame::RequestHeader;
use strandline_kafka::messages::produce::{PartitionResponse, RecordError, Request, Response, TopicResponse};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::errors;
use crate::limits::{PRODUCE_TIMEOUT, PRODUCE_TIMEOUT_DEFAULT};
use crate::metrics;
use crate::reply::{Answer, Reply};
use crate::session::Session;
use crate::topics::{self, Wanted};

/// The first version that names topics by id.
const BY_ID: i16 = 13;
/// The first version whose clients can be expected to read zstd (KIP-110).
const ZSTD: i16 = 7;
/// The first version in which batches add their partitions to the transaction by themselves (KIP-890).
const ADDS_PARTITIONS: i16 = 12;
/// The first version whose clients abort their transaction on TRANSACTION_ABORTABLE, and go on (KIP-890).
const ABORTS: i16 = 11;
/// Where a batch says how long it is and of which format.
const BATCH_LENGTH: std::ops::Range<usize> = 8..12;
const BATCH_MAGIC: usize = 16;
const BATCH_ATTRIBUTES: usize = 22;
const BATCH_PRODUCER_ID: std::ops::Range<usize> = 43..51;

/// A request whose batches are all handed over or refused.
struct Begun {
    topics: Vec<BegunTopic>,
    deadline: Instant,
    /// The client aborts its transaction when a batch does not fit into one, and can go on then.
    abortable: bool,
    /// A batch of an idempotent producer was not taken in, though it may be the next time. To a partition that does not
    /// know the producer, the batch behind it would look like its first.
    leaves_a_gap: bool,
}

struct BegunTopic {
    name: String,
    id: [u8; 16],
    /// The code if the topic turns out to be gone.
    unknown: ErrorCode,
    partitions: Vec<(i32, Result<Append, Refused>)>,
}

/// Why a batch was not handed over.
struct Refused {
    code: ErrorCode,
    why: Option<&'static str>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, why: None }
    }
}

/// Hands the batches to ingest; the reply waits for their acknowledgements. `None` for acks=0.
///
/// It waits, and with it the connection, only if a topic is not known here and the journal must be read for it.
pub(crate) async fn begin(
    session: &Arc<Session>,
    header: RequestHeader,
    request: Request,
    admission: Admission,
) -> Option<Reply> {
    let unacked = request.acks == 0;
    let begun = hand_over(session, header.api_version, request, admission).await;
    if begun.leaves_a_gap && !mutation::is(Mutation::GapOverlooked) {
        session.end_after_this();
    }
    if unacked {
        // Nobody is told, so failures are at least counted. The task ends with the last acknowledgement.
        env::spawn(async move { begun.count_failures().await });
        return None;
    }
    Some(Reply::waiting(ApiKey::Produce, async move {
        let response = begun.response().await;
        Answer::encode(&header, &response.into())
    }))
}

async fn hand_over(session: &Session, version: i16, request: Request, admission: Admission) -> Begun {
    let deadline = Instant::now() + patience(request.timeout_ms);
    let refused = refusal(&request);
    let wanted: Vec<Wanted<'_>> = request
        .topic_data
        .iter()
        .map(|topic| Wanted::new(version >= BY_ID, &topic.name, topic.topic_id))
        .collect();
    let unknown: Vec<ErrorCode> = wanted.iter().map(|wanted| wanted.unknown()).collect();
    let mut found = topics::resolve(session, &wanted, |topic| (topic.id, topic.partitions.len())).await;
    if has_new_partitions(&request, &found)
        && let Err(error) = session.catch_up().await
    {
        found = vec![Err(errors::journal(&error)); found.len()];
    }
    let mut topics = Vec::with_capacity(found.len());
    let mut leaves_a_gap = false;
    let transactional = request.transactional_id.is_some();
    let joins = match transactional {
        true if version >= ADDS_PARTITIONS => Joins::Adds,
        true => Joins::Added,
        false => Joins::Nothing,
    };
    for ((topic, found), unknown) in request.topic_data.into_iter().zip(found).zip(unknown) {
        let target = refused.map_or(found.map(|(id, _)| id), Err);
        let mut append = |index: i32, records| -> Result<Append, Refused> {
            let batch = single_batch(records)?;
            if version < ZSTD && is_zstd(&batch) {
                return Err(ErrorCode::UnsupportedCompressionType.into());
            }
            let idempotent = is_idempotent(&batch);
            let partition = u32::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
            let begun =
                target.map(|id| session.ingest.append_as(joins, (id, partition), batch, admission.clone()));
            let refused = match &begun {
                Ok(append) => append.refusal().map(|error| errors::append(error, unknown)),
                Err(code) => Some(*code),
            };
            leaves_a_gap |= idempotent && refused.is_some_and(ErrorCode::is_retriable);
            Ok(begun?)
        };
        let partitions = topic.partition_data.into_iter();
        topics.push(BegunTopic {
            name: topic.name,
            id: topic.topic_id,
            unknown,
            partitions: partitions.map(|data| (data.index, append(data.index, data.records))).collect(),
        });
    }
    Begun { topics, deadline, abortable: transactional && version >= ABORTS, leaves_a_gap }
}

/// Whether a partition is named that is not known here: the topic may have grown. Costs one read of the journal's end.
fn has_new_partitions(request: &Request, found: &[Result<(Uuid, usize), ErrorCode>]) -> bool {
    let mut topics = request.topic_data.iter().zip(found);
    topics.any(|(topic, found)| {
        let beyond = |index: i32, known: usize| usize::try_from(index).is_ok_and(|index| index >= known);
        found.is_ok_and(|(_, known)| topic.partition_data.iter().any(|data| beyond(data.index, known)))
    })
}

/// What makes a request fail as a whole.
fn refusal(request: &Request) -> Option<ErrorCode> {
    (!(-1..=1).contains(&request.acks)).then_some(ErrorCode::InvalidRequiredAcks)
}

/// How long to wait for the acknowledgement. Clients for which no replica has to be waited for (acks=1) may send 0,
/// but here every acknowledgement is a round trip to the store.
fn patience(timeout_ms: i32) -> Duration {
    match u64::try_from(timeout_ms) {
        Ok(ms @ 1..) => Duration::from_millis(ms).min(PRODUCE_TIMEOUT),
        _ => PRODUCE_TIMEOUT_DEFAULT,
    }
}

/// Whether the batch carries a producer id. What is wrong with it otherwise is for ingest to say.
fn is_idempotent(batch: &Bytes) -> bool {
    let id = batch.get(BATCH_PRODUCER_ID).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
    id.is_some_and(|id| id >= 0)
}

/// Whether the lower bits of the attributes name zstd.
fn is_zstd(batch: &Bytes) -> bool {
    batch.get(BATCH_ATTRIBUTES).is_some_and(|attributes| attributes & 0b111 == 4)
}

/// The one batch of a partition. What is wrong inside it is for ingest to say.
fn single_batch(records: Option<Records>) -> Result<Bytes, Refused> {
    let invalid = |why| Refused { code: ErrorCode::InvalidRecord, why: Some(why) };
    let mut parts = records.map(Records::into_parts).unwrap_or_default();
    let batch = match (parts.pop(), parts.is_empty()) {
        (Some(batch), true) => batch,
        (None, _) => return Err(invalid("a partition needs one record batch")),
        // A frame is received in one piece, so that this does not happen.
        (Some(_), false) => return Err(ErrorCode::CorruptMessage.into()),
    };
    let length = batch.get(BATCH_LENGTH).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
    if let (Some(length), Some(2)) = (length, batch.get(BATCH_MAGIC))
        && usize::try_from(length).is_ok_and(|length| length + BATCH_LENGTH.end < batch.len())
    {
        return Err(invalid("a partition takes exactly one record batch in a request"));
    }
    Ok(batch)
}

impl Begun {
    async fn response(self) -> Response {
        let mut responses = Vec::with_capacity(self.topics.len());
        for topic in self.topics {
            let mut partition_responses = Vec::with_capacity(topic.partitions.len());
            for (index, append) in topic.partitions {
                partition_responses.push(match append {
                    Ok(append) => match timeout_at(self.deadline, append).await {
                        Ok(Ok(appended)) => acknowledged(index, &appended),
                        Ok(Err(AppendError::InvalidTransactionState)) if self.abortable => {
                            refused(index, ErrorCode::TransactionAbortable, None)
                        }
                        Ok(Err(error)) => not_written(index, &error, topic.unknown),
                        Err(_) if mutation::is(Mutation::TimeoutIsRefusal) => {
                            refused(index, ErrorCode::InvalidRecord, None)
                        }
                        Err(_) => refused(index, ErrorCode::RequestTimedOut, None),
                    },
                    Err(Refused { code, why }) => refused(index, code, why.map(str::to_owned)),
                });
            }
            responses.push(TopicResponse { name: topic.name, topic_id: topic.id, partition_responses });
        }
        Response { responses, ..Response::default() }
    }

    async fn count_failures(self) {
        for (_, append) in self.topics.into_iter().flat_map(|topic| topic.partitions) {
            let failed = match append {
                Ok(append) => append.await.is_err(),
                Err(_) => true,
            };
            metrics::UNACKED_FAILURES.inc_by(u64::from(failed));
        }
    }
}

fn acknowledged(index: i32, appended: &Appended) -> PartitionResponse {
    PartitionResponse {
        index,
        base_offset: appended.base_offset,
        log_append_time_ms: appended.log_append_time_ms,
        log_start_offset: appended.log_start,
        ..PartitionResponse::default()
    }
}

fn not_written(index: i32, error: &AppendError, unknown: ErrorCode) -> PartitionResponse {
    let record_error = |why: &str, batch_index: i32| RecordError {
        batch_index,
        batch_index_error_message: Some(why.to_owned()),
    };
    let record_errors = error
        .refused()
        .map(|refused| refused.records.iter().map(|record| record_error(&refused.why, *record)).collect());
    PartitionResponse {
        record_errors: record_errors.unwrap_or_default(),
        ..refused(index, errors::append(error, unknown), Some(errors::append_text(error)))
    }
}

fn refused(index: i32, code: ErrorCode, why: Option<String>) -> PartitionResponse {
    PartitionResponse {
        index,
        error_code: metrics::failed(ApiKey::Produce, code),
        base_offset: -1,
        error_message: why,
        ..PartitionResponse::default()
    }
}
