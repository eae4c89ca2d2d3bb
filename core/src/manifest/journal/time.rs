//! The time that a commit brings to the journal.
//!
//! Must not know what is folded by it. Invariant: journal time never stands still while nodes live, whatever clock once ran
//! ahead of all others, and comes back to the clocks.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Since when the journal has had its time, as far as this node knows.
#[derive(Debug)]
pub(super) struct Pace(Mutex<(i64, Instant)>);

impl Pace {
    /// Of a manifest that was just loaded.
    pub(super) fn new(now_ms: i64) -> Pace {
        Pace(Mutex::new((now_ms, Instant::now())))
    }

    /// Something was folded.
    pub(super) fn folded(&self, now_ms: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != now_ms {
            *known = (now_ms, Instant::now());
        }
    }

    /// What a commit of now is stamped with: this node's clock. Where the journal's time is ahead of that, it goes on at half
    /// the pace of what has really passed, so that time-outs come to their end and the clocks can catch up.
    pub(super) fn stamp_ms(&self, wall_ms: i64) -> i64 {
        let (now_ms, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(0);
        wall_ms.max(now_ms.saturating_add(passed_ms / 2))
    }
}
