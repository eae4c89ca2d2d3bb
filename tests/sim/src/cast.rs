//! Who takes part in a run beside producers and consumers: groups and everybody around them, programs that copy in
//! transactions and those who read what they wrote.
//!
//! Must not know how a run goes.

use std::sync::Arc;

use fastrand::Rng;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::admin;
use crate::check::truth::COPIERS;
use crate::copier;
use crate::groups;
use crate::history::{CopierLife, GroupLife};
use crate::member::Member;
use crate::plan::{Copying, Groups, Keyed};
use crate::producer::Producer;
use crate::stable::{self, Reader};
use crate::world::World;

const INPUT: &str = Copying::INPUT;
const OUTPUT: &str = Copying::OUTPUT;
const RELAYED: &str = Copying::RELAYED;

/// Whether readers of decided records read the topic: there are transactions in it, or gaps.
pub(crate) fn is_decided(topic: &str) -> bool {
    is_copied(topic) || topic == Keyed::TOPIC
}

/// Whether transactions write to the topic.
fn is_copied(topic: &str) -> bool {
    [OUTPUT, RELAYED].contains(&topic)
}

/// Groups and everybody around them.
pub(crate) fn gather(
    world: &Arc<World>,
    plan: Groups,
    life: &dyn Fn(String) -> GroupLife,
    actors: &mut JoinSet<()>,
    dice: &mut Rng,
) {
    for name in ["group-0", "group-1"].into_iter().take(plan.groups) {
        for number in 0..plan.members {
            let instance = (number < plan.statics).then(|| format!("static-{number}"));
            let group = life(name.to_owned());
            actors.spawn(Member::new(Arc::clone(world), group, number, instance, dice.fork()).run());
        }
        actors.spawn(groups::oversee(Arc::clone(world), life(name.to_owned()), dice.fork()));
    }
    if plan.by_hand {
        actors.spawn(groups::by_hand(Arc::clone(world), life("by-hand".to_owned()), dice.fork()));
    }
    if plan.administrated {
        let width = world.plan.topics[0];
        let topic = life("the topic".to_owned());
        actors.spawn(groups::administrate(Arc::clone(world), topic, width, dice.fork()));
    }
}

/// Programs that copy in transactions, what they copy, and who reads it.
pub(crate) async fn copy(world: &Arc<World>, plan: Copying, actors: &mut JoinSet<()>, dice: &mut Rng) {
    let inputs = plan.copiers * plan.inputs;
    let (Some(input), Some(output)) = (
        admin::create(world, INPUT, inputs, dice).await,
        admin::create(world, OUTPUT, plan.outputs, dice).await,
    ) else {
        return;
    };
    for partition in 0..inputs {
        let number = 5_000 + partition as usize;
        let producer = Producer::new(Arc::clone(world), number, input, partition, dice.fork());
        actors.spawn(world.feeding(producer.run_idempotent()));
    }
    for number in 0..plan.copiers {
        let partitions = (0..plan.inputs).map(|partition| number * plan.inputs + partition).collect();
        let (from, to) = ((input, INPUT), (output, OUTPUT));
        start(world, number, (from, partitions), (to, plan.outputs), actors, dice);
    }
    if plan.relayed
        && let Some(relayed) = admin::create(world, RELAYED, 1, dice).await
    {
        let (from, to) = ((output, OUTPUT), (relayed, RELAYED));
        start(world, plan.copiers, (from, (0..plan.outputs).collect()), (to, 1), actors, dice);
    }
    for partition in 0..plan.outputs {
        let reader = Reader::new(Arc::clone(world), 0, (output, partition), true, dice.fork());
        actors.spawn(reader.run());
    }
}

/// Whoever writes to topics that are compacted by key, and who reads them over and over.
pub(crate) async fn write_by_key(world: &Arc<World>, plan: Keyed, actors: &mut JoinSet<()>, dice: &mut Rng) {
    let Some(topic) = admin::create(world, Keyed::TOPIC, plan.partitions, dice).await else { return };
    let mut written: Vec<_> =
        (0..plan.partitions).flat_map(|partition| vec![(topic, partition); plan.producers]).collect();
    for partition in 0..plan.partitions {
        read_by_key(world, (topic, partition), actors, dice);
    }
    let of_copiers = world
        .history()
        .topics
        .iter()
        .find(|one| is_copied(&one.name) && world.plan.keyed(&one.name).is_some())
        .map(|one| one.id);
    if let Some(topic) = of_copiers {
        // Beside transactions.
        written.push((topic, 0));
        read_by_key(world, (topic, 0), actors, dice);
    }
    for (number, (topic, partition)) in (7_000..).zip(written) {
        let producer = Producer::new(Arc::clone(world), number, topic, partition, dice.fork());
        match world.plan.clone || world.plan.wild_clocks {
            true => actors.spawn(world.producing(producer.run_plain())),
            false => actors.spawn(world.producing(producer.run_idempotent())),
        };
    }
}

fn read_by_key(world: &Arc<World>, at: (Uuid, u32), actors: &mut JoinSet<()>, dice: &mut Rng) {
    for committed in [true, false] {
        // Apart from those that read what copiers write.
        actors.spawn(Reader::new(Arc::clone(world), 1_000, at, committed, dice.fork()).run());
    }
}

/// One copier: from these partitions of a topic to another topic of so many.
fn start(
    world: &Arc<World>,
    number: u32,
    ((input, input_name), partitions): ((Uuid, &str), Vec<u32>),
    ((output, output_name), outputs): ((Uuid, &str), u32),
    actors: &mut JoinSet<()>,
    dice: &mut Rng,
) {
    let others = (0..number as usize).filter(|_| is_copied(input_name));
    let life = CopierLife {
        number: number as usize,
        name: format!("copier-{number}"),
        group: format!("{COPIERS}{number}"),
        input,
        input_name: input_name.to_owned(),
        of_copiers: others.collect(),
        partitions,
        output,
        output_name: output_name.to_owned(),
        outputs,
        modern: dice.bool(),
    };
    world.history().copiers.push(life.clone());
    actors.spawn(stable::watch(Arc::clone(world), life.clone(), dice.fork()));
    actors.spawn(world.producing(copier::run(Arc::clone(world), life, dice.fork())));
}
