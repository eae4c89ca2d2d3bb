//! DescribeLogDirs: how many bytes partitions take. There is one "directory": the store.
//!
//! Must not know how bytes are kept. Invariant: a partition is told by one node only, the one that leads it where no zone
//! is asked for, since clients ask every node and add up what they hear.

use std::collections::BTreeMap;

use strandline_core::manifest;
use strandline_kafka::messages::describe_log_dirs::{DirResult, Partition, Request, Response, Topic};
use uuid::Uuid;

use crate::node::Peer;
use crate::nodes::{Key, replicas};
use crate::session::Session;

/// Tells the sizes of the partitions that this node leads.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    session.nodes.refresh().await;
    let live = session.nodes.live();
    let mut asked: BTreeMap<String, Option<Vec<i32>>> = BTreeMap::new();
    match request.topics {
        None => session.journal.view(|manifest| {
            asked.extend(manifest.topics().map(|topic| (topic.name.clone(), None)));
        }),
        Some(topics) => {
            for topic in topics {
                let partitions = asked.entry(topic.topic).or_insert_with(|| Some(Vec::new()));
                partitions.iter_mut().for_each(|known| known.extend(&topic.partitions));
            }
        }
    }
    // One look a topic: sizes are sums over all extents, and the fold must not wait for all of them at once.
    let describe = |(name, partitions): (String, Option<Vec<i32>>)| {
        let found = session.journal.view(|manifest| {
            let topic = manifest.topic_named(&name)?;
            Some(sizes(topic, partitions, &live, session.node.id))
        });
        found.filter(|found| !found.is_empty()).map(|partitions| Topic { name, partitions })
    };
    let log_dir = session.journal.store().to_string();
    let topics = asked.into_iter().filter_map(describe).collect();
    let results = vec![DirResult { log_dir, topics, ..DirResult::default() }];
    Response { results, ..Response::default() }
}

fn sizes(topic: &manifest::Topic, asked: Option<Vec<i32>>, live: &[Peer], own: i32) -> Vec<Partition> {
    let mut asked = asked.unwrap_or_else(|| (0..topic.partitions.len() as i32).collect());
    asked.sort_unstable();
    asked.dedup();
    let size = |index: i32| {
        let number = u32::try_from(index).ok()?;
        let partition = topic.partitions.get(number as usize)?;
        led_by(topic.id, number, live, own).then(|| Partition {
            partition_index: index,
            partition_size: i64::try_from(partition.bytes()).unwrap_or(i64::MAX),
            ..Partition::default()
        })
    };
    asked.into_iter().filter_map(size).collect()
}

fn led_by(topic: Uuid, partition: u32, live: &[Peer], own: i32) -> bool {
    replicas(live, &Key::partition(topic, partition), None).first() == Some(&own)
}
