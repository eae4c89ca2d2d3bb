//! `/v1/topics`: what there is, new ones, changes, and offsets by time.
//!
//! Must not know records. Invariant: whether a name is free is decided by the fold; the look before it only makes for a
//! better message.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use strandline_core::limits::{DEFAULT_PARTITIONS, MAX_PARTITIONS_PER_TOPIC};
use strandline_core::manifest::{Change, ConfigChange, ConfigOp, Manifest, Topic};
use strandline_core::record::validate_topic_name;
use strandline_reader::{Isolation, OffsetFound, OffsetSpec};
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::door::Door;
use super::params::{IsolationParam, Nothing, Params, Place, moment_ms, within};
use super::problem::{Kind, Problem, ProblemDetails};
use crate::configs;
use crate::limits::{HTTP_LISTED, HTTP_LISTED_MOST, SIDE_BY_SIDE};
use crate::topics::colliding_topic;

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Names that begin so.
    #[param(nullable = false)]
    prefix: Option<String>,
    /// Names behind this one: the `next` of the page before.
    #[param(nullable = false)]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 10000, default = 1000, nullable = false)]
    limit: Option<usize>,
}

impl ListParams {
    /// The page of these names that was asked for, and whether there are more.
    pub(super) fn page<T>(
        &self,
        items: impl Iterator<Item = (String, T)>,
    ) -> Result<(Vec<(String, T)>, bool), Problem> {
        let limit = within("limit", self.limit, HTTP_LISTED, 1..=HTTP_LISTED_MOST)?;
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let wanted =
            |name: &str| name.starts_with(prefix) && self.after.as_deref().is_none_or(|after| name > after);
        let mut found: Vec<(String, T)> = items.filter(|(name, _)| wanted(name)).collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }
}

/// Some topics, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicList {
    topics: Vec<ListedTopic>,
    /// There are more: ask for those `after` this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// A topic in a list.
#[derive(Debug, Serialize, ToSchema)]
struct ListedTopic {
    name: String,
    /// Of this topic, and of no later one with the same name.
    id: String,
    partitions: usize,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicDetails {
    name: String,
    id: String,
    partitions: Vec<PartitionDetails>,
    /// Those that were set; all others have their defaults.
    configs: BTreeMap<String, String>,
}

/// A partition.
#[derive(Debug, Serialize, ToSchema)]
struct PartitionDetails {
    partition: u32,
    /// The first offset that is there.
    log_start: i64,
    /// The offset that the next record will get.
    high_watermark: i64,
    /// Up to here all transactions are decided.
    last_stable: i64,
}

impl TopicDetails {
    fn of(topic: &Topic) -> TopicDetails {
        let partition = |(partition, of): (u32, &strandline_core::manifest::Partition)| PartitionDetails {
            partition,
            log_start: of.log_start,
            high_watermark: of.high_watermark,
            last_stable: of.last_stable_offset(),
        };
        TopicDetails {
            name: topic.name.clone(),
            id: topic.id.to_string(),
            partitions: (0..).zip(&topic.partitions).map(partition).collect(),
            configs: topic.configs.clone(),
        }
    }
}

/// List topics
///
/// By name.
#[utoipa::path(
    get, path = "/v1/topics", tag = "Topics", operation_id = "list_topics",
    params(ListParams),
    responses(
        (status = 200, description = "Topics, perhaps none", body = TopicList),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(door): State<Door>,
    Params(params): Params<ListParams>,
) -> Result<Json<TopicList>, Problem> {
    door.catch_up().await?;
    let listed = |manifest: &Manifest| {
        let topic = |topic: &Topic| (topic.name.clone(), (topic.id.to_string(), topic.partitions.len()));
        params.page(manifest.topics().map(topic))
    };
    let (found, more) = door.journal.view(listed)?;
    let next = found.last().filter(|_| more).map(|(name, _)| name.clone());
    let topics = found.into_iter().map(|(name, (id, partitions))| ListedTopic { name, id, partitions });
    Ok(Json(TopicList { topics: topics.collect(), next }))
}

/// A topic to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTopic {
    /// 1 to 249 letters, digits, `.`, `_` and `-`.
    #[schema(min_length = 1, max_length = 249, pattern = "^[A-Za-z0-9._-]+$")]
    name: String,
    #[schema(minimum = 1, maximum = 10000, nullable = false, default = 4)]
    partitions: Option<u32>,
    #[serde(default)]
    configs: BTreeMap<String, String>,
}

