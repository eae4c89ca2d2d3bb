//! What is worth doing: a pure function from the manifest to jobs.
//!
//! Must not know the store or the clock. Invariants: a record is written anew at most twice, once into a merged segment
//! and once into a chunk; what is large enough goes into a chunk at once; a job is bounded in bytes and in extents; chunks
//! take in only what is decided.

use strandline_core::limits::{
    CHUNK_BLOCK_BYTES, INDEX_LEAF_CHUNKS, MIB, UPLOAD_PART_BYTES, UPLOAD_PARTS_AT_ONCE,
};
use strandline_core::manifest::{Extent, Manifest, ObjectId, Partition, Retention, Topic};
use strandline_core::mutation::{self, Mutation};
use ulid::Ulid;
use uuid::Uuid;

use crate::job::{Job, Run};

/// What a compactor holds at a time unless told otherwise.
pub const MEMORY_BYTES_DEFAULT: u64 = 192 * MIB as u64;
/// Less is not enough to write in parts.
pub const MEMORY_BYTES_MIN: u64 = 64 * MIB as u64;
/// What a key takes while a partition is compacted by key.
const KEY_BYTES: u64 = 64;

/// When something is worth doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Unmerged bytes that are worth a merge, and the most that one merge takes.
    pub merge_bytes: u64,
    /// Unmerged extents that are worth one, however few bytes they have: each costs memory on every node.
    pub merge_extents: usize,
    /// Age of an unmerged segment, in journal time, from which on it is merged, however little there is.
    pub merge_age_ms: i64,
    /// The same for a commit with records in it, counted in commits since.
    pub merge_slots: u64,
    /// Mean bytes of extents that are large enough to be read one by one, and need no merge.
    pub large_bytes: u64,
    /// Bytes of a partition that are worth a chunk.
    pub chunk_least_bytes: u64,
    /// What a chunk aims at.
    pub chunk_bytes: u64,
    /// Merged extents of a partition that are worth a chunk, however few bytes they have.
    pub chunk_extents: usize,
    /// Age of a merged or large extent, in journal time, from which on it goes into a chunk in any case.
    pub chunk_age_ms: i64,
    /// Chunks of a partition that are worth a change of its index.
    pub index_chunks: usize,
    /// Chunks of all partitions together that the manifest may name itself; with more, fewer chunks are worth a change.
    pub direct_chunks: usize,
    /// Extents that one job takes.
    pub job_extents: usize,
    /// Uncompacted bytes of a partition that are worth compacting it by key, if they are the share that its topic asks for.
    pub clean_least_bytes: u64,
    /// Different keys that one compaction holds in memory; a partition with more of them takes several.
    pub clean_keys: usize,
    /// Bytes between two places of a chunk from which a lookup may begin.
    pub block_bytes: u64,
    /// Chunks of one leaf of an index, at most [`INDEX_LEAF_CHUNKS`].
    pub leaf_chunks: usize,
    /// Bytes that are read before they can be written.
    pub read_ahead_bytes: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            merge_bytes: 64 * MIB as u64,
            merge_extents: 20_000,
            merge_age_ms: 600_000,
            merge_slots: 4_096,
            large_bytes: 256 * 1_024,
            chunk_least_bytes: 128 * MIB as u64,
            chunk_bytes: 256 * MIB as u64,
            chunk_extents: 128,
            chunk_age_ms: 86_400_000,
            index_chunks: 16,
            direct_chunks: 32_768,
            job_extents: 50_000,
            clean_least_bytes: 64 * MIB as u64,
            clean_keys: 1 << 20,
            block_bytes: CHUNK_BLOCK_BYTES,
            leaf_chunks: INDEX_LEAF_CHUNKS,
            read_ahead_bytes: 48 * MIB as u64,
        }
    }
}

impl Policy {
    /// Everything goes into chunks and the index at once, however little it is.
    pub fn everything() -> Policy {
        Policy {
            large_bytes: 0,
            chunk_least_bytes: 0,
            index_chunks: 1,
            clean_least_bytes: 0,
            ..Policy::default()
        }
    }

    /// What a job holds stays within so many bytes, or within [`MEMORY_BYTES_MIN`] if they are fewer: it takes less at a time.
    pub fn within(self, memory_bytes: u64) -> Policy {
        // Parts that are on their way out are what every job holds beside its own.
        let own =
            memory_bytes.max(MEMORY_BYTES_MIN) - (UPLOAD_PARTS_AT_ONCE + 1) as u64 * UPLOAD_PART_BYTES as u64;
        Policy {
            merge_bytes: own * 2 / 5,
            clean_keys: usize::try_from(own * 2 / 5 / KEY_BYTES).unwrap_or(usize::MAX),
            read_ahead_bytes: own * 3 / 10,
            ..self
        }
    }

