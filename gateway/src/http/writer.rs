//! From records to batches, and from acknowledgements to an answer.
//!
//! Must not know bodies. Invariants: records of one partition are written in the order in which they came; what is said to
//! be appended was acknowledged; two requests with one idempotency key and one body are written once.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use bytes::Bytes;
use serde::Serialize;
use strandline_core::manifest::{AppendRules, Joins};
use strandline_core::record::{BATCH_HEADER_BYTES, RecordBuilder};
use strandline_ingest::{Admission, Append, partitioner};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use uuid::Uuid;

use super::door::Door;
use super::problem::{Kind, Problem};
use super::record::Incoming;
use crate::hash;
use crate::limits::{HTTP_KEYED_BATCHES, PRODUCE_TIMEOUT_DEFAULT};

/// Where a batch is full.
const BATCH_BYTES: usize = 1_000_000;
const BATCH_RECORDS: usize = 10_000;
/// The most that a record takes beside key, value and headers: lengths and deltas as varints.
const RECORD_OVERHEAD_BYTES: usize = 36;
/// Producer ids from here on are idempotency keys; those that are given out count from 0.
const KEY_IDS: u64 = 1 << 62;
/// Sequence numbers have 31 bits (KIP-98).
const SEQUENCES: u64 = 1 << 31;

/// Where records go.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) partitions: u32,
    pub(super) rules: AppendRules,
}

/// What a request says of all of its records.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Defaults {
    pub(super) partition: Option<u32>,
    pub(super) timestamp: Option<i64>,
}

/// A request that can be told from others: as a producer that writes once to each partition. Its id is that of topic and key,
/// its first sequence number that of the body, so that another body under the same key is out of order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Once {
    producer_id: i64,
    sequence: i32,
}

impl Once {
    /// Of a key, unique within its topic, and all that came with it.
    pub(super) fn new(topic: Uuid, key: &[u8], request: &[&[u8]]) -> Once {
        let id = hash::mix(hash::fnv1a(&[topic.as_bytes(), key])) % KEY_IDS;
        let sequence = hash::mix(hash::fnv1a(request)) % SEQUENCES;
        Once { producer_id: (KEY_IDS | id).cast_signed(), sequence: sequence as i32 }
    }
}

/// What became of a request's records.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Appended {
    topic: String,
    /// How many there are; all of them are in the store.
    records: u64,
    /// Where they are, by partition.
    appended: Vec<AppendedTo>,
    /// Where each of them is, in the order of the request. Not for NDJSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    offsets: Option<Vec<AppendedAt>>,
}

/// Records of one partition; those of others may lie between them.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct AppendedTo {
    partition: u32,
    /// Of the first one.
    offset: i64,
    /// Of the last one.
    last_offset: i64,
    records: u64,
}

/// Where a record is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
struct AppendedAt {
    partition: u32,
    offset: i64,
}

/// A batch that is being filled.
#[derive(Debug, Default)]
struct Open {
    records: RecordBuilder,
    /// The most that they can take. Batches are cut by it, so that a request that comes again is cut as it was.
    bytes: usize,
    /// Which of the request's records they are; only where each is told its offset.
    places: Vec<usize>,
    /// Sequence numbers used so far.
    sequences: u32,
    batches: usize,
}

/// A batch on its way.
#[derive(Debug)]
struct Flight {
    partition: u32,
    records: u64,
    places: Vec<usize>,
    append: Append,
    deadline: Instant,
}

pub(super) struct Writer {
    door: Door,
    target: Target,
    defaults: Defaults,
    once: Option<Once>,
    tells_offsets: bool,
    /// Where records without a key go.
    sticky: u32,
    open: BTreeMap<u32, Open>,
    /// Batches that are full and not handed over yet.
    full: Vec<(u32, Bytes, Vec<usize>, u64)>,
    flights: VecDeque<Flight>,
    /// The time of records that have none, and those that others may have.
    now_ms: i64,
    times: Option<RangeInclusive<i64>>,
    taken: usize,
    appended: BTreeMap<u32, AppendedTo>,
    offsets: Vec<Option<AppendedAt>>,
}

impl Writer {
    pub(super) fn new(door: &Door, target: Target, defaults: Defaults, tells_offsets: bool) -> Writer {
        let chance = door.journal.env().uuid().as_u128() as u64;
        Writer {
            door: door.clone(),
            defaults,
            once: None,
            tells_offsets,
            sticky: (chance % u64::from(target.partitions.max(1))) as u32,
            now_ms: door.journal.env().wall_ms(),
            times: door.ingest.times(&target.rules),
            target,
            open: BTreeMap::new(),
            full: Vec::new(),
            flights: VecDeque::new(),
            taken: 0,
            appended: BTreeMap::new(),
            offsets: Vec::new(),
        }
    }

    /// The same request, when it comes again, is written once.
    pub(super) fn once(&mut self, once: Once) {
        self.sticky = (once.producer_id.unsigned_abs() % u64::from(self.target.partitions.max(1))) as u32;
        self.once = Some(once);
    }

