//! When what waits is flushed, and its way to the bucket: segments side by side, then the commit, in order.
//!
//! Must not know who waits. Bytes first, pointer second, always: a commit is proposed only after every segment that it
//! names is known to be there. Commits are proposed in the order in which their batches came.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesOrdered;
use strandline_core::env::{self, Era};
use strandline_core::limits::{FLUSH_BURST, LEASE, SLOT_ATTEMPT, STORE_RETRY};
use strandline_core::manifest::{self, BatchMeta, Change, Journal, ObjectId};
use strandline_core::mutation::{self, Mutation};
use strandline_core::paths;
use strandline_core::rope::Rope;
use strandline_core::segment::Segment;
use strandline_core::{Error, Kind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tracing::Instrument;
use uuid::Uuid;

use crate::ack::{self, Waiter};
use crate::batcher::{Batch, Batcher, Riders, Run};
use crate::config::Config;
use crate::metrics;
use crate::pace::Pace;

/// Flushes between being taken and being decided.
const FLUSHES_IN_FLIGHT: usize = 16;

pub(crate) struct Flusher {
    journal: Journal,
    batcher: Arc<Batcher>,
    pace: Pace,
    inline_max_bytes: usize,
    full_bytes: usize,
    in_flight: Arc<Semaphore>,
}

/// A flush whose bytes are in the bucket, or ride in its commit.
struct Prepared {
    era: Era,
    changes: Vec<Change>,
    payload: Rope,
    waiters: Vec<Vec<Waiter>>,
    riders: Option<Riders>,
    permit: OwnedSemaphorePermit,
}

/// A flush on its way to the bucket.
type Upload = JoinHandle<Prepared>;

impl Flusher {
    pub(crate) fn new(journal: Journal, batcher: Arc<Batcher>, config: &Config) -> Flusher {
        Flusher {
            journal,
            batcher,
            pace: Pace::new(config.flush_interval, FLUSH_BURST),
            inline_max_bytes: config.inline_max_bytes,
            full_bytes: config.full_bytes(),
            in_flight: Arc::new(Semaphore::new(FLUSHES_IN_FLIGHT)),
        }
    }

    /// Runs until the batcher is closed and everything in it is decided.
    pub(crate) async fn run(mut self) {
        let (uploads, to_commit) = mpsc::channel(FLUSHES_IN_FLIGHT);
        let committer = env::spawn(commit_in_order(self.journal.clone(), to_commit));
        while self.wait_until_due().await {
            let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else { break };
            let Some(batch) = self.batcher.take() else { continue };
            metrics::FLUSH_BYTES.observe(batch.bytes as f64);
            metrics::FLUSH_AGE.observe(batch.since.elapsed().as_secs_f64());
            self.pace.pay(self.requests(batch.bytes));
            let upload = self.upload(batch, permit);
            if uploads.send(upload).await.is_err() {
                break;
            }
        }
        drop(uploads);
        // It ends when the last upload is proposed; then every permit comes back when its flush is decided.
        let _ = committer.await;
        let _ = self.in_flight.acquire_many(FLUSHES_IN_FLIGHT as u32).await;
    }

    /// Waits until something must be flushed; `false`: never again.
    async fn wait_until_due(&mut self) -> bool {
        loop {
            let pending = self.batcher.pending();
            if !pending.any {
                if pending.closed && !pending.held_back {
                    return false;
                }
                self.batcher.news().await;
                continue;
            }
            let ready_at = self.pace.ready_at(self.requests(pending.bytes));
            if pending.closed || pending.bytes >= self.full_bytes || ready_at <= tokio::time::Instant::now() {
                return true;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(ready_at) => {}
                () = self.batcher.news() => {}
            }
        }
    }

    /// PUTs that a flush of `bytes` costs.
    fn requests(&self, bytes: usize) -> usize {
        if bytes <= self.inline_max_bytes { 1 } else { 1 + bytes.div_ceil(self.full_bytes) }
    }

    fn upload(&self, batch: Batch, permit: OwnedSemaphorePermit) -> Upload {
        let span = tracing::debug_span!("flush", bytes = batch.bytes, runs = batch.runs.len());
        if batch.bytes <= self.inline_max_bytes {
            let prepared = inline(batch, permit);
            return env::spawn(async move { prepared });
        }
        let count = batch.bytes.div_ceil(self.full_bytes);
        let groups = cut(batch.runs, batch.bytes.div_ceil(count));
        let riders = (batch.era, batch.riders);
        env::spawn(write_segments(self.journal.clone(), groups, riders, permit).instrument(span))
    }
}

/// Splits what the fold needs to know from who waits for it.
fn unzip(run: Run) -> (Vec<BatchMeta>, Vec<Bytes>, Vec<Waiter>) {
    let mut parts = (Vec::new(), Vec::new(), Vec::new());
    for entry in run.entries {
        parts.0.push(entry.meta);
        parts.1.push(entry.bytes);
        parts.2.push(entry.waiter);
    }
    parts
}

fn inline(Batch { runs, riders, era, .. }: Batch, permit: OwnedSemaphorePermit) -> Prepared {
    let (mut changes, mut payload, mut waiters) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    for run in runs {
        let (topic, partition) = (run.topic, run.partition);
        let (batches, bytes, waiting) = unzip(run);
        let crc = crc_of(&bytes);
        let append = manifest::Append { topic, partition, segment: None, at, crc, batches };
        at += append.bytes();
        changes.push(Change::Append(append));
        payload.extend(bytes);
        waiters.push(waiting);
    }
    Prepared { era, changes, payload: Rope::new(payload), waiters, riders, permit }
}

fn crc_of(batches: &[Bytes]) -> u32 {
    Rope::new(batches.iter().cloned()).crc32c()
}

/// Cuts runs into groups of about `bytes` each, between batches; the order of each partition is that of the groups.
fn cut(runs: Vec<Run>, bytes: usize) -> Vec<Vec<Run>> {
    let mut groups = vec![Vec::new()];
    let mut filled = 0;
    for run in runs {
        let (topic, partition) = (run.topic, run.partition);
        let mut part = Vec::new();
        for entry in run.entries {
            if filled >= bytes {
                close_run(&mut groups, topic, partition, &mut part);
                groups.push(Vec::new());
                filled = 0;
            }
            filled += entry.bytes.len();
            part.push(entry);
        }
        close_run(&mut groups, topic, partition, &mut part);
    }
    groups
}

fn close_run(groups: &mut [Vec<Run>], topic: Uuid, partition: u32, entries: &mut Vec<ack::Entry>) {
    if let Some(group) = groups.last_mut().filter(|_| !entries.is_empty()) {
        group.push(Run { topic, partition, entries: std::mem::take(entries) });
    }
}

async fn write_segments(
    journal: Journal,
    groups: Vec<Vec<Run>>,
    (era, riders): (Era, Option<Riders>),
    permit: OwnedSemaphorePermit,
) -> Prepared {
    let (mut segments, mut metas, mut waiters) = (Vec::new(), Vec::new(), Vec::new());
    for group in groups {
        let mut runs = Vec::new();
        for run in group {
            let (topic, partition) = (run.topic, run.partition);
            let (batches, bytes, waiting) = unzip(run);
            runs.push((topic, partition, bytes));
            metas.push(batches);
            waiters.push(waiting);
        }
        segments.push(runs);
    }
    let segments = join_all(segments.into_iter().map(|runs| write_segment(&journal, runs))).await;
    let runs = segments.iter().flat_map(|segment| segment.runs.iter().map(move |run| (segment.id, run)));
    let changes = runs.zip(metas).map(|((id, run), batches)| {
        let (topic, partition) = (run.topic, run.partition);
        Change::Append(manifest::Append {
            topic,
            partition,
            segment: Some(id),
            at: run.at,
            crc: run.crc,
            batches,
        })
    });
    Prepared { era, changes: changes.collect(), payload: Rope::default(), waiters, riders, permit }
}

/// Writes one segment, under a new name if the first is taken. Only after it returns may a commit name the segment.
///
/// Never gives up: a flush that did would let later batches of the same producers overtake its own. Whoever waits decides
/// how long.
async fn write_segment(journal: &Journal, runs: Vec<(Uuid, u32, Vec<Bytes>)>) -> Segment {
    let mut segment = Segment::new(new_id(journal), runs.clone());
    if mutation::is(Mutation::PointerBeforeBytes) {
        let (journal, later) = (journal.clone(), segment.clone());
        env::spawn(async move { later.write(journal.store()).await });
        return segment;
    }
    while let Err(error) = segment.write(journal.store()).await {
        tracing::warn!(%error, "a segment could not be written, trying again");
        // An old name would make the fold take the segment for an orphan.
        if error.kind() == Kind::Invalid || is_old(journal, segment.id) {
            segment = Segment::new(new_id(journal), runs.clone());
        }
        tokio::time::sleep(STORE_RETRY.1).await;
    }
    journal.tail().insert(ObjectId::Segment(segment.id), segment.body.clone());
    segment
}

/// Whether a segment's time lies so far back that it may be too old by the time of its commit.
fn is_old(journal: &Journal, id: ulid::Ulid) -> bool {
    let age_ms = journal.stamp_ms().saturating_sub(i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX));
    age_ms > LEASE.as_millis() as i64
}

