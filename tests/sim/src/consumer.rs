//! Consumers: they read one partition from its beginning, move from node to node, and ask for offsets in between.
//!
//! Must not know who wrote. What they get must follow on what they had, whichever node gives it; whether it is the right
//! thing is for the checkers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use strandline_core::record::{BatchHeader, records};
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{Request, Response, fetch};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::client::Client;
use crate::history::{Asked, Record, Seen};
use crate::machine::EPOCH_MS;
use crate::plan::{around, chance, pick};
use crate::stable::{EARLIEST, offset_at};
use crate::world::World;

/// Names topics by id.
const FETCH_VERSION: i16 = 13;
const LATEST: i64 = -1;

/// One consumer of one partition.
pub(crate) struct Consumer {
    world: Arc<World>,
    number: usize,
    topic: Uuid,
    name: String,
    partition: u32,
    dice: Rng,
    position: i64,
    client: Option<Client>,
    /// The highest watermark that this connection told.
    watermark: i64,
    /// The topic is known to be there, whatever somebody wanted once.
    there: bool,
}

/// Whether the consumer goes on.
enum Next {
    On,
    /// This connection is of no use.
    Elsewhere,
    /// The topic is gone.
    Over,
}

impl Consumer {
    pub(crate) fn new(
        world: Arc<World>,
        number: usize,
        (topic, name): (Uuid, String),
        partition: u32,
        dice: Rng,
    ) -> Consumer {
        Consumer {
            world,
            number,
            topic,
            name,
            partition,
            dice,
            position: 0,
            client: None,
            watermark: 0,
            there: false,
        }
    }

    /// A reader of a topic that is there at the end.
    pub(crate) fn of_what_is_there(self) -> Consumer {
        Consumer { there: true, ..self }
    }

    fn may_be_gone(&self) -> bool {
        !self.there && self.world.may_be_deleted(self.topic)
    }

    /// Reads until the run ends and everything is read, or the topic is gone.
    pub(crate) async fn run(mut self) {
        let mut end = None;
        loop {
            if self.world.at_work().await {
                match end {
                    None => end = self.ask(LATEST).await,
                    Some(end) if self.position >= end => return,
                    Some(_) => {}
                }
                if end.is_none() && self.may_be_gone() {
                    return;
                }
            } else if chance(&mut self.dice, 80) {
                let now_ms = EPOCH_MS + self.world.trace.now_ms() as i64;
                let back = self.dice.i64(0..30_000);
                let timestamp = pick(&mut self.dice, &[LATEST, LATEST, now_ms - back]);
                self.ask(timestamp).await;
            }
            match self.fetch().await {
                Next::On if chance(&mut self.dice, 900) => {}
                Next::On | Next::Elsewhere => self.client = None,
                Next::Over => return,
            }
            sleep(around(&mut self.dice, Duration::from_millis(60))).await;
        }
    }

    /// The offset at a timestamp, or the end. Churning topics may be another topic of the same name: nothing is noted.
    async fn ask(&mut self, timestamp: i64) -> Option<i64> {
        let offset = self.offset_at(timestamp).await?;
        let (topic, partition) = (self.topic, self.partition);
        let (begun_ms, ended_ms, offset) = (offset.0, self.world.trace.now_ms(), offset.1);
        let timestamp = (timestamp != LATEST).then_some(timestamp);
        self.world
            .trace
            .note("consumer", format_args!("offset at {timestamp:?} of {topic}/{partition}: {offset}"));
        self.world.history().asked.push(Asked { topic, partition, timestamp, begun_ms, ended_ms, offset });
        Some(offset)
    }

    /// When it was asked for, and what it is.
    async fn offset_at(&mut self, timestamp: i64) -> Option<(u64, i64)> {
        let wanted = (self.name.clone(), self.partition, timestamp);
        let found = offset_at(&self.world, wanted, &mut self.dice).await;
        found.filter(|_| !self.may_be_gone())
    }

    /// What it wanted was deleted: it goes on with the first record that is there.
    async fn skip(&mut self) -> Next {
        let (low, _) = self.world.log_start(self.topic, self.partition);
        let Some((_, first)) = self.offset_at(EARLIEST).await else { return Next::Elsewhere };
        let (_, high) = self.world.log_start(self.topic, self.partition);
        if !(low..=high).contains(&first) {
            self.broken("K2", format!("it begins at {first}, expected {low} to {high}"));
        }
        self.position = self.position.max(first);
        Next::On
    }

