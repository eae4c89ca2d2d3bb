//! Metadata: who the brokers are, which topics there are, who leads what; creates topics on demand.
//!
//! Must not know how nodes find each other. Who leads a partition only spreads the load: any node serves any of them.
//! Invariant: the leader epoch is the same constant on every node, so that no client takes an answer for outdated.

use futures_util::{StreamExt, stream};
use strandline_core::limits::DEFAULT_PARTITIONS;
use strandline_core::manifest::{self, Void};
use strandline_core::record::validate_topic_name;
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::frame::RequestHeader;
use strandline_kafka::messages::metadata::{Broker, Partition, Request, RequestTopic, Response, Topic};

use crate::errors;
use crate::limits::{AUTO_CREATED_PER_REQUEST, SIDE_BY_SIDE};
use crate::metrics;
use crate::node::{CLUSTER_OPERATIONS, Endpoint, LEADER_EPOCH, Peer, TOPIC_OPERATIONS};
use crate::nodes::{Key, replicas, zone_of_client};
use crate::session::Session;
use crate::topics::{self, Wanted};

/// Up to this version a client cannot say that topics shall not be created.
const ALWAYS_CREATES: i16 = 3;
/// The first version that can answer without a name.
const NULL_NAMES: i16 = 12;

/// Describes the nodes that live and the topics asked for.
pub(crate) async fn answer(session: &Session, header: &RequestHeader, request: Request) -> Response {
    session.nodes.refresh().await;
    let version = header.api_version;
    let live = session.nodes.live();
    let describe = Describe { nodes: &live, zone: header.client_id.as_deref().and_then(zone_of_client) };
    let operations = request.include_topic_authorized_operations.then_some(TOPIC_OPERATIONS);
    let create = version <= ALWAYS_CREATES || request.allow_auto_topic_creation;
    let mut topics = match request.topics {
        // v0 has no null: there an empty list means all.
        None => all(session, describe).await,
        Some(topics) if version == 0 && topics.is_empty() => all(session, describe).await,
        Some(topics) => some(session, version, &topics, create, describe).await,
    };
    for topic in &mut topics {
        topic.topic_authorized_operations = operations.unwrap_or(i32::MIN);
    }
    let node = &session.node;
    let broker = |peer: &Peer| {
        let Endpoint { host, port } = session.endpoint_of(peer);
        Broker { node_id: peer.id, host, port, rack: peer.rack.clone() }
    };
    Response {
        brokers: live.iter().map(broker).collect(),
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

async fn all(session: &Session, describe: Describe<'_>) -> Vec<Topic> {
    // A name that is missing is looked for; among all of them, nobody would miss it.
    session.refresh().await;
    session.journal.view(|manifest| manifest.topics().map(|topic| describe.topic(topic)).collect())
}

async fn some(
    session: &Session,
    version: i16,
    asked: &[RequestTopic],
    create: bool,
    describe: Describe<'_>,
) -> Vec<Topic> {
    // Java asks by id with an empty name, others with none.
    let wanted = asked.iter().map(|topic| match topic.name.as_deref().unwrap_or_default() {
        name if !name.is_empty() || topic.topic_id == [0; 16] => Wanted::Name(name),
        _ => Wanted::new(true, "", topic.topic_id),
    });
    // A name that cannot exist is not worth a look into the journal.
    let (valid, invalid): (Vec<_>, Vec<_>) =
        topics::once(wanted).into_iter().partition(|wanted| match wanted {
            Wanted::Name(name) => validate_topic_name(name),
            Wanted::Id(_) => true,
        });
    let found = topics::resolve(session, &valid, |topic| describe.topic(topic)).await;
    let mut room = AUTO_CREATED_PER_REQUEST;
    let complete = found.into_iter().zip(valid).map(|(found, wanted)| {
        let missing = matches!((&found, wanted), (Err(ErrorCode::UnknownTopicOrPartition), Wanted::Name(_)));
        let create = create && missing && room > 0;
        room -= usize::from(create);
        async move {
            match (found, wanted) {
                (Err(_), Wanted::Name(name)) if create => match auto_create(session, name, describe).await {
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

async fn auto_create(session: &Session, name: &str, describe: Describe<'_>) -> Result<Topic, ErrorCode> {
    if topics::Collisions::of(session, [name]).find(name).is_some() {
        return Err(ErrorCode::InvalidTopicException);
    }
    match session.journal.create_topic(name, DEFAULT_PARTITIONS, Default::default()).await {
        // Somebody else was faster: just as good.
        Ok(Ok(_) | Err(Void::TopicExists)) => {}
        Ok(Err(void)) => return Err(errors::void(&void)),
        Err(error) => return Err(errors::journal(&error)),
    }
    let created =
        session.journal.view(|manifest| manifest.topic_named(name).map(|topic| describe.topic(topic)));
    // Deleted again in the meantime.
    created.ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// How topics are described to one client.
#[derive(Clone, Copy)]
struct Describe<'a> {
    /// The same for the whole answer, so that every leader is among its brokers.
    nodes: &'a [Peer],
    /// Of the client, if it says.
    zone: Option<&'a str>,
}

impl Describe<'_> {
    fn topic(self, topic: &manifest::Topic) -> Topic {
        Topic {
            name: Some(topic.name.clone()),
            topic_id: topic.id.into_bytes(),
            partitions: (0..topic.partitions.len() as u32)
                .map(|index| self.partition(topic, index))
                .collect(),
            ..Topic::default()
        }
    }

    /// One node of each zone stands as a replica: consumers are sent only to nodes in that list.
    fn partition(self, topic: &manifest::Topic, index: u32) -> Partition {
        let replicas = replicas(self.nodes, &Key::partition(topic.id, index), self.zone);
        Partition {
            partition_index: index as i32,
            leader_id: replicas.first().copied().unwrap_or(-1),
            leader_epoch: LEADER_EPOCH,
            isr_nodes: replicas.clone(),
            replica_nodes: replicas,
            ..Partition::default()
        }
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
