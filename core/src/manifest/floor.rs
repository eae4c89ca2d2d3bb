//! A move of the floor, as one object.
//!
//! Must not know when the floor moves, nor who reads it. A floor object never changes and is never deleted.

use bytes::Bytes;

use crate::error::Result;
use crate::object::{self, Shape};

#[derive(Clone, PartialEq, prost::Message)]
struct FloorWire {
    #[prost(uint64, tag = "1")]
    slot: u64,
}

/// The whole object: slots below `slot` may be deleted.
pub fn encode(slot: u64) -> Bytes {
    object::encode(Shape::Floor, &FloorWire { slot })
}

/// The slot that a floor object names.
pub fn decode(key: &str, bytes: &[u8]) -> Result<u64> {
    object::decode(key, Shape::Floor, bytes).map(|(floor, _): (FloorWire, usize)| floor.slot)
}
