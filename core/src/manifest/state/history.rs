//! What becomes of extents in the fold: they are replaced, go into the index, expire.
//!
//! Must not know who reads or writes objects. Invariants: what takes the place of extents holds the same offsets, and takes
//! it only while exactly those extents are there; an object may be older than a day only if it was in the manifest all the
//! time since, because orphans of that age may be deleted; chunks hold nothing that is undecided; no record goes for its
//! age or number but by the retention that its topic has now.

use super::super::commit::Void;
use super::super::commit::history::{Compacted, Expire, IndexChunks, ObjectName, Swap, SwapOutput, SwapRun};
use super::extents::{Extent, ObjectId};
use super::partition::Partition;
use super::{Manifest, is_stale};
use crate::chunk::ChunkId;
use crate::mutation::{self, Mutation};

impl Manifest {
    pub(super) fn swap(&mut self, swap: &Swap) -> Vec<Result<(), Void>> {
        swap.runs.iter().map(|run| self.swap_run(run)).collect()
    }

    fn swap_run(&mut self, run: &SwapRun) -> Result<(), Void> {
        let now_ms = self.now_ms;
        let topic = self.topics.get_mut(&run.topic).ok_or(Void::UnknownTopic)?;
        let partition = topic.partitions.get_mut(run.partition as usize).ok_or(Void::UnknownPartition)?;
        let from = partition
            .extents
            .binary_search_by_key(&run.base_offset, |extent| extent.base_offset)
            .map_err(|_| Void::ExtentsChanged)?;
        let upto = from + run.inputs.len();
        let replaced = partition.extents.get(from..upto).ok_or(Void::ExtentsChanged)?;
        if !are_named(replaced, &run.inputs) && !mutation::is(Mutation::SwapsUnchecked) {
            return Err(Void::ExtentsChanged);
        }
        let end_offset = replaced.last().map(Extent::end_offset).ok_or(Void::Malformed)?;
        let outputs = outputs(run, end_offset, now_ms)?;
        let to_chunks = outputs.iter().any(|extent| matches!(extent.object, ObjectId::Chunk(_)));
        if to_chunks && end_offset > partition.last_stable_offset() && !mutation::is(Mutation::SwapsUndecided)
        {
            return Err(Void::Undecided);
        }
        self.extents = self.extents + outputs.len() - replaced.len();
        partition.extents.splice(from..upto, outputs);
        // Of an extent of which a part is there, some of what takes its place may be gone.
        self.extents -= partition.delete_before(partition.log_start);
        Ok(())
    }

    pub(super) fn index_chunks(&mut self, change: &IndexChunks) -> Result<(), Void> {
        let IndexChunks { absorbs, root, .. } = change;
        let now_ms = self.now_ms;
        let topic = self.topics.get_mut(&change.topic).ok_or(Void::UnknownTopic)?;
        let partition = topic.partitions.get_mut(change.partition as usize).ok_or(Void::UnknownPartition)?;
        let absorbed = partition.extents.get(..absorbs.len()).ok_or(Void::ExtentsChanged)?;
        let same_root = partition.index.map(|index| index.id) == change.replaces;
        if (!same_root || !are_named(absorbed, absorbs)) && !mutation::is(Mutation::IndexUnchecked) {
            return Err(Void::ExtentsChanged);
        }
        if !absorbed.iter().all(|extent| matches!(extent.object, ObjectId::Chunk(_))) {
            return Err(Void::Malformed);
        }
        let end_offset = match absorbed.last() {
            Some(last) => last.end_offset(),
            None => partition.index.ok_or(Void::Malformed)?.end_offset,
        };
        // What is there is found: what lies before the log start alone may be left out.
        let covers = (root.base_offset..end_offset).contains(&partition.log_start) && root.base_offset >= 0;
        if root.end_offset != end_offset || !covers || root.chunks == 0 {
            return Err(Void::Malformed);
        }
        if is_stale(root.id, now_ms) {
            return Err(Void::Stale);
        }
        self.extents -= absorbs.len();
        partition.absorb(absorbs.len(), *root);
        Ok(())
    }

