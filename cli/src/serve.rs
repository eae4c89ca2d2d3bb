//! `strandline serve`: one node, from the first look at the store to the last acknowledgement.
//!
//! Must not know requests. The order of the end is the invariant: the gateway stops and answers what is in flight, then
//! ingest flushes, then the journal closes; all of it within [`END`] of the signal.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use strandline_compactor::plan::Policy;
use strandline_compactor::{self as compactor, Compactor, Turn};
use strandline_core::manifest::journal::{self, Journal};
use strandline_gateway as gateway;
use strandline_ingest as ingest;
use strandline_reader as reader;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::args::{HostPort, LogArgs, Rate, ServeArgs};
use crate::connect;
use crate::output::{self, Format};

/// From the signal to the end of the process, at most; orchestrators kill after 10 s.
const END: Duration = Duration::from_millis(9_500);

/// The name of the listener of `--kafka`.
const FIRST: &str = "kafka";

pub(crate) async fn run(args: ServeArgs, logs: &LogArgs) -> Result<()> {
    let mut signals = Signals::new()?;
    let gateway_config = gateway_config(&args);
    let store = connect::store(&args.store.url)?;
    let ingest_config = ingest::Config {
        flush_interval: args.flush_interval.unwrap_or_else(|| connect::flush_interval(&store)),
        inline_max_bytes: args.inline_max,
        segment_bytes: args.segment_bytes,
        ..ingest::Config::default()
    };
    let journal = tokio::select! {
        opened = connect::open(store, journal::Options::of_cache(args.cache_bytes)) => opened?,
        () = signals.first() => return Ok(()),
    };
    let ingest = ingest::Ingest::start(journal.clone(), ingest_config);
    let reader = reader::Reader::start(journal.clone(), reader::Config::of_cache(args.cache_bytes));
    let bound = gateway::Gateway::bind(gateway_config, journal.clone(), ingest.clone(), reader).await?;
    announce(&bound, &journal, logs);
    compact(&args, &journal, &bound);

    let (begun, begins) = oneshot::channel();
    let health = journal.clone();
    let shutdown = async move {
        tokio::select! {
            () = signals.first() => tracing::info!("stopping: answering what is in flight, then flushing"),
            // Clients go on at another node, and the orchestrator starts this one anew.
            () = health.stopped() => {}
        }
        // The other side waits for the end of serving before it looks.
        let _ = begun.send(Instant::now());
        tokio::spawn(signals.exit_on_second());
    };
    let mut journal_stopped = Ok(());
    let serve_and_flush = async {
        let served = bound.serve(shutdown).await;
        // Asked before it is closed: closing is no failure.
        journal_stopped = journal.health().context("the journal stopped");
        ingest.close().await;
        journal.close().await;
        served
    };
    let too_late = async {
        let since = begins.await.unwrap_or_else(|_| Instant::now());
        sleep_until(since + END).await;
    };
    tokio::select! {
        served = serve_and_flush => served.context("the node stopped serving")?,
        () = too_late => bail!("the store did not answer within 10 s of the signal: what was acknowledged is safe, what was not may be missing"),
    }
    journal_stopped?;
    tracing::info!("stopped");
    Ok(())
}

fn gateway_config(args: &ServeArgs) -> gateway::Config {
    let listener = |name: &str, bind, told: &Option<HostPort>| gateway::Listener {
        name: name.to_owned(),
        bind,
        advertise: told.clone().map(|at| (at.0, at.1)),
    };
    let further = args.listeners.iter().map(|at| listener(&at.name, at.bind, &at.advertise));
    let listeners = std::iter::once(listener(FIRST, args.kafka, &args.advertise)).chain(further).collect();
    gateway::Config {
        listeners,
        http: args.http.0,
        node_id: args.node_id,
        rack: args.rack.clone(),
        heartbeats: !args.alone,
    }
}

/// Merges and expires in the background, until the journal is closed; one node does it for all.
fn compact(args: &ServeArgs, journal: &Journal, gateway: &gateway::Gateway) {
    if args.compact == Rate::Off {
        return;
    }
    let config = compactor::Config {
        policy: Policy::default().within(args.compact_memory),
        bytes_per_second: args.compact.bytes_per_second(),
        ..compactor::Config::default()
    };
    let compactor = Compactor::new(journal.clone(), config);
    let duty = gateway.duty("compactor");
    let turn = move || match duty() {
        None => Turn::Theirs,
        Some(false) => Turn::Quiet,
        Some(true) => Turn::Busy,
    };
    tokio::spawn(compactor.run(turn));
}

/// One friendly line: the node serves from here on.
fn announce(gateway: &gateway::Gateway, journal: &journal::Journal, logs: &LogArgs) {
    let (store, cluster, node) = (journal.store(), journal.cluster_id(), gateway.node_id());
    let kafka = gateway.kafka_addrs().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let http = gateway.http_addr().map_or_else(|| "off".to_owned(), |address| format!("on {address}"));
    match logs.log_format {
        // A log of JSON objects stays one.
        Format::Json => tracing::info!(%store, cluster, node, kafka, http, "started"),
        Format::Text => {
            output::note(&format!(
                "strandline serves {store}: Kafka on {kafka}, HTTP {http}, cluster {cluster}, node {node}"
            ));
        }
    }
}

/// The two signals that end a node: SIGTERM of an orchestrator, SIGINT of a terminal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Whoever signals twice does not want to wait.
    async fn exit_on_second(mut self) {
        self.first().await;
        output::note("strandline: stopped at once, on a second signal; what was acknowledged is safe");
        std::process::exit(130);
    }
}
