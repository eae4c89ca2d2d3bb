//! CreateTopics: makes topics, or says whether it would.
//!
//! Must not know how topics are kept. Invariant: whether a name is free is decided by the fold; the look before it
//! only makes for a better message.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use strandline_core::limits::{DEFAULT_PARTITIONS, MAX_PARTITIONS_PER_TOPIC};
use strandline_core::record::validate_topic_name;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::create_topics::{NewTopic, Request, Response, ResultConfig, TopicResult};
use uuid::Uuid;

use crate::configs;
use crate::errors;
use crate::limits::{CREATED_PER_REQUEST, SIDE_BY_SIDE};
use crate::metrics;
use crate::session::Session;
use crate::topics::Collisions;

/// "The broker's default", for partitions and replicas.
const DEFAULT: i32 = -1;
/// What we report: the object store replicates, and there is one copy that we know of.
const REPLICATION_FACTOR: i16 = 1;

/// A topic that could be made.
struct Plan {
    partitions: u32,
    configs: BTreeMap<String, String>,
}

type Failure = (ErrorCode, String);

/// Makes or checks the topics, several at a time.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.clone()).or_default() += 1;
    }
    let (too_many, validate_only) = (request.topics.len() > CREATED_PER_REQUEST, request.validate_only);
    let collisions = Collisions::of(session, request.topics.iter().map(|topic| topic.name.as_str()));
    // A name that stands there twice is answered once, with an error, as Kafka does.
    let topics = request.topics.into_iter().filter_map(|topic| Some((named.remove(&topic.name)?, topic)));
    let collisions = &collisions;
    let results = topics.map(|(times, topic)| async move {
        let name = topic.name.clone();
        let made = match (times, too_many) {
            (_, true) => Err((
                ErrorCode::PolicyViolation,
                format!("a request may create at most {CREATED_PER_REQUEST} topics"),
            )),
            (1, _) => match collisions.find(&topic.name) {
                Some(other) => Err((
                    ErrorCode::InvalidTopicException,
                    format!("Topic '{}' collides with existing topic: {other}", topic.name),
                )),
                None => make(session, topic, validate_only).await,
            },
            _ => Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned())),
        };
        result(name, made)
    });
    let results: Vec<_> = results.collect();
    let topics = stream::iter(results).buffered(SIDE_BY_SIDE).collect().await;
    Response { topics, ..Response::default() }
}

async fn make(session: &Session, topic: NewTopic, validate_only: bool) -> Result<(Uuid, Plan), Failure> {
    let name = topic.name.clone();
    let plan = plan(topic)?;
    let exists = || (ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists."));
    if validate_only {
        session.catch_up().await.map_err(|error| (errors::journal(&error), errors::journal_text(&error)))?;
        return match session.journal.view(|manifest| manifest.topic_named(&name).is_some()) {
            true => Err(exists()),
            false => Ok((Uuid::nil(), plan)),
        };
    }
    match session.journal.create_topic(&name, plan.partitions, plan.configs.clone()).await {
        Ok(Ok(id)) => Ok((id, plan)),
        Ok(Err(void)) => match errors::void(&void) {
            ErrorCode::TopicAlreadyExists => Err(exists()),
            code => Err((code, void.to_string())),
        },
        Err(error) => Err((errors::journal(&error), errors::journal_text(&error))),
    }
}

/// Checks all that can be checked without knowing the other topics.
fn plan(topic: NewTopic) -> Result<Plan, Failure> {
    if !validate_topic_name(&topic.name) {
        return Err((
            ErrorCode::InvalidTopicException,
            "a topic name has 1 to 249 letters, digits, '.', '_' or '-', and is not '.' or '..'".to_owned(),
        ));
    }
    let partitions = match topic.assignments.is_empty() {
        true => asked_partitions(&topic)?,
        false => assigned_partitions(&topic)?,
    };
    let configs = topic.configs.into_iter().map(|config| (config.name, config.value));
    let configs = configs::check(configs).map_err(|why| (ErrorCode::InvalidConfig, why))?;
    Ok(Plan { partitions, configs })
}

fn asked_partitions(topic: &NewTopic) -> Result<u32, Failure> {
    if topic.replication_factor < 1 && i32::from(topic.replication_factor) != DEFAULT {
        let why = "the replication factor is 1 or more, or -1 for the default; the object store does the replication";
        return Err((ErrorCode::InvalidReplicationFactor, why.to_owned()));
    }
    match topic.num_partitions {
        DEFAULT => Ok(DEFAULT_PARTITIONS),
        asked => checked_partitions(u32::try_from(asked).unwrap_or(0)),
    }
}

/// Who is to hold a replica is not for clients to say here, but how many partitions they want is.
fn assigned_partitions(topic: &NewTopic) -> Result<u32, Failure> {
    if topic.num_partitions != DEFAULT || i32::from(topic.replication_factor) != DEFAULT {
        let why = "with assignments, the number of partitions and the replication factor must be -1";
        return Err((ErrorCode::InvalidRequest, why.to_owned()));
    }
    let mut indexes: Vec<i32> =
        topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq(0..indexes.len() as i32) {
        let why = "assignments must be for the partitions 0, 1, 2 and so on, each once";
        return Err((ErrorCode::InvalidReplicaAssignment, why.to_owned()));
    }
    checked_partitions(indexes.len() as u32)
}

fn checked_partitions(partitions: u32) -> Result<u32, Failure> {
    match partitions {
        1..=MAX_PARTITIONS_PER_TOPIC => Ok(partitions),
        _ => Err((
            ErrorCode::InvalidPartitions,
            format!("a topic has 1 to {MAX_PARTITIONS_PER_TOPIC} partitions, or -1 for the default"),
        )),
    }
}

fn result(name: String, made: Result<(Uuid, Plan), Failure>) -> TopicResult {
    match made {
        Ok((id, plan)) => TopicResult {
            name,
            topic_id: id.into_bytes(),
            num_partitions: plan.partitions as i32,
            replication_factor: REPLICATION_FACTOR,
            configs: Some(configs::of_topic(&plan.configs).into_iter().map(config).collect()),
            ..TopicResult::default()
        },
        Err((code, message)) => TopicResult {
            name,
            error_code: metrics::failed(ApiKey::CreateTopics, code),
            error_message: Some(message),
            configs: Some(Vec::new()),
            ..TopicResult::default()
        },
    }
}

fn config(described: configs::Described) -> ResultConfig {
    ResultConfig {
        name: described.name.to_owned(),
        value: Some(described.value),
        read_only: described.read_only,
        config_source: described.source,
        is_sensitive: false,
    }
}
