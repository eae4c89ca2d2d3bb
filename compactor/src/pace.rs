//! How many bytes a second the compactor may move, so that live traffic keeps its latency.
//!
//! Must not know what they are. Reads and writes count alike. Without a rate there is no pace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time whose bytes may go out at once.
const BURST: Duration = Duration::from_millis(250);

#[derive(Debug, Clone)]
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    /// When everything that was spent so far will have been earned. Held for a sum only, never across an await.
    earned_at: Arc<Mutex<Instant>>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Pace {
        let bytes_per_second = bytes_per_second.filter(|rate| *rate > 0);
        Pace { bytes_per_second, earned_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits until these bytes may be moved.
    pub(crate) async fn spend(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let begin = {
            let mut earned_at = self.earned_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*earned_at).max(Instant::now());
            *earned_at = begin + cost;
            begin
        };
        if let Some(soon) = begin.checked_sub(BURST) {
            tokio::time::sleep_until(soon).await;
        }
    }
}
