//! What the handlers know of one connection.
//!
//! Must not know the socket's halves or how frames are cut. Invariant: the memory that the requests of one connection
//! pin is bounded, whatever the client sends.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use strandline_core::env::Era;
use strandline_ingest::Admission;
use tokio::sync::{Mutex, OwnedSemaphorePermit, RwLock, Semaphore};

use crate::limits::{CONNECTION_REQUEST_BYTES, FETCHES_PER_CONNECTION, UNADMITTED_FRAME_BYTES};
use crate::node::{Endpoint, Peer};
use crate::services::Services;

/// One connection, as its requests see it. Dereferences to what all connections share.
pub(crate) struct Session {
    services: Arc<Services>,
    /// The address of this node, as this client should dial it.
    pub(crate) endpoint: Endpoint,
    /// The number of the listener that it came to.
    listener: usize,
    /// Where the client connects from, as Kafka writes it: `/127.0.0.1`; empty: nobody knows.
    pub(crate) client_host: String,
    /// Fetches of this connection that may run now.
    pub(crate) fetch_slots: Semaphore,
    /// Fetches so far: where the next one starts among its partitions.
    fetches: AtomicUsize,
    request_bytes: Arc<Semaphore>,
    /// When the client came; `None`: perhaps before a standstill that has just ended.
    era: Option<Era>,
    /// Held by the request about a group's members that is worked on: the next one, or a commit, waits for it.
    pub(crate) turn: Arc<Mutex<()>>,
    /// Read while an OffsetCommit has no answer; to write, wait until all have theirs.
    pub(crate) commits: Arc<RwLock<()>>,
    /// See [`Session::end_after_this`].
    over: AtomicBool,
}

/// How a client came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// The number of the listener.
    pub(crate) listener: usize,
    /// The address of ours that the client dialled.
    pub(crate) local: SocketAddr,
    /// The client's own, if it came by a socket.
    pub(crate) peer: Option<IpAddr>,
}

/// What a frame holds before it is read, so that reading it cannot exhaust the memory.
pub(crate) enum Held {
    /// A share of the producers' budget: goes along with the batches.
    Admission(Admission),
    /// A share of the connection's own budget: goes back when the answer is there.
    Share {
        /// `None` only if the budget is gone, which it never is.
        _bytes: Option<OwnedSemaphorePermit>,
    },
}

impl Session {
    /// A client that came in here.
    pub(crate) fn new(services: Arc<Services>, Way { listener, local, peer }: Way) -> Arc<Session> {
        Arc::new(Session {
            client_host: peer.map(|peer| format!("/{}", peer.to_canonical())).unwrap_or_default(),
            endpoint: services.node.endpoint(listener, local),
            listener,
            era: services.journal.settled_era(),
            services,
            fetch_slots: Semaphore::new(FETCHES_PER_CONNECTION),
            fetches: AtomicUsize::new(0),
            request_bytes: Arc::new(Semaphore::new(CONNECTION_REQUEST_BYTES)),
            turn: Arc::default(),
            commits: Arc::default(),
            over: AtomicBool::new(false),
        })
    }

    /// Where this client should dial a node of the cluster.
    pub(crate) fn endpoint_of(&self, peer: &Peer) -> Endpoint {
        match peer.address(self.node.listener(self.listener)) {
            Some(address) if peer.id != self.node.id => {
                Endpoint { host: address.host.clone(), port: i32::from(address.port) }
            }
            _ => self.endpoint.clone(),
        }
    }

    /// Whether the node stood still since the client came: what it sent may be a day old, and the log have forgotten that it
    /// came by another way meanwhile.
    pub(crate) fn is_outdated(&self) -> bool {
        self.era != Some(self.journal.era())
    }

    /// Waits until a frame may be read. `None`: the node is shutting down.
    pub(crate) async fn admit(&self, bytes: usize, produce: bool) -> Option<Held> {
        if produce || bytes > UNADMITTED_FRAME_BYTES {
            return self.ingest.admit(bytes).await.ok().map(Held::Admission);
        }
        let share = Arc::clone(&self.request_bytes).acquire_many_owned(bytes as u32).await;
        Some(Held::Share { _bytes: share.ok() })
    }

    /// No request is begun after this one: the client must see its answer before it goes on.
    pub(crate) fn end_after_this(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether no further request may be begun.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A number that grows with each Fetch of this connection.
    pub(crate) fn next_fetch(&self) -> usize {
        self.fetches.fetch_add(1, Ordering::Relaxed)
    }
}

impl Deref for Session {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}