    /// Takes a record in. Nothing of it is written before [`Writer::send`].
    pub(super) fn take(&mut self, record: &Incoming<'_>) -> Result<(), Problem> {
        let Target { partitions, rules, .. } = &self.target;
        if rules.keyed && record.key.is_none() {
            let detail = "the topic is compacted, and the record has no key: nothing would tell it apart";
            return Err(Problem::new(Kind::InvalidRecord, detail));
        }
        let by_key = || record.key.as_deref().map(|key| partitioner::by_key(key, *partitions));
        let partition = record.partition.or(self.defaults.partition).or_else(by_key).unwrap_or(self.sticky);
        if partition >= *partitions {
            let detail = format!("there is no partition {partition}: the topic has {partitions}, from 0 on");
            return Err(Problem::new(Kind::InvalidRecord, detail));
        }
        let bytes = RECORD_OVERHEAD_BYTES + raw_bytes(record);
        let most = rules.max_message_bytes;
        if bytes + BATCH_HEADER_BYTES > most {
            let detail = format!("a record of {bytes} bytes, the topic takes {most} (max.message.bytes)");
            return Err(Problem::new(Kind::RecordTooLarge, detail));
        }
        let timestamp = record.timestamp.or(self.defaults.timestamp).unwrap_or(self.now_ms);
        if let Some(times) = self.times.as_ref().filter(|times| !times.contains(&timestamp)) {
            let (from, upto) = (times.start(), times.end());
            let detail =
                format!("the timestamp {timestamp} is not within [{from}, {upto}], which the topic takes");
            return Err(Problem::new(Kind::InvalidRecord, detail));
        }
        let open = self.open.entry(partition).or_default();
        let room = BATCH_BYTES.min(most).saturating_sub(BATCH_HEADER_BYTES);
        if !open.records.is_empty() && (open.records.len() >= BATCH_RECORDS || open.bytes + bytes > room) {
            self.close(partition)?;
        }
        let open = self.open.entry(partition).or_default();
        open.bytes += bytes;
        open.records.push_with(timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
        if self.tells_offsets {
            open.places.push(self.taken);
        }
        self.taken += 1;
        Ok(())
    }

    /// Makes a batch of what a partition has.
    fn close(&mut self, partition: u32) -> Result<(), Problem> {
        let Some(open) = self.open.get_mut(&partition).filter(|open| !open.records.is_empty()) else {
            return Ok(());
        };
        let records = open.records.len();
        let bytes = match self.once {
            None => open.records.finish(),
            Some(_) if open.batches >= HTTP_KEYED_BATCHES => {
                let detail = format!(
                    "with an Idempotency-Key a request makes at most {HTTP_KEYED_BATCHES} batches a partition: send less at once"
                );
                return Err(Problem::new(Kind::BodyTooLarge, detail));
            }
            Some(Once { producer_id, sequence }) => {
                let sequence = (u64::from(sequence.unsigned_abs()) + u64::from(open.sequences)) % SEQUENCES;
                open.records.finish_as(producer_id, 0, sequence as i32)
            }
        };
        open.bytes = 0;
        open.sequences += records as u32;
        open.batches += 1;
        self.full.push((partition, bytes, std::mem::take(&mut open.places), records as u64));
        Ok(())
    }

    /// Hands over all that was taken.
    pub(super) fn send(&mut self, admission: &Admission) -> Result<(), Problem> {
        let partitions: Vec<u32> = self.open.keys().copied().collect();
        partitions.into_iter().try_for_each(|partition| self.close(partition))?;
        let deadline = Instant::now() + PRODUCE_TIMEOUT_DEFAULT;
        for (partition, batch, places, records) in self.full.drain(..) {
            let place = (self.target.id, partition);
            let append = self.door.ingest.append_as(Joins::Nothing, place, batch, admission.clone());
            self.flights.push_back(Flight { partition, records, places, append, deadline });
        }
        self.now_ms = self.door.journal.env().wall_ms();
        self.times = self.door.ingest.times(&self.target.rules);
        Ok(())
    }

    /// Waits until at most so many batches are on their way.
    pub(super) async fn settle(&mut self, most: usize) -> Result<(), Problem> {
        while self.flights.len() > most
            && let Some(Flight { partition, records, places, append, deadline }) = self.flights.pop_front()
        {
            let late = || {
                Problem::new(Kind::Unavailable, "it is not known whether the records are written; try again")
            };
            let appended = timeout_at(deadline, append).await.map_err(|_| late())?.map_err(Problem::from)?;
            let (offset, last_offset) = (appended.base_offset, appended.base_offset + records as i64 - 1);
            let so_far = self.appended.entry(partition).or_insert(AppendedTo {
                partition,
                offset,
                last_offset,
                records: 0,
            });
            so_far.offset = so_far.offset.min(offset);
            so_far.last_offset = so_far.last_offset.max(last_offset);
            so_far.records += records;
            for (place, offset) in places.into_iter().zip(offset..) {
                self.offsets.resize(self.offsets.len().max(place + 1), None);
                if let Some(known) = self.offsets.get_mut(place) {
                    *known = Some(AppendedAt { partition, offset });
                }
            }
        }
        Ok(())
    }

    /// Waits for all acknowledgements; whatever fails, the others are still counted.
    pub(super) async fn finish(&mut self) -> Result<(), Problem> {
        let mut ended = Ok(());
        while !self.flights.is_empty() {
            let most = self.flights.len() - 1;
            ended = ended.and(self.settle(most).await);
        }
        ended
    }

    /// Records that are known to be written.
    pub(super) fn acknowledged(&self) -> u64 {
        self.appended.values().map(|to| to.records).sum()
    }

    /// What became of everything.
    pub(super) fn answer(self) -> Appended {
        Appended {
            records: self.acknowledged(),
            topic: self.target.name,
            appended: self.appended.into_values().collect(),
            offsets: self.tells_offsets.then(|| self.offsets.into_iter().flatten().collect()),
        }
    }
}

/// Bytes of a record without what a batch adds to each part.
fn raw_bytes(record: &Incoming<'_>) -> usize {
    let bytes = |part: &Option<std::borrow::Cow<'_, [u8]>>| part.as_ref().map_or(0, |part| part.len());
    let headers = record.headers.iter().map(|(name, value)| name.len() + bytes(value) + 10);
    bytes(&record.key) + bytes(&record.value) + headers.sum::<usize>()
}
