//! OffsetDelete: a group forgets how far it has read of partitions that it no longer reads.
//!
//! Must not know how members agree. Invariant: the offset of a topic that a live group reads is never deleted; where a
//! subscription cannot be read, the group counts as subscribed.

use std::collections::BTreeSet;

use strandline_core::manifest::{Change, Outcome};
use strandline_kafka::api::ApiKey;
use strandline_kafka::consumer_protocol::PROTOCOL_TYPE;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::offset_delete::{
    PartitionResponse, Request, RequestTopic, Response, TopicResponse,
};
use uuid::Uuid;

use crate::errors;
use crate::group_view::GroupView;
use crate::metrics;
use crate::session::Session;
use crate::topics::{self, Wanted};

/// Deletes what may be deleted; each partition gets its own code.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    match delete(session, &request).await {
        Ok(codes) => {
            let topics = request.topics.into_iter().zip(codes).map(|(topic, code)| respond(topic, code));
            Response { topics: topics.collect(), ..Response::default() }
        }
        Err(code) => {
            Response { error_code: metrics::failed(ApiKey::OffsetDelete, code), ..Response::default() }
        }
    }
}

/// A code for each topic, or one for all.
async fn delete(session: &Session, request: &Request) -> Result<Vec<ErrorCode>, ErrorCode> {
    if !session.nodes.coordinates(&request.group_id).await {
        return Err(ErrorCode::NotCoordinator);
    }
    session.catch_up().await.map_err(|error| errors::group(&error))?;
    let group = GroupView::of(session, &request.group_id).await.ok_or(ErrorCode::GroupIdNotFound)?;
    if !group.members.is_empty() && group.protocol_type != PROTOCOL_TYPE {
        return Err(ErrorCode::NonEmptyGroup);
    }
    let wanted: Vec<Wanted<'_>> = request.topics.iter().map(|topic| Wanted::Name(&topic.name)).collect();
    let ids = topics::resolve(session, &wanted, |topic| topic.id).await;
    let subscribed = group.subscribed_topics(session, &request.group_id);
    let check = |(id, topic): (Result<Uuid, ErrorCode>, &RequestTopic)| match &subscribed {
        None => Err(ErrorCode::GroupSubscribedToTopic),
        Some(topics) if topics.contains(&topic.name) => Err(ErrorCode::GroupSubscribedToTopic),
        Some(_) => id,
    };
    let checked: Vec<Result<Uuid, ErrorCode>> = ids.into_iter().zip(&request.topics).map(check).collect();
    let partitions: BTreeSet<(Uuid, u32)> = checked
        .iter()
        .zip(&request.topics)
        .filter_map(|(id, topic)| Some(((*id).ok()?, topic)))
        .flat_map(|(id, topic)| {
            topic.partitions.iter().filter_map(move |of| Some((id, u32::try_from(of.partition_index).ok()?)))
        })
        .collect();
    if !partitions.is_empty() {
        let (group, partitions) = (request.group_id.clone(), partitions.into_iter().collect());
        let change = Change::DeleteOffsets { group, partitions };
        match session.ingest.propose(vec![change]).await.as_deref() {
            Ok([Outcome::Void(void), ..]) => return Err(errors::group_void(void)),
            Ok(_) => {}
            Err(error) => return Err(errors::group(error)),
        }
    }
    Ok(checked.into_iter().map(|checked| checked.err().unwrap_or(ErrorCode::None)).collect())
}

fn respond(topic: RequestTopic, code: ErrorCode) -> TopicResponse {
    let partition = |partition_index| PartitionResponse {
        partition_index,
        error_code: metrics::failed(ApiKey::OffsetDelete, code),
    };
    let partitions = topic.partitions.iter().map(|of| partition(of.partition_index)).collect();
    TopicResponse { name: topic.name, partitions }
}