/// A segment's time is never behind the journal's, so that a clock in the future elsewhere does not make it look old.
fn new_id(journal: &Journal) -> ulid::Ulid {
    journal.env().ulid(journal.stamp_ms())
}

/// Proposes flushes in the order in which they were taken, as soon as their bytes are there.
async fn commit_in_order(journal: Journal, mut uploads: mpsc::Receiver<Upload>) {
    let mut under_way = FuturesOrdered::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        tokio::select! {
            biased;
            Some(prepared) = under_way.next() => {
                // An upload that panicked has dropped its waiters, who hear that the outcome is not known.
                if let Ok(prepared) = prepared {
                    propose(&journal, prepared).await;
                }
            }
            upload = uploads.recv(), if open => match upload {
                Some(upload) => under_way.push_back(upload),
                None => open = false,
            },
        }
    }
}

async fn propose(journal: &Journal, prepared: Prepared) {
    if mutation::is(Mutation::UnknownCleansUp) {
        return propose_and_clean_up(journal.clone(), prepared).await;
    }
    let Prepared { era, mut changes, payload, waiters, mut riders, permit } = prepared;
    let list = riders.as_mut().map(|riders| std::mem::take(&mut riders.list)).unwrap_or_default();
    changes.extend(list.iter().flat_map(|rider| rider.changes.iter().cloned()));
    match journal.propose_of(era, changes, payload).await {
        Ok(decided) => drop(env::spawn(async move {
            let decided = decided.await;
            ack::answer_riders(list, waiters.len(), &decided);
            drop(riders);
            ack::answer(waiters, decided);
            drop(permit);
        })),
        Err(error) => {
            ack::answer_riders(list, waiters.len(), &Err(error.clone()));
            ack::refuse(waiters.into_iter().flatten(), &error.into());
        }
    }
}

/// For [`Mutation::UnknownCleansUp`].
async fn propose_and_clean_up(journal: Journal, prepared: Prepared) {
    let Prepared { changes, payload, waiters, permit, .. } = prepared;
    let named: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Append(append) => append.segment,
            _ => None,
        })
        .collect();
    let Ok(decided) = journal.propose_with(changes, payload).await else { return };
    env::spawn(async move {
        let decided = tokio::time::timeout(SLOT_ATTEMPT, decided).await;
        if decided.is_err() {
            for id in named {
                let _ = journal.store().delete(&paths::segment(id)).await;
            }
        }
        ack::answer(waiters, decided.unwrap_or(Err(Error::Unknown("no answer in time".into()))));
        drop(permit);
    });
}
