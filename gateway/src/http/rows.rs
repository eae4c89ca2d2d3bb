//! From what the reader gives to records, one pull at a time.
//!
//! Must not know how records are shown. Invariant: records come in the order of their offsets, each once, and what lies
//! between them is never asked for again.

use std::time::Duration;

use bytes::Bytes;
use strandline_core::record::{Record, records};
use strandline_reader::batches::{self, Batch};
use strandline_reader::{FetchLimits, FetchPartition, Fetched, Isolation, ReadError};
use uuid::Uuid;

use super::door::Door;
use super::problem::Problem;
use crate::budget::Share;
use crate::limits::FETCH_WAITED_BYTES;
use crate::phase::Phase;

/// A record with its offset, and whether its time is that of the log.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) offset: i64,
    pub(super) append_time: bool,
    pub(super) record: Record,
}

/// What a pull gave of one partition.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) found: Vec<Found>,
    /// Where the next pull goes on.
    pub(super) next_offset: i64,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) log_start: i64,
}

/// What is wanted of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) topic: Uuid,
    pub(super) partition: u32,
    pub(super) offset: i64,
    /// So many bytes of records, of which the last one may go beyond.
    pub(super) max_bytes: usize,
    /// So many records.
    pub(super) limit: usize,
}

/// Pulls from partitions; waits so long for the first batch. `None`: the node is stopping, and there was none. The share of the
/// node's memory goes back when it is dropped.
pub(super) async fn pull(
    door: &Door,
    wanted: &[Wanted],
    isolation: Isolation,
    max_wait: Duration,
) -> Option<(Vec<Result<Rows, Problem>>, Option<Share>)> {
    let asked: Vec<_> = wanted.iter().map(Wanted::asked).collect();
    let waits = !max_wait.is_zero();
    let most = wanted.iter().map(|wanted| wanted.max_bytes).max().unwrap_or(0);
    // Who waits holds nothing of the budget yet: little comes at once.
    let max_bytes = if waits { most.min(FETCH_WAITED_BYTES) } else { most };
    let waited = FetchLimits { min_bytes: 1, max_bytes, max_wait, isolation };
    let mut fetched = Vec::new();
    if waits {
        fetched = tokio::select! {
            biased;
            fetched = door.reader.fetch(&asked, waited) => fetched,
            () = door.phases.reached(Phase::Stopping) => return None,
        };
    }
    // Once as it was read, and once as it is shown.
    let share = door.fetch_budget.share(2 * max_bytes).await;
    if !waits {
        fetched = door.reader.fetch(&asked, FetchLimits { min_bytes: 0, ..waited }).await;
    }
    let rows = wanted.iter().zip(fetched).map(|(wanted, fetched)| Rows::of(wanted, fetched?));
    Some((rows.collect(), share))
}

impl Wanted {
    fn asked(&self) -> FetchPartition {
        let Wanted { topic, partition, offset, max_bytes, .. } = *self;
        FetchPartition { topic, partition, offset, max_bytes }
    }
}

impl Rows {
    fn of(wanted: &Wanted, fetched: Fetched) -> Result<Rows, Problem> {
        let damaged = |error: strandline_core::record::BadBatch| ReadError::Corrupt(error.to_string());
        let all = batches::split(&fetched).map_err(damaged)?;
        let reached = all.last().map_or(wanted.offset, Batch::end_offset).max(fetched.next_offset);
        let mut rows = Rows {
            found: Vec::new(),
            next_offset: reached.max(wanted.offset),
            high_watermark: fetched.high_watermark,
            last_stable: fetched.last_stable,
            log_start: fetched.log_start,
        };
        let (mut next, mut bytes) = (wanted.offset, 0);
        for batch in batches::without_aborted(all, &fetched.aborted) {
            if batch.header.control() {
                continue;
            }
            let append_time = batch.header.append_time();
            for record in records(&batch.bytes()).map_err(damaged)? {
                let offset = batch.header.base_offset.saturating_add(i64::from(record.offset_delta));
                if offset < next {
                    continue;
                }
                if rows.found.len() == wanted.limit || bytes >= wanted.max_bytes {
                    rows.next_offset = next;
                    return Ok(rows);
                }
                next = offset.saturating_add(1);
                bytes += raw_bytes(&record);
                rows.found.push(Found { offset, append_time, record });
            }
        }
        Ok(rows)
    }
}

fn raw_bytes(record: &Record) -> usize {
    let bytes = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + bytes(value));
    bytes(&record.key) + bytes(&record.value) + headers.sum::<usize>()
}