    /// How many of these extents one job takes: until it has `bytes`, and no more bytes and offsets than an extent can have.
    pub(crate) fn cut(&self, extents: &[Extent], bytes: u64) -> usize {
        let (mut taken, mut offsets) = (0_u64, 0_u64);
        let fits = |extent: &&Extent| {
            let fits = taken < bytes && offsets + u64::from(extent.offsets) <= u64::from(u32::MAX);
            taken += u64::from(extent.bytes);
            offsets += u64::from(extent.offsets);
            fits && taken <= u64::from(u32::MAX)
        };
        extents.iter().take(self.job_extents).take_while(fits).count()
    }
}

/// What to do now, the cheapest first. Empty: nothing is worth it. `now_ms`: the earlier of journal time and the clock of whoever
/// asks.
pub fn plan(manifest: &Manifest, policy: &Policy, now_ms: i64) -> Vec<Job> {
    let mut jobs = index_jobs(manifest, policy);
    let mut small = Vec::new();
    for (topic, number, partition) in partitions(manifest) {
        let retention = manifest.topic(&topic).map(Topic::retention).filter(|retention| retention.compacts);
        if retention.is_some_and(|retention| is_worth_cleaning(policy, retention, partition, now_ms)) {
            // That writes chunks as well: two jobs for one extent would come to nothing.
            jobs.push(Job::Clean(topic, number));
            continue;
        }
        let rest = chunk_jobs(manifest, policy, (topic, number, partition), &mut jobs);
        small.extend(unmerged(manifest, policy, (topic, number), rest));
    }
    // As they lie in segments, so that a job reads neighbouring bytes.
    small.sort_by_key(|run| (run.topic, run.partition));
    if is_worth_merging(manifest, policy, &small) {
        merge_jobs(policy, small, &mut jobs);
    }
    jobs
}

fn partitions(manifest: &Manifest) -> impl Iterator<Item = (Uuid, u32, &Partition)> {
    manifest.topics().flat_map(|topic| {
        (0..).zip(&topic.partitions).map(|(number, partition)| (topic.id, number, partition))
    })
}

fn is_chunk(extent: &Extent) -> bool {
    matches!(extent.object, ObjectId::Chunk(_))
}

fn leading_chunks(partition: &Partition) -> usize {
    partition.extents.iter().take_while(|extent| is_chunk(extent)).count()
}

fn index_jobs(manifest: &Manifest, policy: &Policy) -> Vec<Job> {
    let all: usize = partitions(manifest).map(|(.., partition)| leading_chunks(partition)).sum();
    let worth = match all.checked_div(policy.direct_chunks).unwrap_or(0) {
        0 => policy.index_chunks,
        1 => policy.index_chunks.div_ceil(4),
        _ => 1,
    };
    let job = |(topic, number, partition): (Uuid, u32, &Partition)| {
        let chunks = leading_chunks(partition);
        (chunks >= worth.max(1)).then_some(Job::Index(topic, number, chunks))
    };
    partitions(manifest).filter_map(job).collect()
}

/// Kafka's rule, where `segment.ms` stands for a segment that is closed: enough that was never compacted, or too old.
fn is_worth_cleaning(policy: &Policy, of: Retention, partition: &Partition, now_ms: i64) -> bool {
    let from = partition.compacted.max(partition.log_start);
    let stable = partition.last_stable_offset();
    let is_dirty = |extent: &&Extent| extent.end_offset() > from && extent.end_offset() <= stable;
    let indexed = partition.index.filter(|index| index.end_offset > from).map_or(0, |index| index.bytes);
    let first = partition.extents.iter().find(is_dirty);
    let dirty = partition.extents.iter().filter(is_dirty).map(|extent| u64::from(extent.bytes)).sum::<u64>();
    let (dirty, all) = (dirty + indexed, partition.bytes().max(1));
    let age_ms = |extent: &Extent| now_ms.saturating_sub(extent.max_timestamp);
    let older = |ms: i64| indexed > 0 || first.is_some_and(|extent| age_ms(extent) >= ms.max(of.min_lag_ms));
    let share = dirty.saturating_mul(1_000) / all >= u64::from(of.dirty_per_mille);
    dirty > 0
        && older(0)
        && ((share && (dirty >= policy.clean_least_bytes || older(of.segment_ms))) || older(of.max_lag_ms))
        || now_ms >= partition.tombstones_ms
}

/// Adds the chunks that a partition is worth, and gives the extents that stay as they are.
fn chunk_jobs<'a>(
    manifest: &Manifest,
    policy: &Policy,
    (topic, number, partition): (Uuid, u32, &'a Partition),
    jobs: &mut Vec<Job>,
) -> &'a [Extent] {
    let mut rest = partition.extents.get(leading_chunks(partition)..).unwrap_or_default();
    let stable = match mutation::is(Mutation::SwapsUndecided) {
        true => partition.high_watermark,
        false => partition.last_stable_offset(),
    };
    loop {
        let decided = rest.partition_point(|extent| extent.end_offset() <= stable && !is_chunk(extent));
        let decided = rest.get(..decided).unwrap_or_default();
        let count = chunk_length(manifest, policy, decided);
        let Some((extents, behind)) = rest.split_at_checked(count).filter(|_| count > 0) else { return rest };
        jobs.push(Job::Chunk(Run { topic, partition: number, extents: extents.to_vec() }));
        rest = behind;
    }
}

