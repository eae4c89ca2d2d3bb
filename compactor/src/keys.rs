//! Of each key the offset of its last record, in bounded memory.
//!
//! Must not know batches. Keys are kept as 128 bits of their hash: two keys that shared one would be taken for the same, which
//! among a million of them happens once in 10^26 times. (Kafka's log cleaner keeps as many, of MD5.)

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

/// The last offsets of the keys seen so far.
#[derive(Debug)]
pub(crate) struct Keys {
    last: BTreeMap<u128, i64>,
    most: usize,
}

impl Keys {
    /// Full with so many different keys.
    pub(crate) fn new(most: usize) -> Keys {
        Keys { last: BTreeMap::new(), most: most.max(1) }
    }

    /// Whether no more batches should be noted.
    pub(crate) fn is_full(&self) -> bool {
        self.last.len() >= self.most
    }

    /// Notes a record; offsets come in ascending order.
    pub(crate) fn note(&mut self, key: &[u8], offset: i64) {
        self.last.insert(hash(key), offset);
    }

    /// Whether a later record with this key was noted.
    pub(crate) fn has_later(&self, key: &[u8], offset: i64) -> bool {
        self.last.get(&hash(key)).is_some_and(|last| *last > offset)
    }
}

fn hash(key: &[u8]) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(key);
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_known_and_when_there_are_enough_of_them() {
        let mut keys = Keys::new(2);
        keys.note(b"a", 1);
        keys.note(b"a", 5);
        assert!(!keys.is_full());
        keys.note(b"b", 7);
        assert!(keys.is_full());
        let later = |key: &[u8], offset| keys.has_later(key, offset);
        assert!(later(b"a", 1) && !later(b"a", 5) && later(b"b", 2) && !later(b"c", 0));
    }
}
