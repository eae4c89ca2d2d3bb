//! Ctrl-C and SIGTERM on long work: the first one asks for an early end with a report, the second one ends it at once.
//!
//! Must not know what the work is. The first process of a container is not ended by a signal that it does not listen to: whatever
//! takes long listens.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal that asks for the end. Where none can be heard, they end the program as always.
pub(crate) async fn interrupted() {
    let heard = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => pending().await,
    };
    tokio::select! {
        biased;
        () = heard(SignalKind::interrupt()) => {}
        () = heard(SignalKind::terminate()) => {}
    }
}

/// Sets `stop` at the first one and returns at the second.
pub(crate) async fn interrupted_twice(stop: &AtomicBool) {
    interrupted().await;
    stop.store(true, Ordering::Relaxed);
    interrupted().await;
}
