//! One partition, pull after pull: batches, the records in them, and who gets them.
//!
//! Must not know other partitions. Invariant: each part goes on where the one before has ended, and only the last one ends at
//! the end of the range. Pulls begin small and grow, so that a short range costs little and a long one few requests.

use std::ops::Range;
use std::time::Duration;

use strandline_archive::{Row, RowsBuilder};
use strandline_core::limits::MIB;
use strandline_core::record::{BadBatch, Record, records};
use tokio::sync::mpsc::Sender;
use uuid::Uuid;

use super::table::Table;
use super::{Part, PartitionRange, ReplayError};
use crate::batches::{self, Batch};
use crate::error::ReadError;
use crate::plan::{FetchLimits, FetchPartition, Fetched, Isolation};
use crate::reader::Reader;

/// Bytes of the first pull, and of the largest.
const FIRST_PULL_BYTES: usize = MIB;
const MOST_PULL_BYTES: usize = 4 * MIB;
/// A record batch that has come to this is full: with a record more of the usual size it stays within 8 MiB, to which its memory
/// was grown by doubling.
const PART_BYTES: usize = 7 * MIB;
/// A store that does not answer is asked again, so often and after such a pause.
const RETRIES: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// What comes out of a scan. Whoever hears of no end has not heard all.
#[derive(Debug)]
pub(super) enum Step {
    Part(Part),
    Done,
}

/// How all partitions of a replay are read.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    reader: Reader,
    topic: Uuid,
    isolation: Isolation,
    table: Table,
    batch_rows: usize,
}

/// Where the scan of one partition stands.
struct Place {
    partition: u32,
    /// The next part begins here.
    begin: i64,
    /// Everything below was looked at.
    offset: i64,
    end: i64,
    rows: RowsBuilder,
}

/// Nobody takes what is read.
struct Gone;

impl Scan {
    pub(super) fn new(
        reader: Reader,
        (topic, isolation): (Uuid, Isolation),
        table: Table,
        batch_rows: usize,
    ) -> Scan {
        Scan { reader, topic, isolation, table, batch_rows }
    }

    /// Reads a range and ends with [`Step::Done`] or an error.
    pub(super) async fn run(self, range: PartitionRange, steps: Sender<Result<Step, ReplayError>>) {
        let PartitionRange { partition, offsets: Range { start, end } } = range;
        let rows = self.table.rows(partition);
        let mut place = Place { partition, begin: start, offset: start, end, rows };
        let last = match self.scan(&mut place, &steps).await {
            Ok(Ok(())) => Ok(Step::Done),
            Ok(Err(Gone)) => return,
            Err(error) => {
                // What was read before comes out. If nobody takes it, nobody takes the error either.
                let _ = self.give(&mut place, &steps).await;
                Err(error)
            }
        };
        // Nobody listens: then nobody needs to know.
        let _ = steps.send(last).await;
    }

    async fn scan(
        &self,
        place: &mut Place,
        steps: &Sender<Result<Step, ReplayError>>,
    ) -> Result<Result<(), Gone>, ReplayError> {
        let mut most_bytes = FIRST_PULL_BYTES;
        while place.offset < place.end {
            let fetched = tokio::select! {
                biased;
                () = steps.closed() => return Ok(Err(Gone)),
                fetched = self.pull(place, most_bytes) => fetched?,
            };
            most_bytes = (most_bytes * 2).min(MOST_PULL_BYTES);
            if self.take(place, &fetched, steps).await?.is_err() {
                return Ok(Err(Gone));
            }
        }
        place.offset = place.end;
        self.give(place, steps).await
    }

