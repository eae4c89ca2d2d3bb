//! One seed: a cluster is built, seasons pass, everything is mended, and then comes the verdict.
//!
//! Must not know the command line. A run depends on its seed and nothing else.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Once};
use std::time::Duration;

use fastrand::Rng;
use strandline_core::manifest::{Change, Journal};
use strandline_core::mutation::{self, Mutation};
use strandline_core::paths;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admin;
use crate::auditor::{self, audit, check_open, compare_tail};
use crate::bucket::{Bucket, Flaw};
use crate::cast::{copy, gather, is_decided, write_by_key};
use crate::chaos;
use crate::check::truth::Truth;
use crate::check::{bucket, clients, groups as groups_check, transactions};
use crate::collector::Collector;
use crate::compaction;
use crate::compactor::Duty;
use crate::consumer::Consumer;
use crate::history::GroupLife;
use crate::link::{Outage, Weather};
use crate::machine::Machine;
use crate::plan::{Plan, Rates, Season};
use crate::producer::Producer;
use crate::stable::Reader;
use crate::trace::Trace;
use crate::world::{Phase, World};

pub use crate::world::Violation;

/// Simulated time in which everything must be finished once faults have stopped.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// Requests that are under way for so long are all executed by then.
const LATEST: Duration = Duration::from_secs(90_000);

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// Nothing: a violation is a bug.
    #[default]
    Nothing,
    /// A rule of the log.
    Rule(Mutation),
    /// The store.
    Store(Flaw),
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// Of the run.
    pub seed: u64,
    /// Nothing if every promise was kept.
    pub violations: Vec<Violation>,
    /// The same for the same run.
    pub fingerprint: u64,
    /// Lines of the trace.
    pub events: u64,
    /// From the start of the cluster until the last client was done, nights and weekends included.
    pub simulated: Duration,
    /// Of that, how long the clients were at work.
    pub at_work: Duration,
    /// Records that were acknowledged, and records that were read.
    pub acked: usize,
    /// See `acked`.
    pub read: usize,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A panic in a task of a node is swallowed by its runtime: here it is a broken promise.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            // One of the harness itself ends the run, and nobody asks for the list any more.
            eprintln!("{panic}");
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
        }));
    });
}

/// Runs one seed from beginning to end.
pub fn run(seed: u64, broken: Broken, keep_trace: bool) -> Report {
    listen_for_panics();
    PANICS.take();
    mutation::set(match broken {
        Broken::Rule(mutation) => Some(mutation),
        _ => None,
    });
    let flaw = match broken {
        Broken::Store(flaw) => Some(flaw),
        _ => None,
    };
    let runtime = runtime(seed);
    let mut report = runtime.block_on(cluster(seed, flaw, keep_trace));
    drop(runtime);
    mutation::set(None);
    let panics = PANICS.take().into_iter();
    report.violations.extend(panics.map(|what| Violation { invariant: "X1", what }));
    report
}

/// One thread, time that stands still until nothing else is left to do, and tokio's own dice from the seed.
fn runtime(seed: u64) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    #[cfg(not(tokio_unstable))]
    panic!(
        "seed {seed} cannot be repeated: build inside the repository, whose .cargo/config.toml sets tokio_unstable"
    );
    builder.build().unwrap()
}

async fn cluster(seed: u64, flaw: Option<Flaw>, keep_trace: bool) -> Report {
    let mut dice = Rng::with_seed(seed);
    let mut own = Rng::with_seed(!seed);
    let mut compacting = Rng::with_seed(seed.rotate_left(32) ^ !(u64::MAX / 3));
    let mut by_key = Rng::with_seed(seed.rotate_left(16) ^ (u64::MAX / 5));
    let plan = Plan::drawn(&mut dice).with_transactions(&mut own).with_compactors(&mut compacting);
    let plan = plan.with_keyed(&mut by_key);
    let trace = Trace::new(keep_trace);
    trace.note("seed", format_args!("{seed}: {plan:?}"));
    let bucket = Bucket::new(flaw);
    let machines: Vec<_> = (1..=plan.machines)
        .map(|number| {
            let limits = (plan.limits, plan.wild_clocks);
            // The first open is in good weather: a bucket that cannot be probed is no cluster.
            let weather = Weather::new(Rates::default(), dice.fork());
            let compacts = plan.compacting.as_ref().filter(|plan| number == 1 || !plan.alone);
            let compacts = compacts.map(|plan| (compaction::config(plan), compacting.fork()));
            let (number, bucket, trace) = (number as i32, bucket.clone(), trace.clone());
            Machine::new(number, bucket, limits, compacts, weather, trace, &mut dice)
        })
        .collect();
    let world = Arc::new(World::new(plan, bucket, machines, trace, compacting.fork()));
    let ended = timeout(PATIENCE, begin(&world, &mut dice)).await;
    let mut simulated = Duration::ZERO;
    match ended {
        Ok(actors) => {
            let mut actors = actors;
            if world.plan.compacting.is_some() {
                actors.spawn(compaction::awake(Arc::clone(&world), compacting.fork()));
            }
            if world.plan.compacting.as_ref().is_some_and(|plan| plan.expires) {
                let topics = world.history().topics.iter().map(|topic| topic.id).collect();
                actors.spawn(compaction::alter(Arc::clone(&world), topics, compacting.fork()));
            }
            if let Some(copying) = world.plan.copying {
                copy(&world, copying, &mut actors, &mut own).await;
            }
            if let Some(plan) = world.plan.keyed {
                write_by_key(&world, plan, &mut actors, &mut by_key).await;
            }
            for season in world.plan.seasons.clone() {
                pass(&world, season, &mut dice).await;
            }
            end(&world, actors).await;
            if !world.is_broken() {
                compaction::comes_to_rest(&world).await;
            }
            simulated = Duration::from_millis(world.trace.now_ms());
            judge(&world, &mut dice).await;
        }
        Err(_) => world.violated("J10", "the cluster did not start".to_owned()),
    }
    report(seed, &world, simulated)
}

