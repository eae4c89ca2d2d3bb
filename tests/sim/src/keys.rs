//! Records with keys, as topics that are compacted by key need them: few keys, and tombstones, which have a key and no value.
//!
//! Must not know who writes them. The name of a record stands in its header as well: a tombstone has no other place for it.

use bytes::Bytes;
use fastrand::Rng;
use strandline_core::record::{self, RecordBuilder};

use crate::history::Record;
use crate::plan::{Keyed, chance};

/// What compaction by key looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) number: u8,
    pub(crate) tombstone: bool,
}

impl Key {
    /// Of the next record.
    pub(crate) fn drawn(keyed: Keyed, dice: &mut Rng) -> Key {
        let number = dice.u8(0..keyed.keys).min(dice.u8(0..keyed.keys));
        Key { number, tombstone: chance(dice, keyed.tombstones) }
    }

    /// Of a record; `None`: it has no key.
    pub(crate) fn of(record: &record::Record) -> Option<Key> {
        let number = std::str::from_utf8(record.key.as_ref()?).ok()?.strip_prefix("key-")?.parse().ok()?;
        Some(Key { number, tombstone: record.value.is_none() })
    }
}

/// Adds a record to a batch.
pub(crate) fn push(
    builder: &mut RecordBuilder,
    timestamp: i64,
    record: Record,
    key: Option<Key>,
    padding: usize,
) {
    let value = record.value(padding);
    let Some(key) = key else { return builder.push(timestamp, None, Some(&value)) };
    let bytes = Bytes::from(format!("key-{}", key.number));
    let name = record.value(0);
    let value = Some(value.as_slice()).filter(|_| !key.tombstone);
    builder.push_with(timestamp, Some(&bytes), value, &[(b"name".as_slice(), Some(name.as_slice()))]);
}
