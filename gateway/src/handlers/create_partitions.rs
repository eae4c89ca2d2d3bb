//! CreatePartitions: topics get more partitions, or hear whether they could.
//!
//! Must not know how partitions are kept. Invariant: what is decided here is decided again in the fold; the look before it
//! only makes for Kafka's messages. Where a new partition lies is not for clients to say: assignments are only checked.

use std::collections::{BTreeMap, BTreeSet};

use strandline_core::limits::MAX_PARTITIONS_PER_TOPIC;
use strandline_core::manifest::{Change, Manifest, Outcome, Void};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::create_partitions::{
    Assignment, Request, RequestTopic, Response, TopicResult,
};

use crate::errors;
use crate::limits::CHANGED_PER_REQUEST;
use crate::metrics;
use crate::node::Peer;
use crate::session::Session;

type Failure = (ErrorCode, String);

/// Widens or checks the topics, all in one commit.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.as_str()).or_default() += 1;
    }
    let too_many = times.len() > CHANGED_PER_REQUEST;
    let stale = session.catch_up().await.err();
    let live = session.nodes.live();
    let mut plans: Vec<(&str, Result<Change, Failure>)> = Vec::new();
    for topic in &request.topics {
        // A name that stands there twice is answered once, with an error.
        let Some(times) = times.remove(topic.name.as_str()) else { continue };
        let plan = match (times, &stale) {
            _ if too_many => Err((
                ErrorCode::PolicyViolation,
                format!("a request may change at most {CHANGED_PER_REQUEST} topics"),
            )),
            (2.., _) => Err((ErrorCode::InvalidRequest, "Duplicate topic name.".to_owned())),
            (_, Some(error)) => Err((errors::journal(error), errors::journal_text(error))),
            _ => session.journal.view(|manifest| plan(manifest, topic, &live)),
        };
        plans.push((&topic.name, plan));
    }
    if !request.validate_only {
        widen(session, &mut plans).await;
    }
    let results = plans.into_iter().map(|(name, plan)| result(name, plan.err())).collect();
    Response { results, ..Response::default() }
}

async fn widen(session: &Session, plans: &mut [(&str, Result<Change, Failure>)]) {
    let changes: Vec<Change> = plans.iter().filter_map(|(_, plan)| plan.as_ref().ok()).cloned().collect();
    if changes.is_empty() {
        return;
    }
    let decided = session.journal.propose(changes).await;
    let mut outcomes = decided.iter().flatten();
    for (_, plan) in plans.iter_mut().filter(|(_, plan)| plan.is_ok()) {
        match (&decided, outcomes.next()) {
            (Err(error), _) => *plan = Err((errors::journal(error), errors::journal_text(error))),
            (Ok(_), Some(Outcome::Void(Void::InvalidPartitions))) => {
                let why = "The topic was changed by somebody else in the meantime.".to_owned();
                *plan = Err((ErrorCode::InvalidPartitions, why));
            }
            (Ok(_), Some(Outcome::Void(void))) => *plan = Err((errors::void(void), void.to_string())),
            _ => {}
        }
    }
}

fn plan(manifest: &Manifest, asked: &RequestTopic, live: &[Peer]) -> Result<Change, Failure> {
    let invalid = |why: String| Err((ErrorCode::InvalidPartitions, why));
    let unknown =
        || (ErrorCode::UnknownTopicOrPartition, format!("The topic '{}' does not exist.", asked.name));
    let topic = manifest.topic_named(&asked.name).ok_or_else(unknown)?;
    let had = topic.partitions.len();
    let count = usize::try_from(asked.count).unwrap_or(0);
    if count == had {
        return invalid(format!("Topic already has {had} partition(s)."));
    }
    if count < had {
        return invalid(format!(
            "The topic {} currently has {had} partition(s); {} would not be an increase.",
            asked.name, asked.count
        ));
    }
    if count > MAX_PARTITIONS_PER_TOPIC as usize {
        return invalid(format!("A topic has at most {MAX_PARTITIONS_PER_TOPIC} partitions."));
    }
    if let Some(assignments) = &asked.assignments {
        check_assignments(assignments, count - had, live)
            .map_err(|why| (ErrorCode::InvalidReplicaAssignment, why))?;
    }
    Ok(Change::CreatePartitions { topic: topic.id, count: count as u32 })
}

fn check_assignments(assignments: &[Assignment], more: usize, live: &[Peer]) -> Result<(), String> {
    if assignments.len() != more {
        return Err(format!(
            "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        ));
    }
    let replicas = assignments.first().map_or(0, |first| first.broker_ids.len());
    for Assignment { broker_ids, .. } in assignments {
        let manual = "The manual partition assignment includes";
        if broker_ids.is_empty() {
            return Err(format!("{manual} an empty replica list."));
        }
        if broker_ids.len() != replicas {
            return Err(format!(
                "{manual} a partition with {} replica(s), but this is not consistent with previous partitions, which have {replicas} replica(s).",
                broker_ids.len()
            ));
        }
        let mut seen = BTreeSet::new();
        for id in broker_ids {
            if !live.iter().any(|peer| peer.id == *id) {
                return Err(format!("{manual} broker {id}, but no such broker is registered."));
            }
            if !seen.insert(id) {
                return Err(format!("{manual} the broker {id} more than once."));
            }
        }
    }
    Ok(())
}

fn result(name: &str, failure: Option<Failure>) -> TopicResult {
    let (code, error_message) = failure.map_or((ErrorCode::None, None), |(code, why)| (code, Some(why)));
    TopicResult {
        name: name.to_owned(),
        error_code: metrics::failed(ApiKey::CreatePartitions, code),
        error_message,
    }
}