fn report(seed: u64, world: &World, simulated: Duration) -> Report {
    let rested: Duration = world.plan.seasons.iter().map(|season| season.rest).sum();
    let history = world.history();
    let acked = history
        .sent
        .iter()
        .filter(|sent| matches!(sent.ended, Some((_, crate::history::Ended::Acked(_)))))
        .map(|sent| sent.timestamps.len())
        .sum();
    Report {
        seed,
        violations: world.take_violations(),
        fingerprint: world.trace.fingerprint(),
        events: world.trace.count(),
        simulated,
        at_work: simulated.saturating_sub(rested),
        acked,
        read: history.seen.len(),
        trace: world.trace.take_text(),
    }
}

/// Starts the nodes in good weather, creates the topics, sends everybody to work; then the weather changes.
async fn begin(world: &Arc<World>, dice: &mut Rng) -> JoinSet<()> {
    let mut starts = JoinSet::new();
    for machine in &world.machines {
        let machine = Arc::clone(machine);
        starts.spawn(async move { machine.start().await });
    }
    starts.join_all().await;
    if let ([one, other, ..], true) = (&world.machines[..], world.plan.clone) {
        one.kill();
        other.kill();
        one.start_as_clones(other).await;
    }
    let mut topics = Vec::new();
    for (number, partitions) in world.plan.topics.iter().enumerate() {
        let name = format!("topic-{number}");
        if let Some(id) = admin::create(world, &name, *partitions, dice).await {
            topics.extend((0..*partitions).map(|partition| (id, name.clone(), partition)));
        }
    }
    let mut actors = JoinSet::new();
    for number in 0..world.plan.idempotent_producers + world.plan.plain_producers {
        let (id, _, partition) = topics[dice.usize(0..topics.len())].clone();
        let producer = Producer::new(Arc::clone(world), number, id, partition, dice.fork());
        match number < world.plan.idempotent_producers {
            true => actors.spawn(world.producing(producer.run_idempotent())),
            false => actors.spawn(world.producing(producer.run_plain())),
        };
    }
    for number in 0..world.plan.consumers {
        let (id, name, partition) = topics[number % topics.len()].clone();
        actors.spawn(Consumer::new(Arc::clone(world), number, (id, name), partition, dice.fork()).run());
    }
    if let (Some(groups), Some((topic, topic_name, _))) = (world.plan.groups, topics.first()) {
        let life = |name: String| GroupLife { name, topic: *topic, topic_name: topic_name.clone() };
        gather(world, groups, &life, &mut actors, dice);
    }
    if world.plan.churn {
        actors.spawn(admin::churn(Arc::clone(world), "churn".to_owned(), dice.fork()));
    }
    actors.spawn(auditor::run(Arc::clone(world)));
    actors.spawn(chaos::run(Arc::clone(world), dice.fork()));
    if world.plan.collects {
        actors.spawn(Collector::new(Arc::clone(world), dice.fork()).run());
    }
    for machine in &world.machines {
        machine.weather.lock().unwrap().rates = world.plan.rates;
    }
    actors
}

/// Some hours or days: clients at work, one node perhaps asleep, clients at rest.
async fn pass(world: &World, season: Season, dice: &mut Rng) {
    world.trace.note("season", format_args!("{season:?}"));
    world.phase.send_replace(Phase::Active);
    world.compact(Duty::Busy);
    sleep(season.active / 2).await;
    let sleeper = &world.machines[dice.usize(0..world.machines.len())];
    let asleep = season.sleeper && world.machines.len() > 1 && sleeper.pause();
    sleep(season.active / 2).await;
    world.phase.send_replace(Phase::Rest);
    world.compact(Duty::Seldom);
    world.trace.note("season", format_args!("rest"));
    for machine in &world.machines {
        machine.weather.lock().unwrap().outage = Outage::None;
    }
    sleep(season.rest).await;
    if asleep {
        sleeper.resume();
    }
}

