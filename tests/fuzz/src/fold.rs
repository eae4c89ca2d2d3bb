//! A journal out of nothing: commits that are whole and mean anything at all.
//!
//! Bytes alone seldom get past a checksum and never agree with one another on ids; here they choose among a few topics,
//! producers and proposers. What is folded on from a checkpoint in the middle is what is folded without it.

mod history;
mod transactions;

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use strandline_core::manifest::commit::group::{
    CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup,
};
use strandline_core::manifest::commit::transaction::Joins;
use strandline_core::manifest::commit::{ConfigChange, ConfigOp};
use strandline_core::manifest::{
    Append, BatchMeta, Change, Commit, CommitId, Identity, Manifest, Producer, checkpoint, state,
};
use ulid::Ulid;
use uuid::Uuid;

use crate::manifests;

/// The time at which it all happens, milliseconds.
const NOW_MS: u64 = 1_767_225_600_000;
const HOUR_MS: u64 = 3_600_000;

/// Folds a journal that the bytes choose.
pub fn fold(data: &[u8]) {
    let mut chooser = Unstructured::new(data);
    let (mut plain, mut restored) = (Manifest::default(), Manifest::default());
    for slot in 1..64 {
        let commit = if slot == 1 { Ok(beginning()) } else { commit(&mut chooser, &plain) };
        let Ok(commit) = commit else { break };
        let object = commit.encode([Bytes::from(vec![0; 4_096])]);
        let (decoded, payload_at) = Commit::decode("journal/x", &object).unwrap();
        assert_eq!(decoded, commit);
        let outcomes = state::apply(&mut plain, slot, &commit, payload_at);
        assert_eq!(outcomes, state::apply(&mut restored, slot, &decoded, payload_at));
        manifests::check(&plain);
        restored = checkpoint::decode("checkpoint/x", &checkpoint::encode(&restored)).unwrap();
        assert_eq!(restored, plain);
        if chooser.is_empty() {
            break;
        }
    }
}

/// Two topics, so that what follows has something to lie in.
fn beginning() -> Commit {
    let create = |(n, name): (u128, &str)| Change::CreateTopic {
        id: Uuid::from_u128(n),
        name: name.to_owned(),
        partitions: 2,
        configs: BTreeMap::new(),
    };
    let id = CommitId { incarnation: Ulid::from_parts(NOW_MS, 9), counter: 1 };
    let changes = [(1, "orders"), (2, "payments")].map(create).into();
    Commit { id, oldest_open: 1, timestamp_ms: NOW_MS as i64, changes }
}

