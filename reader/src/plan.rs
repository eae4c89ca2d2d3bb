//! Which partitions are read how far, and whether there is enough yet: looks at the manifest only, never at the store.
//!
//! Must not know bytes. The first partition that has anything gets at least one batch; the rest share what is left of the
//! limits, in the order of the request.

use bytes::Bytes;
use strandline_core::index::Branch;
use strandline_core::manifest::{Aborted, Extent, Manifest, ObjectId};
use uuid::Uuid;

use crate::error::ReadError;
use crate::history::Span;

/// Extents looked at for one partition and pull.
const MAX_EXTENTS: usize = 4_096;

/// From where one partition is to be read, and how much.
#[derive(Debug, Clone, Copy)]
pub struct FetchPartition {
    /// The topic.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The first offset wanted.
    pub offset: i64,
    /// About how many bytes.
    pub max_bytes: usize,
}

/// How far a reader may look into transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All that is there.
    #[default]
    ReadUncommitted,
    /// Up to the first record that is not decided.
    ReadCommitted,
}

/// What holds for all partitions of a pull together.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Wait until there are so many bytes.
    pub min_bytes: usize,
    /// Give about so many.
    pub max_bytes: usize,
    /// But wait no longer than this.
    pub max_wait: std::time::Duration,
    /// What of transactions is wanted.
    pub isolation: Isolation,
}

/// What was read of one partition.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// The offset after the last one that is there.
    pub high_watermark: i64,
    /// The offset up to which all transactions are decided.
    pub last_stable: i64,
    /// The first offset that is there.
    pub log_start: i64,
    /// The transactions among the batches that were aborted, by their first offsets. Empty unless only what is committed was
    /// asked for.
    pub aborted: Vec<Aborted>,
    /// Whole batches with their offsets, ready for the wire; the first may begin before the offset that was asked for.
    pub batches: Vec<Bytes>,
    /// Bytes of them.
    pub bytes: usize,
    /// Where the next pull goes on: behind the last batch, and behind what compaction left empty.
    pub next_offset: i64,
}

/// What is to be read of one partition.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) high_watermark: i64,
    pub(crate) last_stable: i64,
    /// The offset at which the pull begins: the one that was asked for, or that behind a gap there.
    pub(crate) from: i64,
    /// The offset before which the pull ends.
    pub(crate) upto: i64,
    pub(crate) isolation: Isolation,
    /// Those that did not end in the index.
    pub(crate) aborted: Vec<Aborted>,
    pub(crate) log_start: i64,
    /// None if the pull begins behind it.
    pub(crate) index: Option<Branch>,
    /// What lies there from the offset on, or from the end of the index: what is read now, and what a scan will read next.
    pub(crate) extents: Vec<Extent>,
    /// 0: nothing.
    pub(crate) most_bytes: usize,
    /// How far beyond that blocks are fetched.
    pub(crate) ahead_bytes: usize,
}

impl Share {
    /// What is to be read, as it is asked of the index.
    pub(crate) fn span(&self, wanted: &FetchPartition) -> Span<'_> {
        let FetchPartition { topic, partition, .. } = *wanted;
        Span { topic, partition, from: self.from, index: self.index, extents: &self.extents }
    }
}

/// A pull, decided.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) shares: Vec<Result<Share, ReadError>>,
    /// Bytes that the shares will come to, about.
    pub(crate) bytes: usize,
    /// Some partition cannot be read as asked.
    pub(crate) refused: bool,
}

