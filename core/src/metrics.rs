//! The figures of this crate, in Prometheus' default registry: requests to the store with their price, the tail, conflicts.
//!
//! Must not know who scrapes them. Labels are bounded: kinds of requests, never keys.

use prometheus::{Counter, CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

/// Puts a figure into the default registry. Other crates of Strandline register theirs through it as well.
pub fn registered<M: prometheus::core::Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.unwrap_or_else(|e| unreachable!("a metric has a bad name: {e}"));
    // Each is made once, behind a `LazyLock`; a name clash would only hide the second.
    let _ = prometheus::register(Box::new(metric.clone()));
    metric
}

/// Declares the figures of a crate: each registers itself when it is first used, all of them with `appear()`.
#[macro_export]
macro_rules! figures {
    ($vis:vis, $($(#[$doc:meta])* $name:ident: $type:ty = $make:expr;)*) => {
        $($(#[$doc])* $vis static $name: ::std::sync::LazyLock<$type> =
            ::std::sync::LazyLock::new(|| $crate::metrics::registered($make));)*

        /// Makes every figure of this crate appear, also those that nothing was counted in yet.
        pub(crate) fn appear() {
            $(::std::sync::LazyLock::force(&$name);)*
        }
    };
}

/// A name and its help.
pub fn opts(name: &str, help: &str) -> prometheus::Opts {
    prometheus::Opts::new(name, help)
}

/// Buckets for seconds, from half a millisecond to half a minute.
pub fn seconds(name: &str, help: &str) -> prometheus::HistogramOpts {
    prometheus::HistogramOpts::new(name, help).buckets(vec![
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

figures! { pub,
    /// Requests to the store by kind (`put`, `get`, `head`, `list`, `delete`) and object (`journal`, `segment`, ...).
    REQUESTS: IntCounterVec = IntCounterVec::new(opts("strandline_store_requests_total", "Requests to the store"), &["kind", "object"]);
    /// Requests that did not end as hoped, by kind and what came of them.
    REQUEST_ERRORS: IntCounterVec = IntCounterVec::new(opts("strandline_store_request_errors_total", "Requests to the store that failed, by error"), &["kind", "error"]);
    /// Seconds a request took, by kind.
    REQUEST_SECONDS: HistogramVec = HistogramVec::new(seconds("strandline_store_request_seconds", "Seconds that a request to the store took"), &["kind"]);
    /// Body bytes sent to (`out`) and received from (`in`) the store.
    BYTES: IntCounterVec = IntCounterVec::new(opts("strandline_store_bytes_total", "Body bytes exchanged with the store"), &["direction"]);
    /// List price of the requests made so far, by kind.
    COST: CounterVec = CounterVec::new(opts("strandline_store_cost_dollars", "List price of the requests made to the store"), &["kind"]);
    /// The same, all kinds together.
    COST_TOTAL: Counter = Counter::new("strandline_store_cost_dollars_total", "List price of all requests made to the store");
    /// Slots that somebody else had won.
    CONFLICTS: IntCounter = IntCounter::new("strandline_journal_conflicts_total", "Slots that another node won first");
    /// Appends that were proposed again because an earlier slot was lost.
    REPROPOSED: IntCounter = IntCounter::new("strandline_journal_reproposed_total", "Appends proposed again after a lost slot");
    /// Standstills of the process.
    STANDSTILLS: IntCounter = IntCounter::new("strandline_standstills_total", "Times that the process stood still for an hour or more, or a clock jumped as far");
    /// Slots folded.
    FOLDED: IntCounter = IntCounter::new("strandline_journal_folded_total", "Slots folded");
    /// The highest slot folded.
    APPLIED: IntGauge = IntGauge::new("strandline_journal_applied_slot", "The highest slot folded by this node");
    /// Slots known to be filled but not folded yet.
    TAIL_LAG: IntGauge = IntGauge::new("strandline_journal_tail_lag_slots", "Slots known to be filled but not folded yet");
    /// Proposals that wait for a slot or for their slot to be decided.
    WAITING: IntGauge = IntGauge::new("strandline_journal_waiting_proposals", "Proposals not decided yet");
    /// Seconds from a proposal to its fold.
    COMMIT_SECONDS: Histogram = Histogram::with_opts(seconds("strandline_journal_commit_seconds", "Seconds from a proposal to its fold"));
    /// Checkpoints written.
    CHECKPOINTS: IntCounter = IntCounter::new("strandline_checkpoints_total", "Checkpoints written by this node");
}