fn commit(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Commit> {
    let counter: u64 = if from.ratio(1, 4)? { from.int_in_range(0..=80)? } else { from.int_in_range(1..=6)? };
    let oldest_open = match from.int_in_range(0..=7)? {
        0 => from.arbitrary()?,
        ahead @ 1..4 => counter.saturating_sub(ahead),
        _ => counter,
    };
    let timestamp_ms = if from.ratio(1, 16)? { from.arbitrary()? } else { time_ms(from)? as i64 };
    let changes = (0..from.int_in_range(1..=4)?).map(|_| change(from, manifest)).collect::<Result<_>>()?;
    let id = CommitId { incarnation: Ulid::from_parts(NOW_MS, from.int_in_range(1..=3)?), counter };
    Ok(Commit { id, oldest_open, timestamp_ms, changes })
}

fn change(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Change> {
    Ok(match from.int_in_range(0..=42)? {
        0 => Change::CreateTopic {
            id: topic(from)?,
            name: name(from)?,
            partitions: from.int_in_range(0..=4)?,
            configs: configs(from)?,
        },
        2 => Change::DeleteTopic { id: topic(from)? },
        3 => Change::AllocateProducerIds { count: from.arbitrary()? },
        4 => Change::FeatureLevel { level: from.arbitrary()? },
        5 => Change::Tick,
        6 => Change::CreatePartitions { topic: topic(from)?, count: from.int_in_range(0..=6)? },
        7 => Change::AlterConfigs { topic: topic(from)?, replace: from.arbitrary()?, changes: alters(from)? },
        8 => {
            let before = if from.ratio(1, 8)? { from.arbitrary()? } else { from.int_in_range(-1..=9)? };
            Change::DeleteRecords { topic: topic(from)?, partition: from.int_in_range(0..=2)?, before }
        }
        9 => Change::DeleteGroup { group: group(from)? },
        10 => Change::DeleteOffsets { group: group(from)?, partitions: vec![(topic(from)?, 0)] },
        11..14 => Change::UpdateGroup(update(from)?),
        14..17 => Change::CommitOffsets(offsets(from)?),
        17..25 => transactions::change(from, manifest)?,
        25..34 => history::change(from, manifest)?,
        _ => Change::Append(append(from, manifest)?),
    })
}

fn alters(from: &mut Unstructured<'_>) -> Result<Vec<ConfigChange>> {
    let alter = |from: &mut Unstructured<'_>| {
        let lists = ["", "a", "a,b", ",,", " a , c", "delete", "compact", "-1", "7"];
        let (elements, default) = ((*from.choose(&lists)?).to_owned(), (*from.choose(&lists)?).to_owned());
        let op = match from.int_in_range(0..=4)? {
            0 => ConfigOp::Set(elements),
            1 => ConfigOp::Delete,
            2 => ConfigOp::Append { elements, default },
            3 => ConfigOp::Subtract { elements, default },
            _ => ConfigOp::Set(from.arbitrary()?),
        };
        let names = ["cleanup.policy", "retention.ms", "x", ""];
        Ok(ConfigChange { name: (*from.choose(&names)?).to_owned(), op })
    };
    (0..from.int_in_range(0..=3)?).map(|_| alter(from)).collect()
}

fn group(from: &mut Unstructured<'_>) -> Result<String> {
    if from.ratio(1, 16)? { from.arbitrary() } else { Ok((*from.choose(&["readers", "others"])?).to_owned()) }
}

fn member_id(from: &mut Unstructured<'_>) -> Result<String> {
    if from.ratio(1, 16)? { from.arbitrary() } else { Ok((*from.choose(&["one", "two", ""])?).to_owned()) }
}

fn instance_id(from: &mut Unstructured<'_>) -> Result<Option<String>> {
    Ok(if from.ratio(1, 4)? { Some((*from.choose(&["a", "b", ""])?).to_owned()) } else { None })
}

fn epoch(from: &mut Unstructured<'_>) -> Result<i32> {
    if from.ratio(1, 8)? { from.arbitrary() } else { from.int_in_range(-1..=3) }
}

fn update(from: &mut Unstructured<'_>) -> Result<UpdateGroup> {
    let member = |from: &mut Unstructured<'_>| {
        Ok(GroupMember {
            id: member_id(from)?,
            epoch: epoch(from)?,
            instance_id: instance_id(from)?,
            client_id: member_id(from)?,
            client_host: member_id(from)?,
            session_timeout_ms: from.arbitrary()?,
            rebalance_timeout_ms: from.arbitrary()?,
            subscription: Bytes::from(from.bytes(from.len().min(3))?.to_vec()),
            assignment: Bytes::from(from.bytes(from.len().min(3))?.to_vec()),
        })
    };
    Ok(UpdateGroup {
        group: group(from)?,
        seen_version: from.int_in_range(0..=64)?,
        kind: *from.choose(&[GroupKind::Simple, GroupKind::Classic, GroupKind::Consumer])?,
        protocol_type: (*from.choose(&["", "consumer"])?).to_owned(),
        protocol: (*from.choose(&["", "range"])?).to_owned(),
        epoch: epoch(from)?,
        leader: member_id(from)?,
        state: Bytes::from(from.bytes(from.len().min(2))?.to_vec()),
        replace: from.arbitrary()?,
        put: (0..from.int_in_range(0..=2)?).map(|_| member(from)).collect::<Result<_>>()?,
        remove: (0..from.int_in_range(0..=2)?).map(|_| member_id(from)).collect::<Result<_>>()?,
    })
}

