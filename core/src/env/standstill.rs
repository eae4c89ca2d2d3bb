//! Notices that the process stood still: stopped, suspended, or restored from a snapshot.
//!
//! Must not know what was under way. Invariant: what was taken in before a standstill of [`LEASE`] or more has another
//! [`Era`] than what is taken in after it, as long as somebody asks more often than that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Env, Moment};
use crate::limits::LEASE;
use crate::metrics;
use crate::mutation::{self, Mutation};

/// After waking: what comes in may have waited in the kernel while the process stood still.
const WAKING: Duration = Duration::from_secs(1);

/// The time between two standstills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era(u64);

/// What is known of the process's standstills.
#[derive(Debug)]
pub(crate) struct Standstill {
    env: Env,
    // Held for a look at the clocks, never across an await.
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    looked: Moment,
    era: u64,
    woke: Option<Instant>,
}

impl Standstill {
    pub(crate) fn new(env: Env) -> Standstill {
        let last = Mutex::new(Last { looked: env.moment(), era: 0, woke: None });
        Standstill { env, last }
    }

    /// The era that it is now.
    pub(crate) fn era(&self) -> Era {
        self.look().0
    }

    /// The same; `None` just after a standstill.
    pub(crate) fn settled_era(&self) -> Option<Era> {
        let (era, woke) = self.look();
        woke.is_none_or(|woke| woke.elapsed() > WAKING).then_some(era)
    }

    fn look(&self) -> (Era, Option<Instant>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = self.env.apart(last.looked);
        if apart >= LEASE && !mutation::is(Mutation::StandstillOverlooked) {
            tracing::warn!(?apart, "this node stood still, or a clock was set: what it held is given up");
            metrics::STANDSTILLS.inc();
            (last.era, last.woke) = (last.era + 1, Some(Instant::now()));
        }
        last.looked = self.env.moment();
        (Era(last.era), last.woke)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::env::Clock;

    /// Milliseconds: the wall clock's, and what it is ahead of the other.
    #[derive(Debug, Clone, Default)]
    struct Hands(Arc<(AtomicI64, AtomicI64)>);

    impl Clock for Hands {
        fn wall_ms(&self) -> i64 {
            self.0.0.load(Ordering::Relaxed)
        }

        fn boot_ms(&self) -> u64 {
            (self.wall_ms() - self.0.1.load(Ordering::Relaxed)).cast_unsigned()
        }

        fn entropy(&self) -> u128 {
            0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_era_ends_when_either_clock_has_jumped() {
        let hands = Hands::default();
        hands.0.0.store(LEASE.as_millis() as i64 * 10, Ordering::Relaxed);
        let standstill = Standstill::new(Env::new(hands.clone()));
        let (most_of_it, lease) = (LEASE.as_millis() as i64 * 9 / 10, LEASE.as_millis() as i64);
        let first = standstill.era();
        for step in [most_of_it, most_of_it, -most_of_it, -1] {
            hands.0.0.fetch_add(step, Ordering::Relaxed);
            assert_eq!(standstill.settled_era(), Some(first), "somebody looked in between");
        }
        let mut eras = vec![first];
        // Both clocks went on, one stood still, the other one did, one was set back.
        for (wall, ahead) in [(lease, 0), (lease, lease), (0, -lease), (-lease, -lease)] {
            hands.0.0.fetch_add(wall, Ordering::Relaxed);
            hands.0.1.fetch_add(ahead, Ordering::Relaxed);
            assert_eq!(standstill.settled_era(), None, "what comes in may be old");
            let era = standstill.era();
            assert!(!eras.contains(&era));
            eras.push(era);
            tokio::time::advance(WAKING * 2).await;
            assert_eq!(standstill.settled_era(), Some(era));
        }
    }
}