    pub(super) fn expire_records(&mut self, expire: &Expire) -> Result<(), Void> {
        let topic = self.topics.get_mut(&expire.topic).ok_or(Void::UnknownTopic)?;
        let retention = topic.retention;
        let same = (expire.retention_ms, expire.retention_bytes) == (retention.ms, retention.bytes);
        let bounded = retention.ms >= 0 || retention.bytes >= 0;
        let holds = retention.deletes && bounded && same;
        if !holds && !mutation::is(Mutation::RetentionUnchecked) {
            return Err(Void::RetentionChanged);
        }
        let partition = topic.partitions.get_mut(expire.partition as usize).ok_or(Void::UnknownPartition)?;
        if !(0..=partition.last_stable_offset()).contains(&expire.before) {
            return Err(Void::Undecided);
        }
        self.extents -= partition.delete_before(expire.before);
        Ok(())
    }
}

impl Manifest {
    pub(super) fn note_compacted(&mut self, compacted: &Compacted) -> Result<(), Void> {
        let topic = self.topics.get_mut(&compacted.topic).ok_or(Void::UnknownTopic)?;
        let partition =
            topic.partitions.get_mut(compacted.partition as usize).ok_or(Void::UnknownPartition)?;
        if !(0..=partition.last_stable_offset()).contains(&compacted.upto) {
            return Err(Void::Undecided);
        }
        // One that was slower than another takes nothing back.
        if compacted.upto >= partition.compacted {
            (partition.compacted, partition.tombstones_ms) = (compacted.upto, compacted.tombstones_ms);
        }
        let over = partition.aborted.partition_point(|aborted| aborted.last_offset < compacted.upto);
        partition.aborted.drain(..over);
        Ok(())
    }
}

fn are_named(extents: &[Extent], names: &[ObjectName]) -> bool {
    extents.len() == names.len()
        && extents.iter().zip(names).all(|(extent, name)| ObjectName::from(extent.object) == *name)
}

/// The extents that a swap brings, if they are sound and reach from its first offset to `end_offset`.
fn outputs(run: &SwapRun, end_offset: i64, now_ms: i64) -> Result<Vec<Extent>, Void> {
    let mut base_offset = run.base_offset;
    let mut extents = Vec::with_capacity(run.outputs.len());
    for output in &run.outputs {
        let SwapOutput { object, at, bytes, offsets, max_timestamp } = *output;
        let (id, object) = match object {
            ObjectName::Merged(id) => (id, ObjectId::Merged(id)),
            ObjectName::Chunk(id, format) => {
                let SwapRun { topic, partition, .. } = *run;
                (id, ObjectId::Chunk(ChunkId { topic, partition, base_offset, id, format }))
            }
            ObjectName::Segment(_) | ObjectName::Slot(_) | ObjectName::Marker => return Err(Void::Malformed),
        };
        if is_stale(id, now_ms) && !mutation::is(Mutation::StaleOutputsTaken) {
            return Err(Void::Stale);
        }
        let extent = Extent { base_offset, offsets, object, at, bytes, max_timestamp };
        let end = base_offset.checked_add(i64::from(offsets)).ok_or(Void::Malformed)?;
        if offsets == 0 || bytes == 0 || end > end_offset || at.checked_add(u64::from(bytes)).is_none() {
            return Err(Void::Malformed);
        }
        base_offset = end;
        extents.push(extent);
    }
    if base_offset == end_offset { Ok(extents) } else { Err(Void::Malformed) }
}

impl Partition {
    /// The first `count` extents are found through `root` from now on.
    fn absorb(&mut self, count: usize, root: crate::index::Branch) {
        self.extents.drain(..count);
        self.index = Some(root);
        // The nodes of the index tell of those that ended in it.
        let over = self.aborted.partition_point(|aborted| aborted.last_offset < root.end_offset);
        self.aborted.drain(..over);
    }
}
