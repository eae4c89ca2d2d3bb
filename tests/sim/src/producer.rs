//! Producers: idempotent ones as Kafka's clients are (five in flight, everything unanswered sent again in order, anywhere),
//! and plain ones that send once or try again elsewhere.
//!
//! Must not know what the other clients do. What Kafka's clients would take for a fatal error is a broken promise here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use strandline_core::record::RecordBuilder;
use strandline_kafka::codec::Records;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::{Request, Response, init_producer_id, produce};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::client::Client;
use crate::history::{Ended, Record, Sent};
use crate::keys::{self, Key};
use crate::machine::EPOCH_MS;
use crate::plan::{Keyed, around, chance, pick};
use crate::world::World;

/// Batches without an answer at most, as in Kafka's clients.
const IN_FLIGHT: usize = 5;
/// How long a batch of an idempotent producer is tried. Much longer than any client does, and shorter than what the log
/// remembers of a producer: a day of journal time, which clocks that are hours apart may shorten by 22 hours.
const DELIVERY_MS: u64 = 3_600_000;
/// Numbers of idempotent producers in the history begin here.
const IDENTITIES: usize = 1_000_000;
/// Names topics by id.
const PRODUCE_VERSION: i16 = 13;

/// One producer at one partition.
pub(crate) struct Producer {
    world: Arc<World>,
    number: usize,
    topic: Uuid,
    partition: u32,
    dice: Rng,
    /// What the node is told.
    timeout_ms: i32,
    /// How long an answer is waited for; `None`: for ever.
    patience: Option<Duration>,
    client: Option<Client>,
    connection: u64,
    /// The next batches of an idempotent producer.
    identity: Option<Identity>,
    window: Vec<Batch>,
    batches: usize,
    /// Its topic is compacted by key.
    keyed: Option<Keyed>,
}

#[derive(Debug, Clone, Copy)]
struct Identity {
    id: i64,
    epoch: i16,
    next: i32,
}

struct Batch {
    sent: usize,
    /// Its place among all batches of this producer.
    place: usize,
    bytes: Bytes,
}

/// What an answer means for the batch.
enum Answer {
    Done(Ended),
    Again,
    /// The topic is gone.
    Over(i16),
}

impl Producer {
    pub(crate) fn new(
        world: Arc<World>,
        number: usize,
        topic: Uuid,
        partition: u32,
        mut dice: Rng,
    ) -> Producer {
        let (timeout_ms, patience) = match dice.u32(0..4) {
            0 => (300_000, None),
            1 => (1_500, Some(Duration::from_millis(4_000))),
            _ => (30_000, Some(Duration::from_millis(dice.u64(3_000..40_000)))),
        };
        let keyed = world.keyed(topic);
        Producer {
            world,
            number,
            topic,
            partition,
            dice,
            timeout_ms,
            patience,
            client: None,
            connection: 0,
            identity: None,
            window: Vec::new(),
            batches: 0,
            keyed,
        }
    }

    /// Sends until the run ends or the topic is gone; then nothing is left unanswered.
    pub(crate) async fn run_idempotent(mut self) {
        loop {
            if self.world.at_work().await && self.window.is_empty() {
                return;
            }
            self.expire();
            if self.identity.is_none() {
                self.identity = self.ask_identity().await;
                continue;
            }
            if !self.world.is_ending() {
                // No client goes further ahead of a batch that it tries again: the log remembers no more than this.
                let ahead = self.window.first().map_or(0, |first| self.batches - first.place);
                for _ in 0..self.dice.usize(0..=IN_FLIGHT - ahead) {
                    self.add_batch(true);
                }
            }
            if self.round().await {
                return self.settle();
            }
            sleep(around(&mut self.dice, Duration::from_millis(150))).await;
        }
    }

    /// Sends each batch once; some are tried again elsewhere when their outcome is not known.
    pub(crate) async fn run_plain(mut self) {
        loop {
            if self.world.at_work().await {
                return;
            }
            let again = chance(&mut self.dice, 300);
            if !again {
                self.settle();
            }
            for _ in 0..self.dice.usize(1..=IN_FLIGHT) {
                self.add_batch(false);
            }
            if self.round().await {
                return self.settle();
            }
            sleep(around(&mut self.dice, Duration::from_millis(200))).await;
        }
    }

    /// Kafka's clients give a batch up after minutes (`delivery.timeout.ms`), and go on under another identity.
    fn expire(&mut self) {
        let now_ms = self.world.trace.now_ms();
        let begun_ms = self.window.first().map(|first| self.world.history().sent[first.sent].begun_ms);
        if begun_ms.is_some_and(|begun_ms| now_ms - begun_ms > DELIVERY_MS) {
            self.settle();
            self.identity = None;
        }
    }

    async fn ask_identity(&mut self) -> Option<Identity> {
        let request = init_producer_id::Request { transaction_timeout_ms: 60_000, ..Default::default() };
        match self.world.ask(&mut self.dice, 4, Request::InitProducerId(request)).await {
            Ok(Response::InitProducerId(answer)) if answer.error_code == 0 => {
                // Near the end of the sequence numbers, so that they wrap.
                let next = if chance(&mut self.dice, 100) { i32::MAX - 20 } else { 0 };
                Some(Identity { id: answer.producer_id, epoch: answer.producer_epoch, next })
            }
            _ => None,
        }
    }

