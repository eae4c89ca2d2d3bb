//! The journal's invariants, over a store that fails on demand and a clock that stands still.
//!
//! - `chaos`: many nodes, many faults, nodes that die: J2, J4, J5, J10 and the order of idempotent producers
//! - `seasons`: weeks of sleeping nodes, jumping clocks and trimming: J1, J2, J4, J5, J7
//! - `floor`: nodes that slept while the journal was trimmed
//! - `stop`: what stops a node, and with which error
//! - `order`: single cases of losing slots, starting up, proposing again
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chaos;
mod floor;
mod order;
mod seasons;
mod stop;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use ulid::Ulid;
use uuid::Uuid;

use super::{Journal, Options};
use crate::error::Result;
use crate::manifest::checkpoint;
use crate::manifest::commit::{Append, BatchMeta, Change, Commit, CommitId, Outcome, Placed, Producer, Void};
use crate::manifest::state::{Manifest, apply};
use crate::object::{self, Shape};
use crate::paths;
use crate::rope::Rope;
use crate::testing::{Bucket, Machine};

/// Bytes of every batch of these tests: who wrote it, its sequence number, how many offsets it takes.
const TOKEN_BYTES: u32 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Token {
    writer: i64,
    sequence: i32,
    offsets: u32,
}

impl Token {
    fn bytes(self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_i64(self.writer);
        bytes.put_i32(self.sequence);
        bytes.put_u32(self.offsets);
        bytes.freeze()
    }

    fn read(mut bytes: Bytes) -> Token {
        Token { writer: bytes.get_i64(), sequence: bytes.get_i32(), offsets: bytes.get_u32() }
    }

    fn meta(self, idempotent: bool) -> BatchMeta {
        let producer = Producer { id: self.writer, epoch: 0, sequence: self.sequence };
        let producer = idempotent.then_some(producer);
        BatchMeta {
            bytes: TOKEN_BYTES,
            offsets: self.offsets,
            max_timestamp: 7,
            producer,
            joins: Default::default(),
        }
    }
}

/// Inline appends, one change for each run, with their payload.
#[derive(Debug, Default)]
struct Appends {
    changes: Vec<Change>,
    payload: Vec<Bytes>,
}

impl Appends {
    fn add(mut self, topic: Uuid, partition: u32, idempotent: bool, tokens: &[Token]) -> Appends {
        let at = self.payload.len() as u64 * u64::from(TOKEN_BYTES);
        let bytes: Vec<_> = tokens.iter().map(|token| token.bytes()).collect();
        let crc = Rope::new(bytes.iter().cloned()).crc32c();
        let batches = tokens.iter().map(|token| token.meta(idempotent)).collect();
        self.changes.push(Change::Append(Append { topic, partition, segment: None, at, crc, batches }));
        self.payload.extend(bytes);
        self
    }

    async fn propose(self, journal: &Journal) -> Result<Vec<Vec<Result<Placed, Void>>>> {
        let outcomes = self.hand_over(journal).await?.await?;
        Ok(outcomes.into_iter().map(placed).collect())
    }

    async fn hand_over(
        self,
        journal: &Journal,
    ) -> Result<impl Future<Output = Result<Vec<Outcome>>> + use<>> {
        journal.propose_with(self.changes, Rope::new(self.payload)).await
    }
}

/// What became of the batches of an append.
fn placed(outcome: Outcome) -> Vec<Result<Placed, Void>> {
    match outcome {
        Outcome::Appended(placed) => placed,
        other => panic!("an append became {other:?}"),
    }
}

/// One batch of an idempotent producer, appended and answered.
async fn append_one(journal: &Journal, topic: Uuid, token: Token) -> Result<Placed, Void> {
    let appends = Appends::default().add(topic, 0, true, &[token]);
    appends.propose(journal).await.unwrap().remove(0).remove(0)
}

async fn open(machine: &Machine) -> Result<Journal> {
    Journal::open(machine.store.clone(), Options { tail_bytes: 1 << 20, ..Options::default() }).await
}

async fn body(bucket: &InMemory, key: &str) -> Option<Rope> {
    let found = bucket.get(&Path::from(key)).await.ok()?;
    Some(Rope::from(found.bytes().await.unwrap()))
}

async fn write(bucket: &InMemory, key: &str, body: impl Into<Bytes>) {
    bucket.put(&Path::from(key), body.into().into()).await.unwrap();
}

/// The fold of all slots from the first one, by nothing but `decode` and `apply`.
async fn cold_fold(bucket: &InMemory) -> Manifest {
    let mut manifest = Manifest::default();
    for slot in 1.. {
        let key = paths::slot(slot);
        let Some(object) = body(bucket, &key).await else { break };
        let (commit, payload_at) = Commit::decode(&key, &object).unwrap();
        apply(&mut manifest, slot, &commit, payload_at);
    }
    manifest
}

/// Every batch of a partition with its offset, read from where the manifest says that it lies.
async fn read_log(
    bucket: &InMemory,
    manifest: &Manifest,
    topic: Uuid,
    partition: u32,
) -> BTreeMap<i64, Token> {
    let partition = manifest.partition(&topic, partition).unwrap();
    let mut log = BTreeMap::new();
    let mut next = partition.log_start;
    for extent in &partition.extents {
        assert_eq!(extent.base_offset, next, "extents leave no gap");
        let object = body(bucket, &extent.object.key()).await.expect("every extent's object is there");
        let run = object.slice(extent.at as usize..(extent.at + u64::from(extent.bytes)) as usize);
        let mut run = run.expect("every extent lies in its object").to_bytes();
        while !run.is_empty() {
            let token = Token::read(run.split_to(TOKEN_BYTES as usize));
            log.insert(next, token);
            next += i64::from(token.offsets);
        }
        assert_eq!(extent.end_offset(), next, "an extent's bytes hold its offsets");
    }
    assert_eq!(next, partition.high_watermark);
    log
}

/// A commit that another program might have written.
fn foreign_commit(counter: u64, timestamp_ms: i64, changes: Vec<Change>) -> Commit {
    let id = CommitId { incarnation: Ulid::from_parts(5, 55), counter };
    Commit { id, oldest_open: counter, timestamp_ms, changes }
}

fn floor_object(slot: u64) -> Bytes {
    crate::manifest::floor::encode(slot)
}

/// Plays the collector: a checkpoint of `journal` and a floor there, and every slot below it gone.
async fn trim(bucket: &InMemory, journal: &Journal, floor: u64) {
    let manifest = journal.view(Manifest::clone);
    write(bucket, &paths::checkpoint(manifest.applied), checkpoint::encode(&manifest)).await;
    write(bucket, &paths::floor(floor), floor_object(manifest.applied)).await;
    for slot in 1..manifest.applied {
        bucket.delete(&Path::from(paths::slot(slot))).await.unwrap();
    }
}

async fn sleep_s(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
