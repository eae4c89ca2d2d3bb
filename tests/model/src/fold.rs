//! The fold: what a sequence of slots comes to. The counterpart of `apply` in `strandline-core`.
//!
//! Pure. Must not know nodes, floors or leases. Since every node folds the same contents (J1), a manifest is known by
//! the slot up to which it was folded.

use crate::rules::Rules;
use crate::scenario::{Content, INCARNATIONS, SLOTS, Scenario, WINDOW};

/// What the fold made of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Nothing was folded there.
    #[default]
    Nothing,
    /// Its changes took effect.
    TookEffect,
    /// Refused for a reason: its change no longer holds.
    Void,
    /// Its id was seen before, or may have been.
    Dropped,
}

/// Which commit ids of one incarnation were folded.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// 0: none that is remembered.
    highest: u8,
    window: u8,
    last: u8,
}

impl Seen {
    /// The highest counter and a window below it; what fell out of the window counts as seen.
    fn contains(&self, counter: u8) -> bool {
        match self.highest.checked_sub(counter) {
            None => false,
            Some(back) => back >= WINDOW || self.window & (1 << back) != 0,
        }
    }

    fn insert(&mut self, counter: u8, now: u8) {
        if counter > self.highest {
            self.window = self.window.checked_shl(u32::from(counter - self.highest)).unwrap_or(0) | 1;
            self.highest = counter;
        } else {
            self.window |= 1 << (self.highest - counter);
        }
        self.last = now;
    }
}

/// The manifest after a slot, as far as the model needs it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manifest {
    /// By slot.
    pub verdicts: [Verdict; SLOTS],
    /// Journal time, in days.
    now: u8,
    seen: [Seen; INCARNATIONS],
    claimed: bool,
}

impl Manifest {
    /// Folds the slots from 1 to `upto`, or to the first gap.
    pub fn of(scenario: &Scenario, rules: &Rules, truth: &[Content; SLOTS], upto: u8) -> Manifest {
        let mut manifest = Manifest::default();
        let slots = truth.iter().enumerate().take(usize::from(upto) + 1).skip(1);
        for (slot, content) in slots.take_while(|(_, content)| content.is_there()) {
            manifest.verdicts[slot] = manifest.apply(scenario, rules, *content);
        }
        manifest
    }

    fn apply(&mut self, scenario: &Scenario, rules: &Rules, content: Content) -> Verdict {
        let commit = scenario.commit(content);
        let seen = usize::from(commit.incarnation);
        // "Time enters only as the commit's own timestamp; manifest.now = max(manifest.now, commit.ts)."
        self.now = self.now.max(commit.timestamp);
        // "The fold drops a commit id that it has seen."
        if rules.fold_drops_repeats && self.seen[seen].contains(commit.counter) {
            return Verdict::Dropped;
        }
        if rules.fold_voids_old_commits && self.has_forgotten(scenario, content) {
            return Verdict::Dropped;
        }
        let first = self.seen[seen].highest == 0;
        self.seen[seen].insert(commit.counter, self.now);
        // "... forgotten 24 h of journal time after its last commit", when somebody new comes.
        if first {
            for seen in self.seen.iter_mut().filter(|seen| seen.last < self.now) {
                *seen = Seen::default();
            }
        }
        // "A change that no longer holds folds to void with a reason."
        if commit.claim && std::mem::replace(&mut self.claimed, true) {
            return Verdict::Void;
        }
        Verdict::TookEffect
    }

    /// Whether the commit's id was folded and is remembered.
    pub fn has_seen(&self, scenario: &Scenario, content: Content) -> bool {
        let commit = scenario.commit(content);
        self.seen[usize::from(commit.incarnation)].contains(commit.counter)
    }

    /// Whether the commit is a day of journal time old, so that its id may have been folded and forgotten.
    pub fn has_forgotten(&self, scenario: &Scenario, content: Content) -> bool {
        scenario.commit(content).timestamp < self.now
    }
}
