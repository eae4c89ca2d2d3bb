//! What is remembered of pulls: where in a run the next one goes on, so that a long run is not walked from its beginning
//! again and again; where compaction left no batches; and who waits at which end, so that only newcomers make the journal be
//! read.
//!
//! Must not know the store. Hints only: without them a pull starts at the beginning of a run or of a gap, or the journal is
//! read once more. What once was a gap stays one: compaction takes away, and never brings.

use std::ops::Range;

use moka::sync::Cache;
use strandline_core::limits::FOLLOW_POLL;
use strandline_core::manifest::ObjectId;
use tokio::time::Instant;
use uuid::Uuid;

/// Places remembered.
const MAX_PLACES: u64 = 65_536;

/// A batch border inside a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) object: ObjectId,
    /// Bytes from the start of the object.
    pub(crate) at: u64,
    /// Offset of the first record of the batch that begins there.
    pub(crate) offset: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Resume {
    places: Cache<(Uuid, u32, i64), Place>,
    /// One past the last offset of the gap that begins there.
    gaps: Cache<(Uuid, u32, i64), i64>,
    /// Since when; forgotten as fast as a follower looks at the slowest.
    ends: Cache<(Uuid, u32, i64), Instant>,
}

impl Resume {
    pub(crate) fn new() -> Resume {
        Resume { places: Cache::new(MAX_PLACES), gaps: Cache::new(MAX_PLACES), ends: Cache::new(MAX_PLACES) }
    }

    /// Whether nobody waited at this end of a partition lately; from now on somebody does.
    pub(crate) fn arrives(&self, topic: Uuid, partition: u32, offset: i64) -> bool {
        let (key, now) = ((topic, partition, offset), Instant::now());
        // Not the cache's own expiry: that goes by another clock than everything that waits here.
        let arrives = self.ends.get(&key).is_none_or(|since| now - since >= FOLLOW_POLL.1);
        if arrives {
            self.ends.insert(key, now);
        }
        arrives
    }

    pub(crate) fn get(&self, topic: Uuid, partition: u32, offset: i64) -> Option<Place> {
        self.places.get(&(topic, partition, offset))
    }

    pub(crate) fn put(&self, topic: Uuid, partition: u32, place: Place) {
        self.places.insert((topic, partition, place.offset), place);
    }

    /// The first offset from `offset` on that a batch may have.
    pub(crate) fn behind_gap(&self, topic: Uuid, partition: u32, offset: i64) -> i64 {
        self.gaps.get(&(topic, partition, offset)).unwrap_or(offset)
    }

    /// No batch has any of these offsets.
    pub(crate) fn put_gap(&self, topic: Uuid, partition: u32, gap: Range<i64>) {
        if !gap.is_empty() {
            self.gaps.insert((topic, partition, gap.start), gap.end);
        }
    }
}
