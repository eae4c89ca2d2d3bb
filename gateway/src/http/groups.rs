//! `/v1/groups`: which there are, how far they have read, and offsets for those without members.
//!
//! Must not know the protocols of groups. What is shown is what was folded: a rebalance under way is not in it. Invariant:
//! offsets of a group with members are changed by its members alone, which the fold decides.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use strandline_core::limits::{MAX_GROUP_NAME_BYTES, MAX_OFFSET_METADATA_BYTES};
use strandline_core::manifest::{Change, CommitOffsets, Manifest, OffsetCommit};
use utoipa::ToSchema;

use super::body;
use super::door::Door;
use super::params::{Nothing, Params, Place};
use super::problem::{Kind, Problem, ProblemDetails};
use super::topics::ListParams;
use crate::group_view::{self, GroupRead};
use crate::limits::CHANGED_PER_REQUEST;

/// Some groups, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupList {
    groups: Vec<ListedGroup>,
    /// There are more: ask for those `after` this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// A group in a list.
#[derive(Debug, Serialize, ToSchema)]
struct ListedGroup {
    group: String,
    /// As Kafka names it.
    state: &'static str,
    /// How its members agree: `classic`, `consumer`; `simple`: it never had any.
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A group, and how far it has read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupDetails {
    group: String,
    state: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    members: usize,
    /// Records that are still to be read, in all partitions that have a committed offset.
    lag: u64,
    offsets: Vec<GroupOffset>,
}

/// How far a group has read a partition.
#[derive(Debug, Serialize, ToSchema)]
struct GroupOffset {
    topic: String,
    partition: u32,
    /// The next offset that it will read; null: it has committed none.
    offset: Option<i64>,
    /// Records from there to the end; null: nobody knows.
    lag: Option<u64>,
    metadata: String,
    /// The member that reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    member: Option<String>,
}

impl GroupDetails {
    fn of(name: &str, manifest: &Manifest) -> Option<GroupDetails> {
        let group = manifest.group(name)?;
        let offset = |of: GroupRead| GroupOffset {
            lag: of.lag(),
            topic: of.topic,
            partition: of.partition,
            offset: of.committed,
            metadata: of.metadata,
            member: of.member,
        };
        let offsets: Vec<_> = group_view::reads(name, manifest).into_iter().map(offset).collect();
        Some(GroupDetails {
            group: name.to_owned(),
            state: group_view::state(name, manifest).unwrap_or(group_view::DEAD),
            kind: group_view::kind(group),
            members: group.members.len(),
            lag: offsets.iter().filter_map(|of| of.lag).fold(0, u64::saturating_add),
            offsets,
        })
    }
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(255).collect();
    Problem::new(Kind::UnknownGroup, format!("there is no group {shown}"))
}

/// List consumer groups
///
/// By name.
#[utoipa::path(
    get, path = "/v1/groups", tag = "Groups", operation_id = "list_groups",
    params(ListParams),
    responses(
        (status = 200, description = "Groups, perhaps none", body = GroupList),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(door): State<Door>,
    Params(params): Params<ListParams>,
) -> Result<Json<GroupList>, Problem> {
    door.catch_up().await?;
    let (found, more) = door.journal.view(|manifest| {
        let listed = |name: &str| group_view::state(name, manifest).unwrap_or(group_view::DEAD);
        params.page(
            manifest.groups().map(|(name, group)| (name.to_owned(), (listed(name), group_view::kind(group)))),
        )
    })?;
    let next = found.last().filter(|_| more).map(|(name, _)| name.clone());
    let groups = found.into_iter().map(|(group, (state, kind))| ListedGroup { group, state, kind });
    Ok(Json(GroupList { groups: groups.collect(), next }))
}

/// Describe a consumer group
///
/// Its state, how far it has read, and how far behind it is.
#[utoipa::path(
    get, path = "/v1/groups/{group}", tag = "Groups", operation_id = "describe_group",
    params(("group" = String, Path, description = "The group")),
    responses(
        (status = 200, description = "The group", body = GroupDetails),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn describe(
    State(door): State<Door>,
    Params(Nothing {}): Params<Nothing>,
    Place(name): Place<String>,
) -> Result<Json<GroupDetails>, Problem> {
    door.catch_up().await?;
    let found = door.journal.view(|manifest| GroupDetails::of(&name, manifest));
    found.map(Json).ok_or_else(|| unknown(&name))
}

/// Delete a consumer group
///
/// With its offsets; it must have no members.
#[utoipa::path(
    delete, path = "/v1/groups/{group}", tag = "Groups", operation_id = "delete_group",
    params(("group" = String, Path, description = "The group")),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn delete(
    State(door): State<Door>,
    Params(Nothing {}): Params<Nothing>,
    Place(name): Place<String>,
) -> Result<StatusCode, Problem> {
    door.change(vec![Change::DeleteGroup { group: name }]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Offsets to commit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOffsets {
    #[schema(min_items = 1, max_items = 10000)]
    offsets: Vec<NewOffset>,
}

/// How far a partition was read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOffset {
    topic: String,
    partition: u32,
    /// The next offset to read.
    #[schema(minimum = 0)]
    offset: i64,
    /// Whatever is worth noting, up to 4,096 bytes.
    #[serde(default)]
    metadata: String,
}

/// Commit offsets
///
/// Of a group that has no members: for readers that keep their place here and share nothing out. All of them or none.
#[utoipa::path(
    put, path = "/v1/groups/{group}/offsets", tag = "Groups", operation_id = "commit_offsets",
    params(("group" = String, Path, description = "The group; it is made if it is not there")),
    request_body = NewOffsets,
    responses(
        (status = 204, description = "They are committed"),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn commit(
    State(door): State<Door>,
    Params(Nothing {}): Params<Nothing>,
    Place(group): Place<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let invalid = |detail: &str| Problem::new(Kind::InvalidRequest, detail);
    let NewOffsets { offsets } = body::json(&door, &headers, body).await?;
    if group.is_empty() || group.len() > MAX_GROUP_NAME_BYTES {
        return Err(invalid("a group's name has 1 to 1,024 bytes"));
    }
    if offsets.is_empty() || offsets.len() > CHANGED_PER_REQUEST {
        return Err(invalid("offsets: 1 to 10,000 of them"));
    }
    if offsets.iter().any(|of| of.offset < 0 || of.metadata.len() > MAX_OFFSET_METADATA_BYTES) {
        return Err(invalid("an offset is not negative, and its metadata has 4,096 bytes at most"));
    }
    door.catch_up().await?;
    let names: BTreeSet<&str> = offsets.iter().map(|of| of.topic.as_str()).collect();
    let mut topics = BTreeMap::new();
    for name in names {
        topics
            .insert(name.to_owned(), door.topic(name, |_, topic| (topic.id, topic.partitions.len())).await?);
    }
    let commit = |of: NewOffset| {
        let (topic, partitions) =
            topics.get(&of.topic).copied().ok_or_else(|| Problem::unknown_topic(&of.topic))?;
        if of.partition as usize >= partitions {
            return Err(Problem::unknown_partition(of.partition, partitions));
        }
        let NewOffset { partition, offset, metadata, .. } = of;
        Ok(OffsetCommit { topic, partition, offset, leader_epoch: -1, metadata })
    };
    let offsets = offsets.into_iter().map(commit).collect::<Result<_, _>>()?;
    // As Kafka's clients do that assign partitions to themselves.
    let change = CommitOffsets { group, member: String::new(), epoch: -1, instance_id: None, offsets };
    let has_members = "the group has members, and they say how far they have read";
    door.change(vec![Change::CommitOffsets(change)]).await.map_err(|problem| {
        match problem.is(Kind::GroupNotEmpty) {
            true => Problem::new(Kind::GroupNotEmpty, has_members),
            false => problem,
        }
    })?;
    Ok(StatusCode::NO_CONTENT)
}
