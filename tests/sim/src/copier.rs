//! Programs that read, write and commit in one transaction (KIP-98, KIP-447 without a group protocol): what they have read
//! is copied to other partitions and the place that they have come to is committed with it, or neither is.
//!
//! Half of them speak as clients did before KIP-890, half as they do since. Their processes die, sleep longer than a
//! transaction may take, and go on although another one has begun in their place. Must not know the checkers.

mod calls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use strandline_core::record::RecordBuilder;
use strandline_core::rope::Rope;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::history::{CopierLife, Ended, Record, Sent, Transacted};
use crate::keys::{self, Key};
use crate::machine::EPOCH_MS;
use crate::plan::{around, chance, pick};
use crate::world::World;

/// Where a batch has its attributes, and the bit that says that it is part of a transaction.
const ATTRIBUTES_LOW: usize = 22;
const CRC: std::ops::Range<usize> = 17..21;
const TRANSACTIONAL: u8 = 0x10;
/// Numbers of producers with transactions in the history begin here.
const IDENTITIES: usize = 1_000_000;

/// Why a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Another one has taken its place, or its transaction took too long.
    Fenced,
    /// `kill -9`.
    Crashed,
    /// Everything is copied.
    Done,
}

/// A producer's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    id: i64,
    epoch: i16,
}

/// A record that was read: partition and offset.
type Input = (u32, i64);

/// A batch to be written: partition, its number in the history, its bytes.
struct Output {
    partition: u32,
    sent: usize,
    bytes: bytes::Bytes,
}

/// One process.
pub(crate) struct Copier {
    world: Arc<World>,
    life: Arc<CopierLife>,
    process: u32,
    timeout_ms: i32,
    dice: Rng,
    identity: Identity,
    /// Next sequence number of each partition.
    sequences: BTreeMap<u32, i32>,
    /// Where it goes on.
    positions: BTreeMap<u32, i64>,
    client: Option<Client>,
    /// Some request may still be under way that nobody waits for.
    unsure: bool,
}

/// Starts one process after another until one has copied everything; now and then one too early.
pub(crate) async fn run(world: Arc<World>, life: CopierLife, mut dice: Rng) {
    let life = Arc::new(life);
    let timeout_ms = pick(&mut dice, &[2_000, 6_000, 30_000]);
    let mut processes = JoinSet::new();
    let mut started = 0;
    loop {
        started += 1;
        let process = Copier {
            world: Arc::clone(&world),
            life: Arc::clone(&life),
            process: started,
            timeout_ms,
            dice: dice.fork(),
            identity: Identity { id: -1, epoch: -1 },
            sequences: BTreeMap::new(),
            positions: BTreeMap::new(),
            client: None,
            unsure: false,
        };
        processes.spawn(async move { (started, process.run().await) });
        let overlap = around(&mut dice, Duration::from_secs(15));
        tokio::select! {
            biased;
            () = last_ended(&mut processes, started, &world, &life) => {
                if world.history().copied.contains(&life.number) {
                    return;
                }
            }
            () = sleep(overlap), if !world.is_ending() && chance(&mut dice, 500) => {}
        }
        sleep(around(&mut dice, Duration::from_millis(400))).await;
    }
}

/// Until the newest process is over. The others end sooner or later.
async fn last_ended(processes: &mut JoinSet<(u32, Stop)>, newest: u32, world: &World, life: &CopierLife) {
    while let Some(ended) = processes.join_next().await {
        let (process, stop) = ended.unwrap();
        world.trace.note(&life.name, format_args!("process {process} is over: {stop:?}"));
        if stop == Stop::Done {
            world.history().copied.insert(life.number);
        }
        if process == newest || stop == Stop::Done {
            return;
        }
    }
}

impl Copier {
    async fn run(mut self) -> Stop {
        match self.copy().await {
            Ok(()) => Stop::Done,
            Err(stop) => stop,
        }
    }

    async fn copy(&mut self) -> Result<(), Stop> {
        self.init(None).await?;
        self.positions = self.committed_positions().await?;
        loop {
            let ending = self.world.at_work().await;
            self.may_crash()?;
            let all_is_there = ending && self.all_is_there();
            let (inputs, next) = self.read().await;
            if inputs.is_empty() {
                self.positions = next;
                if all_is_there && self.is_at_end().await {
                    return Ok(());
                }
                sleep(around(&mut self.dice, Duration::from_millis(250))).await;
                continue;
            }
            self.transact(&inputs, next).await?;
            sleep(around(&mut self.dice, Duration::from_millis(100))).await;
        }
    }

    /// Nobody will write anything more to its input.
    fn all_is_there(&self) -> bool {
        let copied = &self.world.history().copied;
        self.world.all_is_fed() && self.life.of_copiers.iter().all(|other| copied.contains(other))
    }

    fn may_crash(&mut self) -> Result<(), Stop> {
        let crashes = !self.world.is_ending() && chance(&mut self.dice, 12);
        if crashes { Err(Stop::Crashed) } else { Ok(()) }
    }

