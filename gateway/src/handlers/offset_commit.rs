//! OffsetCommit: how far a group has read goes into the journal.
//!
//! Must not know the group protocols. Invariants: an offset is said to be stored only after the fold took it, and the fold
//! takes it only from a member of the current generation, or from nobody's while the group has no members. What one client
//! commits has the order of its requests, also with what they say of its membership.

use std::collections::BTreeMap;
use std::sync::Arc;

use strandline_core::Error;
use strandline_core::limits::{MAX_GROUP_NAME_BYTES, MAX_OFFSET_METADATA_BYTES};
use strandline_core::manifest::{Change, CommitOffsets, GroupKind, OffsetCommit, Outcome, Void};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::frame::RequestHeader;
use strandline_kafka::messages::offset_commit::{
    PartitionResponse, Request, RequestPartition, RequestTopic, Response, TopicResponse,
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::errors;
use crate::groups::consumer;
use crate::limits::CATCH_UP_TIMEOUT;
use crate::metrics;
use crate::reply::{Answer, Reply};
use crate::session::{Held, Session};
use crate::topics::{self, Wanted};

/// The first version whose clients know the epochs of KIP-848.
const MEMBER_EPOCHS: i16 = 9;

/// A topic by its name: its id and how many partitions it has.
pub(super) type Known = Result<(Uuid, usize), ErrorCode>;
/// What the fold made of a commit.
type Decided = Result<Vec<Outcome>, Error>;

/// Hands over what can be stored; the reply waits for it, and each partition gets its own code.
///
/// It waits, and with it the connection, only if something must be read from the journal first.
pub(crate) async fn begin(
    session: &Arc<Session>,
    header: RequestHeader,
    request: Request,
    held: Held,
) -> Reply {
    let version = header.api_version;
    let open = Arc::clone(&session.commits).read_owned().await;
    let turn = session.turn.lock().await;
    let (refused, handed_over) = hand_over(session, version, &request).await;
    drop(turn);
    let answer = async move {
        let committed = match handed_over {
            Some(decided) => match timeout(CATCH_UP_TIMEOUT, decided).await {
                Ok(decided) => code(version, decided),
                Err(_) => ErrorCode::CoordinatorNotAvailable,
            },
            None => ErrorCode::None,
        };
        drop(open);
        Answer::encode(&header, &respond(request.topics, &refused, committed).into())
    };
    Reply::spawn(ApiKey::OffsetCommit, held, answer)
}

/// Why each partition was refused, in the order of the request, and what becomes of the others, if there are any.
async fn hand_over(
    session: &Session,
    version: i16,
    request: &Request,
) -> (Vec<Option<ErrorCode>>, Option<impl Future<Output = Decided> + use<>>) {
    let known = match admit(session, request).await {
        Ok(()) => known(session, &request.topics).await,
        Err(code) => request.topics.iter().map(|topic| (topic.name.clone(), Err(code))).collect(),
    };
    let mut offsets = Vec::new();
    let mut take = |checked: Result<OffsetCommit, ErrorCode>| match checked {
        Ok(offset) => {
            offsets.push(offset);
            None
        }
        Err(code) => Some(code),
    };
    let check = |topic: &RequestTopic| {
        let check = |partition| take(check(&known, &topic.name, partition));
        topic.partitions.iter().map(check).collect::<Vec<_>>()
    };
    let mut refused: Vec<Option<ErrorCode>> = request.topics.iter().flat_map(check).collect();
    if offsets.is_empty() {
        return (refused, None);
    }
    match commit(session, version, request, offsets).await {
        Ok(decided) => (refused, Some(decided)),
        Err(code) => {
            refused.iter_mut().for_each(|one| *one = one.or(Some(code)));
            (refused, None)
        }
    }
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
pub(super) async fn known(session: &Session, topics: &[RequestTopic]) -> BTreeMap<String, Known> {
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

pub(super) fn check(
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

async fn commit(
    session: &Session,
    version: i16,
    request: &Request,
    offsets: Vec<OffsetCommit>,
) -> Result<impl Future<Output = Decided> + use<>, ErrorCode> {
    let (member, instance_id) = (&request.member_id, request.group_instance_id.as_deref());
    let generation = request.generation_id_or_member_epoch;
    session.groups.admit_commit(&request.group_id, member, generation, instance_id).await?;
    // Of a group whose coordinator assigns: whether the member speaks the classic protocol.
    let classic = session.journal.view(|manifest| {
        let group = manifest.group(&request.group_id).filter(|group| group.kind == GroupKind::Consumer)?;
        group.members.get(member).map(consumer::speaks_classic)
    });
    if version < MEMBER_EPOCHS && generation >= 0 && classic == Some(false) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let change = Change::CommitOffsets(CommitOffsets {
        group: request.group_id.clone(),
        member: member.clone(),
        epoch: generation,
        instance_id: request.group_instance_id.clone(),
        offsets,
    });
    let proposed = session.ingest.propose(vec![change]);
    Ok(async move {
        let mut decided = proposed.await;
        // To such a member its epoch is a generation.
        if classic == Some(true)
            && let Ok([Outcome::Void(void @ Void::StaleMemberEpoch), ..]) = decided.as_deref_mut()
        {
            *void = Void::IllegalGeneration;
        }
        decided
    })
}

fn code(version: i16, decided: Decided) -> ErrorCode {
    let void = match decided.as_deref() {
        Ok([Outcome::Void(void), ..]) => void,
        Ok(_) => return ErrorCode::None,
        Err(error) => return errors::group(error),
    };
    match void {
        // The group has become one of the newer protocol since it was looked at, and the member goes on as it was.
        Void::StaleMemberEpoch if version < MEMBER_EPOCHS => ErrorCode::IllegalGeneration,
        Void::LimitReached => ErrorCode::InvalidCommitOffsetSize,
        void => errors::group_void(void),
    }
}

fn respond(topics: Vec<RequestTopic>, refused: &[Option<ErrorCode>], committed: ErrorCode) -> Response {
    let mut codes = refused.iter().map(|refused| refused.unwrap_or(committed));
    let mut partition = |asked: &RequestPartition| PartitionResponse {
        partition_index: asked.partition_index,
        error_code: metrics::failed(ApiKey::OffsetCommit, codes.next().unwrap_or(committed)),
    };
    let mut topic = |asked: RequestTopic| TopicResponse {
        partitions: asked.partitions.iter().map(&mut partition).collect(),
        name: asked.name,
    };
    Response { topics: topics.into_iter().map(&mut topic).collect(), ..Response::default() }
}
