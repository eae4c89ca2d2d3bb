//! The time that a commit brings to the journal.
//!
//! Must not know what is folded by it. Invariant: whatever clock once ran ahead of all others, with each commit journal time
//! goes on, by half of the time that has passed, until the clocks have caught up with it.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// The journal's time at some moment, from which it goes on.
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
        // What others bring on the way at that pace is no news: to begin again with each would lose the time of its way.
        if now_ms > at_half_pace(*known) {
            *known = (now_ms, Instant::now());
        }
    }

    /// What a commit of now is stamped with: this node's clock. Where the journal's time is ahead of that, it goes on at half
    /// pace, so that time-outs come to their end and the clocks can catch up.
    pub(super) fn stamp_ms(&self, wall_ms: i64) -> i64 {
        wall_ms.max(at_half_pace(*self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn at_half_pace((now_ms, since): (i64, Instant)) -> i64 {
    let passed_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    now_ms.saturating_add(passed_ms / 2)
}
