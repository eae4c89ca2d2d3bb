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
//! - `http`: health, readiness, metrics
//! - `dispatch`: which handler answers a request, and when
//! - `handlers`: what each API does, one file an API
//! - `reply`: an answer on its way to the socket
//! - `session`: what the handlers know of one connection
//! - `topics`: from names and ids to topics
//! - `services`: what all connections share
//! - `budget`: the memory that Fetch answers may hold
//! - `configs`: the configs of topics and of this broker
//! - `errors`: from our errors to Kafka's codes
//! - `nodes`: the nodes of the cluster that live, and which of them looks after what
//! - `node`: who we are
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
mod topics;
mod services;
mod budget;
mod configs;
mod errors;
mod nodes;
mod node;
mod phase;
mod task;
mod metrics;
mod error;
mod limits;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use strandline_core::manifest::Journal;
use strandline_ingest::Ingest;
use strandline_reader::Reader;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::info;

pub use configs::{
    check as check_topic_configs, check_changes as check_topic_config_changes, is_topic_config,
};
pub use error::Error;
pub use topics::colliding_topic;

use budget::FetchBudget;
use limits::HTTP_DRAIN;
use node::{MAX_NODE_ID, Node};
use nodes::{Address, Nodes, Peer};
use phase::{Phase, Phases};
use services::Services;
use task::Task;

/// Where to listen and who to say we are.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address for Kafka clients.
    pub kafka: SocketAddr,
    /// Host and port that clients are told. `None`: the address that each of them connected to.
    pub advertise: Option<(String, u16)>,
    /// The address for health and metrics. `None`: not served.
    pub http: Option<SocketAddr>,
    /// The id of this node among those of the cluster: 1 to 2^30.
    pub node_id: i32,
    /// The availability zone.
    pub rack: Option<String>,
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
        let connections = Connections::starting(config, journal, ingest, reader)?;
        connections.phase.send_replace(Phase::Serving);
        Ok(connections)
    }

    fn starting(
        config: Config,
        journal: Journal,
        ingest: Ingest,
        reader: Reader,
    ) -> Result<Connections, Error> {
        if !(1..=MAX_NODE_ID).contains(&config.node_id) {
            return Err(Error::Config("the node id must be from 1 to 1073741824"));
        }
        metrics::register();
        let node = Node {
            id: config.node_id,
            rack: config.rack,
            cluster_id: journal.cluster_id().to_owned(),
            advertise: config.advertise,
        };
        let (phase, phases) = Phases::new();
        let nodes = Nodes::alone(own(&node, config.kafka));
        let fetch_budget = FetchBudget::new();
        let services = Arc::new(Services { node, nodes, journal, ingest, reader, fetch_budget, phases });
        Ok(Connections { services, phase })
    }

    /// Serves one client until it leaves or breaks the protocol. `local`: the address that it dialled.
    pub fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        stream: S,
        local: SocketAddr,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let (incoming, outgoing) = tokio::io::split(stream);
        connection::run(incoming, outgoing, local, Arc::clone(&self.services))
    }
}

/// A gateway that is bound to its addresses but does not serve yet.
pub struct Gateway {
    kafka: TcpListener,
    kafka_addr: SocketAddr,
    http: Option<(TcpListener, SocketAddr)>,
    connections: Connections,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("kafka", &self.kafka_addr).field("http", &self.http_addr()).finish()
    }
}

impl Gateway {
    /// Binds both sockets. From here on clients can connect, and wait until [`serve`](Gateway::serve) is called.
    pub async fn bind(
        config: Config,
        journal: Journal,
        ingest: Ingest,
        reader: Reader,
    ) -> Result<Gateway, Error> {
        let connections = Connections::starting(config.clone(), journal, ingest, reader)?;
        let (kafka, kafka_addr) = bind(config.kafka, "Kafka", "--kafka").await?;
        let http = match config.http {
            Some(address) => Some(bind(address, "HTTP", "--http").await?),
            None => None,
        };
        Ok(Gateway { kafka, kafka_addr, http, connections })
    }

    /// The address on which Kafka clients are served; the port is the real one where the configuration said 0.
    pub fn kafka_addr(&self) -> SocketAddr {
        self.kafka_addr
    }

    /// The address of health and metrics.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `shutdown` resolves. Then it takes no more connections and requests, `/readyz` says 503, long polls
    /// are answered at once, other requests in flight within 10 s, and all connections are closed.
    ///
    /// The journal, ingest and reader stay open: whoever opened them closes them, after this returns.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let Gateway { kafka, kafka_addr, http, connections: Connections { services, phase } } = self;
        let http_addr = http.as_ref().map(|(_, address)| *address);
        let (phases, journal) = (services.phases.clone(), services.journal.clone());
        let mut http = http.map(|(listener, _)| Task::spawn(http::serve(listener, phases, journal)));
        let mut kafka = Task::spawn(listener::run(kafka, services));
        phase.send_replace(Phase::Serving);
        info!(kafka = %kafka_addr, http = ?http_addr, "serving");
        tokio::select! {
            biased;
            () = shutdown => {}
            _ = &mut kafka => return Err(Error::Stopped("Kafka")),
            () = ended(&mut http) => return Err(Error::Stopped("HTTP")),
        }
        info!("shutting down");
        phase.send_replace(Phase::Stopping);
        let drained = kafka.await;
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

/// This node, as others are told.
fn own(node: &Node, kafka: SocketAddr) -> Peer {
    let endpoint = node.endpoint(kafka);
    let port = u16::try_from(endpoint.port).unwrap_or_default();
    let address = Address { name: "kafka".to_owned(), host: endpoint.host, port };
    Peer { id: node.id, rack: node.rack.clone(), listeners: Arc::from([address]) }
}