/// Make a topic
///
/// Configs are Kafka's, and a few of Strandline's own; a name that is not known is refused with those that are.
#[utoipa::path(
    post, path = "/v1/topics", tag = "Topics", operation_id = "create_topic",
    request_body = NewTopic,
    responses(
        (status = 201, description = "The topic is there", body = TopicDetails, headers(("Location" = String, description = "The topic"))),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn create(
    State(door): State<Door>,
    Params(Nothing {}): Params<Nothing>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<TopicDetails>), Problem> {
    let NewTopic { name, partitions, configs } = body::json(&door, &headers, body).await?;
    if !validate_topic_name(&name) {
        let detail = "a topic name has 1 to 249 letters, digits, '.', '_' or '-', and is not '.' or '..'";
        return Err(Problem::new(Kind::InvalidTopic, detail));
    }
    let partitions = within("partitions", partitions, DEFAULT_PARTITIONS, 1..=MAX_PARTITIONS_PER_TOPIC)?;
    let configs = configs.into_iter().map(|(name, value)| (name, Some(value)));
    let configs = configs::check(configs).map_err(|why| Problem::new(Kind::InvalidConfig, why))?;
    if let Some(other) = door.journal.view(|manifest| colliding_topic(manifest, &name)) {
        let detail = format!("{name} and {other}, which is there, would be the same in the names of metrics");
        return Err(Problem::new(Kind::InvalidTopic, detail));
    }
    let made = door.decided(door.journal.create_topic(&name, partitions, configs)).await?;
    made.map_err(|void| Problem::void(&void))?;
    let topic = door.topic(&name, |_, topic| TopicDetails::of(topic)).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/topics/{name}"))], Json(topic)))
}

/// Describe a topic
///
/// Its partitions with their first and last offsets, and the configs that were set.
#[utoipa::path(
    get, path = "/v1/topics/{topic}", tag = "Topics", operation_id = "describe_topic",
    params(("topic" = String, Path, description = "The topic")),
    responses(
        (status = 200, description = "The topic", body = TopicDetails),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn describe(
    State(door): State<Door>,
    Params(Nothing {}): Params<Nothing>,
    Place(topic): Place<String>,
) -> Result<Json<TopicDetails>, Problem> {
    door.catch_up().await?;
    door.topic(&topic, |_, topic| TopicDetails::of(topic)).await.map(Json)
}

/// What is to be changed of a topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicChanges {
    /// More than there are.
    #[schema(minimum = 1, maximum = 10000, nullable = false)]
    partitions: Option<u32>,
    /// By name; null: back to the default. Others stay.
    #[serde(default)]
    configs: BTreeMap<String, Option<String>>,
}

/// Change a topic
///
/// More partitions, other configs; all of it or nothing.
#[utoipa::path(
    patch, path = "/v1/topics/{topic}", tag = "Topics", operation_id = "alter_topic",
    params(("topic" = String, Path, description = "The topic")),
    request_body = TopicChanges,
    responses(
        (status = 200, description = "The topic as it is now", body = TopicDetails),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn alter(
    State(door): State<Door>,
    Params(Nothing {}): Params<Nothing>,
    Place(name): Place<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<TopicDetails>, Problem> {
    let changes: TopicChanges = body::json(&door, &headers, body).await?;
    door.catch_up().await?;
    let planned = door.topic(&name, |_, topic| plan(topic, &changes)).await??;
    if !planned.is_empty() {
        door.change(planned).await?;
    }
    door.topic(&name, |_, topic| TopicDetails::of(topic)).await.map(Json)
}

fn plan(topic: &Topic, changes: &TopicChanges) -> Result<Vec<Change>, Problem> {
    let mut planned = Vec::new();
    if let Some(count) = changes.partitions {
        let had = topic.partitions.len();
        if count as usize <= had || count > MAX_PARTITIONS_PER_TOPIC {
            let detail = format!(
                "the topic has {had} partitions; there can be more, up to {MAX_PARTITIONS_PER_TOPIC}, not {count}"
            );
            return Err(Problem::new(Kind::InvalidTopic, detail));
        }
        planned.push(Change::CreatePartitions { topic: topic.id, count });
    }
    if !changes.configs.is_empty() {
        let invalid = |why: String| Problem::new(Kind::InvalidConfig, why);
        let mut list = Vec::new();
        for (name, value) in &changes.configs {
            // To put back a config that there is not does no harm, but nobody means it.
            if !configs::is_topic_config(name) {
                configs::check([(name.clone(), value.clone())]).map_err(invalid)?;
            }
            let op = value.clone().map_or(ConfigOp::Delete, ConfigOp::Set);
            list.push(ConfigChange { name: name.clone(), op });
        }
        configs::check_changes(&topic.configs, false, &list).map_err(invalid)?;
        planned.push(Change::AlterConfigs { topic: topic.id, replace: false, changes: list });
    }
    Ok(planned)
}

/// Delete a topic
///
/// With all of its records, for good.
#[utoipa::path(
    delete, path = "/v1/topics/{topic}", tag = "Topics", operation_id = "delete_topic",
    params(("topic" = String, Path, description = "The topic")),
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
    door.catch_up().await?;
    let id = door.topic(&name, |_, topic| topic.id).await?;
    let deleted = door.decided(door.journal.delete_topic(id)).await?;
    deleted.map_err(|void| Problem::void(&void))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which offsets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OffsetParams {
    /// `earliest`, `latest`, `max-timestamp`, or a moment: `2026-07-01T12:00:00Z`, or milliseconds since 1970.
    at: String,
    /// What of transactions is wanted.
    #[param(inline, default = "read-committed", nullable = false)]
    isolation: Option<IsolationParam>,
}

/// An offset of each partition.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TopicOffsets {
    offsets: Vec<PartitionOffset>,
}

/// What was found in a partition.
#[derive(Debug, Serialize, ToSchema)]
struct PartitionOffset {
    partition: u32,
    /// null: there is none.
    offset: Option<i64>,
    /// Of the record there, where one was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    timestamp: Option<i64>,
}

/// Find offsets
///
/// Of each partition the first or the next one, that of the largest timestamp, or that of the first record which is no older
/// than a moment.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/offsets", tag = "Topics", operation_id = "find_offsets",
    params(("topic" = String, Path, description = "The topic"), OffsetParams),
    responses(
        (status = 200, description = "Offsets", body = TopicOffsets),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn offsets(
    State(door): State<Door>,
    Place(name): Place<String>,
    Params(params): Params<OffsetParams>,
) -> Result<Json<TopicOffsets>, Problem> {
    let spec = match params.at.as_str() {
        "earliest" => OffsetSpec::Earliest,
        "latest" => OffsetSpec::Latest,
        "max-timestamp" => OffsetSpec::MaxTimestamp,
        moment => {
            let ms = moment_ms(moment.strip_prefix('@').unwrap_or(moment));
            OffsetSpec::Timestamp(ms.map_err(|why| Problem::new(Kind::InvalidRequest, format!("at: {why}")))?)
        }
    };
    let isolation = Isolation::from(params.isolation.unwrap_or_default());
    let (id, partitions) = door.topic(&name, |_, topic| (topic.id, topic.partitions.len())).await?;
    let look = |partition: u32| {
        let door = &door;
        async move {
            let found = door.reader.offset_at(id, partition, spec, isolation).await?;
            let OffsetFound { offset, timestamp } = found;
            let (offset, timestamp) = [offset, timestamp].map(|of| (of >= 0).then_some(of)).into();
            Ok::<_, Problem>(PartitionOffset { partition, offset, timestamp })
        }
    };
    let found = stream::iter((0..partitions as u32).map(look)).buffered(SIDE_BY_SIDE);
    Ok(Json(TopicOffsets { offsets: found.try_collect().await? }))
}
