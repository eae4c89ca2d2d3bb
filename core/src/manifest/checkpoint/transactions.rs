//! Transactions in a checkpoint.
//!
//! Must not know what a transaction is for. Invariant: canonical, like the rest of the checkpoint: by transactional id, parts
//! by topic and partition. What partitions know of open transactions is told by these.

use std::collections::BTreeMap;

use prost::Message;
use uuid::Uuid;

use super::super::commit::Identity;
use super::super::state::{CommittedOffset, Manifest, Phase, Transaction, Transactions};
use super::groups::{TopicOffsets, decode_offsets, encode_offsets};

#[derive(Clone, PartialEq, Message)]
pub(super) struct TransactionWire {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    producer: Option<IdentityWire>,
    #[prost(message, optional, tag = "3")]
    previous: Option<IdentityWire>,
    #[prost(int32, tag = "4")]
    timeout_ms: i32,
    #[prost(uint64, tag = "5")]
    number: u64,
    #[prost(uint32, tag = "6")]
    phase: u32,
    #[prost(int64, tag = "7")]
    begun_ms: i64,
    #[prost(int64, tag = "8")]
    changed_ms: i64,
    #[prost(message, repeated, tag = "9")]
    parts: Vec<PartsWire>,
    #[prost(message, repeated, tag = "10")]
    groups: Vec<GroupWire>,
    #[prost(uint64, tag = "11")]
    steps: u64,
    #[prost(uint64, tag = "12")]
    begun: u64,
}

#[derive(Clone, PartialEq, Message)]
struct IdentityWire {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(uint32, tag = "2")]
    epoch: u32,
}

/// The partitions of one topic, in columns.
#[derive(Clone, PartialEq, Message)]
struct PartsWire {
    #[prost(bytes = "vec", tag = "1")]
    topic: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    partitions: Vec<u32>,
    /// -1: no records there yet.
    #[prost(sint64, repeated, tag = "3")]
    first_offsets: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct GroupWire {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    offsets: Vec<TopicOffsets>,
}

type Offsets = BTreeMap<(Uuid, u32), CommittedOffset>;

const PHASES: [Phase; 4] = [Phase::Empty, Phase::Ongoing, Phase::Committed, Phase::Aborted];

pub(super) fn encode(transactions: &Transactions) -> Vec<TransactionWire> {
    let identity = |of: Identity| IdentityWire { id: of.id, epoch: of.epoch as u32 };
    let group = |(name, offsets): (&String, &Offsets)| GroupWire {
        name: name.clone(),
        offsets: encode_offsets(offsets),
    };
    let transaction = |(id, of): (&String, &Transaction)| TransactionWire {
        id: id.clone(),
        producer: Some(identity(of.producer)),
        previous: of.previous.map(identity),
        timeout_ms: of.timeout_ms,
        number: of.number,
        phase: PHASES.iter().position(|phase| *phase == of.phase).unwrap_or(0) as u32,
        begun_ms: of.begun_ms,
        changed_ms: of.changed_ms,
        parts: encode_parts(&of.partitions),
        groups: of.groups.iter().map(group).collect(),
        steps: of.steps,
        begun: of.begun,
    };
    transactions.by_id.iter().map(transaction).collect()
}

fn encode_parts(partitions: &BTreeMap<(Uuid, u32), Option<i64>>) -> Vec<PartsWire> {
    let mut topics: Vec<PartsWire> = Vec::new();
    for ((topic, partition), first_offset) in partitions {
        if topics.last().is_none_or(|last| last.topic != topic.as_bytes()) {
            topics.push(PartsWire { topic: topic.as_bytes().to_vec(), ..PartsWire::default() });
        }
        let Some(of) = topics.last_mut() else { continue };
        of.partitions.push(*partition);
        of.first_offsets.push(first_offset.unwrap_or(-1));
    }
    topics
}

/// Puts them into the manifest, whose topics are there already.
pub(super) fn decode(wire: Vec<TransactionWire>, manifest: &mut Manifest) -> Option<()> {
    let count = wire.len();
    for wire in wire {
        let mut of = Transaction {
            producer: identity(wire.producer?)?,
            timeout_ms: wire.timeout_ms,
            number: wire.number,
            phase: *PHASES.get(usize::try_from(wire.phase).ok()?)?,
            begun_ms: wire.begun_ms,
            changed_ms: wire.changed_ms,
            steps: wire.steps,
            begun: wire.begun,
            ..Transaction::default()
        };
        if let Some(previous) = wire.previous {
            of.previous = Some(identity(previous)?);
        }
        for parts in wire.parts {
            decode_parts(parts, &mut of.partitions)?;
        }
        for GroupWire { name, offsets } in wire.groups {
            let held = of.groups.entry(name).or_default();
            for topic in offsets {
                decode_offsets(topic, held)?;
            }
        }
        let parts = of.partitions.len() + of.groups.len();
        if parts > 0 && !of.is_ongoing() {
            return None;
        }
        let taken = manifest.transactions.of_producer(of.producer.id).is_some();
        if taken || of.producer.id >= manifest.next_producer_id {
            return None;
        }
        for ((topic, partition), first_offset) in &of.partitions {
            // The topic may be gone.
            if let (Some(first), Some(partition)) = (*first_offset, manifest.partition_mut(topic, *partition))
            {
                if first >= partition.high_watermark {
                    return None;
                }
                partition.open.insert((first, of.producer.id));
            }
        }
        manifest.transactions.insert(wire.id, of);
    }
    (manifest.transactions.by_id.len() == count).then_some(())
}

fn identity(wire: IdentityWire) -> Option<Identity> {
    let epoch = i16::try_from(wire.epoch).ok()?;
    (wire.id >= 0).then_some(Identity { id: wire.id, epoch })
}

fn decode_parts(wire: PartsWire, partitions: &mut BTreeMap<(Uuid, u32), Option<i64>>) -> Option<()> {
    if wire.partitions.len() != wire.first_offsets.len() {
        return None;
    }
    let topic = Uuid::from_slice(&wire.topic).ok()?;
    for (partition, first_offset) in wire.partitions.into_iter().zip(wire.first_offsets) {
        partitions.insert((topic, partition), (first_offset >= 0).then_some(first_offset));
    }
    Some(())
}