/// Mends everything and waits until all clients are done.
async fn end(world: &Arc<World>, mut actors: JoinSet<()>) {
    world.trace.note("season", format_args!("the end begins"));
    for machine in &world.machines {
        let mut weather = machine.weather.lock().unwrap();
        (weather.rates, weather.outage) = (Rates::default(), Outage::None);
        drop(weather);
        machine.resume();
        let machine = Arc::clone(machine);
        tokio::spawn(async move { machine.start().await });
    }
    world.phase.send_replace(Phase::Ending);
    world.compact(Duty::Busy);
    let all = async {
        while let Some(ended) = actors.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                world.violated("X1", "a client panicked".to_owned());
            }
        }
    };
    if timeout(PATIENCE, all).await.is_err() {
        let what = format!("{} clients are not done {PATIENCE:?} after the last fault", actors.len());
        world.violated("J10", what);
        actors.abort_all();
    }
}

/// Lets late requests land, looks at every node, kills them all, reads everything with a fresh one, and compares.
async fn judge(world: &Arc<World>, dice: &mut Rng) {
    world.compact(Duty::Seldom);
    for machine in &world.machines {
        if let Some(journal) = machine.journal() {
            check_open(world, &machine.name, &journal);
        }
    }
    // Nodes that are wrong already may be busy until then.
    if !world.is_broken() {
        sleep(LATEST).await;
    }
    for machine in &world.machines {
        let Some(journal) = machine.journal() else {
            world.violated("J10", format!("{} does not serve", machine.name));
            continue;
        };
        if !can_propose(&journal).await && !world.plan.clone {
            world.violated("J10", format!("{} cannot propose", machine.name));
        }
        match timeout(Duration::from_secs(60), journal.catch_up()).await {
            Ok(Ok(_)) => {
                compare_tail(world, &machine.name, &journal);
                let audit = audit(&machine.name, &journal);
                world.history().audits.push(audit);
            }
            _ => world.violated("J10", format!("{} cannot read the journal's end", machine.name)),
        }
        machine.kill();
    }
    world.compact(Duty::Never);
    world.look_for_expiries();
    let truth = Truth::of(&world.bucket, &wanted(world).await, &world.trace);
    read_cold(world, &truth, dice).await;
    let audits = world.history().audits.clone();
    let mut faults = bucket::check(&world.bucket, &truth, &audits).await;
    faults.extend(clients::check(&world.history(), &truth));
    faults.extend(groups_check::check(&world.history(), &truth));
    faults.extend(transactions::check(&world.history(), &truth));
    for (invariant, what) in faults {
        world.violated(invariant, what);
    }
}

/// Fills what a dead proposer left open, as the next one always does. Twice at most: a node whose clock is days behind, or
/// whose id a clone has used, may not be able to tell what became of the first.
async fn can_propose(journal: &Journal) -> bool {
    for _ in 0..2 {
        let ticked = timeout(Duration::from_secs(60), journal.propose(vec![Change::Tick])).await;
        if matches!(ticked, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

/// Slots at which somebody's manifest is to be compared with a cold fold.
async fn wanted(world: &World) -> BTreeSet<u64> {
    let mut wanted: BTreeSet<u64> = world.history().audits.iter().map(|audit| audit.applied).collect();
    let checkpoints = world.bucket.keys(paths::CHECKPOINTS).await;
    wanted.extend(checkpoints.iter().filter_map(|key| paths::checkpoint_slot(key)));
    wanted
}

/// A node that was never there before serves everything that is in the log.
async fn read_cold(world: &Arc<World>, truth: &Truth, dice: &mut Rng) {
    let machine = &world.machines[0];
    if timeout(PATIENCE, machine.start()).await.is_err() {
        return world.violated("J10", "a fresh node cannot start".to_owned());
    }
    let before = world.history().seen.len();
    let mut readers = JoinSet::new();
    let mut expected = 0;
    for (id, name) in &truth.topics {
        let partitions = truth.manifest.topic(id).map_or(0, |topic| topic.partitions.len());
        for partition in 0..partitions as u32 {
            if is_decided(name) {
                for committed in [true, false] {
                    let at = (*id, partition);
                    readers.spawn(
                        Reader::new(Arc::clone(world), transactions::FRESH, at, committed, dice.fork()).run(),
                    );
                }
                continue;
            }
            let start = truth.manifest.partition(id, partition).map_or(0, |one| one.log_start);
            expected += truth.logs.get(&(*id, partition)).map_or(0, Vec::len) - start as usize;
            let topic = (*id, name.clone());
            readers.spawn(
                Consumer::new(Arc::clone(world), 9_000, topic, partition, dice.fork())
                    .of_what_is_there()
                    .run(),
            );
        }
    }
    if timeout(PATIENCE, readers.join_all()).await.is_err() {
        world.violated("J10", "a fresh node does not serve everything".to_owned());
    }
    let read = world.history().seen.len() - before;
    if read != expected {
        world.violated("J4", format!("a fresh node served {read} records of {expected}"));
    }
}
