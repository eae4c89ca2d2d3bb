//! The handle on reading: pulls by offset, and offsets by time.
//!
//! Must not know sockets. A node answers from its own fold, but reads the journal to its end before it says that
//! something does not exist: never out of range for an offset that does.

use std::sync::Arc;

use futures_util::future::join_all;
use strandline_core::index::Branch;
use strandline_core::limits::DAMAGED_ATTEMPTS;
use strandline_core::manifest::{Extent, Journal};
use strandline_core::mutation::{self, Mutation};
use strandline_core::{Error, Kind, limits};
use tokio::time::Instant;
use uuid::Uuid;

use crate::cache::Cache;
use crate::error::ReadError;
use crate::history::{History, Span};
use crate::locate::Locate;
use crate::metrics;
use crate::plan::{FetchLimits, FetchPartition, Fetched, Isolation, Plan, Share};
use crate::resume::Resume;
use crate::times::{OffsetFound, OffsetSpec};

/// How often a read is planned anew when objects are replaced under it.
const PLANS: u32 = 4;
/// One part in so many of the cache is for decoded index nodes, the rest for blocks.
const INDEX_PART: usize = 8;

/// The settings of the reader.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of historic blocks and of what finds them kept in memory; the tail has its own.
    pub cache_bytes: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config::of_cache(limits::CACHE_BYTES_DEFAULT)
    }
}

impl Config {
    /// The reader's part of a node's cache: what the tail leaves of it.
    pub fn of_cache(all_bytes: usize) -> Config {
        Config { cache_bytes: all_bytes - all_bytes / limits::TAIL_PART }
    }
}

/// A cheap handle.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    locate: Locate,
}

impl Reader {
    /// A reader with an empty cache.
    pub fn start(journal: Journal, config: Config) -> Reader {
        metrics::appear();
        let index_bytes = config.cache_bytes / INDEX_PART;
        let cache = Cache::new(journal.clone(), config.cache_bytes - index_bytes);
        let history = History::new(journal.store().clone(), index_bytes);
        let locate = Locate { journal, cache, history, resume: Resume::new() };
        Reader(Arc::new(Shared { locate }))
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.0.locate.journal
    }