/// How many of these extents are worth a chunk now; 0: they are not.
fn chunk_length(manifest: &Manifest, policy: &Policy, extents: &[Extent]) -> usize {
    let mean = |part: &[Extent]| sum(part).checked_div(part.len() as u64).unwrap_or(0);
    let whole = extents.get(..policy.cut(extents, policy.chunk_bytes)).unwrap_or_default();
    let large = mean(whole) >= policy.large_bytes;
    let merged = whole.iter().take_while(|extent| !is_raw(extent)).count();
    let ready = if large { whole } else { whole.get(..merged).unwrap_or_default() };
    let old = |extent: &Extent| age_ms(manifest, extent).is_some_and(|age| age >= policy.chunk_age_ms);
    let worth = sum(ready) >= policy.chunk_least_bytes
        || (!large && ready.len() >= policy.chunk_extents)
        || ready.first().is_some_and(old);
    if worth { ready.len() } else { 0 }
}

/// As it was ingested: in a segment, in a commit, or the end of a transaction that still lies nowhere.
fn is_raw(extent: &Extent) -> bool {
    matches!(extent.object, ObjectId::Segment(_) | ObjectId::Slot(_) | ObjectId::Marker(_))
}

fn sum(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| u64::from(extent.bytes)).sum()
}

/// How old the object of an extent is, where its name tells.
fn age_ms(manifest: &Manifest, extent: &Extent) -> Option<i64> {
    let id: Ulid = match extent.object {
        ObjectId::Segment(id) | ObjectId::Merged(id) => id,
        ObjectId::Chunk(chunk) => chunk.id,
        ObjectId::Slot(_) | ObjectId::Marker(_) => return None,
    };
    Some(manifest.now_ms.saturating_sub(i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX)))
}

/// The runs of unmerged extents, unless they are so large that they wait for their chunk.
fn unmerged<'a>(
    manifest: &'a Manifest,
    policy: &'a Policy,
    (topic, partition): (Uuid, u32),
    extents: &'a [Extent],
) -> impl Iterator<Item = Run> + use<'a> {
    let runs = extents.chunk_by(|one, other| is_raw(one) == is_raw(other));
    let small = |run: &&[Extent]| {
        let data = run.iter().filter(|extent| !extent.is_marker()).count() as u64;
        let small = sum(run).checked_div(data).is_some_and(|mean| mean < policy.large_bytes);
        run.first().is_some_and(is_raw) && (small || run.iter().any(|one| slot_is_old(manifest, policy, one)))
    };
    runs.filter(small).map(move |extents| Run { topic, partition, extents: extents.to_vec() })
}

/// Whether the slot that holds the extent could be deleted if it did not.
fn slot_is_old(manifest: &Manifest, policy: &Policy, extent: &Extent) -> bool {
    let since = |slot| manifest.applied.saturating_sub(slot);
    matches!(extent.object, ObjectId::Slot(slot) if since(slot) >= policy.merge_slots)
}

fn is_worth_merging(manifest: &Manifest, policy: &Policy, runs: &[Run]) -> bool {
    let extents = || runs.iter().flat_map(|run| &run.extents);
    let old = |extent: &Extent| {
        slot_is_old(manifest, policy, extent)
            || age_ms(manifest, extent).is_some_and(|age| age >= policy.merge_age_ms)
    };
    extents().count() >= policy.merge_extents
        || runs.iter().map(Run::bytes).sum::<u64>() >= policy.merge_bytes
        || extents().any(old)
}

/// One job for each `merge_bytes`, in the order in which runs lie in segments, so that each reads neighbouring bytes.
fn merge_jobs(policy: &Policy, runs: Vec<Run>, jobs: &mut Vec<Job>) {
    let mut merge: Vec<Run> = Vec::new();
    let (mut bytes, mut count) = (0_u64, 0_usize);
    for mut run in runs {
        loop {
            let room = policy.merge_bytes.saturating_sub(bytes).max(1);
            let most = policy.job_extents.saturating_sub(count).max(1);
            let taken = policy.cut(&run.extents, room).clamp(1, most).min(run.extents.len());
            let behind = run.extents.split_off(taken);
            let Run { topic, partition, .. } = run;
            bytes += run.bytes();
            count += taken;
            merge.push(run);
            if bytes >= policy.merge_bytes || count >= policy.job_extents {
                jobs.push(Job::Merge(std::mem::take(&mut merge)));
                (bytes, count) = (0, 0);
            }
            if behind.is_empty() {
                break;
            }
            run = Run { topic, partition, extents: behind };
        }
    }
    if !merge.is_empty() {
        jobs.push(Job::Merge(merge));
    }
}

#[cfg(test)]
mod tests;
