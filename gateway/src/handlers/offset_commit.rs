//! OffsetCommit: how far a group has read goes into the journal.
//!
//! Must not know the group protocols. Invariant: an offset is said to be stored only after the fold took it, and the fold
//! takes it only from a member of the current generation, or from nobody's while the group has no members.

use std::collections::BTreeMap;

use strandline_core::Error;
use strandline_core::limits::{MAX_GROUP_NAME_BYTES, MAX_OFFSET_METADATA_BYTES};
use strandline_core::manifest::{Change, CommitOffsets, GroupKind, OffsetCommit, Outcome, Void};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::offset_commit::{
    PartitionResponse, Request, RequestPartition, RequestTopic, Response, TopicResponse,
};
use uuid::Uuid;

use crate::errors;
use crate::metrics;
use crate::session::Session;
use crate::topics::{self, Wanted};

/// The first version whose clients know the epochs of KIP-848.
const MEMBER_EPOCHS: i16 = 9;

/// A topic by its name: its id and how many partitions it has.
type Known = Result<(Uuid, usize), ErrorCode>;

/// Stores what can be stored; each partition gets its own code.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    if let Err(code) = admit(session, &request).await {
        return respond(&request.topics, |_, _| code);
    }
    let known = known(session, &request.topics).await;
    let check = |topic: &str, partition: &RequestPartition| check(&known, topic, partition);
    let mut offsets = Vec::new();
    for topic in &request.topics {
        offsets.extend(topic.partitions.iter().filter_map(|partition| check(&topic.name, partition).ok()));
    }
    let committed = match offsets.is_empty() {
        true => ErrorCode::None,
        false => commit(session, version, &request, offsets).await,
    };
    respond(&request.topics, |topic, partition| {
        check(topic, partition).map_or_else(|code| code, |_| committed)
    })
}

/// What can be said before the journal is asked.
async fn admit(session: &Session, request: &Request) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() || request.group_id.len() > MAX_GROUP_NAME_BYTES {
        return Err(ErrorCode::InvalidGroupId);
    }
    match session.nodes.coordinates(&request.group_id).await {
        true => Ok(()),
        false => Err(ErrorCode::NotCoordinator),
    }
}

/// The topics of the request. One that is not known here, or that should have more partitions than are known here, costs
/// one read of the journal's end.
async fn known(session: &Session, topics: &[RequestTopic]) -> BTreeMap<String, Known> {
    let names = topics::once(topics.iter().map(|topic| topic.name.as_str()));
    let wanted: Vec<Wanted<'_>> = names.iter().map(|name| Wanted::Name(name)).collect();
    let sizes = |found: Vec<Known>| {
        names.iter().map(|name| (*name).to_owned()).zip(found).collect::<BTreeMap<_, _>>()
    };
    let found = sizes(topics::resolve(session, &wanted, |topic| (topic.id, topic.partitions.len())).await);
    let is_beyond = |topic: &RequestTopic| {
        let size =
            found.get(topic.name.as_str()).and_then(|known| known.as_ref().ok()).map(|(_, size)| *size);
        let beyond =
            |of: &RequestPartition| usize::try_from(of.partition_index).is_ok_and(|of| Some(of) >= size);
        size.is_some() && topic.partitions.iter().any(beyond)
    };
    if !topics.iter().any(is_beyond) {
        return found;
    }
    match session.catch_up().await {
        Ok(()) => sizes(topics::resolve(session, &wanted, |topic| (topic.id, topic.partitions.len())).await),
        Err(error) => sizes(vec![Err(errors::group(&error)); names.len()]),
    }
}

fn check(
    known: &BTreeMap<String, Known>,
    topic: &str,
    partition: &RequestPartition,
) -> Result<OffsetCommit, ErrorCode> {
    let unknown = Err(ErrorCode::UnknownTopicOrPartition);
    let (topic, partitions) = known.get(topic).copied().unwrap_or(unknown).map_err(|code| match code {
        // Java's consumer dies of a storage error here.
        ErrorCode::KafkaStorageError => ErrorCode::CoordinatorNotAvailable,
        code => code,
    })?;
    let number = u32::try_from(partition.partition_index).ok().filter(|of| (*of as usize) < partitions);
    let metadata = partition.committed_metadata.clone().unwrap_or_default();
    if metadata.len() > MAX_OFFSET_METADATA_BYTES {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(OffsetCommit {
        topic,
        partition: number.ok_or(ErrorCode::UnknownTopicOrPartition)?,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata,
    })
}

async fn commit(session: &Session, version: i16, request: &Request, offsets: Vec<OffsetCommit>) -> ErrorCode {
    let (member, instance_id) = (&request.member_id, request.group_instance_id.as_deref());
    let generation = request.generation_id_or_member_epoch;
    if let Err(code) = session.groups.admit_commit(&request.group_id, member, generation, instance_id).await {
        return code;
    }
    let kind = session.journal.view(|manifest| manifest.group(&request.group_id).map(|group| group.kind));
    if version < MEMBER_EPOCHS && generation >= 0 && kind == Some(GroupKind::Consumer) {
        return ErrorCode::UnsupportedVersion;
    }
    let change = Change::CommitOffsets(CommitOffsets {
        group: request.group_id.clone(),
        member: member.clone(),
        epoch: generation,
        instance_id: request.group_instance_id.clone(),
        offsets,
    });
    code(version, session.ingest.propose(vec![change]).await)
}

fn code(version: i16, decided: Result<Vec<Outcome>, Error>) -> ErrorCode {
    let void = match decided.as_deref() {
        Ok([Outcome::Void(void), ..]) => void,
        Ok(_) => return ErrorCode::None,
        Err(error) => return errors::group(error),
    };
    match void {
        // The group has become one of the newer protocol since it was looked at.
        Void::StaleMemberEpoch if version < MEMBER_EPOCHS => ErrorCode::UnsupportedVersion,
        Void::LimitReached => ErrorCode::InvalidCommitOffsetSize,
        void => errors::group_void(void),
    }
}

fn respond(topics: &[RequestTopic], code: impl Fn(&str, &RequestPartition) -> ErrorCode) -> Response {
    let partition = |topic: &str, asked: &RequestPartition| PartitionResponse {
        partition_index: asked.partition_index,
        error_code: metrics::failed(ApiKey::OffsetCommit, code(topic, asked)),
    };
    let topic = |asked: &RequestTopic| TopicResponse {
        partitions: asked.partitions.iter().map(|of| partition(&asked.name, of)).collect(),
        name: asked.name.clone(),
    };
    Response { topics: topics.iter().map(topic).collect(), ..Response::default() }
}
