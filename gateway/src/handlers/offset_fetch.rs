//! OffsetFetch: how far groups have read.
//!
//! Must not know the group protocols. Invariant: the journal is read to its end first, so that what any node acknowledged
//! before the request came is in the answer; where that fails, the answer says "try again", never "no offset". So any node
//! can answer, and does: librdkafka that hears NOT_COORDINATOR here never asks again (its issue 5586).

use std::collections::BTreeSet;

use strandline_core::Error;
use strandline_core::manifest::{CommittedOffset, Group, GroupKind, Manifest};
use strandline_core::mutation::{self, Mutation};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::offset_fetch::{
    GroupResponse, PartitionResponse, Request, RequestGroup, RequestTopic, Response, TopicResponse,
};
use tracing::warn;
use uuid::Uuid;

use crate::limits::GROUP_ANSWER_BYTES;
use crate::metrics;
use crate::session::Session;
use crate::topics;

/// The first version that asks for several groups.
const SEVERAL: i16 = 8;
/// The first version with an error code for the whole group.
const GROUP_ERRORS: i16 = 2;
/// What a partition takes in an answer, beside its metadata.
const PARTITION_BYTES: usize = 24;

/// Looks every group up.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let asked = match version >= SEVERAL {
        true => request.groups,
        false => {
            let (group_id, topics) = (request.group_id, request.topics);
            vec![RequestGroup { group_id, topics, ..RequestGroup::default() }]
        }
    };
    let caught_up = match mutation::is(Mutation::StaleOffsetFetch) {
        true => Ok(()),
        false => session.catch_up().await,
    };
    let mut left = GROUP_ANSWER_BYTES;
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for group in asked {
        // One that is named twice is answered once: a short request must not get an endless answer.
        if names.insert(group.group_id.clone()) {
            let found = look_up(session, (&group, request.require_stable), &caught_up, &mut left).await;
            groups.push(respond(version, group, found));
        }
    }
    if version >= SEVERAL {
        return Response { groups, ..Response::default() };
    }
    let GroupResponse { topics, error_code, .. } = groups.pop().unwrap_or_default();
    Response { topics, error_code, ..Response::default() }
}

async fn look_up(
    session: &Session,
    (asked, stable): (&RequestGroup, bool),
    caught_up: &Result<(), Error>,
    left: &mut usize,
) -> Result<Vec<TopicResponse>, ErrorCode> {
    if let Err(error) = caught_up {
        warn!(%error, "committed offsets are asked for and the journal cannot be read");
        // Of the codes that mean "try again", the one that all consumers take for that in this API.
        return Err(ErrorCode::CoordinatorLoadInProgress);
    }
    session.journal.view(|manifest| {
        let group = manifest.group(&asked.group_id);
        check_member(group, asked)?;
        let found = match &asked.topics {
            Some(topics) => of_topics(manifest, group, topics, left),
            None => group.map_or(Some(Vec::new()), |group| all(manifest, group, left)),
        };
        let found = found.map(|mut found| {
            if stable && !mutation::is(Mutation::UnstableOffsetsTold) {
                hold_back(manifest, &manifest.pending_offsets(&asked.group_id), &mut found);
            }
            found
        });
        // More than an answer holds: ask for fewer groups, or for some of the topics.
        found.ok_or(ErrorCode::InvalidRequest)
    })
}

