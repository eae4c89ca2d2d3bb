//! ListOffsets: the start, the end, or the offset at a time.
//!
//! Must not know how offsets are found. Invariant: "latest" is never behind what any node acknowledged before the
//! request came; the reader reads the journal to its end for it.

use futures_util::{StreamExt, stream};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::list_offsets::{PartitionResponse, Request, Response, TopicResponse};
use strandline_reader::{Isolation, OffsetFound, OffsetSpec, ReadError};
use uuid::Uuid;

use crate::errors;
use crate::limits::SIDE_BY_SIDE;
use crate::metrics;
use crate::node::LEADER_EPOCH;
use crate::session::Session;
use crate::topics::{self, Wanted};
use crate::transactions;

/// Kafka's names for the special timestamps.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// The versions in which they came to be (KIP-734, KIP-405, KIP-1005).
const SINCE: [(i64, i16); 3] = [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9)];

/// What a timestamp of the request asks for; `None` for the last offset in tiered storage, which we do not have.
fn spec(timestamp: i64, version: i16) -> Result<Option<OffsetSpec>, ErrorCode> {
    match timestamp {
        _ if SINCE.iter().any(|(name, since)| *name == timestamp && version < *since) => {
            Err(ErrorCode::UnsupportedVersion)
        }
        LATEST => Ok(Some(OffsetSpec::Latest)),
        // All that we have is "local".
        EARLIEST | EARLIEST_LOCAL => Ok(Some(OffsetSpec::Earliest)),
        MAX_TIMESTAMP => Ok(Some(OffsetSpec::MaxTimestamp)),
        LATEST_TIERED => Ok(None),
        0.. => Ok(Some(OffsetSpec::Timestamp(timestamp))),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

/// Looks up every requested partition, several at a time.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let wanted: Vec<Wanted<'_>> = request.topics.iter().map(|topic| Wanted::Name(&topic.name)).collect();
    let ids = topics::resolve(session, &wanted, |topic| topic.id).await;
    let isolation = transactions::isolation(request.isolation_level);
    let lookups = request.topics.iter().zip(ids).flat_map(|(topic, id)| {
        let lookup = move |partition: &_| {
            let (index, timestamp) = asked(partition);
            async move {
                let found = look_up(session, version, (&topic.name, id), index, (timestamp, isolation)).await;
                respond(version, index, found)
            }
        };
        topic.partitions.iter().map(lookup)
    });
    let lookups: Vec<_> = lookups.collect();
    let mut found = stream::iter(lookups).buffered(SIDE_BY_SIDE).collect::<Vec<_>>().await.into_iter();
    let answer = |topic: strandline_kafka::messages::list_offsets::RequestTopic| TopicResponse {
        partitions: found.by_ref().take(topic.partitions.len()).collect(),
        name: topic.name,
    };
    Response { topics: request.topics.into_iter().map(answer).collect(), ..Response::default() }
}

fn asked(partition: &strandline_kafka::messages::list_offsets::RequestPartition) -> (i32, i64) {
    (partition.partition_index, partition.timestamp)
}

async fn look_up(
    session: &Session,
    version: i16,
    (name, id): (&str, Result<Uuid, ErrorCode>),
    index: i32,
    (timestamp, isolation): (i64, Isolation),
) -> Result<OffsetFound, ErrorCode> {
    let id = id?;
    match spec(timestamp, version)? {
        Some(spec) => offset_at(session, (name, id), index, (spec, isolation)).await,
        None => Ok(OffsetFound { offset: -1, timestamp: -1 }),
    }
}

/// Finds an offset at the journal's end. If the topic of this id is gone there, one that was made since under the name it
/// had is meant.
pub(super) async fn offset_at(
    session: &Session,
    (name, id): (&str, Uuid),
    index: i32,
    (spec, isolation): (OffsetSpec, Isolation),
) -> Result<OffsetFound, ErrorCode> {
    let partition = u32::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    let mut found = session.reader.offset_at(id, partition, spec, isolation).await;
    if matches!(found, Err(ReadError::UnknownTopic))
        && let Some(next) = session.journal.view(|manifest| Some(manifest.topic_named(name)?.id))
    {
        found = session.reader.offset_at(next, partition, spec, isolation).await;
    }
    found.map_err(|error| errors::read(&error, ErrorCode::UnknownTopicOrPartition))
}

fn respond(version: i16, partition_index: i32, found: Result<OffsetFound, ErrorCode>) -> PartitionResponse {
    let found = match found {
        Ok(found) => found,
        Err(code) => {
            let error_code = metrics::failed(ApiKey::ListOffsets, code);
            return PartitionResponse { partition_index, error_code, ..PartitionResponse::default() };
        }
    };
    let exists = found.offset >= 0;
    PartitionResponse {
        partition_index,
        // Only v0, where an offset that does not exist is an empty list.
        old_style_offsets: if version == 0 && exists { vec![found.offset] } else { Vec::new() },
        timestamp: found.timestamp,
        offset: found.offset,
        leader_epoch: if exists { LEADER_EPOCH } else { -1 },
        ..PartitionResponse::default()
    }
}
