//! Where the node stands in its life, seen by everything that waits.
//!
//! Must not know what starts or stops it. Invariant: a phase never goes back.

use tokio::sync::watch;

/// Where the node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The sockets are bound, nobody reads from them yet.
    Starting,
    /// Requests are answered.
    Serving,
    /// No new requests; those in flight are answered.
    Stopping,
    /// All Kafka connections are closed.
    Stopped,
}

/// A view of the phase that can wait.
#[derive(Debug, Clone)]
pub(crate) struct Phases(watch::Receiver<Phase>);

impl Phases {
    /// The one place that moves the phase, and the first of its views.
    pub(crate) fn new() -> (watch::Sender<Phase>, Phases) {
        let (mover, view) = watch::channel(Phase::Starting);
        (mover, Phases(view))
    }

    /// The phase now.
    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the node is at least in this phase. A mover that is gone counts as the last one.
    pub(crate) async fn reached(&self, phase: Phase) {
        let _ = self.0.clone().wait_for(|now| *now >= phase).await;
    }
}
