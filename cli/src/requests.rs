//! What was asked of the store so far and what it costs, read from the process' own metrics.
//!
//! Must not know who asked. The counters only grow, so that two readings always subtract.

use prometheus::core::Collector;
use strandline_core::metrics;

/// Requests, bytes and dollars since some earlier reading.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Requests {
    /// Writes.
    pub(crate) puts: u64,
    /// Reads.
    pub(crate) gets: u64,
    /// Listings and deletions.
    pub(crate) others: u64,
    /// List price of all of them.
    pub(crate) dollars: f64,
}

impl Requests {
    /// Everything since the process began.
    pub(crate) fn now() -> Requests {
        let mut sum = Requests { dollars: metrics::COST_TOTAL.get(), ..Requests::default() };
        for family in metrics::REQUESTS.collect() {
            for counter in family.get_metric() {
                let kind = counter
                    .get_label()
                    .iter()
                    .find(|label| label.name() == "kind")
                    .map(|label| label.value());
                let count = counter.get_counter().get_value() as u64;
                match kind {
                    Some("put") => sum.puts += count,
                    Some("get") => sum.gets += count,
                    _ => sum.others += count,
                }
            }
        }
        sum
    }

    /// What came on top since `self` was read.
    pub(crate) fn since(self) -> Requests {
        let now = Requests::now();
        Requests {
            puts: now.puts - self.puts,
            gets: now.gets - self.gets,
            others: now.others - self.others,
            dollars: now.dollars - self.dollars,
        }
    }
}
