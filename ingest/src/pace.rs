//! How many requests may be paid for: a token bucket, one token a PUT.
//!
//! Must not know what is flushed. Sparse traffic finds tokens and is flushed at once; steady traffic is paced at one
//! request an interval, so that the bill is bounded by configuration. With an interval of zero there is no pace.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    pub(crate) fn new(interval: Duration, burst: u32) -> Pace {
        Pace { interval, burst: f64::from(burst), tokens: f64::from(burst), at: Instant::now() }
    }

    /// When `requests` may be made: a time that has passed if at once.
    pub(crate) fn ready_at(&mut self, requests: usize) -> Instant {
        self.fill();
        // More than the bucket holds would never be there.
        let missing = (requests as f64).min(self.burst) - self.tokens;
        if missing <= 0.0 { self.at } else { self.at + self.interval.mul_f64(missing) }
    }

    /// Pays. A flush that is full does not wait for tokens; it takes those that are there.
    pub(crate) fn pay(&mut self, requests: usize) {
        self.fill();
        self.tokens = (self.tokens - requests as f64).max(0.0);
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let passed = now - self.at;
        self.at = now;
        if self.interval.is_zero() {
            self.tokens = self.burst;
        } else {
            self.tokens = (self.tokens + passed.as_secs_f64() / self.interval.as_secs_f64()).min(self.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the demand, the requests of any span cost at most its intervals plus the burst.
    #[tokio::test(start_paused = true)]
    async fn steady_demand_is_paced_and_sparse_demand_is_not() {
        let interval = Duration::from_millis(100);
        let mut pace = Pace::new(interval, 8);
        let begun = Instant::now();
        let mut paid = 0;
        while begun.elapsed() < Duration::from_secs(10) {
            let requests = 1 + paid % 2;
            tokio::time::sleep_until(pace.ready_at(requests)).await;
            pace.pay(requests);
            paid += requests;
        }
        assert!((100..=110).contains(&paid), "{paid} requests in 10 s");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(pace.ready_at(2) <= Instant::now(), "after a quiet second nothing waits");
    }
}
