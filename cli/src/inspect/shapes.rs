//! Each kind of object as JSON, field for field.
//!
//! Must not know the store. Checksums are computed here again and shown beside what is stored, so that damage of record
//! bytes, which no header covers, is seen too.

use serde_json::{Value, json};
use strandline_core::manifest::{
    Append, BatchMeta, Change, Commit, CommitOffsets, ConfigChange, ConfigOp, Extent, Group, GroupMember,
    OffsetCommit, Topic, UpdateGroup, checkpoint,
};
use strandline_core::object::{self, Shape};
use strandline_core::record::{BatchHeader, crc_holds};
use strandline_core::rope::Rope;
use strandline_core::{Error, chunk, index, segment};
use ulid::Ulid;
use uuid::Uuid;

use super::json::join;
use super::{history, transactions, wire};
use crate::units::show_moment;

type Shown = Result<Value, Error>;

/// The kind as it is called in the documentation.
pub(super) fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Commit => "commit",
        Shape::Segment => "segment",
        Shape::Checkpoint => "checkpoint",
        Shape::Floor => "floor",
        Shape::Chunk => "chunk",
        Shape::Footer => "footer",
        Shape::Index => "index",
    }
}

pub(super) fn commit(key: &str, body: &Rope) -> Shown {
    let (commit, payload_at) = Commit::decode(key, body)?;
    let changes: Vec<_> = commit.changes.iter().map(|found| change(found, body, payload_at)).collect();
    Ok(json!({
        "incarnation": commit.id.incarnation.to_string(),
        "counter": commit.id.counter,
        "oldest_open": commit.oldest_open,
        "timestamp_ms": commit.timestamp_ms,
        "time": show_moment(commit.timestamp_ms),
        "header_bytes": payload_at,
        "payload_bytes": (body.len() as u64).saturating_sub(payload_at),
        "changes": changes,
    }))
}

fn change(change: &Change, body: &Rope, payload_at: u64) -> Value {
    match change {
        Change::Append(found) => json!({ "append": append(found, body, payload_at) }),
        Change::CreateTopic { id, name, partitions, configs } => {
            json!({ "create_topic": { "id": id.to_string(), "name": name, "partitions": partitions, "config": configs } })
        }
        Change::DeleteTopic { id } => json!({ "delete_topic": { "id": id.to_string() } }),
        Change::AllocateProducerIds { count } => json!({ "allocate_producer_ids": { "count": count } }),
        Change::FeatureLevel { level } => json!({ "feature_level": { "level": level } }),
        Change::Tick => json!({ "tick": {} }),
        Change::CreatePartitions { topic, count } => {
            json!({ "create_partitions": { "topic": topic.to_string(), "count": count } })
        }
        Change::AlterConfigs { topic, replace, changes } => {
            let changes: Vec<_> = changes.iter().map(config).collect();
            json!({ "alter_configs": { "topic": topic.to_string(), "replace": replace, "changes": changes } })
        }
        Change::DeleteRecords { topic, partition, before } => {
            json!({ "delete_records": { "topic": topic.to_string(), "partition": partition, "before": before } })
        }
        Change::UpdateGroup(update) => json!({ "update_group": update_group(update) }),
        Change::CommitOffsets(commit) => json!({ "commit_offsets": commit_offsets(commit) }),
        Change::InitProducer(init) => json!({ "init_producer": transactions::init(init) }),
        Change::AddToTransaction(add) => json!({ "add_to_transaction": transactions::add(add) }),
        Change::TransactionOffsets(offsets) => {
            let mut shown = transactions::of(&offsets.of);
            join(&mut shown, json!({ "adds": offsets.adds, "commit": commit_offsets(&offsets.commit) }));
            json!({ "transaction_offsets": shown })
        }
        Change::EndTransaction(end) => json!({ "end_transaction": transactions::end(end) }),
        Change::Swap(swap) => json!({ "swap": history::swap(swap) }),
        Change::IndexChunks(index) => json!({ "index_chunks": history::index(index) }),
        Change::Compacted(compacted) => json!({ "compacted": history::compacted(compacted) }),
        Change::Expire(expire) => json!({ "expire": history::expire(expire) }),
        Change::DeleteGroup { group } => json!({ "delete_group": { "group": group } }),
        Change::DeleteOffsets { group, partitions } => {
            let partition = |(topic, partition): &(Uuid, u32)| json!({ "topic": topic.to_string(), "partition": partition });
            let partitions: Vec<_> = partitions.iter().map(partition).collect();
            json!({ "delete_offsets": { "group": group, "partitions": partitions } })
        }
    }
}

fn config(change: &ConfigChange) -> Value {
    match &change.op {
        ConfigOp::Set(value) => json!({ "name": change.name, "set": value }),
        ConfigOp::Delete => json!({ "name": change.name, "delete": true }),
        ConfigOp::Append { elements, .. } => json!({ "name": change.name, "append": elements }),
        ConfigOp::Subtract { elements, .. } => json!({ "name": change.name, "subtract": elements }),
    }
}

