//! One node: the production journal, ingest, reader, gateway and compactor on a machine with clocks of its own, which starts,
//! sleeps, dies and starts again.
//!
//! Must not know why. All tasks of a process belong to one [`Host`], so that it can be stopped at any await; requests
//! that it has sent go on without it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use object_store::path::Path;
use strandline_compactor as compaction;
use strandline_core::env::host::Host;
use strandline_core::env::{self, Clock, Env};
use strandline_core::manifest::Journal;
use strandline_core::manifest::journal;
use strandline_core::store::{Provider, Store};
use strandline_gateway::{Connections, Listener};
use strandline_ingest::Ingest;
use strandline_reader::Reader;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::bucket::Bucket;
use crate::compactor::{self, Duty};
use crate::link::{Link, Weather};
use crate::plan::{Limits, chance};
use crate::trace::Trace;

/// 2026-01-01, when every run begins.
pub(crate) const EPOCH_MS: i64 = 1_767_225_600_000;
/// How far a wall clock is off that is not wild: two of them stay less than a day apart.
const TAME_MS: i64 = 11 * 3_600_000;
/// What a connection holds between client and node.
const PIPE_BYTES: usize = 1 << 20;

/// The clocks of one machine. One of them may lie, never both: the log stops trusting what it knows when either says
/// that the lease is over.
#[derive(Debug, Clone)]
pub(crate) struct Clocks(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    begun: Instant,
    wall_ahead_ms: i64,
    boot_ahead_ms: i64,
    /// The wall clock is the one that lies.
    wall_lies: bool,
    /// It may be days off.
    wild: bool,
    stopped_ms: Option<i64>,
    dice: Rng,
}

impl Clocks {
    fn new(begun: Instant, wild: bool, dice: &mut Rng) -> Clocks {
        let wall_lies = dice.bool();
        let skew_ms = match wall_lies && chance(dice, 300) {
            true if wild => dice.i64(-100_000_000..100_000_000),
            true => dice.i64(-TAME_MS..TAME_MS),
            false => dice.i64(-500..500),
        };
        let dice = dice.fork();
        Clocks(Arc::new(Mutex::new(Hands {
            begun,
            wall_ahead_ms: skew_ms,
            boot_ahead_ms: 0,
            wall_lies,
            wild,
            stopped_ms: None,
            dice,
        })))
    }

    /// The clock stands still, and goes on from here.
    fn stop(&self, stopped: bool) {
        let mut hands = self.0.lock().unwrap();
        hands.stopped_ms = stopped.then_some(EPOCH_MS);
    }

    /// The wall clock jumps, if it is one that may lie.
    pub(crate) fn jump(&self, by_ms: i64) -> bool {
        let mut hands = self.0.lock().unwrap();
        let ahead_ms = hands.wall_ahead_ms + by_ms;
        let jumps = hands.wall_lies && (hands.wild || ahead_ms.abs() < TAME_MS);
        if jumps {
            hands.wall_ahead_ms = ahead_ms;
        }
        jumps
    }

    /// After a sleep in which one of the clocks may have stood still.
    fn stood_still(&self, slept: Duration) {
        let mut hands = self.0.lock().unwrap();
        if hands.dice.bool() {
            return;
        }
        let slept_ms = slept.as_millis() as i64;
        match hands.wall_lies {
            true if hands.wild || (hands.wall_ahead_ms - slept_ms).abs() < TAME_MS => {
                hands.wall_ahead_ms -= slept_ms;
            }
            true => {}
            false => hands.boot_ahead_ms -= slept_ms,
        }
    }
}

impl Clock for Clocks {
    fn wall_ms(&self) -> i64 {
        let hands = self.0.lock().unwrap();
        let going_ms = EPOCH_MS + hands.begun.elapsed().as_millis() as i64 + hands.wall_ahead_ms;
        hands.stopped_ms.unwrap_or(going_ms)
    }

    fn boot_ms(&self) -> u64 {
        let hands = self.0.lock().unwrap();
        (1_000_000_000 + hands.begun.elapsed().as_millis() as i64 + hands.boot_ahead_ms) as u64
    }

    fn entropy(&self) -> u128 {
        self.0.lock().unwrap().dice.u128(..)
    }
}

/// A machine on which one process after another runs.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) clocks: Clocks,
    pub(crate) weather: Arc<Mutex<Weather>>,
    bucket: Bucket,
    limits: Limits,
    trace: Trace,
    number: i32,
    compacting: Option<(compaction::Config, Mutex<Rng>)>,
    duty: watch::Sender<Duty>,
    process: Mutex<Process>,
}

#[derive(Debug, Default)]
struct Process {
    host: Option<Host>,
    node: Option<Node>,
    slept_since: Option<Instant>,
    starts: u32,
}

#[derive(Debug)]
struct Node {
    journal: Journal,
    connections: Connections,
}

impl Machine {
    pub(crate) fn new(
        number: i32,
        bucket: Bucket,
        (limits, wild_clocks): (Limits, bool),
        compacting: Option<(compaction::Config, Rng)>,
        weather: Arc<Mutex<Weather>>,
        trace: Trace,
        dice: &mut Rng,
    ) -> Arc<Machine> {
        let clocks = Clocks::new(Instant::now(), wild_clocks, dice);
        let name = format!("node{number}");
        let (process, duty) = (Mutex::default(), watch::Sender::new(Duty::Busy));
        let compacting = compacting.map(|(config, dice)| (config, Mutex::new(dice)));
        Arc::new(Machine { name, clocks, weather, bucket, limits, trace, number, compacting, duty, process })
    }

