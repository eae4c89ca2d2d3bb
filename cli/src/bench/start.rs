//! How long a node takes to start on a long journal.
//!
//! Must not know what is in the commits: they are the smallest there are, and written as fast as the journal takes them.

use std::time::Instant;

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use strandline_core::manifest::{Change, Journal, journal};
use strandline_core::store::Store;

use super::report::Figures;
use crate::args::BenchArgs;
use crate::progress::Progress;
use crate::requests::Requests;

/// Proposals under way: more than the journal puts side by side.
const UNDER_WAY: usize = 256;

pub(super) async fn run(args: &BenchArgs, store: &Store, commits: u64) -> Result<Figures> {
    let mut figures = Figures::default();
    let progress = Progress::records(Some(commits), true);
    let journal = Journal::open(store.clone(), journal::Options { tail_bytes: 0 }).await?;
    let begun = Instant::now();
    let mut under_way = FuturesUnordered::new();
    for _ in 0..commits {
        if under_way.len() >= UNDER_WAY {
            let outcomes: Option<Result<_, _>> = under_way.next().await;
            outcomes.transpose()?;
            progress.add(1);
        }
        under_way.push(journal.propose(vec![Change::Tick]));
    }
    while let Some(outcomes) = under_way.next().await {
        outcomes?;
        progress.add(1);
    }
    figures.set("start_commits_per_s", commits as f64 / begun.elapsed().as_secs_f64());
    journal.close().await;
    progress.clear();

    let mut seconds = Vec::new();
    let before = Requests::now();
    for _ in 0..args.runs {
        let opening = Instant::now();
        let journal = Journal::open(store.clone(), journal::Options::default()).await?;
        seconds.push(opening.elapsed().as_secs_f64());
        journal.close().await;
    }
    let gets = before.since().gets as f64 / f64::from(args.runs);
    seconds.sort_by(f64::total_cmp);
    figures.set("start_commits", commits as f64);
    figures.set("start_ms", seconds.get(seconds.len() / 2).copied().unwrap_or(0.0) * 1_000.0);
    figures.set("start_slowest_ms", seconds.last().copied().unwrap_or(0.0) * 1_000.0);
    figures.set("start_gets", gets);
    Ok(figures)
}
