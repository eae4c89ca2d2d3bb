//! Transactions on the log: the time from the wish to commit to the answer.
//!
//! Must not know the store's raw figures. Each transaction has a record in every partition; only its end is measured.

use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use strandline_core::manifest::{
    AddToTransaction, Change, EndTransaction, Identity, InitProducer, Outcome, TransactionOf,
};
use strandline_core::record::RecordBuilder;
use strandline_ingest::{Config, Ingest};
use tokio::time::Instant;

use super::log::Bench;
use super::raw::noise;
use super::report::Figures;

const NAME: &str = "bench";
/// Longer than one takes on any store.
const TIMEOUT_MS: i32 = 60_000;

/// One after the other, flushed at once.
pub(super) async fn ends(bench: &Bench, span: Duration, figures: &mut Figures) -> Result<()> {
    let config = Config { flush_interval: Duration::ZERO, ..Config::default() };
    let ingest = Ingest::start(bench.journal.clone(), config);
    let begin =
        InitProducer { transactional_id: NAME.to_owned(), timeout_ms: TIMEOUT_MS, known: None, begun: 0 };
    let Outcome::Producer(producer) = decide(&ingest, Change::InitProducer(begin)).await? else {
        bail!("no producer");
    };
    let (until, mut seconds) = (Instant::now() + span, Vec::new());
    for number in 1.. {
        if Instant::now() >= until {
            break;
        }
        let of = TransactionOf {
            transactional_id: NAME.to_owned(),
            producer_id: producer.id,
            epoch: producer.epoch,
            number,
        };
        write(bench, &ingest, producer, of.clone()).await?;
        let begun = Instant::now();
        let end = EndTransaction { of, commit: true, bump: false, if_due: false };
        decide(&ingest, Change::EndTransaction(end)).await?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    ingest.close().await;
    figures.latencies("end_txn", seconds);
    Ok(())
}

/// One record to each partition.
async fn write(bench: &Bench, ingest: &Ingest, producer: Identity, of: TransactionOf) -> Result<()> {
    let sequence = i32::try_from(of.number - 1)?;
    let partitions = (0..bench.partitions).map(|partition| (bench.topic, partition)).collect();
    let add = AddToTransaction { of, partitions, groups: Vec::new() };
    decide(ingest, Change::AddToTransaction(add)).await?;
    let mut builder = RecordBuilder::default();
    builder.push(bench.journal.env().wall_ms(), None, Some(&noise(bench.record_bytes, 0)));
    let batch = builder.finish_in_transaction(producer.id, producer.epoch, sequence);
    // As one request brings them.
    let admission = ingest.admit(batch.len() * bench.partitions as usize).await?;
    let appends: Vec<_> = (0..bench.partitions)
        .map(|partition| ingest.append(bench.topic, partition, batch.clone(), admission.clone()))
        .collect();
    try_join_all(appends).await?;
    Ok(())
}

async fn decide(ingest: &Ingest, change: Change) -> Result<Outcome> {
    match ingest.propose(vec![change]).await?.pop() {
        Some(Outcome::Void(void)) => bail!("a change of a transaction did not hold: {void}"),
        Some(outcome) => Ok(outcome),
        None => bail!("a change without an outcome"),
    }
}