    /// The next batches. Also a store that was away for a while is read to the end.
    async fn pull(&self, place: &Place, most_bytes: usize) -> Result<Fetched, ReplayError> {
        let Place { partition, offset, .. } = *place;
        let wanted = FetchPartition { topic: self.topic, partition, offset, max_bytes: most_bytes };
        let limits = FetchLimits {
            min_bytes: 0,
            max_bytes: most_bytes,
            max_wait: Duration::ZERO,
            isolation: self.isolation,
        };
        let mut failures = 0;
        loop {
            let answer = self.reader.fetch(&[wanted], limits).await.pop();
            let source = match answer.unwrap_or(Err(ReadError::UnknownPartition)) {
                Ok(fetched) => return Ok(fetched),
                Err(error @ ReadError::Unavailable(_)) if failures < RETRIES => {
                    tracing::warn!(partition, offset, %error, "cannot read, trying again");
                    failures += 1;
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
                Err(error) => error,
            };
            return Err(ReplayError::Read { partition, offset, source });
        }
    }

    /// Makes rows of what a pull gave, and passes on what is full.
    async fn take(
        &self,
        place: &mut Place,
        fetched: &Fetched,
        steps: &Sender<Result<Step, ReplayError>>,
    ) -> Result<Result<(), Gone>, ReplayError> {
        let Place { partition, offset, .. } = *place;
        let read = |source| ReplayError::Read { partition, offset, source };
        let all = batches::split(fetched).map_err(|error| read(ReadError::Corrupt(error.to_string())))?;
        let reached = all.last().map_or(offset, Batch::end_offset).max(fetched.next_offset);
        if reached <= offset {
            // The range was there when it was fixed.
            return Err(read(ReadError::Corrupt("there is nothing".to_owned())));
        }
        for batch in batches::without_aborted(all, &fetched.aborted) {
            let wanted = place.offset..place.end;
            if batch.header.control() || batch.end_offset() <= wanted.start {
                continue;
            }
            if batch.header.base_offset >= wanted.end {
                break;
            }
            let unreadable =
                |source| ReplayError::Unreadable { partition, offset: batch.header.base_offset, source };
            for record in records(&batch.bytes()).map_err(unreadable)? {
                let row = row(&batch, record).map_err(unreadable)?;
                if !wanted.contains(&row.offset) {
                    continue;
                }
                if row.offset < place.offset {
                    let what = "its records are not in the order of their offsets";
                    return Err(unreadable(BadBatch::Records(what.to_owned())));
                }
                place.offset = row.offset.saturating_add(1);
                place.rows.push(&self.table.cut(row));
                let is_full = place.rows.len() >= self.batch_rows || place.rows.bytes() >= PART_BYTES;
                if is_full && self.give(place, steps).await?.is_err() {
                    return Ok(Err(Gone));
                }
            }
            // Unfolding takes a while: others may have a turn.
            tokio::task::yield_now().await;
        }
        place.offset = reached.min(place.end);
        Ok(Ok(()))
    }

    /// Passes on what was gathered, if it is anything.
    async fn give(
        &self,
        place: &mut Place,
        steps: &Sender<Result<Step, ReplayError>>,
    ) -> Result<Result<(), Gone>, ReplayError> {
        if place.rows.is_empty() {
            return Ok(Ok(()));
        }
        let rows = self.table.finish(&mut place.rows)?;
        let offsets = place.begin..place.offset;
        place.begin = place.offset;
        let part = Part { partition: place.partition, offsets, rows };
        Ok(steps.send(Ok(Step::Part(part))).await.map_err(|_| Gone))
    }
}

/// A record with its place in the partition.
fn row(batch: &Batch, record: Record) -> Result<Row, BadBatch> {
    let Record { offset_delta, timestamp, key, value, headers } = record;
    if !u32::try_from(offset_delta).is_ok_and(|delta| delta < batch.header.offsets) {
        return Err(BadBatch::Records("a record has an offset outside of its batch".to_owned()));
    }
    let offset = batch.header.base_offset.saturating_add(i64::from(offset_delta));
    Ok(Row { offset, timestamp, append_time: batch.header.append_time(), key, value, headers })
}