fn update_group(update: &UpdateGroup) -> Value {
    json!({
        "group": update.group,
        "seen_version": update.seen_version,
        "kind": format!("{:?}", update.kind).to_lowercase(),
        "protocol_type": update.protocol_type,
        "protocol": update.protocol,
        "epoch": update.epoch,
        "leader": update.leader,
        "state_bytes": update.state.len(),
        "replace": update.replace,
        "put": update.put.iter().map(member).collect::<Vec<_>>(),
        "remove": update.remove,
    })
}

fn member(member: &GroupMember) -> Value {
    json!({
        "id": member.id,
        "epoch": member.epoch,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "client_host": member.client_host,
        "session_timeout_ms": member.session_timeout_ms,
        "rebalance_timeout_ms": member.rebalance_timeout_ms,
        "subscription_bytes": member.subscription.len(),
        "assignment_bytes": member.assignment.len(),
    })
}

fn commit_offsets(commit: &CommitOffsets) -> Value {
    let offset = |of: &OffsetCommit| {
        json!({
            "topic": of.topic.to_string(),
            "partition": of.partition,
            "offset": of.offset,
            "leader_epoch": of.leader_epoch,
            "metadata": of.metadata,
        })
    };
    json!({
        "group": commit.group,
        "member": commit.member,
        "epoch": commit.epoch,
        "instance_id": commit.instance_id,
        "offsets": commit.offsets.iter().map(offset).collect::<Vec<_>>(),
    })
}

fn group(name: &str, group: &Group) -> Value {
    let offsets = group.offsets.iter().map(|((topic, partition), committed)| {
        json!({
            "topic": topic.to_string(),
            "partition": partition,
            "offset": committed.offset,
            "metadata": committed.metadata,
            "committed_ms": committed.committed_ms,
        })
    });
    json!({
        "name": name,
        "kind": format!("{:?}", group.kind).to_lowercase(),
        "protocol_type": group.protocol_type,
        "protocol": group.protocol,
        "epoch": group.epoch,
        "leader": group.leader,
        "version": group.version,
        "changed_ms": group.changed_ms,
        "members": group.members.values().map(member).collect::<Vec<_>>(),
        "offsets": offsets.collect::<Vec<_>>(),
    })
}

fn append(append: &Append, body: &Rope, payload_at: u64) -> Value {
    let mut shown = json!({
        "topic": append.topic.to_string(),
        "partition": append.partition,
        "segment": append.segment.map(|id| id.to_string()),
        "inline": append.segment.is_none(),
        "at": append.at,
        "bytes": append.bytes(),
        "crc": format!("{:08x}", append.crc),
        "batches": append.batches.iter().map(meta).collect::<Vec<_>>(),
    });
    if append.segment.is_none() {
        let start = payload_at.saturating_add(append.at) as usize;
        let run = body.slice(start..start.saturating_add(append.bytes() as usize));
        let headers = append.batches.iter().scan(start, |at, meta| {
            let header = header(body, *at);
            *at += meta.bytes as usize;
            Some(header)
        });
        let holds = run.is_some_and(|run| run.crc32c() == append.crc);
        join(&mut shown, json!({ "crc_holds": holds, "headers": headers.collect::<Vec<_>>() }));
    }
    shown
}

fn meta(batch: &BatchMeta) -> Value {
    let producer = batch
        .producer
        .map(|producer| json!({ "id": producer.id, "epoch": producer.epoch, "sequence": producer.sequence }));
    json!({
        "bytes": batch.bytes,
        "offsets": batch.offsets,
        "max_timestamp": batch.max_timestamp,
        "producer": producer,
        "joins": format!("{:?}", batch.joins).to_lowercase(),
    })
}

/// The record batch itself, as its producer wrote it.
fn header(body: &Rope, at: usize) -> Value {
    let batch = match BatchHeader::at(body, at) {
        Ok(batch) => batch,
        Err(error) => return json!({ "damaged": error.to_string() }),
    };
    json!({
        "bytes": batch.bytes,
        "records": batch.records,
        "codec": batch.codec().map_or_else(|e| e.to_string(), |codec| format!("{codec:?}").to_lowercase()),
        "attributes": batch.attributes,
        "base_timestamp": batch.base_timestamp,
        "max_timestamp": batch.max_timestamp,
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "crc": format!("{:08x}", batch.crc),
        "crc_holds": crc_holds(body, at, &batch),
    })
}