    fn add_batch(&mut self, idempotent: bool) {
        let now_ms = EPOCH_MS + self.world.trace.now_ms() as i64;
        let count = self.dice.u32(1..=4);
        let timestamps: Vec<i64> = (0..count).map(|_| now_ms + self.dice.i64(-3_000..3_000)).collect();
        // An idempotent producer is who it is by its id.
        let identity = self.identity.filter(|_| idempotent).map(|identity| IDENTITIES + identity.id as usize);
        let sent = self.world.begin(Sent {
            producer: identity.unwrap_or(self.number),
            connection: 0,
            idempotent,
            topic: self.topic,
            partition: self.partition,
            timestamps: timestamps.clone(),
            begun_ms: self.world.trace.now_ms(),
            ended: None,
            attempts: 0,
        });
        let padding = pick(&mut self.dice, &[0, 10, 10, 300, 3_000]);
        let mut builder = RecordBuilder::default();
        for (index, timestamp) in timestamps.iter().enumerate() {
            let record = Record { sent, index: index as u32 };
            let key = self.keyed.map(|keyed| Key::drawn(keyed, &mut self.dice));
            keys::push(&mut builder, *timestamp, record, key, padding);
        }
        let bytes = match &mut self.identity {
            Some(identity) if idempotent => {
                let bytes = builder.finish_as(identity.id, identity.epoch, identity.next);
                identity.next = ((i64::from(identity.next) + i64::from(count)) % (1 << 31)) as i32;
                bytes
            }
            _ => builder.finish(),
        };
        self.window.push(Batch { sent, place: self.batches, bytes });
        self.batches += 1;
    }

    /// Sends everything that is not answered, in order, and takes the answers. `true`: the topic is gone.
    async fn round(&mut self) -> bool {
        if self.window.is_empty() {
            return false;
        }
        if self.client.is_none() || chance(&mut self.dice, 100) {
            self.client = Some(self.world.connect(&mut self.dice).await);
            self.connection += 1;
            // That may have taken a night.
            if self.identity.is_some() {
                self.expire();
            }
        }
        let Some(mut client) = self.client.take() else { return false };
        let mut answers = Vec::new();
        for batch in &self.window {
            self.world.attempt(batch.sent, self.connection);
            self.note(format_args!("batch {} to {}", batch.sent, client.node));
            match client.send(PRODUCE_VERSION, self.request(&batch.bytes)).await {
                Ok(answer) => answers.push(answer),
                Err(_) => break,
            }
        }
        let mut done = Vec::new();
        let mut failed = false;
        let (mut over, mut broken) = (false, answers.len() < self.window.len());
        for (index, answer) in answers.into_iter().enumerate() {
            let answer = match self.patience {
                Some(patience) => timeout(patience, answer).await.ok().and_then(Result::ok),
                None => answer.await.ok(),
            };
            let Some(Response::Produce(response)) = answer else {
                broken = true;
                break;
            };
            match self.judge(index, &response, failed) {
                Answer::Done(ended) => {
                    self.world.end(self.window[index].sent, ended);
                    done.push(index);
                }
                Answer::Again => failed = true,
                Answer::Over(code) => {
                    // What was sent only once was refused; the rest may have been there before.
                    let sent = self.window[index].sent;
                    let once = self.world.history().sent[sent].attempts == 1;
                    self.world.end(sent, if once { Ended::Refused(code) } else { Ended::Unknown });
                    over = true;
                }
            }
        }
        for index in done.into_iter().rev() {
            self.window.remove(index);
        }
        if !broken {
            self.client = Some(client);
        }
        over
    }

    fn request(&self, batch: &Bytes) -> Request {
        let mut records = Records::default();
        records.push(batch.clone());
        let partition = produce::PartitionData { index: self.partition as i32, records: Some(records) };
        let topic = produce::TopicData {
            topic_id: self.topic.into_bytes(),
            partition_data: vec![partition],
            ..Default::default()
        };
        Request::Produce(produce::Request {
            acks: -1,
            timeout_ms: self.timeout_ms,
            topic_data: vec![topic],
            ..Default::default()
        })
    }

    /// `failed`: a batch before this one did not go through, so this one may be out of order.
    fn judge(&self, index: usize, response: &produce::Response, failed: bool) -> Answer {
        let partition = &response.responses[0].partition_responses[0];
        let code = partition.error_code;
        if code != 0 {
            self.note(format_args!("batch {} got code {code}", self.window[index].sent));
        }
        let idempotent = self.identity.is_some();
        match ErrorCode::try_from(code) {
            Ok(ErrorCode::None) => Answer::Done(Ended::Acked(partition.base_offset)),
            Ok(ErrorCode::RequestTimedOut | ErrorCode::KafkaStorageError) => Answer::Again,
            Ok(ErrorCode::OutOfOrderSequenceNumber) if idempotent && failed => Answer::Again,
            Ok(ErrorCode::UnknownTopicId) if self.world.may_be_deleted(self.topic) => Answer::Over(code),
            _ => {
                let sent = self.window[index].sent;
                // A definite answer all the same: if the record turns up, that is another broken promise.
                let invariant = match code {
                    45..=47 => "K4",
                    100 => "K8",
                    _ => "J6",
                };
                self.world.violated(invariant, format!("batch {sent} got code {code}"));
                Answer::Done(if idempotent { Ended::Unknown } else { Ended::Refused(code) })
            }
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        let kind = if self.identity.is_some() { "idempotent" } else { "plain" };
        let who = format!("{kind} {}/{}", self.number, self.partition);
        self.world.trace.note(&who, what);
    }

    /// Nothing more is known of what was sent.
    fn settle(&mut self) {
        for batch in std::mem::take(&mut self.window) {
            self.world.end(batch.sent, Ended::Unknown);
        }
    }
}