fn offsets(from: &mut Unstructured<'_>) -> Result<CommitOffsets> {
    let offset = |from: &mut Unstructured<'_>| {
        Ok(OffsetCommit {
            topic: topic(from)?,
            partition: from.int_in_range(0..=3)?,
            offset: from.arbitrary()?,
            leader_epoch: epoch(from)?,
            metadata: member_id(from)?,
        })
    };
    Ok(CommitOffsets {
        group: group(from)?,
        member: member_id(from)?,
        epoch: epoch(from)?,
        instance_id: instance_id(from)?,
        offsets: (0..from.int_in_range(0..=3)?).map(|_| offset(from)).collect::<Result<_>>()?,
    })
}

fn append(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<Append> {
    let segment = match from.arbitrary()? {
        true => Some(Ulid::from_parts(time_ms(from)?, from.int_in_range(0..=2)?)),
        false => None,
    };
    let batches: Vec<_> =
        (0..from.int_in_range(1..=4)?).map(|_| batch(from, manifest)).collect::<Result<_>>()?;
    // What is inline must be there, or the commit does not decode.
    let batches = match segment {
        Some(_) => batches,
        None => batches.into_iter().map(|batch| BatchMeta { bytes: batch.bytes % 512, ..batch }).collect(),
    };
    let at = match segment {
        Some(_) if from.ratio(1, 8)? => from.arbitrary()?,
        _ => from.int_in_range(0..=1_024)?,
    };
    let partition = if from.ratio(1, 16)? { from.arbitrary()? } else { from.int_in_range(0..=1)? };
    Ok(Append { topic: topic(from)?, partition, segment, at, crc: from.arbitrary()?, batches })
}

fn batch(from: &mut Unstructured<'_>, manifest: &Manifest) -> Result<BatchMeta> {
    let joins = *from.choose(&[Joins::Nothing, Joins::Nothing, Joins::Added, Joins::Adds])?;
    let Identity { id, epoch } = match joins {
        Joins::Nothing => Identity { id: from.int_in_range(0..=2)?, epoch: from.int_in_range(0..=2)? },
        Joins::Added | Joins::Adds => {
            let id = *from.choose(&["copy", "count"])?;
            transactions::identity(from, manifest, id)?
        }
    };
    let sequence = *from.choose(&[0, 1, 2, 3, 4, 5, 6, i32::MAX - 1, i32::MAX])?;
    let producer = if from.ratio(1, 4)? { None } else { Some(Producer { id, epoch, sequence }) };
    let offsets = if from.ratio(1, 8)? { from.arbitrary()? } else { from.int_in_range(1..=2)? };
    let max_timestamp = if from.ratio(1, 8)? { from.arbitrary()? } else { time_ms(from)? as i64 };
    Ok(BatchMeta { bytes: from.arbitrary()?, offsets, max_timestamp, producer, joins })
}

fn topic(from: &mut Unstructured<'_>) -> Result<Uuid> {
    Ok(Uuid::from_u128(if from.ratio(1, 16)? { 0 } else { from.int_in_range(1..=3)? }))
}

fn name(from: &mut Unstructured<'_>) -> Result<String> {
    let names = ["orders", "payments", "", "..", "with space"];
    if from.ratio(1, 8)? { from.arbitrary() } else { Ok((*from.choose(&names)?).to_owned()) }
}

fn configs(from: &mut Unstructured<'_>) -> Result<BTreeMap<String, String>> {
    if from.ratio(3, 4)? { Ok(BTreeMap::new()) } else { from.arbitrary() }
}

/// Within two days, by the hour; seldom days later, so that producers and groups expire.
fn time_ms(from: &mut Unstructured<'_>) -> Result<u64> {
    let hours = if from.ratio(1, 32)? { 480 } else { 48 };
    Ok(NOW_MS + HOUR_MS * from.int_in_range(0..=hours)?)
}
