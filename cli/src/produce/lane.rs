//! The way of one partition's batches to their acknowledgement, in order, each exactly once.
//!
//! Must not know where batches come from. An answer that leaves open whether a batch was written is followed by the same
//! bytes again: the fold recognises their sequence numbers. The first batch travels alone, since of a producer that it
//! does not know the fold takes any first sequence number.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use strandline_ingest::{Append, AppendError, Appended, Ingest};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;
use uuid::Uuid;

use super::Target;
use super::batcher::Batch;
use crate::progress::Progress;
use crate::units::show_count;

/// Batches of one partition that may be on their way: enough that a paid flush is full.
const WINDOW: usize = 32;
/// Pause before batches are sent again: first and longest; and for how long nothing may succeed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
const GIVE_UP: Duration = Duration::from_secs(120);

/// What is acknowledged so far, all partitions together.
#[derive(Debug)]
pub(super) struct Tally {
    records: AtomicU64,
    bytes: AtomicU64,
    pub(super) progress: Progress,
}

impl Tally {
    pub(super) fn new(progress: Progress) -> Tally {
        Tally { records: AtomicU64::new(0), bytes: AtomicU64::new(0), progress }
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, batch: &Batch) {
        let records = self.records.fetch_add(batch.records, Ordering::Relaxed) + batch.records;
        self.bytes.fetch_add(batch.input_bytes, Ordering::Relaxed);
        self.progress.add(batch.input_bytes);
        let seconds = self.progress.seconds().max(1e-6);
        self.progress.message(|| format!("{} records/s", show_count((records as f64 / seconds) as u64)));
    }
}

pub(super) struct Lane {
    ingest: Ingest,
    topic: Uuid,
    partition: u32,
    name: String,
    tally: Arc<Tally>,
    /// In order; the first is the oldest that is not acknowledged.
    window: VecDeque<(Batch, Append)>,
    /// A batch was acknowledged: the fold knows this producer.
    known: bool,
    last_success: Instant,
    pause: Duration,
}

impl Lane {
    pub(super) fn new(ingest: Ingest, target: &Target, partition: u32, tally: Arc<Tally>) -> Lane {
        Lane {
            ingest,
            topic: target.id,
            partition,
            name: target.name.clone(),
            tally,
            window: VecDeque::new(),
            known: false,
            last_success: Instant::now(),
            pause: RETRY.0,
        }
    }

    /// Runs until there are no more batches and all are acknowledged.
    pub(super) async fn run(mut self, mut batches: Receiver<Batch>) -> Result<()> {
        let mut open = true;
        loop {
            let room = self.window.len() < if self.known { WINDOW } else { 1 };
            tokio::select! {
                biased;
                answer = head(&mut self.window), if !self.window.is_empty() => self.settle(answer).await?,
                batch = batches.recv(), if open && room => match batch {
                    Some(batch) => {
                        if self.window.is_empty() {
                            self.last_success = Instant::now();
                        }
                        self.send(batch).await?;
                    }
                    None => open = false,
                },
                else => return Ok(()),
            }
        }
    }

    async fn send(&mut self, batch: Batch) -> Result<()> {
        let admission = self.ingest.admit(batch.bytes.len()).await.map_err(|e| self.failed(&e))?;
        let append = self.ingest.append(self.topic, self.partition, batch.bytes.clone(), admission);
        self.window.push_back((batch, append));
        Ok(())
    }

    /// Acts on the answer to the oldest batch.
    async fn settle(&mut self, answer: Result<Appended, AppendError>) -> Result<()> {
        match verdict(answer) {
            Verdict::Written => {
                if let Some((batch, _)) = self.window.pop_front() {
                    self.tally.add(&batch);
                }
                self.known = true;
                self.last_success = Instant::now();
                self.pause = RETRY.0;
                Ok(())
            }
            Verdict::Open(error) if self.last_success.elapsed() < GIVE_UP => {
                tracing::warn!(partition = self.partition, %error, "a batch is not known to be written, sending it again");
                self.send_again().await
            }
            Verdict::Open(error) | Verdict::Refused(error) => Err(self.failed(&error)),
        }
    }

    /// Waits for all other answers, then sends everything that is not known to be written, in the old order.
    async fn send_again(&mut self) -> Result<()> {
        let mut again = Vec::new();
        for (at, (batch, append)) in std::mem::take(&mut self.window).into_iter().enumerate() {
            // The answer of the first is why we are here.
            match if at == 0 { Verdict::Open(AppendError::OutOfOrderSequence) } else { verdict(append.await) }
            {
                Verdict::Written => self.tally.add(&batch),
                // Refused only because its predecessor was not there.
                Verdict::Open(_) | Verdict::Refused(AppendError::OutOfOrderSequence) => again.push(batch),
                Verdict::Refused(error) => return Err(self.failed(&error)),
            }
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RETRY.1);
        for batch in again {
            self.send(batch).await?;
        }
        Ok(())
    }

    fn failed(&self, error: &AppendError) -> anyhow::Error {
        anyhow!("cannot append to partition {} of {}: {error}", self.partition, self.name)
    }
}

enum Verdict {
    Written,
    /// It may have been written, it may not.
    Open(AppendError),
    Refused(AppendError),
}

fn verdict(answer: Result<Appended, AppendError>) -> Verdict {
    match answer {
        // A duplicate was written by an earlier attempt, so long ago that its offset is forgotten.
        Ok(_) | Err(AppendError::DuplicateSequence) => Verdict::Written,
        Err(error @ AppendError::Unavailable(_)) => Verdict::Open(error),
        Err(error) => Verdict::Refused(error),
    }
}

async fn head(window: &mut VecDeque<(Batch, Append)>) -> Result<Appended, AppendError> {
    match window.front_mut() {
        Some((_, append)) => append.await,
        None => std::future::pending().await,
    }
}
