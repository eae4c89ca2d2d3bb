//! Swaps, index changes and expiries in random histories: a model that keeps every batch, and knows what was written into
//! each object.
//!
//! Must not know the fold's: nothing here holds extents, they are looked up among the batches whenever somebody asks.

use std::collections::BTreeMap;

use ulid::Ulid;
use uuid::Uuid;

use super::{DAY_MS, Log, Model};
use crate::chunk::ChunkId;
use crate::manifest::commit::history::{Expire, IndexChunks, ObjectName, Swap, SwapRun};
use crate::manifest::state::ObjectId;
use crate::manifest::{Change, Outcome, Partition, Void};

/// Objects by their name: of each batch in them, by topic, partition and first offset, where it lies and its length.
#[derive(Default)]
pub(super) struct Written(BTreeMap<ObjectName, Batches>);

type Batches = BTreeMap<(Uuid, u32, i64), (u64, u32)>;

impl Written {
    pub(super) fn put(&mut self, object: ObjectName, batch: (Uuid, u32, i64), at: u64, bytes: u32) {
        let before = self.0.entry(object).or_default().insert(batch, (at, bytes));
        assert_eq!(before, None, "{object:?} is written once");
    }

    pub(super) fn extend(&mut self, more: Written) {
        for (object, batches) in more.0 {
            self.0.entry(object).or_default().extend(batches);
        }
    }

    fn find(&self, object: ObjectName, batch: (Uuid, u32, i64)) -> (u64, u32) {
        self.0[&object][&batch]
    }
}

/// Batches that follow each other in one object.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) object: ObjectName,
    /// First offset and length of each batch.
    pub(super) batches: Vec<(i64, u32)>,
    pub(super) end: i64,
    number: usize,
}

impl Run {
    pub(super) fn base(&self) -> i64 {
        self.batches[0].0
    }
}

impl Log {
    /// What is there and not in the index, in order.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let ends = self.batches.iter().skip(1).map(|next| next.base).chain([self.end]);
        for (batch, end) in self.batches.iter().zip(ends).filter(|(batch, _)| batch.base >= self.indexed) {
            let one = (batch.base, batch.bytes);
            match runs.last_mut().filter(|run| run.number == batch.run) {
                Some(run) => {
                    run.batches.push(one);
                    run.end = end;
                }
                None => {
                    runs.push(Run { object: batch.object.into(), batches: vec![one], end, number: batch.run })
                }
            }
        }
        runs.retain(|run| run.end > self.start);
        runs
    }

    fn delete_before(&mut self, before: i64) {
        self.start = self.start.max(before);
        self.index = self.index.filter(|_| self.indexed > self.start);
    }

    /// The same runs in the manifest, in the same places; what was there before is found still.
    pub(super) fn check(&self, partition: &Partition) {
        assert_eq!((partition.log_start, partition.high_watermark), (self.start, self.end));
        assert_eq!(partition.index, self.index);
        let first = partition.extents.first().map_or(self.end, |first| first.base_offset);
        match self.index {
            Some(index) => assert!(index.base_offset <= self.start && index.end_offset == first, "{self:?}"),
            None => assert!(first <= self.start || self.start == self.end, "{first} {self:?}"),
        }
        let extents =
            partition.extents.iter().map(|one| (one.base_offset, one.end_offset(), one.object.into()));
        assert!(extents.eq(self.runs().iter().map(|run| (run.base(), run.end, run.object))), "{self:?}");
        let mut batches = self.batches.iter().skip_while(|batch| batch.base < first).peekable();
        for extent in &partition.extents {
            let (mut at, end) = (extent.at, extent.end_offset());
            while let Some(batch) = batches.next_if(|batch| batch.base < end) {
                assert_eq!((extent.object, at), (batch.object, batch.at), "batch {}", batch.base);
                at += u64::from(batch.bytes);
            }
            assert_eq!(at, extent.at + u64::from(extent.bytes));
            assert_eq!(partition.extent_index(extent.base_offset), partition.extent_index(end - 1));
        }
    }
}

impl Model {
    pub(super) fn history_change(&mut self, change: &Change) -> Outcome {
        let held = match change {
            Change::Swap(Swap { runs }) => {
                return Outcome::Swapped(runs.iter().map(|run| self.swap(run)).collect());
            }
            Change::IndexChunks(index) => self.index(index),
            Change::Expire(expire) => self.expire_records(expire),
            other => unreachable!("{other:?}"),
        };
        held.map_or_else(Outcome::Void, |()| Outcome::Applied)
    }

    pub(super) fn delete_records(&mut self, topic: &Uuid, partition: u32, before: i64) -> Result<(), Void> {
        let log = self.log(topic, partition)?;
        let before = if before == -1 { log.end } else { before };
        if before < 0 || before > log.end {
            return Err(Void::OffsetOutOfRange);
        }
        log.delete_before(before);
        Ok(())
    }

    fn log(&mut self, topic: &Uuid, partition: u32) -> Result<&mut Log, Void> {
        let (_, logs) = self.topics.get_mut(topic).ok_or(Void::UnknownTopic)?;
        logs.get_mut(partition as usize).ok_or(Void::UnknownPartition)
    }

