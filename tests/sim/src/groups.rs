//! What goes on around groups: who sees that they have read everything, who commits by hand, and the administrator who
//! lets topics grow, deletes records and changes configs while they read.
//!
//! Must not know how members agree.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use strandline_core::manifest::commit::{ConfigChange, ConfigOp};
use strandline_core::manifest::{Change, Outcome, Void};
use strandline_kafka::messages::{Request, Response, delete_groups, list_offsets};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::consumer::Consumer;
use crate::history::{Deleted, GroupLife};
use crate::member::Member;
use crate::plan::{around, chance, pick};
use crate::producer::Producer;
use crate::world::World;

/// Sees whether the group has come to the end of everything, once everything is there.
pub(crate) async fn oversee(world: Arc<World>, group: GroupLife, dice: Rng) {
    let mut member = Member::new(Arc::clone(&world), group.clone(), 99, None, dice);
    loop {
        sleep(Duration::from_millis(700)).await;
        if world.at_work().await
            && world.all_is_produced()
            && let Some(ends) = has_read(&world, &group, &mut member).await
        {
            world.trace.note(&group.name, format_args!("has read everything: {ends:?}"));
            world.history().read.insert(group.name, ends);
            return;
        }
    }
}

/// The ends of all partitions, if the group has committed them.
async fn has_read(world: &World, group: &GroupLife, member: &mut Member) -> Option<Vec<i64>> {
    let width = member.ask_width().await?;
    let partitions: Vec<u32> = (0..width).collect();
    let positions = member.positions(&partitions).await?;
    let mut ends = Vec::new();
    for partition in partitions {
        let end = ask_end(world, group, partition, member).await?;
        if positions.get(&partition).is_none_or(|position| *position < end) {
            return None;
        }
        ends.push(end);
    }
    Some(ends)
}

async fn ask_end(world: &World, group: &GroupLife, partition: u32, member: &mut Member) -> Option<i64> {
    let wanted = list_offsets::RequestPartition {
        partition_index: partition as i32,
        timestamp: -1,
        ..Default::default()
    };
    let topics =
        vec![list_offsets::RequestTopic { name: group.topic_name.clone(), partitions: vec![wanted] }];
    let request = list_offsets::Request { replica_id: -1, topics, ..Default::default() };
    match world.ask(member.dice(), 7, Request::ListOffsets(request)).await {
        Ok(Response::ListOffsets(answer)) => {
            let found = &answer.topics[0].partitions[0];
            (found.error_code == 0).then_some(found.offset)
        }
        _ => None,
    }
}

/// Somebody who commits without being a member, looks, and deletes the group at times.
pub(crate) async fn by_hand(world: Arc<World>, group: GroupLife, mut dice: Rng) {
    let mut member = Member::new(Arc::clone(&world), group.clone(), 98, None, dice.fork());
    while !world.at_work().await {
        match dice.u32(0..10) {
            0..6 => member.commit_by_hand().await,
            6..9 => drop(member.positions(&[0]).await),
            _ => {
                let request = delete_groups::Request { groups_names: vec![group.name.clone()] };
                member.call(2, Request::DeleteGroups(request), Duration::from_secs(5)).await;
            }
        }
        sleep(around(&mut dice, Duration::from_millis(700))).await;
    }
}

/// Lets the topic grow, deletes what is old, changes configs.
pub(crate) async fn administrate(world: Arc<World>, group: GroupLife, mut width: u32, mut dice: Rng) {
    let most = width + dice.u32(0..=2);
    let mut clients = JoinSet::new();
    loop {
        sleep(around(&mut dice, Duration::from_millis(2_500))).await;
        if world.at_work().await {
            break;
        }
        match dice.u32(0..10) {
            0..2 if width < most && grow(&world, &group, width + 1, &mut dice).await => {
                let (number, partition) = (2_000 + width as usize, width);
                width += 1;
                let producer = Producer::new(Arc::clone(&world), number, group.topic, partition, dice.fork());
                clients.spawn(world.producing(producer.run_plain()));
                let topic = (group.topic, group.topic_name.clone());
                let consumer = Consumer::new(Arc::clone(&world), number, topic, partition, dice.fork());
                clients.spawn(consumer.run());
            }
            2..4 => {
                let value = dice.u32(1..9).to_string();
                let op = pick(&mut dice, &[true, false]);
                let op = if op { ConfigOp::Set(value) } else { ConfigOp::Delete };
                let changes = vec![ConfigChange { name: "segment.ms".to_owned(), op }];
                propose(
                    &world,
                    Change::AlterConfigs { topic: group.topic, replace: false, changes },
                    &mut dice,
                )
                .await;
            }
            4..8 => delete_records(&world, &group, dice.u32(0..width), &mut dice).await,
            _ => {}
        }
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// One more partition, or as many already.
async fn grow(world: &World, group: &GroupLife, count: u32, dice: &mut Rng) -> bool {
    let change = Change::CreatePartitions { topic: group.topic, count };
    let outcome = propose(world, change, dice).await;
    matches!(outcome, Some(Outcome::Applied | Outcome::Void(Void::InvalidPartitions)))
}

async fn delete_records(world: &World, group: &GroupLife, partition: u32, dice: &mut Rng) {
    let topic = group.topic;
    let seen = {
        let history = world.history();
        let of = history.seen.iter().filter(|seen| (seen.topic, seen.partition) == (topic, partition));
        of.map(|seen| seen.offset + 1).max().unwrap_or(0)
    };
    // Mostly what everybody has read, at times what nobody has.
    let before = if chance(dice, 150) { seen } else { dice.i64(0..=seen) };
    let begun_ms = world.trace.now_ms();
    let number = {
        let mut history = world.history();
        history.deleted.push(Deleted { topic, partition, before, begun_ms, ended_ms: None });
        history.deleted.len() - 1
    };
    let outcome = propose(world, Change::DeleteRecords { topic, partition, before }, dice).await;
    world.trace.note("admin", format_args!("deletes what is before {before} of {partition}: {outcome:?}"));
    match outcome {
        Some(Outcome::Applied) => {
            let now_ms = world.trace.now_ms();
            world.history().deleted[number].ended_ms = Some(now_ms);
        }
        None => {}
        Some(other) => {
            world.violated("J6", format!("records before {before} could not be deleted: {other:?}"))
        }
    }
}

/// Through any node. `None`: it is not known what came of it.
async fn propose(world: &World, change: Change, dice: &mut Rng) -> Option<Outcome> {
    let journal = world.machines[dice.usize(0..world.machines.len())].journal()?;
    let patience = Duration::from_millis(dice.u64(2_000..20_000));
    let decided = timeout(patience, journal.propose(vec![change])).await.ok()?.ok()?;
    decided.into_iter().next().filter(|outcome| *outcome != Outcome::Void(Void::SeenBefore))
}
