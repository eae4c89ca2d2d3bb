//! One record of the truth, and the time of the journal.
//!
//! Must not know where either comes from.

use std::collections::BTreeMap;

use crate::history::Record;
use crate::keys::Key;

/// One record in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// The slot that brought it.
    pub(crate) slot: u64,
    pub(crate) timestamp: i64,
    pub(crate) of: Of,
    /// Of its batch, if it is the first record there; else 0.
    pub(crate) bytes: u64,
    /// Where topics are compacted by key.
    pub(crate) key: Option<Key>,
}

/// What an offset has to do with transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Nothing.
    Nobody,
    /// A record of this producer's.
    Transaction(i64),
    /// The end of this producer's; whether it is committed.
    Marker(i64, bool),
}

/// What stands in place of a marker's record: nobody sent it, and it was at no time.
pub(super) const NO_RECORD: Record = Record { sent: usize::MAX, index: u32::MAX };

impl Entry {
    /// An offset of which nothing is known yet.
    pub(super) fn hole(slot: u64) -> Entry {
        Entry { record: NO_RECORD, slot, timestamp: i64::MIN, of: Of::Nobody, bytes: 0, key: None }
    }
}

/// Of each slot, how long after the beginning it was filled, and the time of the journal from it on.
#[derive(Debug, Default)]
pub(crate) struct Times(BTreeMap<u64, (u64, i64)>);

impl Times {
    pub(super) fn note(&mut self, slot: u64, filled_ms: Option<u64>, now_ms: i64) {
        self.0.insert(slot, (filled_ms.unwrap_or(0), now_ms));
    }

    /// The time of the journal from a slot on.
    pub(super) fn of(&self, slot: u64) -> i64 {
        self.0.get(&slot).map_or(i64::MAX, |(_, now_ms)| *now_ms)
    }

    /// The time of the journal, so long after the beginning.
    pub(super) fn at(&self, at_ms: u64) -> i64 {
        let filled = self.0.values().rev().find(|(filled_ms, _)| *filled_ms <= at_ms);
        filled.map_or(i64::MIN, |(_, now_ms)| *now_ms)
    }
}
