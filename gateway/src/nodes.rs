//! The nodes of the cluster that are alive, and which of them looks after what.
//!
//! Must not know requests. Invariant: all of it is a hint that spreads the load. Any node serves any partition, and
//! nothing that is decided here is relied on for correctness: two nodes that disagree are still a correct cluster.

mod heart;
mod placement;
mod reach;
mod said;
mod zone;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use strandline_core::store::Store;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::limits::{
    NODE_BEAT, NODE_BUSY_ALONE, NODE_DEAD, NODE_DIAL_EVERY, NODE_LEAVE, NODE_LINGER, NODE_REFRESH,
    NODES_DIALLED,
};
use crate::metrics;
use crate::node::Peer;
use crate::task::Task;
use heart::Heart;
use said::Said;

pub(crate) use placement::{Key, replicas};
pub(crate) use reach::Reach;
pub(crate) use zone::of_client as zone_of_client;

/// What is known of the nodes of the cluster.
#[derive(Debug)]
pub(crate) struct Nodes {
    own: i32,
    view: watch::Receiver<View>,
    reach: Reach,
    shared: Arc<Shared>,
    /// `None`: alone by choice.
    heart: Option<Task<()>>,
}

/// What the last look gave.
#[derive(Debug)]
struct View {
    /// Never empty.
    live: Arc<[Peer]>,
    /// When that was, whether it succeeded or not.
    looked: Option<Instant>,
    failed: bool,
    /// When the other nodes were dialled last.
    dialled: Option<Instant>,
    /// Where the other node is that has our id.
    refused: Option<String>,
    left: bool,
}

/// What requests tell the task that beats.
#[derive(Debug)]
struct Shared {
    begun: Instant,
    /// Milliseconds from `begun` to the last sign of a client; 0: there was none.
    active_ms: AtomicU64,
    connections: AtomicUsize,
    asleep: AtomicBool,
    wake: Notify,
    /// A client wants to know whether the others are still there.
    doubt: Notify,
    leave: Notify,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared {
            begun: Instant::now(),
            active_ms: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            wake: Notify::new(),
            doubt: Notify::new(),
            leave: Notify::new(),
        })
    }

    /// A sign of a client. Runs for each request. With `asleep` it is either seen by `busy` or wakes the task.
    fn active(&self) {
        self.active_ms.store(self.now_ms(), Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Whether a client is there, or was so lately.
    fn busy(&self, span: Duration) -> bool {
        let last_ms = self.active_ms.load(Ordering::SeqCst);
        let lately = last_ms > 0 && self.now_ms() - last_ms < span.as_millis() as u64;
        lately || self.connections.load(Ordering::SeqCst) > 0
    }

    fn asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64 + 1
    }
}

/// A client that is connected: the node is busy while it lives.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Shared>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.active();
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Nodes {
    /// A node that neither looks for others nor tells them of itself.
    pub(crate) fn alone(own: Peer) -> Nodes {
        metrics::NODES_LIVE.set(1);
        let (id, (_, view)) = (own.id, watch::channel(View::of(own)));
        Nodes { own: id, view, reach: Reach::Trust, shared: Shared::new(), heart: None }
    }

    /// Tells the others under this store's prefix of this node from now on, and looks for them. Ends when dropped.
    pub(crate) fn start(own: Peer, store: Store, reach: Reach) -> Nodes {
        metrics::NODES_LIVE.set(1);
        let shared = Shared::new();
        let (id, (publish, view)) = (own.id, watch::channel(View::of(own.clone())));
        let heart = Heart::new(store, own, (reach, Arc::clone(&shared)), publish);
        Nodes { own: id, view, reach, shared, heart: Some(Task::spawn(heart.run())) }
    }

    /// Whether the others would believe what this node says of itself.
    pub(crate) fn may_say(own: &Peer) -> bool {
        Said::decode(own.id, &Said::of(own, ("incarnation", None), false).encode()).is_some()
    }

    /// The nodes that live, this one among them, in the order of their ids.
    pub(crate) fn live(&self) -> Arc<[Peer]> {
        Arc::clone(&self.view.borrow().live)
    }

    /// The node that looks after a group or a transactional id.
    pub(crate) fn coordinator(&self, key: &str) -> Peer {
        let live = self.live();
        // There is always one: this node itself.
        placement::first(&live, &Key::coordinated(key), None).unwrap_or(&live[0]).clone()
    }

    /// Whether this node looks after a group or a transactional id.
    pub(crate) fn is_coordinator(&self, key: &str) -> bool {
        self.coordinator(key).id == self.own
    }

    /// The same; before it says no, it looks for nodes that came or went.
    pub(crate) async fn coordinates(&self, key: &str) -> bool {
        if self.is_coordinator(key) {
            return true;
        }
        self.refresh().await;
        self.is_coordinator(key)
    }

    /// Whether clients are at work anywhere, as far as this node has heard.
    pub(crate) fn anybody_busy(&self) -> bool {
        let heard = self.view.borrow().looked.is_some_and(|at| at.elapsed() < NODE_DEAD);
        heard || self.shared.busy(NODE_BUSY_ALONE)
    }

    /// A client came: the node is busy until it leaves, and wakes if it slept.
    pub(crate) fn connected(&self) -> Connected {
        self.shared.connections.fetch_add(1, Ordering::SeqCst);
        self.shared.active();
        Connected(Arc::clone(&self.shared))
    }

    /// A request came: the node is busy for a while, and wakes if it slept.
    pub(crate) fn activity(&self) {
        self.shared.active();
    }

    /// Looks for other nodes if what is known of them is old, and whether they are still there. Waits for a moment at
    /// most; a store that does not answer leaves what was known.
    pub(crate) async fn refresh(&self) {
        if self.heart.is_none() {
            return;
        }
        self.shared.active();
        let recent = |at: Option<Instant>, span| at.is_some_and(|at| at.elapsed() <= span);
        let doubted = |view: &View| {
            self.reach == Reach::Dial
                && (2..=NODES_DIALLED).contains(&view.live.len())
                && !recent(view.dialled, NODE_DIAL_EVERY)
        };
        let mut view = self.view.clone();
        let wait = async {
            let _ = view.wait_for(|view| view.failed || recent(view.looked, NODE_BEAT)).await;
            if doubted(&view.borrow()) {
                self.shared.doubt.notify_one();
                let _ = view.wait_for(|view| !doubted(view)).await;
            }
        };
        let _ = timeout(NODE_REFRESH, wait).await;
    }

    /// Waits until another node turns out to live under our id, soon after our start; gives its address.
    pub(crate) async fn refused(&self) -> String {
        let mut view = self.view.clone();
        if let Ok(view) = view.wait_for(|view| view.refused.is_some()).await
            && let Some(place) = &view.refused
        {
            return place.clone();
        }
        std::future::pending().await
    }

    /// Takes this node off the list. If there are others, it returns only when they had the time to notice, so that
    /// clients which are disconnected from now on are told of the others only. Requests are still answered meanwhile.
    pub(crate) async fn leave(&self) {
        if self.heart.is_none() {
            return;
        }
        self.shared.leave.notify_one();
        let _ = timeout(NODE_LEAVE, self.view.clone().wait_for(|view| view.left)).await;
        if self.live().len() > 1 && self.shared.connections.load(Ordering::SeqCst) > 0 {
            sleep(NODE_LINGER).await;
        }
    }
}

impl View {
    fn of(own: Peer) -> View {
        View {
            live: Arc::from([own]),
            looked: None,
            failed: false,
            dialled: None,
            refused: None,
            left: false,
        }
    }
}
