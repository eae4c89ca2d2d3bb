//! What a manifest refers to, so that it can be asked object by object.
//!
//! Must not know the store. Holds 16 bytes for each segment and each chunk that extents lie in, 8 for each slot.

use strandline_core::manifest::state::is_stale;
use strandline_core::manifest::{Manifest, ObjectId};
use ulid::Ulid;

use super::report::Judged;

/// The objects of the extents of a manifest, sorted.
#[derive(Debug)]
pub(super) struct Needed<'a> {
    pub(super) manifest: &'a Manifest,
    segments: Vec<Ulid>,
    chunks: Vec<Ulid>,
    slots: Vec<u64>,
}

impl<'a> Needed<'a> {
    pub(super) fn of(manifest: &'a Manifest) -> Needed<'a> {
        let mut needed = Needed { manifest, segments: Vec::new(), chunks: Vec::new(), slots: Vec::new() };
        let partitions = manifest.topics().flat_map(|topic| &topic.partitions);
        for extent in partitions.flat_map(|partition| &partition.extents) {
            match extent.object {
                ObjectId::Segment(id) | ObjectId::Merged(id) => push(&mut needed.segments, id),
                ObjectId::Chunk(chunk) => push(&mut needed.chunks, chunk.id),
                ObjectId::Slot(slot) => push(&mut needed.slots, slot),
                ObjectId::Marker(_) => {}
            }
        }
        sort(&mut needed.segments);
        sort(&mut needed.chunks);
        sort(&mut needed.slots);
        needed
    }

    pub(super) fn has_segment(&self, id: Ulid) -> bool {
        self.segments.binary_search(&id).is_ok()
    }

    /// Whether an extent lies in it; the index may lead to it all the same.
    pub(super) fn has_chunk(&self, id: Ulid) -> bool {
        self.chunks.binary_search(&id).is_ok()
    }

    pub(super) fn has_slot(&self, slot: u64) -> bool {
        self.slots.binary_search(&slot).is_ok()
    }

    /// The rule.
    pub(super) fn judge(&self, is_needed: bool, id: Ulid) -> Judged {
        match is_needed {
            true => Judged::Needed,
            false if is_stale(id, self.manifest.now_ms) => Judged::Gone,
            false => Judged::Young,
        }
    }
}

/// Extents side by side often lie in one object.
fn push<T: PartialEq>(found: &mut Vec<T>, one: T) {
    if found.last() != Some(&one) {
        found.push(one);
    }
}

fn sort<T: Ord>(found: &mut Vec<T>) {
    found.sort_unstable();
    found.dedup();
    found.shrink_to_fit();
}
