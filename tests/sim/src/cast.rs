//! Who takes part in a run beside producers and consumers: groups and everybody around them, programs that copy in
//! transactions and those who read what they wrote.
//!
//! Must not know how a run goes.

use std::sync::Arc;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::admin;
use crate::check::truth::COPIERS;
use crate::copier;
use crate::groups;
use crate::history::{CopierLife, GroupLife};
use crate::member::Member;
use crate::plan::{Copying, Groups};
use crate::producer::Producer;
use crate::stable::{self, Reader};
use crate::world::World;

/// What copiers read, and where they write.
const INPUT: &str = "copied";
pub(crate) const OUTPUT: &str = "copies";

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
        let life = CopierLife {
            number: number as usize,
            name: format!("copier-{number}"),
            group: format!("{COPIERS}{number}"),
            input,
            input_name: INPUT.to_owned(),
            partitions: (0..plan.inputs).map(|partition| number * plan.inputs + partition).collect(),
            output,
            output_name: OUTPUT.to_owned(),
            outputs: plan.outputs,
            modern: dice.bool(),
        };
        world.history().copiers.push(life.clone());
        actors.spawn(stable::watch(Arc::clone(world), life.clone(), dice.fork()));
        actors.spawn(world.producing(copier::run(Arc::clone(world), life, dice.fork())));
    }
    for partition in 0..plan.outputs {
        let reader = Reader::new(Arc::clone(world), 0, (output, partition), true, dice.fork());
        actors.spawn(reader.run());
    }
}
