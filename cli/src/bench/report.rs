//! Figures, their medians, and how they are shown.
//!
//! Must not know how anything is measured. A figure that was not measured is not shown; ratios are made from figures of
//! the same run, never from medians.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;
use strandline_core::store::Store;

use crate::args::BenchArgs;
use crate::output::{self, Format};
use crate::requests::Requests;
use crate::units::{show_counted, show_dollars};

/// Name, unit, decimals, what it is. In the order of the table.
const KNOWN: [(&str, &str, usize, &str); 45] = [
    ("raw_put_4k_p50_ms", "ms", 3, "store: create 4 KiB, half take less"),
    ("raw_put_4k_p99_ms", "ms", 3, "store: create 4 KiB, 99 of 100 take less"),
    ("raw_get_4k_p50_ms", "ms", 3, "store: read 4 KiB"),
    ("raw_get_4k_p99_ms", "ms", 3, "store: read 4 KiB"),
    ("raw_put_8m_p50_ms", "ms", 1, "store: create 8 MiB"),
    ("raw_put_8m_p99_ms", "ms", 1, "store: create 8 MiB"),
    ("raw_get_8m_p50_ms", "ms", 1, "store: read 8 MiB"),
    ("raw_get_8m_p99_ms", "ms", 1, "store: read 8 MiB"),
    ("raw_put_mib_s", "MiB/s", 0, "store: writing 8 x 8 MiB side by side"),
    ("raw_get_mib_s", "MiB/s", 0, "store: reading 8 x 8 MiB side by side"),
    ("raw_put_paced_p50_ms", "ms", 3, "store: create 4 KiB at --rate, between the appends"),
    ("raw_put_paced_p99_ms", "ms", 3, "store: create 4 KiB at --rate, between the appends"),
    ("ack_p50_ms", "ms", 3, "append of one record at --rate, flush interval 0"),
    ("ack_p99_ms", "ms", 3, "append of one record at --rate, flush interval 0"),
    ("ack_p50_ratio", "x", 2, "ack_p50_ms over raw_put_paced_p50_ms"),
    ("ack_p99_ratio", "x", 2, "ack_p99_ms over raw_put_paced_p99_ms"),
    ("end_txn_p50_ms", "ms", 3, "end of a transaction over all partitions, flush interval 0"),
    ("end_txn_p99_ms", "ms", 3, "end of a transaction over all partitions, flush interval 0"),
    ("end_txn_p50_ratio", "x", 2, "end_txn_p50_ms over raw_put_paced_p50_ms"),
    ("end_txn_p99_ratio", "x", 2, "end_txn_p99_ms over raw_put_paced_p99_ms"),
    ("produce_mib_s", "MiB/s", 0, "appends acknowledged"),
    ("produce_records_s", "1/s", 0, "records acknowledged"),
    ("produce_raw_ratio", "x", 2, "produce_mib_s over raw_put_mib_s"),
    ("produce_puts_per_gib", "PUTs", 1, "for each GiB appended"),
    ("produce_dollars_per_gib", "$", 6, "for each GiB appended"),
    ("consume_tail_mib_s", "MiB/s", 0, "one reader follows the writer"),
    ("consume_cold_mib_s", "MiB/s", 0, "all partitions from the start, caches cold"),
    ("consume_raw_ratio", "x", 2, "consume_cold_mib_s over raw_get_mib_s"),
    ("consume_gets_per_gib", "GETs", 1, "for each GiB read cold"),
    ("consume_dollars_per_gib", "$", 6, "for each GiB read cold"),
    ("raw_copy_mib_s", "MiB/s", 0, "store: reading and writing again 8 MiB objects, 8 side by side"),
    ("raw_copy_mib_cpu_s", "MiB/s", 0, "the same for each second of a processor"),
    ("compact_mib_s", "MiB/s", 0, "all of the log written into chunks"),
    ("compact_mib_cpu_s", "MiB/s", 0, "the same for each second of a processor"),
    ("compact_raw_ratio", "x", 2, "compact_mib_cpu_s over raw_copy_mib_cpu_s"),
    ("replay_mib_s", "MiB/s", 0, "all partitions from the start, from chunks, caches cold"),
    ("replay_raw_ratio", "x", 2, "replay_mib_s over raw_get_mib_s"),
    ("replay_gets_per_gib", "GETs", 1, "for each GiB replayed"),
    ("replay_dollars_per_gib", "$", 6, "for each GiB replayed"),
    ("open_ms", "ms", 1, "opening the log for that"),
    ("start_commits", "", 0, "commits in the journal"),
    ("start_commits_per_s", "1/s", 0, "commits written"),
    ("start_ms", "ms", 1, "opening the log, median"),
    ("start_slowest_ms", "ms", 1, "opening the log, slowest"),
    ("start_gets", "GETs", 1, "for opening the log once"),
];