    /// One transaction, from its first change to its decision.
    async fn transact(&mut self, inputs: &[Input], next: BTreeMap<u32, i64>) -> Result<(), Stop> {
        let outputs = self.outputs(inputs);
        let number = {
            let mut history = self.world.history();
            history.transacted.push(Transacted {
                copier: self.life.number,
                sent: outputs.iter().map(|output| output.sent).collect(),
                ..Transacted::default()
            });
            history.transacted.len() - 1
        };
        self.note(format_args!("transaction {number}: {inputs:?} as {:?}", self.identity));
        let partitions: Vec<u32> = outputs.iter().map(|output| output.partition).collect();
        if !self.life.modern {
            self.add_partitions(&partitions).await?;
            self.add_group().await?;
        }
        let offsets_first = chance(&mut self.dice, 300);
        if offsets_first {
            self.commit_offsets(number, &next).await?;
        }
        for output in &outputs {
            self.may_crash()?;
            self.produce(output).await?;
        }
        if !offsets_first {
            if chance(&mut self.dice, 300) {
                // Some programs commit what they have come to now and then, and only the last one counts.
                let (partition, offset) = inputs[0];
                let on_the_way = BTreeMap::from([(partition, offset + 1)]);
                self.commit_offsets(number, &on_the_way).await?;
            }
            self.commit_offsets(number, &next).await?;
        }
        self.may_crash()?;
        self.ponder().await;
        let commit = chance(&mut self.dice, 780);
        self.end(number, commit).await?;
        if commit {
            self.positions = next;
        }
        if !self.life.modern && chance(&mut self.dice, 150) {
            self.stray(inputs[0]).await?;
        }
        if !self.life.modern && (self.unsure || chance(&mut self.dice, 100)) {
            // What is still under way must not come in the next transaction: its epoch must be over (KIP-360).
            self.init(Some(self.identity)).await?;
        }
        Ok(())
    }

    /// A batch that comes when its transaction is over: it must not begin one that nobody ends (KAFKA-9144).
    async fn stray(&mut self, input: Input) -> Result<(), Stop> {
        let partition = self.dice.u32(0..self.life.outputs);
        let before = self.sequences.clone();
        let output = self.output(partition, &[input]);
        self.sequences = before;
        self.produce_too_late(&output).await
    }

    /// Some processes stop for a while before they decide, and some for too long.
    async fn ponder(&mut self) {
        if self.world.is_ending() {
            return;
        }
        let timeout = Duration::from_millis(self.timeout_ms as u64);
        match self.dice.u32(0..100) {
            0..5 => sleep(timeout.mul_f64(1.5) + Duration::from_secs(8)).await,
            5..30 => sleep(timeout.mul_f64(0.3).min(Duration::from_millis(1_500))).await,
            _ => {}
        }
    }

    /// The records that were read, each in some partition.
    fn outputs(&mut self, inputs: &[Input]) -> Vec<Output> {
        let mut shares: BTreeMap<u32, Vec<Input>> = BTreeMap::new();
        for input in inputs {
            let partition = self.dice.u32(0..self.life.outputs);
            shares.entry(partition).or_default().push(*input);
        }
        shares.into_iter().map(|(partition, inputs)| self.output(partition, &inputs)).collect()
    }

    fn output(&mut self, partition: u32, inputs: &[Input]) -> Output {
        let now_ms = self.world.trace.now_ms();
        let timestamp = EPOCH_MS + now_ms as i64;
        let sent = self.world.begin(Sent {
            producer: IDENTITIES + self.identity.id as usize,
            connection: 0,
            idempotent: true,
            topic: self.life.output,
            partition,
            timestamps: vec![timestamp; inputs.len()],
            begun_ms: now_ms,
            ended: None,
            attempts: 0,
        });
        let padding = pick(&mut self.dice, &[0, 10, 300, 2_000]);
        let keyed = self.world.plan.keyed(&self.life.output_name);
        let mut builder = RecordBuilder::default();
        for (index, input) in inputs.iter().enumerate() {
            let record = Record { sent, index: index as u32 };
            let key = keyed.map(|keyed| Key::drawn(keyed, &mut self.dice));
            keys::push(&mut builder, timestamp, record, key, padding);
            self.world.history().copies.insert(record, (self.life.number, *input));
        }
        let sequence = self.sequences.entry(partition).or_default();
        let bytes = builder.finish_as(self.identity.id, self.identity.epoch, *sequence);
        *sequence += inputs.len() as i32;
        Output { partition, sent, bytes: transactional(&bytes) }
    }

    fn settle(&self, output: &Output, ended: Ended) {
        self.world.end(output.sent, ended);
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.world.trace.note(&format!("{}/{}", self.life.name, self.process), what);
    }
}

/// The same batch as part of a transaction.
fn transactional(batch: &bytes::Bytes) -> bytes::Bytes {
    let mut bytes = batch.to_vec();
    bytes[ATTRIBUTES_LOW] |= TRANSACTIONAL;
    let crc = Rope::from(bytes::Bytes::copy_from_slice(&bytes[CRC.end..])).crc32c();
    bytes[CRC].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}
