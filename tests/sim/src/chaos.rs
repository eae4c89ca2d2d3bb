//! Blows against the machines: kills, sleeps, jumping clocks, outages, storms of faults.
//!
//! Must not know what the machines do. No machine is down for ever: whatever is broken here is mended here.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use crate::link::Outage;
use crate::machine::Machine;
use crate::plan::{Rates, around, pick};
use crate::world::World;

/// Strikes until the run ends.
pub(crate) async fn run(world: Arc<World>, mut dice: Rng) {
    loop {
        sleep(around(&mut dice, world.plan.blow_every)).await;
        if world.at_work().await {
            return;
        }
        let machine = Arc::clone(&world.machines[dice.usize(0..world.machines.len())]);
        // One that sleeps through the night is left alone.
        if !machine.sleeps() {
            strike(&world, machine, &mut dice);
        }
    }
}

fn strike(world: &Arc<World>, machine: Arc<Machine>, dice: &mut Rng) {
    let span = Duration::from_millis(dice.u64(10..10_000));
    match dice.u32(0..10) {
        0..3 => {
            machine.kill();
            tokio::spawn(async move {
                sleep(span / 2).await;
                machine.start().await;
            });
        }
        3..5 => {
            // Long enough for its groups to go on elsewhere.
            let times = if world.plan.groups.is_some() && dice.bool() { 4 } else { 2 };
            if machine.pause() {
                tokio::spawn(async move {
                    sleep(span * times).await;
                    machine.resume();
                });
            }
        }
        5..6 => {
            let hour = 3_600_000;
            let by_ms = pick(dice, &[-1_000, 1_000, -hour, hour, -25 * hour, 25 * hour]);
            if machine.clocks.jump(by_ms) {
                world.trace.note(&machine.name, format_args!("its wall clock jumps by {by_ms} ms"));
            }
        }
        6..8 => {
            let usual = [Outage::All, Outage::Writes, Outage::Segments, Outage::Journal];
            let outage = match world.plan.compacting {
                Some(_) if dice.bool() => pick(dice, &[Outage::Chunks, Outage::Index, Outage::Segments]),
                _ => pick(dice, &usual),
            };
            world.trace.note(&machine.name, format_args!("outage: {outage:?} for {span:?}"));
            machine.weather.lock().unwrap().outage = outage;
            tokio::spawn(async move {
                sleep(span).await;
                machine.weather.lock().unwrap().outage = Outage::None;
            });
        }
        _ => {
            world.trace.note(&machine.name, format_args!("a storm for {span:?}"));
            machine.weather.lock().unwrap().rates = Rates::storm(world.plan.rates);
            let (world, usual) = (Arc::clone(world), world.plan.rates);
            tokio::spawn(async move {
                sleep(span).await;
                if !world.is_ending() {
                    machine.weather.lock().unwrap().rates = usual;
                }
            });
        }
    }
}
