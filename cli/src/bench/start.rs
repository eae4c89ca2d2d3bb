//! How long a node takes to start on a long journal.
//!
//! Each commit appends one record, so that the manifest grows as it does in life; they are written as fast as the journal
//! takes them, without ingest. Must not know what a start does.

use std::collections::BTreeMap;
use tokio::time::Instant;

use anyhow::{Result, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use strandline_core::manifest::{Append, BatchMeta, Change, Journal, Outcome, journal};
use strandline_core::record::RecordBuilder;
use strandline_core::rope::Rope;
use strandline_core::store::Store;
use uuid::Uuid;

use super::report::Figures;
use crate::args::BenchArgs;
use crate::progress::Progress;
use crate::requests::Requests;

/// Proposals under way: more than the journal puts side by side.
const UNDER_WAY: usize = 256;

pub(super) async fn run(args: &BenchArgs, store: &Store, commits: u64) -> Result<Figures> {
    let mut figures = Figures::default();
    let progress = Progress::records(Some(commits), true);
    let journal =
        Journal::open(store.clone(), journal::Options { tail_bytes: 0, ..journal::Options::default() })
            .await?;
    let topic = match journal.create_topic("start", args.partitions, BTreeMap::new()).await? {
        Ok(topic) => topic,
        Err(void) => bail!("cannot create a topic: {void}"),
    };
    let begun = Instant::now();
    let mut under_way = FuturesUnordered::new();
    for commit in 0..commits {
        if under_way.len() >= UNDER_WAY {
            let outcomes: Option<Result<_, _>> = under_way.next().await;
            outcomes.transpose()?;
            progress.add(1);
        }
        under_way.push(append_one(&journal, topic, (commit % u64::from(args.partitions.max(1))) as u32));
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

/// One commit with one record in it.
async fn append_one(journal: &Journal, topic: Uuid, partition: u32) -> strandline_core::Result<Vec<Outcome>> {
    let now_ms = journal.env().wall_ms();
    let mut batch = RecordBuilder::default();
    batch.push(now_ms, None, Some(b"one small record"));
    let batch = Rope::from(batch.finish());
    let meta = BatchMeta {
        bytes: batch.len() as u32,
        offsets: 1,
        max_timestamp: now_ms,
        producer: None,
        joins: Default::default(),
    };
    let append = Append { topic, partition, segment: None, at: 0, crc: batch.crc32c(), batches: vec![meta] };
    journal.propose_with(vec![Change::Append(append)], batch).await?.await
}
