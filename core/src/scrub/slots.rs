//! Which slots a listing showed, and how large they are.
//!
//! About 5 bytes a slot where slots lie side by side; a slot far from all others costs 300. Must not know the store.

use std::collections::BTreeMap;

/// Slots of one entry.
const BLOCK: u64 = 64;

/// Slots and their sizes.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    /// By slot / [`BLOCK`]: size + 1 of each, 0 where there is none.
    blocks: BTreeMap<u64, Box<[u32; BLOCK as usize]>>,
}

impl SlotTable {
    /// Sizes from 4 GiB on are kept as that.
    pub(super) fn insert(&mut self, slot: u64, size: u64) {
        let block = self.blocks.entry(slot / BLOCK).or_insert_with(|| Box::new([0; BLOCK as usize]));
        if let Some(entry) = block.get_mut((slot % BLOCK) as usize) {
            *entry = u32::try_from(size).unwrap_or(u32::MAX).saturating_add(1);
        }
    }

    pub(super) fn size(&self, slot: u64) -> Option<u64> {
        let size = *self.blocks.get(&(slot / BLOCK))?.get((slot % BLOCK) as usize)?;
        size.checked_sub(1).map(u64::from)
    }

    pub(super) fn last(&self) -> Option<u64> {
        let (block, sizes) = self.blocks.last_key_value()?;
        let at = sizes.iter().rposition(|size| *size > 0)?;
        Some(block * BLOCK + at as u64)
    }

    /// Slots from `from` on with their sizes, in order.
    pub(super) fn from(&self, from: u64) -> impl Iterator<Item = (u64, u64)> {
        self.blocks
            .range(from / BLOCK..)
            .flat_map(|(block, sizes)| {
                sizes.iter().enumerate().map(move |(at, size)| (block * BLOCK + at as u64, size))
            })
            .filter(move |(slot, size)| *slot >= from && **size > 0)
            .map(|(slot, size)| (slot, u64::from(*size - 1)))
    }

    /// Whether all slots of the range are there.
    pub(super) fn has_all(&self, mut from: u64, below: u64) -> bool {
        for (slot, _) in self.from(from) {
            if from >= below || slot != from {
                break;
            }
            from += 1;
        }
        from >= below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_out_in_order_with_their_sizes() {
        let mut table = SlotTable::default();
        for slot in [500, 1, 2, 3, 64, 65, u64::MAX, 0] {
            table.insert(slot, slot % 7);
        }
        let all: Vec<_> = table.from(0).collect();
        let slots = [0, 1, 2, 3, 64, 65, 500, u64::MAX];
        assert_eq!(all, slots.map(|slot| (slot, slot % 7)));
        assert_eq!(table.from(3).next(), Some((3, 3)));
        assert_eq!(table.from(66).next(), Some((500, 3)));
        assert_eq!((table.size(4), table.size(64), table.last()), (None, Some(1), Some(u64::MAX)));
        assert!(table.has_all(1, 4) && !table.has_all(1, 5) && table.has_all(9, 9));
    }
}
