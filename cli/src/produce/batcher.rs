//! From blocks of input to record batches: lines, keys, partitions, sequence numbers.
//!
//! Must not know the journal. Runs on a thread of its own, since it does nothing but compute. Holds at most
//! [`MAX_OPEN_BYTES`] of records, however many partitions there are; a batch that is not full goes out when the input
//! pauses.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use strandline_core::env::Env;
use strandline_core::record::{BATCH_HEADER_BYTES, RecordBuilder};
use strandline_ingest::partitioner;
use tokio::sync::mpsc;

use super::Target;
use crate::args::ProduceArgs;
use crate::units::show_count;

/// Where a batch is full.
const BATCH_BYTES: usize = 1_000_000;
const BATCH_RECORDS: usize = 10_000;
/// The most that one record takes beside key and value: lengths and deltas as varints.
const RECORD_OVERHEAD_BYTES: usize = 36;
/// Records in batches that are not full yet, all partitions together.
const MAX_OPEN_BYTES: usize = 32 * 1_024 * 1_024;
/// How long the input may pause before what is there is sent.
const PAUSE: Duration = Duration::from_millis(50);

/// A batch of one partition.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) partition: u32,
    /// RecordBatch v2.
    pub(super) bytes: Bytes,
    pub(super) records: u64,
    /// What it was in the input.
    pub(super) input_bytes: u64,
}

/// A batch that is being filled.
#[derive(Debug, Default)]
struct Open {
    records: RecordBuilder,
    input_bytes: u64,
    /// The sequence number of its first record.
    sequence: i32,
}

pub(super) struct Batcher {
    separator: Option<String>,
    fixed_partition: Option<u32>,
    partitions: u32,
    max_message_bytes: usize,
    producer_id: i64,
    env: Env,
    out: mpsc::Sender<Batch>,
    open: BTreeMap<u32, Open>,
    open_bytes: usize,
    /// Where records without a key go until their batch is full.
    sticky: u32,
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
    line: u64,
}

/// Nobody takes batches any more: whoever stopped says why.
struct Stopped;

impl Batcher {
    pub(super) fn new(
        args: &ProduceArgs,
        target: &Target,
        producer_id: i64,
        env: Env,
        out: mpsc::Sender<Batch>,
    ) -> Batcher {
        Batcher {
            separator: args.key_separator.clone(),
            fixed_partition: args.partition,
            partitions: target.partitions,
            max_message_bytes: target.max_message_bytes,
            producer_id,
            // Many short inputs one after the other should not all go to partition 0.
            sticky: (producer_id.unsigned_abs() % u64::from(target.partitions.max(1))) as u32,
            env,
            out,
            open: BTreeMap::new(),
            open_bytes: 0,
            rest: Vec::new(),
            line: 0,
        }
    }