    /// A long poll: answers when `min_bytes` are there, when `max_wait` is over, or when a partition cannot be read as
    /// asked. One answer a partition, in the order of the request.
    pub async fn fetch(
        &self,
        partitions: &[FetchPartition],
        limits: FetchLimits,
    ) -> Vec<Result<Fetched, ReadError>> {
        let until = Instant::now() + limits.max_wait;
        let mut changes = self.journal().subscribe();
        let mut following = None;
        let mut caught_up = false;
        let resume = &self.0.locate.resume;
        let begins = |at: &FetchPartition| resume.behind_gap(at.topic, at.partition, at.offset);
        let mut from: Vec<i64> = partitions.iter().map(begins).collect();
        loop {
            changes.mark_unchanged();
            let plan = self.plan(partitions, &from, &limits);
            if plan.refused && !caught_up && !mutation::is(Mutation::OutOfRangeFromStale) {
                caught_up = true;
                if let Err(error) = self.journal().catch_up().await {
                    return partitions.iter().map(|_| Err(ReadError::from(&error))).collect();
                }
                continue;
            }
            if self.arrives(partitions, &plan) {
                // What others wrote a moment ago is not missed. If the journal cannot be read, what is known must do.
                if let Err(error) = self.journal().refresh().await {
                    tracing::debug!(%error, "cannot read the journal's end");
                }
                continue;
            }
            if plan.refused || plan.bytes >= limits.min_bytes || Instant::now() >= until {
                let fetched = self.read(partitions, plan).await;
                if only_gaps(&fetched, &mut from) {
                    continue;
                }
                return fetched;
            }
            let _waiting = Waiting::begin();
            following.get_or_insert_with(|| self.journal().follow());
            tokio::select! {
                biased;
                // The journal is gone: what is there is all there will be.
                changed = changes.changed() => if changed.is_err() { return self.read(partitions, plan).await },
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Whether a pull comes anew to the end of any of its partitions. Clients that read to the end stop at the high
    /// watermark that they are told there.
    fn arrives(&self, partitions: &[FetchPartition], plan: &Plan) -> bool {
        let resume = &self.0.locate.resume;
        let at_end = partitions.iter().zip(&plan.shares).filter_map(|(wanted, share)| {
            share.as_ref().is_ok_and(|share| share.upto <= share.from).then_some(wanted)
        });
        at_end.filter(|at| resume.arrives(at.topic, at.partition, at.offset)).count() > 0
    }

    fn plan(&self, partitions: &[FetchPartition], from: &[i64], limits: &FetchLimits) -> Plan {
        let ahead_bytes = self.0.locate.cache.ahead_bytes(partitions.len());
        self.journal().view(|manifest| Plan::new(manifest, partitions, from, limits, ahead_bytes))
    }

    async fn read(&self, partitions: &[FetchPartition], plan: Plan) -> Vec<Result<Fetched, ReadError>> {
        let shares = partitions.iter().zip(plan.shares);
        join_all(shares.map(|(wanted, share)| async move { self.read_share(wanted, share?).await })).await
    }

    async fn read_share(&self, wanted: &FetchPartition, mut share: Share) -> Result<Fetched, ReadError> {
        let mut tries = Tries::default();
        loop {
            match self.0.locate.batches(wanted, &share).await {
                Ok(stamped) => {
                    metrics::BYTES.inc_by(stamped.bytes as u64);
                    let Share { high_watermark, last_stable, log_start, .. } = share;
                    return Ok(Fetched {
                        high_watermark,
                        last_stable,
                        log_start,
                        aborted: stamped.aborted,
                        batches: stamped.pieces,
                        bytes: stamped.bytes,
                        next_offset: stamped.next_offset,
                    });
                }
                Err(error) => {
                    tries.spend(&error)?;
                    if error.kind() == Kind::NotFound {
                        share = self.plan_again(wanted, &share).await?;
                    }
                }
            }
        }
    }

    async fn plan_again(&self, wanted: &FetchPartition, share: &Share) -> Result<Share, ReadError> {
        self.journal().catch_up().await.map_err(|error| ReadError::from(&error))?;
        let Share { most_bytes, isolation, .. } = *share;
        let max_wait = std::time::Duration::ZERO;
        let limits = FetchLimits { min_bytes: 0, max_bytes: most_bytes, max_wait, isolation };
        let mut plan = self.plan(std::slice::from_ref(wanted), &[share.from], &limits);
        plan.shares.pop().unwrap_or(Err(ReadError::UnknownPartition))
    }

    /// Finds an offset, from the end of the journal: also the earliest one, which moves when records are deleted. Where only
    /// what is committed is wanted, the latest is the first one that is not decided, and nothing is found behind it.
    pub async fn offset_at(
        &self,
        topic: Uuid,
        partition: u32,
        at: OffsetSpec,
        isolation: Isolation,
    ) -> Result<OffsetFound, ReadError> {
        if !mutation::is(Mutation::StaleListOffsets) {
            self.journal().catch_up().await.map_err(|error| ReadError::from(&error))?;
        }
        let mut tries = Tries::default();
        loop {
            let Look { log_start: from, end, index, extents } = self.look(
                topic,
                partition,
                isolation,
                matches!(at, OffsetSpec::MaxTimestamp | OffsetSpec::Timestamp(_)),
            )?;
            let span = Span { topic, partition, from, index, extents: &extents };
            let found = match at {
                OffsetSpec::Earliest => return Ok(OffsetFound { offset: from, timestamp: -1 }),
                OffsetSpec::Latest => return Ok(OffsetFound { offset: end, timestamp: -1 }),
                OffsetSpec::MaxTimestamp => self.0.locate.max_timestamp(span, end).await,
                OffsetSpec::Timestamp(timestamp) => self.0.locate.first_at(span, end, timestamp).await,
            };
            let error = match found {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            tries.spend(&error)?;
            if error.kind() == Kind::NotFound {
                self.journal().catch_up().await.map_err(|error| ReadError::from(&error))?;
            }
        }
    }

    fn look(
        &self,
        topic: Uuid,
        partition: u32,
        isolation: Isolation,
        at_records: bool,
    ) -> Result<Look, ReadError> {
        self.journal().view(|manifest| {
            let topic = manifest.topic(&topic).ok_or(ReadError::UnknownTopic)?;
            let partition = topic.partitions.get(partition as usize).ok_or(ReadError::UnknownPartition)?;
            let end = match isolation {
                Isolation::ReadUncommitted => partition.high_watermark,
                Isolation::ReadCommitted => partition.last_stable_offset(),
            };
            let wanted = |extent: &&Extent| at_records && !extent.is_marker() && extent.base_offset < end;
            let extents = partition.extents.iter().filter(wanted).copied().collect();
            Ok(Look { log_start: partition.log_start, end, index: partition.index, extents })
        })
    }
}

/// What the manifest says of the records of a partition.
struct Look {
    log_start: i64,
    end: i64,
    index: Option<Branch>,
    extents: Vec<Extent>,
}

/// Whether there was nothing to be read but what compaction left empty; if so, moves `from` behind it.
fn only_gaps(fetched: &[Result<Fetched, ReadError>], from: &mut [i64]) -> bool {
    let mut moved = false;
    for (fetched, from) in fetched.iter().zip(from) {
        match fetched {
            Ok(fetched) if fetched.bytes == 0 => {
                moved |= fetched.next_offset > *from;
                *from = fetched.next_offset.max(*from);
            }
            _ => return false,
        }
    }
    moved
}

/// How often a read may still begin anew, by the reason.
struct Tries {
    /// Objects were replaced under it: a newer manifest says by what.
    plans: u32,
    /// Bytes were damaged, perhaps only on their way here.
    reads: u32,
}

impl Default for Tries {
    fn default() -> Tries {
        Tries { plans: PLANS - 1, reads: DAMAGED_ATTEMPTS }
    }
}

impl Tries {
    /// Whether a read that failed so may begin anew; if not, what its caller hears.
    fn spend(&mut self, error: &Error) -> Result<(), ReadError> {
        let left = match error.kind() {
            Kind::NotFound => &mut self.plans,
            Kind::Corrupt => &mut self.reads,
            _ => return Err(ReadError::from(error)),
        };
        if let Some(rest) = left.checked_sub(1) {
            tracing::warn!(%error, "a read begins anew");
            *left = rest;
            return Ok(());
        }
        Err(match error.kind() {
            Kind::NotFound => {
                ReadError::Unavailable("the records were moved while they were read".to_owned())
            }
            _ => ReadError::from(error),
        })
    }
}

/// Counts a pull that waits, for as long as it does.
struct Waiting;

impl Waiting {
    fn begin() -> Waiting {
        metrics::WAITING.inc();
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::WAITING.dec();
    }
}

#[cfg(test)]
mod tests;
