//! Metadata: who the brokers are, which topics there are, who leads what; creates topics on demand.
//!
//! Must not know other nodes yet: every partition is led by the node that is asked, since any node serves any of them.
//! Invariant: the leader epoch is the same constant on every node, so that no client takes an answer for outdated.

use futures_util::{StreamExt, stream};
use strandline_core::limits::DEFAULT_PARTITIONS;
use strandline_core::manifest::{self, Void};
use strandline_core::record::validate_topic_name;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::metadata::{Broker, Partition, Request, RequestTopic, Response, Topic};

use crate::errors;
use crate::limits::{AUTO_CREATED_PER_REQUEST, SIDE_BY_SIDE};
use crate::metrics;
use crate::node::{CLUSTER_OPERATIONS, LEADER_EPOCH, TOPIC_OPERATIONS};
use crate::session::Session;
use crate::topics::{self, Wanted};

/// Up to this version a client cannot say that topics shall not be created.
const ALWAYS_CREATES: i16 = 3;
/// The first version that can answer without a name.
const NULL_NAMES: i16 = 12;

/// Describes this node and the topics asked for.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let operations = request.include_topic_authorized_operations.then_some(TOPIC_OPERATIONS);
    let create = version <= ALWAYS_CREATES || request.allow_auto_topic_creation;
    let mut topics = match request.topics {
        // v0 has no null: there an empty list means all.
        None => all(session),
        Some(topics) if version == 0 && topics.is_empty() => all(session),
        Some(topics) => some(session, version, &topics, create).await,
    };
    for topic in &mut topics {
        topic.topic_authorized_operations = operations.unwrap_or(i32::MIN);
    }
    let node = &session.node;
    Response {
        brokers: vec![Broker {
            node_id: node.id,
            host: session.endpoint.host.clone(),
            port: session.endpoint.port,
            rack: node.rack.clone(),
        }],
        cluster_id: Some(node.cluster_id.clone()),
        // Any node can change topics, so the one that is asked is as good as another.
        controller_id: node.id,
        topics,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        ..Response::default()
    }
}

fn all(session: &Session) -> Vec<Topic> {
    let node = session.node.id;
    session.journal.view(|manifest| manifest.topics().map(|topic| describe(topic, node)).collect())
}

async fn some(session: &Session, version: i16, asked: &[RequestTopic], create: bool) -> Vec<Topic> {
    let node = session.node.id;
    let wanted = asked.iter().map(|topic| match &topic.name {
        Some(name) => Wanted::Name(name),
        None => Wanted::new(true, "", topic.topic_id),
    });
    // A name that cannot exist is not worth a look into the journal.
    let (valid, invalid): (Vec<_>, Vec<_>) =
        topics::once(wanted).into_iter().partition(|wanted| match wanted {
            Wanted::Name(name) => validate_topic_name(name),
            Wanted::Id(_) => true,
        });
    let found = topics::resolve(session, &valid, |topic| describe(topic, node)).await;
    let mut room = AUTO_CREATED_PER_REQUEST;
    let complete = found.into_iter().zip(valid).map(|(found, wanted)| {
        let missing = matches!((&found, wanted), (Err(ErrorCode::UnknownTopicOrPartition), Wanted::Name(_)));
        let create = create && missing && room > 0;
        room -= usize::from(create);
        async move {
            match (found, wanted) {
                (Err(_), Wanted::Name(name)) if create => match auto_create(session, name).await {
                    Ok(topic) => topic,
                    Err(code) => failed(version, wanted, code),
                },
                (Ok(topic), _) => topic,
                (Err(code), wanted) => failed(version, wanted, code),
            }
        }
    });
    let complete: Vec<_> = complete.collect();
    let mut topics: Vec<Topic> = stream::iter(complete).buffered(SIDE_BY_SIDE).collect().await;
    topics
        .extend(invalid.into_iter().map(|wanted| failed(version, wanted, ErrorCode::InvalidTopicException)));
    topics
}

async fn auto_create(session: &Session, name: &str) -> Result<Topic, ErrorCode> {
    match session.journal.create_topic(name, DEFAULT_PARTITIONS, Default::default()).await {
        // Somebody else was faster: just as good.
        Ok(Ok(_) | Err(Void::TopicExists)) => {}
        Ok(Err(void)) => return Err(errors::void(&void)),
        Err(error) => return Err(errors::journal(&error)),
    }
    let node = session.node.id;
    let created =
        session.journal.view(|manifest| manifest.topic_named(name).map(|topic| describe(topic, node)));
    // Deleted again in the meantime.
    created.ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn describe(topic: &manifest::Topic, node: i32) -> Topic {
    let partition = |partition_index| Partition {
        partition_index,
        leader_id: node,
        leader_epoch: LEADER_EPOCH,
        replica_nodes: vec![node],
        isr_nodes: vec![node],
        ..Partition::default()
    };
    Topic {
        name: Some(topic.name.clone()),
        topic_id: topic.id.into_bytes(),
        partitions: (0..topic.partitions.len() as i32).map(partition).collect(),
        ..Topic::default()
    }
}

fn failed(version: i16, wanted: Wanted<'_>, code: ErrorCode) -> Topic {
    let code = match code {
        // "Ask again soon" in an answer to Metadata.
        ErrorCode::KafkaStorageError | ErrorCode::RequestTimedOut => ErrorCode::LeaderNotAvailable,
        code => code,
    };
    let error_code = metrics::failed(ApiKey::Metadata, code);
    match wanted {
        Wanted::Name(name) => Topic { error_code, name: Some(name.to_owned()), ..Topic::default() },
        Wanted::Id(id) => {
            // Versions 10 and 11 ask by id but cannot answer with a null name.
            let name = (version < NULL_NAMES).then(String::new);
            Topic { error_code, topic_id: id.into_bytes(), name, ..Topic::default() }
        }
    }
}
