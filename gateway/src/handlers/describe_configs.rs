//! DescribeConfigs: the configs of topics and of this broker, with where each value comes from.
//!
//! Must not know what a config does. Invariant: a topic has all of Kafka's topic configs, set or not: Schema Registry
//! and Connect look for the effective value of ones that nobody set.

use std::collections::BTreeSet;

use strandline_core::record::validate_topic_name;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::describe_configs::{
    ConfigEntry, Request, Resource, ResourceResult, Response, Synonym,
};

use crate::configs::{self, BROKER, Described, TOPIC, source};
use crate::limits::DESCRIBED_PER_REQUEST;
use crate::metrics;
use crate::session::Session;
use crate::topics::{self, Wanted};

type Found = Result<Vec<Described>, (ErrorCode, String)>;

/// Describes each resource once.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let mut seen = BTreeSet::new();
    let mut resources: Vec<&Resource> = request.resources.iter().collect();
    resources.retain(|resource| seen.insert((resource.resource_type, resource.resource_name.as_str())));
    if resources.len() > DESCRIBED_PER_REQUEST {
        let why = format!("a request may describe at most {DESCRIBED_PER_REQUEST} resources");
        let refuse = |resource| result(&request, resource, Err((ErrorCode::PolicyViolation, why.clone())));
        return Response { results: resources.into_iter().map(refuse).collect(), ..Response::default() };
    }
    session.refresh().await;
    let names = resources.iter().filter(|resource| resource.resource_type == TOPIC);
    let wanted: Vec<Wanted<'_>> = names.map(|resource| Wanted::Name(&resource.resource_name)).collect();
    let mut topics = topics::resolve(session, &wanted, |topic| topic.configs.clone()).await.into_iter();
    let describe = |resource: &Resource| match resource.resource_type {
        TOPIC => match topics.next() {
            Some(Ok(set)) => Ok(configs::of_topic(&set)),
            Some(Err(ErrorCode::UnknownTopicOrPartition))
                if !validate_topic_name(&resource.resource_name) =>
            {
                Err((ErrorCode::InvalidTopicException, "The topic name is invalid.".to_owned()))
            }
            Some(Err(code)) => Err((code, code.to_string())),
            None => Err((ErrorCode::UnknownServerError, ErrorCode::UnknownServerError.to_string())),
        },
        BROKER => broker(session, &resource.resource_name),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("Unexpected resource type {other}; only topics and brokers have configs here."),
        )),
    };
    let found: Vec<Found> = resources.iter().copied().map(describe).collect();
    let results = resources.into_iter().zip(found).map(|(resource, found)| result(&request, resource, found));
    Response { results: results.collect(), ..Response::default() }
}

fn broker(session: &Session, name: &str) -> Found {
    let (node, endpoint) = (&session.node, &session.endpoint);
    match name {
        // The default for all brokers: nothing is set there.
        "" => Ok(Vec::new()),
        name if name.parse() == Ok(node.id) => Ok(configs::of_broker(node, &endpoint.host, endpoint.port)),
        _ => {
            let why = format!("ask broker {name} for its configs itself; this is broker {}", node.id);
            Err((ErrorCode::InvalidRequest, why))
        }
    }
}

fn result(request: &Request, resource: &Resource, found: Found) -> ResourceResult {
    let (code, error_message, described) = match found {
        Ok(described) => (ErrorCode::None, None, described),
        Err((code, why)) => (code, Some(why), Vec::new()),
    };
    // No list means all; Kafka takes an empty one so, too.
    let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    let asked = |described: &Described| keys.is_none_or(|keys| keys.iter().any(|key| key == described.name));
    ResourceResult {
        error_code: metrics::failed(ApiKey::DescribeConfigs, code),
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: described.into_iter().filter(asked).map(|config| entry(request, config)).collect(),
    }
}

fn entry(request: &Request, config: Described) -> ConfigEntry {
    ConfigEntry {
        name: config.name.to_owned(),
        synonyms: if request.include_synonyms { synonyms(&config) } else { Vec::new() },
        value: Some(config.value),
        read_only: config.read_only,
        is_default: config.source == source::DEFAULT,
        config_source: config.source,
        is_sensitive: false,
        config_type: config.kind as i8,
        documentation: request.include_documentation.then(|| config.doc.to_owned()),
    }
}

/// All values that would count, the one that does first.
fn synonyms(config: &Described) -> Vec<Synonym> {
    let synonym = |name: &str, value: &str, source| Synonym {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source,
    };
    let mut synonyms = Vec::with_capacity(2);
    if config.source != source::DEFAULT {
        synonyms.push(synonym(config.name, &config.value, config.source));
    }
    match config.default {
        Some(default) => synonyms.push(synonym(config.synonym, default, source::DEFAULT)),
        // Of a broker: what is not set when it starts is the default itself.
        None if config.source == source::DEFAULT => {
            synonyms.push(synonym(config.name, &config.value, config.source));
        }
        None => {}
    }
    synonyms
}