/// Whoever names a member must be it (KIP-848); old and administrative clients name none.
fn check_member(group: Option<&Group>, asked: &RequestGroup) -> Result<(), ErrorCode> {
    let Some(group) = group.filter(|group| group.kind == GroupKind::Consumer) else { return Ok(()) };
    let Some(id) = &asked.member_id else {
        return if asked.member_epoch < 0 { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
    };
    match group.members.get(id) {
        None => Err(ErrorCode::UnknownMemberId),
        Some(member) if member.epoch != asked.member_epoch => Err(ErrorCode::StaleMemberEpoch),
        Some(_) => Ok(()),
    }
}

/// `None`: there is no room for it.
fn of_topics(
    manifest: &Manifest,
    group: Option<&Group>,
    topics: &[RequestTopic],
    left: &mut usize,
) -> Option<Vec<TopicResponse>> {
    let mut seen = BTreeSet::new();
    let mut answers = Vec::new();
    for asked in topics {
        let topic = manifest.topic_named(&asked.name).map(|topic| topic.id);
        let mut partitions = Vec::new();
        for &index in asked.partition_indexes.iter().filter(|index| seen.insert((&asked.name, **index))) {
            let committed = group
                .zip(topic.zip(u32::try_from(index).ok()))
                .and_then(|(group, (topic, partition))| group.offsets.get(&(topic, partition)));
            partitions.push(partition(index, committed, left)?);
        }
        answers.push(TopicResponse { name: asked.name.clone(), partitions });
    }
    Some(answers)
}

/// `None`: there is no room for it.
fn all(manifest: &Manifest, group: &Group, left: &mut usize) -> Option<Vec<TopicResponse>> {
    let mut answers = Vec::new();
    for id in topics::once(group.offsets.keys().map(|(topic, _)| *topic)) {
        let Some(topic) = manifest.topic(&id) else { continue };
        let mut partitions = Vec::new();
        for ((_, number), committed) in group.offsets.range((id, 0)..=(id, u32::MAX)) {
            let Ok(index) = i32::try_from(*number) else { continue };
            partitions.push(partition(index, Some(committed), left)?);
        }
        answers.push(TopicResponse { name: topic.name.clone(), partitions });
    }
    Some(answers)
}

/// Who wants stable offsets asks again for those that an open transaction may still commit (KIP-447).
fn hold_back(manifest: &Manifest, pending: &BTreeSet<(Uuid, u32)>, found: &mut [TopicResponse]) {
    for topic in found.iter_mut().filter(|_| !pending.is_empty()) {
        let Some(id) = manifest.topic_named(&topic.name).map(|topic| topic.id) else { continue };
        for partition in &mut topic.partitions {
            let number = u32::try_from(partition.partition_index);
            if number.is_ok_and(|number| pending.contains(&(id, number))) {
                *partition = PartitionResponse {
                    partition_index: partition.partition_index,
                    error_code: metrics::failed(ApiKey::OffsetFetch, ErrorCode::UnstableOffsetCommit),
                    ..PartitionResponse::default()
                };
            }
        }
    }
}

fn partition(
    partition_index: i32,
    committed: Option<&CommittedOffset>,
    left: &mut usize,
) -> Option<PartitionResponse> {
    // No offset is no error: an offset of -1 and empty metadata say it.
    let mut answer = PartitionResponse { partition_index, ..PartitionResponse::default() };
    let bytes = PARTITION_BYTES + committed.map_or(0, |committed| committed.metadata.len());
    *left = left.checked_sub(bytes)?;
    if let Some(committed) = committed {
        answer.committed_offset = committed.offset;
        answer.committed_leader_epoch = committed.leader_epoch;
        answer.metadata = Some(committed.metadata.clone());
    }
    Some(answer)
}

fn respond(version: i16, asked: RequestGroup, found: Result<Vec<TopicResponse>, ErrorCode>) -> GroupResponse {
    let group_id = asked.group_id;
    match found {
        Ok(topics) => GroupResponse { group_id, topics, error_code: ErrorCode::None.code() },
        Err(code) => {
            let error_code = metrics::failed(ApiKey::OffsetFetch, code);
            // Version 1 has no other place for it than at each partition.
            let failed = |partition_index: i32| PartitionResponse {
                partition_index,
                error_code,
                ..PartitionResponse::default()
            };
            let topics = asked.topics.unwrap_or_default().into_iter().filter(|_| version < GROUP_ERRORS);
            let topics = topics.map(|topic| TopicResponse {
                partitions: topic.partition_indexes.into_iter().map(failed).collect(),
                name: topic.name,
            });
            GroupResponse { group_id, topics: topics.collect(), error_code }
        }
    }
}