    /// How much its compactor does from now on, if it has one.
    pub(crate) fn compacts(&self, duty: Duty) {
        self.duty.send_replace(duty);
    }

    /// Starts both with the same dice at the same time of their clocks: one is the restored snapshot of the other.
    pub(crate) async fn start_as_clones(self: &Arc<Machine>, other: &Arc<Machine>) {
        let dice = other.clocks.0.lock().unwrap().dice.clone();
        self.clocks.0.lock().unwrap().dice = dice;
        self.clocks.stop(true);
        other.clocks.stop(true);
        self.start().await;
        other.start().await;
        self.clocks.stop(false);
        other.clocks.stop(false);
    }

    /// Starts a process, again and again until the store lets it. One that runs is left alone.
    pub(crate) async fn start(self: &Arc<Machine>) {
        loop {
            let (host, start) = {
                let mut process = self.process.lock().unwrap();
                if process.host.is_some() {
                    return;
                }
                let host = Host::default();
                process.host = Some(host.clone());
                process.starts += 1;
                (host, process.starts)
            };
            let machine = Arc::clone(self);
            let opened = host.spawn(async move { machine.open().await });
            if self.started(opened.await.ok(), start, &host) {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Whether that was it: the process serves, or somebody killed it.
    fn started(&self, opened: Option<strandline_core::Result<Node>>, start: u32, host: &Host) -> bool {
        let mut process = self.process.lock().unwrap();
        // Killed while it started; whoever starts the machine again does so by another call.
        if process.host.is_none() || process.starts != start {
            return true;
        }
        match opened {
            None => true,
            Some(Ok(node)) => {
                self.trace.note(&self.name, format_args!("serves"));
                process.node = Some(node);
                true
            }
            Some(Err(error)) => {
                self.trace.note(&self.name, format_args!("cannot start: {error}"));
                process.host = None;
                host.stop();
                false
            }
        }
    }

    async fn open(&self) -> strandline_core::Result<Node> {
        let link =
            Link::new(self.bucket.clone(), Arc::clone(&self.weather), self.name.clone(), self.trace.clone());
        let env = Env::new(self.clocks.clone());
        let store = Store::new(Arc::new(link), Path::default(), Provider::Memory, "memory:", env);
        let limits = self.limits;
        let options =
            journal::Options { tail_bytes: limits.tail_bytes, checkpoint_every: limits.checkpoint_every };
        let journal = Journal::open(store, options).await?;
        let ingest = Ingest::start(
            journal.clone(),
            strandline_ingest::Config {
                flush_interval: limits.flush_interval,
                inline_max_bytes: limits.inline_max_bytes,
                segment_bytes: limits.segment_bytes,
                inflight_bytes: limits.inflight_bytes,
            },
        );
        let reader =
            Reader::start(journal.clone(), strandline_reader::Config { cache_bytes: limits.cache_bytes });
        let name = "kafka".to_owned();
        let config = strandline_gateway::Config {
            listeners: vec![Listener { name, bind: self.address(), advertise: None }],
            http: None,
            node_id: Some(self.number),
            rack: None,
            heartbeats: limits.heartbeats,
        };
        let connections = Connections::new(config, journal.clone(), ingest, reader).unwrap();
        if let Some((config, dice)) = &self.compacting {
            let (duty, dice) = (self.duty.subscribe(), dice.lock().unwrap().fork());
            env::spawn(compactor::run(journal.clone(), config.clone(), duty, dice));
        }
        Ok(Node { journal, connections })
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9_000 + self.number as u16))
    }

    /// `kill -9`. `false`: nothing was running.
    pub(crate) fn kill(&self) -> bool {
        let mut process = self.process.lock().unwrap();
        process.slept_since = None;
        process.node = None;
        let Some(host) = process.host.take() else { return false };
        host.stop();
        self.trace.note(&self.name, format_args!("killed"));
        true
    }

    /// SIGSTOP. `false`: nothing is running, or it sleeps already.
    pub(crate) fn pause(&self) -> bool {
        let mut process = self.process.lock().unwrap();
        if process.slept_since.is_some() {
            return false;
        }
        let Some(host) = &process.host else { return false };
        host.pause();
        process.slept_since = Some(Instant::now());
        self.trace.note(&self.name, format_args!("sleeps"));
        true
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        let mut process = self.process.lock().unwrap();
        let Some(since) = process.slept_since.take() else { return };
        self.clocks.stood_still(since.elapsed());
        self.trace.note(&self.name, format_args!("wakes after {:?}", since.elapsed()));
        if let Some(host) = &process.host {
            host.resume();
        }
    }

    pub(crate) fn sleeps(&self) -> bool {
        self.process.lock().unwrap().slept_since.is_some()
    }

    /// Connects as the kernel does, also to a process that sleeps. `None`: connection refused.
    pub(crate) fn connect(&self) -> Option<DuplexStream> {
        let process = self.process.lock().unwrap();
        let (node, host) = (process.node.as_ref()?, process.host.as_ref()?);
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        host.spawn(node.connections.serve(far, self.address()));
        Some(near)
    }

    /// The journal of the process that runs.
    pub(crate) fn journal(&self) -> Option<Journal> {
        self.process.lock().unwrap().node.as_ref().map(|node| node.journal.clone())
    }
}