    async fn fetch(&mut self) -> Next {
        if self.client.is_none() {
            self.client = Some(self.world.connect(&mut self.dice).await);
            self.watermark = 0;
        }
        let Some(client) = &mut self.client else { return Next::Elsewhere };
        let partition = fetch::FetchPartition {
            partition: self.partition as i32,
            fetch_offset: self.position,
            partition_max_bytes: pick(&mut self.dice, &[1, 500, 5_000, 1 << 20]),
            ..Default::default()
        };
        let topic = fetch::FetchTopic {
            topic_id: self.topic.into_bytes(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = fetch::Request {
            max_wait_ms: pick(&mut self.dice, &[0, 100, 500, 3_000]),
            min_bytes: 1,
            max_bytes: pick(&mut self.dice, &[1, 1_000, 1 << 20]),
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let patience = Duration::from_millis(self.dice.u64(5_000..60_000));
        let answer = timeout(patience, client.call(FETCH_VERSION, Request::Fetch(request))).await;
        let Ok(Ok(Response::Fetch(answer))) = answer else { return Next::Elsewhere };
        let partition = &answer.responses[0].partitions[0];
        match ErrorCode::try_from(partition.error_code) {
            Ok(ErrorCode::None) => self.take(partition),
            Ok(ErrorCode::KafkaStorageError | ErrorCode::RequestTimedOut) => Next::Elsewhere,
            Ok(ErrorCode::UnknownTopicId) if self.may_be_gone() => Next::Over,
            Ok(ErrorCode::OffsetOutOfRange)
                if self.position < self.world.log_start(self.topic, self.partition).1 =>
            {
                self.skip().await
            }
            _ => {
                let (code, at) = (partition.error_code, self.position);
                let what = format!("consumer {} at offset {at} got code {code}", self.number);
                self.world.violated("K8", what);
                Next::Elsewhere
            }
        }
    }

    fn take(&mut self, partition: &fetch::PartitionResponse) -> Next {
        let watermark = partition.high_watermark;
        if watermark < self.watermark {
            self.broken("K2", format!("the high watermark went back from {} to {watermark}", self.watermark));
        }
        self.watermark = watermark.max(self.watermark);
        match split(partition, self.position) {
            Ok(records) => {
                let (consumer, topic, partition) = (self.number, self.topic, self.partition);
                let seen = |(offset, record)| Seen { consumer, topic, partition, offset, record };
                self.position = records.last().map_or(self.position, |(offset, _)| offset + 1);
                self.world.history().seen.extend(records.into_iter().map(seen));
            }
            Err(why) => {
                self.broken("K3", why);
                return Next::Elsewhere;
            }
        }
        if self.position > watermark {
            self.broken("K2", format!("a record beyond the high watermark {watermark}"));
        }
        Next::On
    }

    fn broken(&self, invariant: &'static str, what: String) {
        let (number, topic, partition) = (self.number, self.topic, self.partition);
        self.world.violated(invariant, format!("consumer {number} of {topic}/{partition}: {what}"));
    }
}

/// The records of an answer from `position` on, each at its offset, without a gap.
pub(crate) fn split(
    partition: &fetch::PartitionResponse,
    position: i64,
) -> Result<Vec<(i64, Record)>, String> {
    let mut bytes = BytesMut::new();
    for part in partition.records.iter().flat_map(|records| records.parts()) {
        bytes.extend_from_slice(part);
    }
    let mut bytes = bytes.freeze();
    let mut found: Vec<(i64, Record)> = Vec::new();
    while !bytes.is_empty() {
        let length = match bytes.get(8..12) {
            Some(field) => u32::from_be_bytes(field.try_into().unwrap()) as usize + 12,
            None => 0,
        };
        if length > bytes.len() || length == 0 {
            // A client drops a batch that is cut off; a whole answer never ends in one here.
            return Err("a batch is cut off".to_owned());
        }
        let next = found.last().map_or(position, |(offset, _)| *offset + 1);
        split_batch(&bytes.split_to(length), next, &mut found)?;
    }
    Ok(found)
}

fn split_batch(batch: &Bytes, mut position: i64, into: &mut Vec<(i64, Record)>) -> Result<(), String> {
    let header = BatchHeader::check(batch).map_err(|why| format!("a batch at {position}: {why}"))?;
    let found = records(batch).map_err(|why| why.to_string())?;
    if header.base_offset > position {
        return Err(format!("offset {position} was wanted, the batch begins at {}", header.base_offset));
    }
    for one in found {
        let offset = header.base_offset + i64::from(one.offset_delta);
        if offset < position {
            continue;
        }
        if offset > position {
            return Err(format!("offset {position} was wanted, {offset} came"));
        }
        let Some(record) = Record::of(&one) else {
            return Err(format!("the record at {offset} is none that was ever sent"));
        };
        into.push((offset, record));
        position = offset + 1;
    }
    Ok(())
}
