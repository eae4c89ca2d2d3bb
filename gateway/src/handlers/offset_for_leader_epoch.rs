//! OffsetForLeaderEpoch: where an epoch ends, for consumers that fear a truncated log.
//!
//! Must not know of leaders: there is one epoch, and nothing is ever truncated. Invariant: the end of that epoch is
//! never behind what a client has seen on another node, or it would believe that records were lost.

use futures_util::{StreamExt, stream};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::offset_for_leader_epoch::{
    PartitionResponse, Request, RequestPartition, RequestTopic, Response, TopicResponse,
};
use strandline_reader::{Isolation, OffsetSpec};
use uuid::Uuid;

use crate::handlers::list_offsets::offset_at;
use crate::limits::SIDE_BY_SIDE;
use crate::metrics;
use crate::node::LEADER_EPOCH;
use crate::session::Session;
use crate::topics::{self, Wanted};

/// Looks up every requested partition, several at a time.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let wanted: Vec<Wanted<'_>> = request.topics.iter().map(|topic| Wanted::Name(&topic.topic)).collect();
    let ids = topics::resolve(session, &wanted, |topic| topic.id).await;
    let lookups = request.topics.iter().zip(ids).flat_map(|(topic, id)| {
        topic.partitions.iter().map(move |asked| respond(session, (&topic.topic, id), asked))
    });
    let lookups: Vec<_> = lookups.collect();
    let mut found = stream::iter(lookups).buffered(SIDE_BY_SIDE).collect::<Vec<_>>().await.into_iter();
    let answer = |topic: RequestTopic| TopicResponse {
        partitions: found.by_ref().take(topic.partitions.len()).collect(),
        topic: topic.topic,
    };
    Response { topics: request.topics.into_iter().map(answer).collect(), ..Response::default() }
}

async fn respond(
    session: &Session,
    topic: (&str, Result<Uuid, ErrorCode>),
    asked: &RequestPartition,
) -> PartitionResponse {
    let partition = asked.partition;
    match end_offset(session, topic, partition).await {
        // Defaults: an epoch that never was has neither a number nor an end.
        Ok(_) if asked.leader_epoch != LEADER_EPOCH => PartitionResponse { partition, ..Default::default() },
        Ok(end_offset) => {
            PartitionResponse { partition, leader_epoch: LEADER_EPOCH, end_offset, ..Default::default() }
        }
        Err(code) => {
            let error_code = metrics::failed(ApiKey::OffsetForLeaderEpoch, code);
            PartitionResponse { partition, error_code, ..Default::default() }
        }
    }
}

/// The high watermark, read from the journal's end.
async fn end_offset(
    session: &Session,
    (name, id): (&str, Result<Uuid, ErrorCode>),
    index: i32,
) -> Result<i64, ErrorCode> {
    let end = (OffsetSpec::Latest, Isolation::ReadUncommitted);
    Ok(offset_at(session, (name, id?), index, end).await?.offset)
}