/// What one run gave.
#[derive(Debug, Default)]
pub(super) struct Figures(BTreeMap<&'static str, f64>);

impl Figures {
    pub(super) fn set(&mut self, name: &'static str, value: f64) {
        self.0.insert(name, value);
    }

    /// Half and 99 of 100, in milliseconds, under the name of what took so long.
    pub(super) fn latencies(&mut self, what: &str, mut seconds: Vec<f64>) {
        seconds.sort_by(f64::total_cmp);
        for (share, suffix) in [(0.50, "_p50_ms"), (0.99, "_p99_ms")] {
            let name = KNOWN.iter().find(|(name, ..)| name.strip_prefix(what) == Some(suffix));
            if let Some((name, ..)) = name {
                self.set(name, percentile(&seconds, share) * 1_000.0);
            }
        }
    }

    /// Sets what follows from the rest.
    pub(super) fn relate(&mut self) {
        for (name, above, below) in [
            ("ack_p50_ratio", "ack_p50_ms", "raw_put_paced_p50_ms"),
            ("ack_p99_ratio", "ack_p99_ms", "raw_put_paced_p99_ms"),
            ("end_txn_p50_ratio", "end_txn_p50_ms", "raw_put_paced_p50_ms"),
            ("end_txn_p99_ratio", "end_txn_p99_ms", "raw_put_paced_p99_ms"),
            ("produce_raw_ratio", "produce_mib_s", "raw_put_mib_s"),
            ("consume_raw_ratio", "consume_cold_mib_s", "raw_get_mib_s"),
            ("compact_raw_ratio", "compact_mib_cpu_s", "raw_copy_mib_cpu_s"),
            ("replay_raw_ratio", "replay_mib_s", "raw_get_mib_s"),
        ] {
            if let (Some(above), Some(below)) = (self.0.get(above), self.0.get(below)) {
                self.set(name, above / below);
            }
        }
    }
}

/// The value below which `share` of the sorted values lie.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), middle.checked_sub(1).and_then(|at| sorted.get(at))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => (upper + lower) / 2.0,
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

pub(super) fn mib_per_second(bytes: usize, seconds: f64) -> f64 {
    bytes as f64 / f64::from(1 << 20) / seconds.max(1e-9)
}

/// Shows all runs: medians first.
pub(super) fn say(runs: &[Figures], args: &BenchArgs, store: &Store, spent: Requests) -> Result<()> {
    let of = |name: &str| -> Vec<f64> { runs.iter().filter_map(|run| run.0.get(name).copied()).collect() };
    let shown = KNOWN.iter().map(|known| (known, of(known.0))).filter(|(_, values)| !values.is_empty());
    if args.format == Format::Json {
        let figures: serde_json::Map<_, _> = shown
            .map(|((name, unit, ..), values)| {
                ((*name).to_owned(), json!({ "median": median(&values), "runs": values, "unit": unit }))
            })
            .collect();
        return output::say_json(&json!({
            "store": store.to_string(),
            "runs": args.runs,
            "seconds": args.seconds,
            "record_bytes": args.record_bytes,
            "partitions": args.partitions,
            "rate": args.rate,
            "figures": figures,
            "requests": { "put": spent.puts, "get": spent.gets, "other": spent.others, "dollars": spent.dollars },
        }));
    }
    let rows: Vec<Vec<String>> = shown
        .map(|((name, unit, decimals, what), values)| {
            let show = |value: f64| format!("{value:.decimals$}");
            let all = values.iter().map(|value| show(*value)).collect::<Vec<_>>().join(" ");
            vec![(*name).to_owned(), show(median(&values)), (*unit).to_owned(), (*what).to_owned(), all]
        })
        .collect();
    output::say(&output::table(&["FIGURE", "MEDIAN", "", "WHAT", "RUNS"], &rows))?;
    output::say(&format!(
        "{store}: {}, {}, {} in all",
        show_counted(spent.puts, "PUT"),
        show_counted(spent.gets, "GET"),
        show_dollars(spent.dollars)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&sorted, 0.5), percentile(&sorted, 0.99)), (50.0, 99.0));
        assert_eq!(percentile(&[5.0], 0.99), 5.0);
    }

    #[test]
    fn every_ratio_and_latency_is_in_the_table() {
        let mut figures = Figures::default();
        let latencies =
            ["raw_put_4k", "raw_get_4k", "raw_put_8m", "raw_get_8m", "raw_put_paced", "ack", "end_txn"];
        for what in latencies {
            figures.latencies(what, vec![0.001, 0.002]);
        }
        let throughputs = ["produce_mib_s", "raw_put_mib_s", "consume_cold_mib_s", "raw_get_mib_s"];
        for name in throughputs.into_iter().chain(["compact_mib_cpu_s", "raw_copy_mib_cpu_s", "replay_mib_s"])
        {
            figures.set(name, 2.0);
        }
        figures.relate();
        assert_eq!(figures.0.len(), 14 + 7 + 8);
        assert!(figures.0.keys().all(|name| KNOWN.iter().any(|known| known.0 == *name)));
        assert_eq!(figures.0.get("ack_p50_ratio"), Some(&1.0));
    }
}