    /// Takes blocks until there are no more.
    pub(super) fn run(mut self, blocks: &Receiver<io::Result<Bytes>>) -> Result<()> {
        loop {
            match blocks.recv_timeout(PAUSE) {
                Ok(block) => {
                    let block = block.context("cannot read the input")?;
                    if self.take_block(&block)?.is_err() {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.send_all().is_err() {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if !self.rest.is_empty() {
            let last = std::mem::take(&mut self.rest);
            if self.take_line(&last, last.len())?.is_err() {
                return Ok(());
            }
        }
        // Nobody left to send to: whoever stopped says why.
        let _ = self.send_all();
        Ok(())
    }

    fn take_block(&mut self, block: &[u8]) -> Result<Result<(), Stopped>> {
        let mut lines = block.split_inclusive(|byte| *byte == b'\n');
        for line in &mut lines {
            let Some(whole) = line.strip_suffix(b"\n") else {
                self.rest.extend_from_slice(line);
                break;
            };
            let taken = if self.rest.is_empty() {
                self.take_line(whole, line.len())?
            } else {
                let mut joined = std::mem::take(&mut self.rest);
                joined.extend_from_slice(whole);
                self.take_line(&joined, joined.len() + 1)?
            };
            if taken.is_err() {
                return Ok(Err(Stopped));
            }
        }
        if self.rest.len() > self.max_message_bytes {
            self.line += 1;
            return Err(self.too_large(self.rest.len()));
        }
        Ok(Ok(()))
    }

    fn take_line(&mut self, line: &[u8], input_bytes: usize) -> Result<Result<(), Stopped>> {
        self.line += 1;
        let (key, value) = match &self.separator {
            None => (None, line),
            Some(separator) => match find(line, separator.as_bytes()) {
                Some(at) => (line.get(..at), line.get(at + separator.len()..).unwrap_or_default()),
                None => bail!(
                    "line {} has no {separator:?}, so that key and value cannot be told apart",
                    self.line
                ),
            },
        };
        let bytes = line.len() + RECORD_OVERHEAD_BYTES;
        if bytes + BATCH_HEADER_BYTES > self.max_message_bytes {
            return Err(self.too_large(line.len()));
        }
        let keyed = key.map(|key| partitioner::by_key(key, self.partitions));
        let partition = self.fixed_partition.or(keyed).unwrap_or(self.sticky);
        let full = |open: &Open| {
            let after = open.records.bytes() + bytes;
            open.records.len() >= BATCH_RECORDS || after > BATCH_BYTES.min(self.max_message_bytes)
        };
        if self.open.get(&partition).is_some_and(|open| !open.records.is_empty() && full(open)) {
            if self.send(partition).is_err() {
                return Ok(Err(Stopped));
            }
            // The sticky partition may have moved on.
            return self.push(self.fixed_partition.or(keyed).unwrap_or(self.sticky), key, value, input_bytes);
        }
        self.push(partition, key, value, input_bytes)
    }

    fn push(
        &mut self,
        partition: u32,
        key: Option<&[u8]>,
        value: &[u8],
        input_bytes: usize,
    ) -> Result<Result<(), Stopped>> {
        let open = self.open.entry(partition).or_default();
        let before = open.records.bytes();
        open.records.push(self.env.wall_ms(), key, Some(value));
        open.input_bytes += input_bytes as u64;
        self.open_bytes += open.records.bytes() - before;
        if self.open_bytes > MAX_OPEN_BYTES {
            return Ok(self.send_all());
        }
        Ok(Ok(()))
    }

    fn send_all(&mut self) -> Result<(), Stopped> {
        let partitions: Vec<u32> = self.open.keys().copied().collect();
        partitions.into_iter().try_for_each(|partition| self.send(partition))
    }

    /// Sends what a partition has. Its sequence numbers go on from there, and wrap as Kafka's do.
    fn send(&mut self, partition: u32) -> Result<(), Stopped> {
        let Some(open) = self.open.get_mut(&partition).filter(|open| !open.records.is_empty()) else {
            return Ok(());
        };
        let records = open.records.len();
        self.open_bytes = self.open_bytes.saturating_sub(open.records.bytes() - BATCH_HEADER_BYTES);
        let bytes = open.records.finish_as(self.producer_id, 0, open.sequence);
        open.sequence = ((i64::from(open.sequence) + records as i64) % (1 << 31)) as i32;
        let input_bytes = std::mem::take(&mut open.input_bytes);
        if partition == self.sticky {
            self.sticky = (self.sticky + 1) % self.partitions.max(1);
        }
        let batch = Batch { partition, bytes, records: records as u64, input_bytes };
        self.out.blocking_send(batch).map_err(|_| Stopped)
    }

    fn too_large(&self, bytes: usize) -> anyhow::Error {
        anyhow::anyhow!(
            "line {} has {} bytes or more, the topic takes {} in one batch (max.message.bytes)",
            self.line,
            show_count(bytes as u64),
            show_count(self.max_message_bytes as u64),
        )
    }
}

fn find(line: &[u8], separator: &[u8]) -> Option<usize> {
    line.windows(separator.len()).position(|window| window == separator)
}

#[cfg(test)]
mod tests;
