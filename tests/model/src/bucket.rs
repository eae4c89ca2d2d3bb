//! What the bucket holds, and what any store may do with a PUT.
//!
//! Must not know what nodes believe. Keeps beside it the *truth*: the first content that a slot ever had, which deletion
//! does not take away. The truth is for the properties; no node sees it.

use crate::fold::Manifest;
use crate::rules::Rules;
use crate::scenario::{Content, FLOORS, SLOTS, Scenario};

/// Ticks since something, as far as it matters: an age stops growing at a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Age(pub u8);

impl Age {
    /// This very tick.
    pub const NOW: Age = Age(0);

    /// One tick older.
    pub fn grow(&mut self, cap: u8) {
        self.0 = (self.0 + 1).min(cap);
    }
}

/// One floor object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Floor {
    /// Slots below it may be deleted.
    pub slot: u8,
    /// By the store's own stamps.
    pub age: Age,
}

/// Everything under the prefix, and the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// `journal/<slot>`.
    pub journal: [Content; SLOTS],
    /// Per slot, a bit for each content that was ever put there: any of these PUTs may land now, again, or never.
    pub sent: [u8; SLOTS],
    /// `floor/<k>`.
    pub floors: [Option<Floor>; FLOORS],
    /// `checkpoint/<slot>`, one bit each.
    pub checkpoints: u8,
    /// What each slot held first.
    pub truth: [Content; SLOTS],
}

impl Bucket {
    /// A fresh cluster: no commit, the floor at the empty manifest.
    pub fn new() -> Bucket {
        let mut floors = [None; FLOORS];
        floors[0] = Some(Floor { slot: 0, age: Age::NOW });
        let nothing = [Content::NOTHING; SLOTS];
        Bucket { journal: nothing, sent: [0; SLOTS], floors, checkpoints: 1, truth: nothing }
    }

    /// A PUT leaves its sender. From now on it may be applied any time, any number of times, or never.
    pub fn send(&mut self, slot: u8, content: Content) {
        self.sent[usize::from(slot)] |= 1 << content.0;
    }

    /// Whether this PUT was sent.
    pub fn was_sent(&self, slot: u8, content: Content) -> bool {
        self.sent[usize::from(slot)] & (1 << content.0) != 0
    }

    /// How many slots it was sent to.
    pub fn times_sent(&self, content: Content) -> usize {
        (1..SLOTS as u8).filter(|slot| self.was_sent(*slot, content)).count()
    }

    /// Put-if-absent: applied only if the key is not there. It forgets a key once that is deleted.
    pub fn put_if_absent(&mut self, slot: u8, content: Content) -> Option<()> {
        let slot = usize::from(slot);
        if self.journal[slot].is_there() {
            return None;
        }
        self.journal[slot] = content;
        if !self.truth[slot].is_there() {
            self.truth[slot] = content;
        }
        Some(())
    }

    /// GET of a slot.
    pub fn get(&self, slot: u8) -> Content {
        self.journal[usize::from(slot)]
    }

    /// What the slot held first.
    pub fn truth(&self, slot: u8) -> Content {
        self.truth[usize::from(slot)]
    }

    /// Whether the slot was filled and then deleted, and is still gone.
    pub fn is_deleted(&self, slot: u8) -> bool {
        self.truth(slot).is_there() && !self.get(slot).is_there()
    }

    /// The newest floor.
    pub fn floor(&self) -> u8 {
        self.floors.iter().flatten().next_back().map_or(0, |floor| floor.slot)
    }

    /// The newest floor that was there `age` ticks ago.
    pub fn floor_before(&self, age: u8) -> u8 {
        let old = |floor: &&Floor| floor.age.0 >= age;
        self.floors.iter().flatten().rfind(old).map_or(0, |floor| floor.slot)
    }

    /// Whether this checkpoint is there.
    pub fn has_checkpoint(&self, slot: u8) -> bool {
        self.checkpoints & (1 << slot) != 0
    }

    /// The highest slot before the first gap.
    pub fn tail(&self) -> u8 {
        (1..SLOTS as u8).take_while(|slot| self.truth(*slot).is_there()).last().unwrap_or(0)
    }

    /// The cold fold of everything that was ever in the journal.
    pub fn log(&self, scenario: &Scenario, rules: &Rules) -> Manifest {
        Manifest::of(scenario, rules, &self.truth, scenario.last_slot)
    }
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket::new()
    }
}
