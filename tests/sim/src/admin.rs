//! Administrators: they create topics, look for them on other nodes, delete them and create them again under the same name.
//!
//! Must not know what is written to the topics. A topic that was acknowledged is there on every node until somebody
//! begins to delete it.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{Request, Response, create_topics, delete_topics, metadata};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::compaction;
use crate::consumer::Consumer;
use crate::history::TopicLife;
use crate::plan::{around, chance};
use crate::producer::Producer;
use crate::world::World;

/// Creates a topic, trying until it is known to be there. `None`: the run ended first.
pub(crate) async fn create(world: &World, name: &str, partitions: u32, dice: &mut Rng) -> Option<Uuid> {
    let retention = compaction::drawn(world, name);
    loop {
        // Clocks are hours apart here: a node would refuse what it takes for the future.
        let anytime = ("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string());
        let configs = std::iter::once(&anytime).chain(&retention);
        let config = |(name, value): &(String, String)| create_topics::ConfigEntry {
            name: name.clone(),
            value: Some(value.clone()),
        };
        let topic = create_topics::NewTopic {
            name: name.to_owned(),
            configs: configs.map(config).collect(),
            num_partitions: partitions as i32,
            replication_factor: 1,
            ..Default::default()
        };
        let request = create_topics::Request { topics: vec![topic], ..Default::default() };
        let answer = world.ask(dice, 7, Request::CreateTopics(request)).await;
        let id = match answer {
            Ok(Response::CreateTopics(answer)) => match ErrorCode::try_from(answer.topics[0].error_code) {
                Ok(ErrorCode::None) => Some(Uuid::from_bytes(answer.topics[0].topic_id)),
                // By an attempt of ours that was not answered: nobody else creates this name.
                Ok(ErrorCode::TopicAlreadyExists) => {
                    let found = look_up(world, name, dice).await;
                    // A node that is behind may still name the one that was deleted.
                    found.filter(|id| world.history().topic(*id).is_none())
                }
                _ => None,
            },
            _ => None,
        };
        if let Some(id) = id {
            world.trace.note("admin", format_args!("created {name} as {id}"));
            let life = TopicLife { name: name.to_owned(), id, delete_begun: false, deleted: false };
            world.history().topics.push(life);
            return Some(id);
        }
        if world.at_work().await {
            return None;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The id of a topic that any node says is there. `None`: not known, or not answered.
async fn look_up(world: &World, name: &str, dice: &mut Rng) -> Option<Uuid> {
    let topic = metadata::RequestTopic { name: Some(name.to_owned()), ..Default::default() };
    let request = metadata::Request {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    match world.ask(dice, 12, Request::Metadata(request)).await {
        Ok(Response::Metadata(answer)) => {
            let topic = answer.topics.first()?;
            if topic.error_code == ErrorCode::UnknownTopicOrPartition.code() {
                missing(world, name);
                return None;
            }
            (topic.error_code == 0).then(|| Uuid::from_bytes(topic.topic_id))
        }
        _ => None,
    }
}

/// A node says that there is no topic of this name: a broken promise if its creation was acknowledged.
fn missing(world: &World, name: &str) {
    if world.history().topics.iter().any(|topic| topic.name == name && !topic.delete_begun) {
        world.violated("K8", format!("a node does not know the topic {name}"));
    }
}

/// Deletes a topic, trying until it is known to be gone.
async fn delete(world: &World, name: &str, id: Uuid, dice: &mut Rng) {
    let change = |deleted: bool| {
        let mut history = world.history();
        if let Some(topic) = history.topics.iter_mut().find(|topic| topic.id == id) {
            (topic.delete_begun, topic.deleted) = (true, deleted);
        }
    };
    change(false);
    loop {
        let topic = delete_topics::TopicState { name: None, topic_id: id.into_bytes() };
        let request =
            delete_topics::Request { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        if let Ok(Response::DeleteTopics(answer)) = world.ask(dice, 6, Request::DeleteTopics(request)).await {
            let code = answer.responses[0].error_code;
            if code == 0 || code == ErrorCode::UnknownTopicId.code() {
                world.trace.note("admin", format_args!("deleted {name}"));
                return change(true);
            }
        }
        if world.at_work().await {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// One name, used again and again.
pub(crate) async fn churn(world: Arc<World>, name: String, mut dice: Rng) {
    let mut clients = JoinSet::new();
    let mut number = 1_000;
    // Always the same: an attempt that was not answered may be the one that made the topic.
    let partitions = dice.u32(1..=2);
    while !world.at_work().await {
        let Some(id) = create(&world, &name, partitions, &mut dice).await else { break };
        look_up(&world, &name, &mut dice).await;
        for partition in 0..partitions {
            number += 1;
            let producer = Producer::new(Arc::clone(&world), number, id, partition, dice.fork());
            match chance(&mut dice, 500) {
                true => drop(clients.spawn(producer.run_idempotent())),
                false => drop(clients.spawn(producer.run_plain())),
            }
            let topic = (id, name.clone());
            let consumer = Consumer::new(Arc::clone(&world), number, topic, partition, dice.fork());
            clients.spawn(consumer.run());
        }
        sleep(around(&mut dice, Duration::from_secs(4))).await;
        if world.at_work().await || chance(&mut dice, 100) {
            break;
        }
        delete(&world, &name, id, &mut dice).await;
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}
