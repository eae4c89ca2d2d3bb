//! Sockets: Kafka and HTTP in front of ingest and reader. The only crate of Strandline with sockets.
//!
//! Owns connections, the order of answers, and what each Kafka request means. It must not know how records are stored
//! or found. Invariants: answers leave a connection in the order of its requests; memory is bounded whatever clients
//! send; no request is answered with a final error while its outcome is open.
//!
//! Modules stand in the order in which a request meets them, and import only modules that stand after them:
//!
//! - `listener`: accepts connections, counts them, waits for them at the end
//! - `connection`: one client: frames in, answers out
//! - `http`: records, topics, groups, health and metrics over HTTP
//! - `dispatch`: which handler answers a request, and when
//! - `handlers`: what each API does, one file an API
//! - `reply`: an answer on its way to the socket
//! - `session`: what the handlers know of one connection
//! - `group_view`: a group as tools are shown it
//! - `transactions`: which transaction a request means, and how it is decided
//! - `topics`: from names and ids to topics
//! - `services`: what all connections share
//! - `groups`: the coordinators of consumer groups
//! - `budget`: the memory that Fetch answers may hold
//! - `configs`: the configs of topics and of this broker
//! - `pattern`: regular expressions that clients send
//! - `errors`: from our errors to Kafka's codes
//! - `nodes`: the nodes of the cluster that live, and which of them looks after what
//! - `node`: who we are, and who the others say they are
//! - `hash`: hashes on which all nodes agree
//! - `phase`: where the node stands in its life
//! - `task`: a spawned task that ends with its owner
//! - `metrics`: the figures of this crate
//! - `error`: why the gateway cannot start or go on
//! - `limits`: every bound, in one place
mod listener;
mod connection;
mod http;
mod dispatch;
mod handlers;
mod reply;
mod session;
mod group_view;
mod transactions;
mod topics;
mod services;
mod groups;
mod budget;
mod configs;
mod pattern;
mod errors;
mod nodes;
mod node;
mod hash;
mod phase;
mod task;
mod metrics;
mod error;
mod limits;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use strandline_core::env;
use strandline_core::manifest::Journal;
use strandline_ingest::Ingest;
use strandline_reader::Reader;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

pub use configs::{
    check as check_topic_configs, check_changes as check_topic_config_changes, is_topic_config,
};
pub use error::Error;
pub use group_view::{GroupRead, kind as group_kind, reads as group_reads, state as group_state};
pub use http::{RecordJson, moment_ms};
pub use topics::colliding_topic;

use budget::FetchBudget;
use groups::Groups;
use http::Door;
use limits::{HTTP_DRAIN, SHUTDOWN};
use node::Node;
use nodes::{Nodes, Reach};
use phase::{Phase, Phases};
use services::Services;
use session::Way;
use task::Task;

/// An address for Kafka clients.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The same on all nodes: a client is told the addresses of the listener that it uses.
    pub name: String,
    /// Where to listen.
    pub bind: SocketAddr,
    /// Host and port that clients are told. `None`: the address that each of them connected to.
    pub advertise: Option<(String, u16)>,
}

/// Where to listen and who to say we are.
#[derive(Debug, Clone)]
pub struct Config {
    /// The addresses for Kafka clients, at least one. Each of them takes as many connections as a node may have.
    pub listeners: Vec<Listener>,
    /// The address for health and metrics. `None`: not served.
    pub http: Option<SocketAddr>,
    /// The id of this node among those of the cluster: 1 to 2^30. `None`: one that belongs to the address of the first
    /// listener.
    pub node_id: Option<i32>,
    /// The availability zone.
    pub rack: Option<String>,
    /// Whether to tell other nodes of this one, and clients of the others. Without it, the node does as if it were alone.
    pub heartbeats: bool,
}

/// The gateway without its sockets: serves streams that somebody else has accepted.
pub struct Connections {
    services: Arc<Services>,
    phase: watch::Sender<Phase>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("node", &self.services.node).finish()
    }
}

impl Connections {
    /// Serves from the start. The addresses in `config` are not bound.
    pub fn new(
        config: Config,
        journal: Journal,
        ingest: Ingest,
        reader: Reader,
    ) -> Result<Connections, Error> {
        let connections = Connections::starting(config, Reach::Trust, journal, ingest, reader)?;
        connections.phase.send_replace(Phase::Serving);
        Ok(connections)
    }

    fn starting(
        config: Config,
        reach: Reach,
        journal: Journal,
        ingest: Ingest,
        reader: Reader,
    ) -> Result<Connections, Error> {
        metrics::register();
        let node = Node::new(&config, journal.cluster_id())?;
        let own = node.as_peer();
        if !Nodes::may_say(&own) {
            return Err(Error::Config(
                "a listener's name or host, or the rack, is not fit to be told to others",
            ));
        }
        let nodes = match config.heartbeats {
            true => Nodes::start(own, journal.store().clone(), reach),
            false => Nodes::alone(own),
        };
        let (phase, phases) = Phases::new();
        let nodes = Arc::new(nodes);
        let groups = Groups::new(journal.clone(), ingest.clone(), Arc::clone(&nodes), phases.clone());
        let fetch_budget = FetchBudget::new();
        let services =
            Arc::new(Services { node, nodes, groups, journal, ingest, reader, fetch_budget, phases });
        env::spawn(transactions::run(Arc::clone(&services)));
        Ok(Connections { services, phase })
    }