pub(super) fn segment(key: &str, body: &Rope) -> Shown {
    let (id, runs) = segment::read_header(key, &body.to_bytes())?;
    let runs: Vec<_> = runs
        .iter()
        .map(|run| {
            let crc = format!("{:08x}", run.crc);
            json!({ "topic": run.topic.to_string(), "partition": run.partition, "at": run.at, "bytes": run.bytes, "crc": crc })
        })
        .collect();
    Ok(json!({ "id": id.to_string(), "time": show_moment(written_ms(id)), "runs": runs }))
}

pub(super) fn chunk(key: &str, body: &Rope) -> Shown {
    let (chunk, run_at) = chunk::read_header(key, &body.to_bytes())?;
    Ok(json!({
        "topic": chunk.topic.to_string(),
        "partition": chunk.partition,
        "base_offset": chunk.base_offset,
        "id": chunk.id.to_string(),
        "format": chunk.format.extension(),
        "at": run_at,
    }))
}

pub(super) fn index(key: &str, body: &Rope) -> Shown {
    let (topic, partition, id, node) = index::Node::decode(key, &body.to_bytes())?;
    let children: Vec<_> = match &node {
        index::Node::Leaf(entries) => entries
            .iter()
            .map(|entry| {
                json!({
                    "chunk": entry.chunk.key(),
                    "end_offset": entry.end_offset,
                    "at": entry.at,
                    "bytes": entry.bytes,
                    "max_timestamp": entry.max_timestamp,
                    "positions": entry.positions.len(),
                    "aborted": entry.aborted.len(),
                })
            })
            .collect(),
        index::Node::Inner(branches) => {
            branches.iter().map(|below| history::branch(topic, partition, below)).collect()
        }
    };
    Ok(
        json!({ "topic": topic.to_string(), "partition": partition, "id": id.to_string(), "children": children }),
    )
}

fn written_ms(id: Ulid) -> i64 {
    i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX)
}

pub(super) fn checkpoint(key: &str, body: &Rope) -> Shown {
    let bytes = body.to_bytes();
    let manifest = checkpoint::decode(key, &bytes)?;
    let (more, _): (wire::Checkpoint, usize) = object::decode(key, Shape::Checkpoint, &bytes)?;
    let proposers = more.proposers.iter().map(|proposer| {
        let incarnation = proposer.incarnation.first_chunk().map(|id| Ulid::from_bytes(*id).to_string());
        json!({ "incarnation": incarnation, "commits": proposer.highest, "last_ms": proposer.last_ms })
    });
    let topics = manifest.topics().map(|found| {
        let known = more.topics.iter().find(|known| known.id == found.id.as_bytes());
        topic(found, known)
    });
    Ok(json!({
        "applied": manifest.applied,
        "now_ms": manifest.now_ms,
        "now": show_moment(manifest.now_ms),
        "feature_level": manifest.feature_level,
        "next_producer_id": more.next_producer_id,
        "proposers": proposers.collect::<Vec<_>>(),
        "topics": topics.collect::<Vec<_>>(),
        "groups": manifest.groups().map(|(name, found)| group(name, found)).collect::<Vec<_>>(),
        "transactions": manifest.transactions().map(|(id, of)| transactions::transaction(id, of)).collect::<Vec<_>>(),
    }))
}

fn topic(topic: &Topic, known: Option<&wire::Topic>) -> Value {
    let partitions = topic.partitions.iter().enumerate().map(|(number, partition)| {
        let producers =
            known.and_then(|known| known.partitions.get(number)).map(|partition| &partition.producers);
        json!({
            "partition": number,
            "log_start": partition.log_start,
            "high_watermark": partition.high_watermark,
            "index": partition.index.map(|root| history::branch(topic.id, number as u32, &root)),
            "compacted": partition.compacted,
            "extents": partition.extents.iter().map(extent).collect::<Vec<_>>(),
            "producers": producers.into_iter().flatten().map(producer).collect::<Vec<_>>(),
        })
    });
    json!({
        "id": topic.id.to_string(),
        "name": topic.name,
        "config": topic.configs,
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn extent(extent: &Extent) -> Value {
    json!({
        "base_offset": extent.base_offset,
        "offsets": extent.offsets,
        "object": extent.object.key(),
        "at": extent.at,
        "bytes": extent.bytes,
        "max_timestamp": extent.max_timestamp,
    })
}

fn producer(producer: &wire::Producer) -> Value {
    let columns = producer.sequences.iter().zip(&producer.offsets).zip(&producer.base_offsets);
    let batches = columns.map(|((sequence, offsets), base_offset)| {
        json!({ "sequence": sequence, "offsets": offsets, "base_offset": base_offset })
    });
    json!({
        "id": producer.id,
        "epoch": producer.epoch,
        "last_ms": producer.last_ms,
        "batches": batches.collect::<Vec<_>>(),
    })
}

pub(super) fn floor(key: &str, body: &Rope) -> Shown {
    let (floor, _): (wire::Floor, usize) = object::decode(key, Shape::Floor, &body.to_bytes())?;
    Ok(json!({ "slot": floor.slot }))
}
