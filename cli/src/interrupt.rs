//! Ctrl-C on long work: the first one asks for an early end with a report, the second one ends it at once.
//!
//! Must not know what the work is.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets `stop` at the first Ctrl-C and returns at the second. Without a way to hear of them, they end the program as always.
pub(crate) async fn interrupted_twice(stop: &AtomicBool) {
    for last in [false, true] {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        stop.store(true, Ordering::Relaxed);
        if last {
            return;
        }
    }
}