    /// Serves one client of the first listener until it leaves or breaks the protocol. `local`: the address that it
    /// dialled.
    pub fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        stream: S,
        local: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let (incoming, outgoing) = tokio::io::split(stream);
        let way = Way { listener: 0, local, peer: None };
        connection::run(incoming, outgoing, way, Arc::clone(&self.services))
    }
}

/// A gateway that is bound to its addresses but does not serve yet.
pub struct Gateway {
    kafka: Vec<TcpListener>,
    kafka_addrs: Vec<SocketAddr>,
    http: Option<(TcpListener, SocketAddr)>,
    connections: Connections,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("kafka", &self.kafka_addrs).field("http", &self.http_addr()).finish()
    }
}

impl Gateway {
    /// Binds all sockets. From here on clients can connect, and wait until [`serve`](Gateway::serve) is called; the other
    /// nodes of the cluster are told.
    pub async fn bind(
        mut config: Config,
        journal: Journal,
        ingest: Ingest,
        reader: Reader,
    ) -> Result<Gateway, Error> {
        let mut kafka = Vec::new();
        for listener in &mut config.listeners {
            let (socket, bound) = bind(listener.bind, "Kafka", "--kafka").await?;
            listener.bind = bound;
            kafka.push(socket);
        }
        let kafka_addrs = config.listeners.iter().map(|listener| listener.bind).collect();
        let http = match config.http {
            Some(address) => Some(bind(address, "HTTP", "--http").await?),
            None => None,
        };
        let connections = Connections::starting(config, Reach::Dial, journal, ingest, reader)?;
        Ok(Gateway { kafka, kafka_addrs, http, connections })
    }

    /// The addresses on which Kafka clients are served, one a listener; the ports are the real ones where the
    /// configuration said 0.
    pub fn kafka_addrs(&self) -> &[SocketAddr] {
        &self.kafka_addrs
    }

    /// The id of this node among those of the cluster.
    pub fn node_id(&self) -> i32 {
        self.connections.services.node.id
    }

    /// Whether work that one node does for all is this one's, asked anew at each call: `None` if it is another's, else
    /// whether clients are at work anywhere. A hint, like all that nodes know of each other.
    pub fn duty(&self, work: &'static str) -> impl Fn() -> Option<bool> + Send + Sync + 'static + use<> {
        let nodes = Arc::downgrade(&self.connections.services.nodes);
        move || nodes.upgrade().filter(|nodes| nodes.is_coordinator(work)).map(|nodes| nodes.anybody_busy())
    }

    /// The address of health and metrics.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `shutdown` resolves. Then other nodes are told, and while they take notice requests are still answered;
    /// then it takes no more connections and requests, `/readyz` says 503, long polls are answered at once, other
    /// requests in flight within what is left of 10 s, and all connections are closed.
    ///
    /// The journal, ingest and reader stay open: whoever opened them closes them, after this returns.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let Gateway { kafka, kafka_addrs, http, connections: Connections { services, phase } } = self;
        let http_addr = http.as_ref().map(|(_, address)| *address);
        let door = Door::new(
            services.journal.clone(),
            services.ingest.clone(),
            services.reader.clone(),
            services.fetch_budget.clone(),
            services.phases.clone(),
        );
        let mut http = http.map(|(listener, _)| http::start(listener, door.clone()));
        let sockets = kafka.into_iter().enumerate();
        let mut kafka: FuturesUnordered<_> =
            sockets.map(|(which, socket)| listener::start(socket, which, Arc::clone(&services))).collect();
        phase.send_replace(Phase::Serving);
        info!(node = services.node.id, kafka = ?kafka_addrs, http = ?http_addr, "serving");
        tokio::select! {
            biased;
            () = shutdown => {}
            _ = kafka.next() => return Err(Error::Stopped("Kafka")),
            () = ended(&mut http) => return Err(Error::Stopped("HTTP")),
            other = services.nodes.refused() => return Err(Error::NodeId { id: services.node.id, other }),
        }
        info!("shutting down");
        let end = Instant::now() + SHUTDOWN;
        services.nodes.leave().await;
        phase.send_replace(Phase::Stopping);
        let drained = timeout_at(end, async {
            let mut drained = Ok(());
            while let Some(ended) = kafka.next().await {
                drained = drained.and(ended);
            }
            drained
        });
        let drained = drained.await.unwrap_or(Ok(()));
        let _ = timeout_at(end, door.idle()).await;
        // Whatever has not ended by now is cut.
        drop(kafka);
        phase.send_replace(Phase::Stopped);
        if let Some(http) = http {
            // A scraper that reads slowly must not hold up the end.
            let _ = timeout(HTTP_DRAIN, http).await;
        }
        drained.map_err(|_| Error::Stopped("Kafka"))
    }
}

/// Waits for the end of a task that may not be there; then for ever.
async fn ended(task: &mut Option<Task<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

async fn bind(
    address: SocketAddr,
    purpose: &'static str,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Bind { address, purpose, flag, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
