//! DeleteRecords: partitions lose their records below an offset.
//!
//! Must not know where records lie. Invariant: the low watermark that is answered comes from the fold, in which nothing
//! below it can be read any more.

use strandline_core::manifest::{Change, Outcome};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::delete_records::{
    PartitionResponse, Request, RequestTopic, Response, TopicResponse,
};
use uuid::Uuid;

use crate::errors;
use crate::limits::CHANGED_PER_REQUEST;
use crate::metrics;
use crate::session::Session;
use crate::topics::{self, Wanted};

/// "All that is there", as an offset.
const HIGH_WATERMARK: i64 = -1;

/// What is to happen to one partition, then what came of it: its low watermark.
type Place<T> = Result<T, ErrorCode>;

/// Deletes in all partitions with one commit.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let wanted: Vec<Wanted<'_>> = request.topics.iter().map(|topic| Wanted::Name(&topic.name)).collect();
    // As Kafka: what is only compacted must keep the last record of each key.
    let found = topics::resolve_latest(session, &wanted, |topic| {
        let policy = topic.configs.get("cleanup.policy").map_or("delete", String::as_str);
        (topic.id, policy.split(',').any(|element| element.trim() == "delete") || !topic.rules().keyed)
    })
    .await;
    let asked: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut places: Vec<Place<(Uuid, u32, i64)>> = Vec::new();
    for (topic, found) in request.topics.iter().zip(found) {
        let target = match found {
            _ if asked > CHANGED_PER_REQUEST => Err(ErrorCode::PolicyViolation),
            Ok((_, false)) => Err(ErrorCode::PolicyViolation),
            found => found.map(|(id, _)| id),
        };
        places.extend(topic.partitions.iter().map(|one| {
            let index = u32::try_from(one.partition_index);
            let index = index.map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
            match one.offset {
                ..HIGH_WATERMARK => target.and(Err(ErrorCode::OffsetOutOfRange)),
                before => Ok((target?, index, before)),
            }
        }));
    }
    let mut deleted = delete(session, &places).await.into_iter();
    let topics = request.topics.into_iter().map(|topic| respond(topic, &mut deleted)).collect();
    Response { topics, ..Response::default() }
}

async fn delete(session: &Session, places: &[Place<(Uuid, u32, i64)>]) -> Vec<Place<i64>> {
    let change =
        |&(topic, partition, before): &(Uuid, u32, i64)| Change::DeleteRecords { topic, partition, before };
    let changes: Vec<Change> = places.iter().flatten().map(change).collect();
    let decided = match changes.is_empty() {
        true => Ok(Vec::new()),
        false => session.journal.propose(changes).await,
    };
    let mut outcomes = decided.as_ref().map(|outcomes| outcomes.iter());
    session.journal.view(|manifest| {
        let low_watermark = |&(topic, partition, _): &(Uuid, u32, i64)| match &mut outcomes {
            Err(error) => Err(errors::journal(error)),
            Ok(outcomes) => match outcomes.next() {
                Some(Outcome::Void(void)) => Err(errors::void(void)),
                _ => manifest
                    .partition(&topic, partition)
                    .map(|partition| partition.log_start)
                    .ok_or(ErrorCode::UnknownTopicOrPartition),
            },
        };
        let mut low_watermark = low_watermark;
        places.iter().map(|place| place.as_ref().map_err(|code| *code).and_then(&mut low_watermark)).collect()
    })
}

fn respond(topic: RequestTopic, deleted: &mut impl Iterator<Item = Place<i64>>) -> TopicResponse {
    let partitions = topic.partitions.iter().zip(deleted).map(|(asked, deleted)| {
        let code = deleted.err().unwrap_or(ErrorCode::None);
        PartitionResponse {
            partition_index: asked.partition_index,
            low_watermark: deleted.unwrap_or(-1),
            error_code: metrics::failed(ApiKey::DeleteRecords, code),
        }
    });
    TopicResponse { partitions: partitions.collect(), name: topic.name }
}
