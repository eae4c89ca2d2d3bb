//! What AlterConfigs and IncrementalAlterConfigs have in common: each resource changes as a whole or not at all.
//!
//! Must not know the layout of either. Invariant: what is checked here against the configs as they are now is made in the
//! fold against those that are there then; a topic that is deleted and made again in between is not changed.

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::manifest::{Change, ConfigChange, Manifest, Outcome};
use strandline_core::record::validate_topic_name;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::alter_configs::ResourceResult;

use crate::configs::{self, BROKER, LOGGER, TOPIC};
use crate::errors;
use crate::limits::CHANGED_PER_REQUEST;
use crate::metrics;
use crate::session::Session;

pub(super) type Failure = (ErrorCode, String);

/// What a request wants to change of one topic or broker.
pub(super) struct Alteration {
    pub(super) resource_type: i8,
    pub(super) resource_name: String,
    /// Configs that are not named go back to their defaults.
    pub(super) replace: bool,
    /// Name, operation (KIP-339), value.
    pub(super) changes: Vec<(String, i8, Option<String>)>,
}

type Resource = (i8, String);

/// Makes the changes, or says what would become of them; one answer a resource.
pub(super) async fn run(
    session: &Session,
    api: ApiKey,
    asked: Vec<Alteration>,
    validate_only: bool,
) -> Vec<ResourceResult> {
    let (resources, mut plans) = plan(session, asked).await;
    let changes: Vec<Change> = plans.iter().flatten().flatten().cloned().collect();
    if !validate_only && !changes.is_empty() {
        match session.journal.propose(changes).await {
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for plan in plans.iter_mut().filter(|plan| matches!(plan, Ok(Some(_)))) {
                    if let Some(Outcome::Void(void)) = outcomes.next() {
                        *plan = Err((errors::void(&void), void.to_string()));
                    }
                }
            }
            Err(error) => {
                for plan in plans.iter_mut().filter(|plan| matches!(plan, Ok(Some(_)))) {
                    *plan = Err((errors::journal(&error), errors::journal_text(&error)));
                }
            }
        }
    }
    resources.into_iter().zip(plans).map(|(resource, plan)| result(api, resource, plan.err())).collect()
}

/// What each resource comes to; `None`: nothing is to be changed there.
async fn plan(
    session: &Session,
    asked: Vec<Alteration>,
) -> (Vec<Resource>, Vec<Result<Option<Change>, Failure>>) {
    let mut times: BTreeMap<Resource, usize> = BTreeMap::new();
    for one in &asked {
        *times.entry((one.resource_type, one.resource_name.clone())).or_default() += 1;
    }
    let too_many = asked.len() > CHANGED_PER_REQUEST;
    let stale = match asked.iter().any(|one| one.resource_type == TOPIC) && !too_many {
        true => session.catch_up().await.err(),
        false => None,
    };
    let (mut resources, mut plans) = (Vec::new(), Vec::new());
    for one in asked {
        let resource = (one.resource_type, one.resource_name.clone());
        let times = times.get(&resource).copied().unwrap_or_default();
        plans.push(match (times, &stale) {
            _ if too_many => Err((
                ErrorCode::PolicyViolation,
                format!("a request may change at most {CHANGED_PER_REQUEST} resources"),
            )),
            (2.., _) => {
                Err((ErrorCode::InvalidRequest, "Each resource must appear at most once.".to_owned()))
            }
            (_, Some(error)) if one.resource_type == TOPIC => {
                Err((errors::journal(error), errors::journal_text(error)))
            }
            _ => check(session, one),
        });
        resources.push(resource);
    }
    (resources, plans)
}

fn check(session: &Session, one: Alteration) -> Result<Option<Change>, Failure> {
    let Alteration { resource_type, resource_name, replace, changes } = one;
    match resource_type {
        TOPIC => {
            let changes = changed(changes)?;
            session.journal.view(|manifest| topic(manifest, &resource_name, replace, changes)).map(Some)
        }
        BROKER => broker(session, &resource_name, &changes).map(|()| None),
        LOGGER => {
            let why = "log levels are set with --log-level when a node starts; they cannot be changed later";
            Err((ErrorCode::InvalidRequest, why.to_owned()))
        }
        other => Err((ErrorCode::InvalidRequest, format!("Unexpected resource type {other}."))),
    }
}

fn changed(changes: Vec<(String, i8, Option<String>)>) -> Result<Vec<ConfigChange>, Failure> {
    let mut seen = BTreeSet::new();
    let twice = changes.iter().any(|(name, ..)| !seen.insert(name.as_str()));
    if twice {
        return Err((ErrorCode::InvalidRequest, "Error due to duplicate config keys".to_owned()));
    }
    let change = |(name, operation, value): (String, i8, Option<String>)| {
        let shown: String = name.chars().take(100).collect();
        let why = match (operation, &value) {
            (0 | 2 | 3, None) => format!("Null value not supported for : {shown}"),
            _ => format!("Unknown operation type {operation} for config {shown}"),
        };
        configs::change(name, operation, value).ok_or((ErrorCode::InvalidRequest, why))
    };
    changes.into_iter().map(change).collect()
}

fn topic(
    manifest: &Manifest,
    name: &str,
    replace: bool,
    changes: Vec<ConfigChange>,
) -> Result<Change, Failure> {
    if !validate_topic_name(name) {
        return Err((ErrorCode::InvalidTopicException, "The topic name is invalid.".to_owned()));
    }
    let topic = manifest
        .topic_named(name)
        .ok_or_else(|| (ErrorCode::UnknownTopicOrPartition, format!("The topic '{name}' does not exist.")))?;
    configs::check_changes(&topic.configs, replace, &changes)
        .map_err(|why| (ErrorCode::InvalidConfig, why))?;
    Ok(Change::AlterConfigs { topic: topic.id, replace, changes })
}

/// Brokers have no configs that change while they run.
fn broker(session: &Session, name: &str, changes: &[(String, i8, Option<String>)]) -> Result<(), Failure> {
    if !name.is_empty() && name.parse() != Ok(session.node.id) {
        let why = format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            session.node.id
        );
        return Err((ErrorCode::InvalidRequest, why));
    }
    if changes.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = changes.iter().take(10).map(|(name, ..)| name.as_str()).collect();
    let why = format!(
        "Cannot update these configs dynamically: {}; a node takes its configs when it starts",
        names.join(", ")
    );
    Err((ErrorCode::InvalidRequest, why))
}

fn result(api: ApiKey, (resource_type, resource_name): Resource, failure: Option<Failure>) -> ResourceResult {
    let (code, error_message) = failure.map_or((ErrorCode::None, None), |(code, why)| (code, Some(why)));
    ResourceResult { error_code: metrics::failed(api, code), error_message, resource_type, resource_name }
}
