//! Where records lie, folded a second time: a map from the first offset of each run to its end and its object.
//!
//! Shares nothing with the production fold but the form of changes.

use std::collections::BTreeMap;

use strandline_core::manifest::{self, Compacted, Expire, IndexChunks, ObjectName, SwapRun, Void};
use ulid::Ulid;

use super::DAY_MS;
use super::logs::Partition;

const WEEK_MS: i64 = 7 * DAY_MS;

fn is_old(id: Ulid, now_ms: i64) -> bool {
    (id.timestamp_ms() as i64) + DAY_MS < now_ms
}

impl Partition {
    /// Records come to lie somewhere. `joins`: beside those before them.
    pub(super) fn lay(&mut self, base: i64, end: i64, object: ObjectName, joins: bool) {
        match self.places.last_entry() {
            Some(mut last) if joins => last.get_mut().0 = end,
            _ => drop(self.places.insert(base, (end, object))),
        }
    }

    /// What lies below is gone.
    pub(super) fn cut(&mut self, before: i64) {
        self.start = self.start.max(before);
        self.places.retain(|_, (end, _)| *end > self.start);
        self.index = self.index.filter(|index| index.end_offset > self.start);
    }

    /// `stable`: the first offset that is not decided.
    pub(super) fn swap(&mut self, run: &SwapRun, stable: i64, now_ms: i64) -> Result<(), Void> {
        let mut end = run.base_offset;
        if run.inputs.is_empty() {
            return Err(if self.places.contains_key(&end) { Void::Malformed } else { Void::ExtentsChanged });
        }
        for input in &run.inputs {
            let found = self.places.get(&end).filter(|(_, object)| object == input);
            end = found.ok_or(Void::ExtentsChanged)?.0;
        }
        let mut brought = BTreeMap::new();
        let mut next = run.base_offset;
        for output in &run.outputs {
            let (ObjectName::Merged(id) | ObjectName::Chunk(id, _)) = output.object else {
                return Err(Void::Malformed);
            };
            if is_old(id, now_ms) {
                return Err(Void::Stale);
            }
            let base = next;
            next += i64::from(output.offsets);
            let beyond = output.at.checked_add(u64::from(output.bytes)).is_none() || next > end;
            if beyond || next == base || output.bytes == 0 {
                return Err(Void::Malformed);
            }
            brought.insert(base, (next, output.object));
        }
        if next != end {
            return Err(Void::Malformed);
        }
        if end > stable && brought.values().any(|(_, object)| matches!(object, ObjectName::Chunk(..))) {
            return Err(Void::Undecided);
        }
        self.places.retain(|base, _| *base < run.base_offset || *base >= end);
        self.places.extend(brought);
        self.cut(self.start);
        Ok(())
    }

    pub(super) fn take_in(&mut self, change: &IndexChunks, now_ms: i64) -> Result<(), Void> {
        let taken: Vec<_> = self.places.values().copied().take(change.absorbs.len()).collect();
        let same = taken.iter().map(|(_, object)| object).eq(&change.absorbs);
        if !same || self.index.map(|index| index.id) != change.replaces {
            return Err(Void::ExtentsChanged);
        }
        let known = self.index.map(|index| index.end_offset);
        let end = taken.last().map(|(end, _)| *end).or(known);
        let only_chunks = change.absorbs.iter().all(|object| matches!(object, ObjectName::Chunk(..)));
        let (from, upto) = (change.root.base_offset, change.root.end_offset);
        let holds_the_start = 0 <= from && from <= self.start && self.start < upto;
        if !only_chunks || end != Some(upto) || !holds_the_start || change.root.chunks == 0 {
            return Err(Void::Malformed);
        }
        if is_old(change.root.id, now_ms) {
            return Err(Void::Stale);
        }
        self.index = Some(change.root);
        self.places.retain(|base, _| *base >= upto);
        Ok(())
    }

    pub(super) fn expire(&mut self, expire: &Expire, stable: i64) -> Result<(), Void> {
        if expire.before < 0 || expire.before > stable {
            return Err(Void::Undecided);
        }
        self.cut(expire.before);
        Ok(())
    }

    pub(super) fn compact(&mut self, compacted: &Compacted, stable: i64) -> Result<(), Void> {
        if compacted.upto < 0 || compacted.upto > stable {
            return Err(Void::Undecided);
        }
        self.compacted = self.compacted.filter(|(upto, _)| *upto > compacted.upto);
        self.compacted.get_or_insert((compacted.upto, compacted.tombstones_ms));
        Ok(())
    }

    /// How the manifest's partition differs in where its records lie.
    pub(super) fn misplaced(&self, theirs: &manifest::Partition) -> Option<String> {
        let extents = theirs.extents.iter();
        let extents = extents.map(|one| (one.base_offset, (one.end_offset(), ObjectName::from(one.object))));
        let compacted = self.compacted.unwrap_or((0, i64::MAX));
        if (theirs.compacted, theirs.tombstones_ms) != compacted {
            let theirs = (theirs.compacted, theirs.tombstones_ms);
            return Some(format!("it is compacted up to {theirs:?}, not {compacted:?}"));
        }
        if theirs.index == self.index && extents.eq(self.places.iter().map(|(base, to)| (*base, *to))) {
            return None;
        }
        let (ours, extents) = ((&self.index, &self.places), (&theirs.index, &theirs.extents));
        Some(format!("the records lie in {extents:?}, not in {ours:?}"))
    }
}

/// Whether a topic with these configs lets records go by this retention.
pub(super) fn lets_go(configs: &BTreeMap<String, String>, expire: &Expire) -> bool {
    let number = |name: &str, default: i64| {
        configs.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(default)
    };
    let policy = configs.get("cleanup.policy").map_or("delete", String::as_str);
    let (ms, bytes): (i64, i64) = (number("retention.ms", WEEK_MS), number("retention.bytes", -1));
    policy.split(',').any(|one| one.trim() == "delete")
        && (ms >= 0 || bytes >= 0)
        && (ms, bytes) == (expire.retention_ms, expire.retention_bytes)
}
