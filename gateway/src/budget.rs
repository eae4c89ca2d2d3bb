//! The memory that Fetch answers may hold between the reader and the sockets.
//!
//! Must not know requests. Invariant: the shares handed out never exceed the budget, and a share lives until its bytes
//! are written or thrown away.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::FETCH_BUDGET_BYTES;
use crate::metrics;

/// The whole budget of the node.
#[derive(Debug, Clone)]
pub(crate) struct FetchBudget(Arc<Semaphore>);

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share(OwnedSemaphorePermit);

impl FetchBudget {
    /// All of it, unused.
    pub(crate) fn new() -> FetchBudget {
        FetchBudget(Arc::new(Semaphore::new(FETCH_BUDGET_BYTES)))
    }

    /// Waits for `bytes`; more than the whole budget counts as all of it. `None` if nothing is asked for.
    pub(crate) async fn share(&self, bytes: usize) -> Option<Share> {
        let bytes = bytes.min(FETCH_BUDGET_BYTES) as u32;
        if bytes == 0 {
            return None;
        }
        // The semaphore is never closed; if it were, answers would go out uncounted rather than not at all.
        let permit = Arc::clone(&self.0).acquire_many_owned(bytes).await.ok()?;
        metrics::FETCH_BYTES.add(i64::from(bytes));
        Some(Share(permit))
    }
}

impl Share {
    /// Gives back what is not needed after all.
    pub(crate) fn shrink(mut self, bytes: usize) -> Option<Share> {
        let surplus = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(surplus).map(Share));
        (bytes > 0).then_some(self)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        metrics::FETCH_BYTES.sub(self.0.num_permits() as i64);
    }
}
