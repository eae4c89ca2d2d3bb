//! Where in an extent the next pull goes on, so that a long extent is not walked from its beginning again and again.
//!
//! Must not know the store. A hint only: without it, or when it is wrong about the extent, a pull starts at the beginning.

use moka::sync::Cache;
use strandline_core::manifest::ObjectId;
use uuid::Uuid;

/// Places remembered.
const MAX_PLACES: u64 = 65_536;

/// A batch border inside an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) object: ObjectId,
    /// Bytes from the start of the object.
    pub(crate) at: u64,
    /// Offset of the first record of the batch that begins there.
    pub(crate) offset: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Resume(Cache<(Uuid, u32, i64), Place>);

impl Resume {
    pub(crate) fn new() -> Resume {
        Resume(Cache::new(MAX_PLACES))
    }

    pub(crate) fn get(&self, topic: Uuid, partition: u32, offset: i64) -> Option<Place> {
        self.0.get(&(topic, partition, offset))
    }

    pub(crate) fn put(&self, topic: Uuid, partition: u32, place: Place) {
        self.0.insert((topic, partition, place.offset), place);
    }
}