    fn is_old(&self, id: Ulid) -> bool {
        self.now_ms - id.timestamp_ms() as i64 > DAY_MS
    }

    fn swap(&mut self, swap: &SwapRun) -> Result<(), Void> {
        let log = self.log(&swap.topic, swap.partition)?;
        let mut there = log.runs();
        there.retain(|run| run.base() >= swap.base_offset);
        there.truncate(swap.inputs.len().max(1));
        if there.first().map(Run::base) != Some(swap.base_offset) {
            return Err(Void::ExtentsChanged);
        }
        if swap.inputs.is_empty() {
            return Err(Void::Malformed);
        }
        if !there.iter().map(|run| run.object).eq(swap.inputs.iter().copied()) {
            return Err(Void::ExtentsChanged);
        }
        let end = there[there.len() - 1].end;
        let mut next = swap.base_offset;
        for output in &swap.outputs {
            let (ObjectName::Merged(id) | ObjectName::Chunk(id, _)) = output.object else {
                return Err(Void::Malformed);
            };
            if self.is_old(id) {
                return Err(Void::Stale);
            }
            next += i64::from(output.offsets);
            let far = output.at.checked_add(output.bytes.into()).is_none();
            if output.offsets == 0 || output.bytes == 0 || next > end || far {
                return Err(Void::Malformed);
            }
        }
        if next < end {
            return Err(Void::Malformed);
        }
        let chunks = swap.outputs.iter().any(|output| matches!(output.object, ObjectName::Chunk(..)));
        let (_, logs) = &self.topics[&swap.topic];
        if chunks && end > self.transactions.stable(&logs[swap.partition as usize]) {
            return Err(Void::Undecided);
        }
        self.replace(swap);
        Ok(())
    }

    /// Each batch lies where the compactor has put it.
    fn replace(&mut self, swap: &SwapRun) {
        let SwapRun { topic, partition, base_offset, .. } = *swap;
        let (_, logs) = self.topics.get_mut(&topic).unwrap();
        let mut from = base_offset;
        for output in &swap.outputs {
            let upto = from + i64::from(output.offsets);
            let object = match output.object {
                ObjectName::Merged(id) => ObjectId::Merged(id),
                ObjectName::Chunk(id, format) => {
                    ObjectId::Chunk(ChunkId { topic, partition, base_offset: from, id, format })
                }
                other => unreachable!("{other:?}"),
            };
            self.runs += 1;
            for batch in &mut logs[partition as usize].batches {
                if (from..upto).contains(&batch.base) {
                    let (at, bytes) = self.written.find(output.object, (topic, partition, batch.base));
                    (batch.object, batch.at, batch.bytes, batch.run) = (object, at, bytes, self.runs);
                }
            }
            from = upto;
        }
    }

    fn index(&mut self, change: &IndexChunks) -> Result<(), Void> {
        let IndexChunks { absorbs, root, .. } = change;
        let is_old = self.is_old(root.id);
        let log = self.log(&change.topic, change.partition)?;
        let mut taken = log.runs();
        taken.truncate(absorbs.len());
        let same = taken.iter().map(|run| run.object).eq(absorbs.iter().copied());
        if !same || log.index.map(|index| index.id) != change.replaces {
            return Err(Void::ExtentsChanged);
        }
        let end = taken.last().map(|run| run.end).or(log.index.map(|index| index.end_offset));
        let chunks = absorbs.iter().all(|object| matches!(object, ObjectName::Chunk(..)));
        let whole = root.base_offset >= 0 && root.base_offset <= log.start && root.chunks > 0;
        if !chunks || !whole || end != Some(root.end_offset) {
            return Err(Void::Malformed);
        }
        if is_old {
            return Err(Void::Stale);
        }
        (log.index, log.indexed) = (Some(*root), root.end_offset);
        Ok(())
    }

    fn expire_records(&mut self, expire: &Expire) -> Result<(), Void> {
        let configs = self.configs.get(&expire.topic).filter(|_| self.topics.contains_key(&expire.topic));
        let configs = configs.ok_or(Void::UnknownTopic)?;
        let number = |name: &str, default: i64| {
            configs.get(name).and_then(|value| value.parse::<i64>().ok()).unwrap_or(default)
        };
        let (ms, bytes) = (number("retention.ms", 7 * DAY_MS), number("retention.bytes", -1));
        let deletes =
            configs.get("cleanup.policy").is_none_or(|policy| policy.split(',').any(|one| one == "delete"));
        let for_ever = ms < 0 && bytes < 0;
        if !deletes || for_ever || (expire.retention_ms, expire.retention_bytes) != (ms, bytes) {
            return Err(Void::RetentionChanged);
        }
        self.log(&expire.topic, expire.partition)?;
        let (_, logs) = self.topics.get_mut(&expire.topic).unwrap();
        let log = &mut logs[expire.partition as usize];
        if expire.before < 0 || expire.before > self.transactions.stable(log) {
            return Err(Void::Undecided);
        }
        log.delete_before(expire.before);
        Ok(())
    }
}