impl Plan {
    /// `from`: where to begin in each, if no batch lies between the wanted offset and there. `ahead_bytes`: how far beyond each
    /// share blocks are fetched.
    pub(crate) fn new(
        manifest: &Manifest,
        wanted: &[FetchPartition],
        from: &[i64],
        limits: &FetchLimits,
        ahead_bytes: usize,
    ) -> Plan {
        let shares = Vec::with_capacity(wanted.len());
        let mut plan = Plan { shares, bytes: 0, refused: false };
        for (wanted, from) in wanted.iter().zip(from) {
            let left = limits.max_bytes.saturating_sub(plan.bytes);
            let room = (left, plan.bytes == 0, ahead_bytes);
            let share = share(manifest, wanted, *from, room, limits.isolation);
            plan.refused |= share.is_err();
            if let Ok(share) = &share {
                let bytes = |extent| bytes_from(extent, share.from, share.upto);
                let indexed =
                    share.index.map_or(0, |index| usize::try_from(index.bytes).unwrap_or(usize::MAX));
                let there = share.extents.iter().map(bytes).fold(indexed, usize::saturating_add);
                plan.bytes += there.min(share.most_bytes);
            }
            plan.shares.push(share);
        }
        plan
    }
}

fn share(
    manifest: &Manifest,
    wanted: &FetchPartition,
    from: i64,
    (left, first, ahead_bytes): (usize, bool, usize),
    isolation: Isolation,
) -> Result<Share, ReadError> {
    let topic = manifest.topic(&wanted.topic).ok_or(ReadError::UnknownTopic)?;
    let partition = topic.partitions.get(wanted.partition as usize).ok_or(ReadError::UnknownPartition)?;
    let (log_start, high_watermark) = (partition.log_start, partition.high_watermark);
    if wanted.offset < log_start || wanted.offset > high_watermark {
        return Err(ReadError::OutOfRange { log_start, high_watermark });
    }
    let most_bytes = match wanted.max_bytes.min(left) {
        // Whatever the limits say, a pull moves on.
        0 if first => 1,
        bytes => bytes,
    };
    let last_stable = partition.last_stable_offset();
    let upto = match isolation {
        Isolation::ReadUncommitted => high_watermark,
        Isolation::ReadCommitted => last_stable,
    };
    let from = from.clamp(wanted.offset, high_watermark);
    // The log may start inside a batch that is not decided.
    let nothing = most_bytes == 0 || from >= upto;
    let index = partition.index.filter(|index| !nothing && from < index.end_offset);
    let (extents, aborted) = Default::default();
    let mut share = Share {
        high_watermark,
        last_stable,
        from,
        upto,
        isolation,
        aborted,
        log_start,
        index,
        extents,
        most_bytes,
        ahead_bytes,
    };
    if nothing {
        return Ok(share);
    }
    let mut bytes = 0;
    for extent in partition.extents.iter().skip(partition.extent_index(from)).take(MAX_EXTENTS) {
        if bytes >= most_bytes.saturating_add(ahead_bytes) || extent.base_offset >= upto {
            break;
        }
        // Perhaps nothing of a chunk lies behind an offset inside of it: what comes next may be needed at once.
        if !is_chunk(extent) || from <= extent.base_offset {
            bytes += bytes_from(extent, from, upto);
        }
        share.extents.push(*extent);
    }
    if isolation == Isolation::ReadCommitted {
        let behind = share.extents.last().map(Extent::end_offset).max(index.map(|index| index.end_offset));
        share.aborted = behind.map_or_else(Vec::new, |behind| partition.aborted_in(wanted.offset, behind));
    }
    Ok(share)
}

/// About how many bytes of an extent lie between two offsets, as if all records were of one size. Of a chunk nobody knows
/// where its gaps are: all of them.
fn bytes_from(extent: &Extent, offset: i64, upto: i64) -> usize {
    if is_chunk(extent) {
        return extent.bytes as usize;
    }
    let from = offset.max(extent.base_offset);
    let left = extent.end_offset().min(upto).saturating_sub(from).clamp(0, i64::from(extent.offsets));
    (u64::from(extent.bytes) * left as u64 / u64::from(extent.offsets.max(1))) as usize
}

fn is_chunk(extent: &Extent) -> bool {
    matches!(extent.object, ObjectId::Chunk(_))
}
