//! Where everything lies, folded a second time: pieces of a log and their objects, the root of the index.
//!
//! Shares nothing with the production fold but the form of changes.

use std::ops::Range;

use strandline_core::manifest::{self, IndexChunks, ObjectName, SwapRun, Void};
use ulid::Ulid;

use super::Partition;

const DAY_MS: i64 = 86_400_000;

/// Pieces of a log that follow each other, and what the first of them follow on.
#[derive(Debug, Default)]
pub(super) struct Places {
    pieces: Vec<(Range<i64>, ObjectName)>,
    /// The root of the index and its end.
    root: Option<(Ulid, i64)>,
}

impl Places {
    pub(super) fn push(&mut self, object: ObjectName, offsets: Range<i64>, joins: bool) {
        match self.pieces.last_mut().filter(|_| joins) {
            Some((last, _)) => last.end = offsets.end,
            None => self.pieces.push((offsets, object)),
        }
    }

    pub(super) fn delete_before(&mut self, before: i64) {
        self.pieces.retain(|(offsets, _)| offsets.end > before);
        self.root = self.root.filter(|(_, end)| *end > before);
    }

    /// How the manifest's extents differ.
    pub(super) fn difference(&self, theirs: &manifest::Partition) -> Option<String> {
        let extents = theirs
            .extents
            .iter()
            .map(|extent| (extent.base_offset..extent.end_offset(), ObjectName::from(extent.object)));
        let root = theirs.index.map(|index| (index.id, index.end_offset));
        (!extents.eq(self.pieces.iter().cloned()) || root != self.root)
            .then(|| format!("the manifest has {:?} below {root:?}, the oracle {self:?}", theirs.extents))
    }

    /// Whether these pieces are the first ones from `from` on; if so, where they end.
    fn are(&self, from: usize, objects: &[ObjectName]) -> Result<usize, Void> {
        let upto = from + objects.len();
        let there = self.pieces.get(from..upto).ok_or(Void::ExtentsChanged)?;
        match there.iter().map(|(_, object)| object).eq(objects) {
            true => Ok(upto),
            false => Err(Void::ExtentsChanged),
        }
    }
}

fn old(id: Ulid, now_ms: i64) -> bool {
    (id.timestamp_ms() as i64) + DAY_MS < now_ms
}

impl Partition {
    pub(in super::super) fn swap(&mut self, run: &SwapRun, stable: i64, now_ms: i64) -> Result<(), Void> {
        let pieces = &mut self.places.pieces;
        let from = pieces.iter().position(|(offsets, _)| offsets.start == run.base_offset);
        let from = from.ok_or(Void::ExtentsChanged)?;
        let upto = self.places.are(from, &run.inputs)?;
        let pieces = &mut self.places.pieces;
        let end = pieces[from..upto].last().map(|(offsets, _)| offsets.end).ok_or(Void::Malformed)?;
        let (mut at, mut outputs, mut chunks) = (run.base_offset, Vec::new(), false);
        for output in &run.outputs {
            let id = match output.object {
                ObjectName::Merged(id) => id,
                ObjectName::Chunk(id, _) => {
                    chunks = true;
                    id
                }
                _ => return Err(Void::Malformed),
            };
            if old(id, now_ms) {
                return Err(Void::Stale);
            }
            let next = at + i64::from(output.offsets);
            if output.bytes == 0 || next == at || next > end {
                return Err(Void::Malformed);
            }
            outputs.push((at..next, output.object));
            at = next;
        }
        if at != end {
            return Err(Void::Malformed);
        }
        if chunks && end > stable {
            return Err(Void::Undecided);
        }
        pieces.splice(from..upto, outputs);
        self.places.delete_before(self.start);
        Ok(())
    }

    pub(in super::super) fn index(&mut self, change: &IndexChunks, now_ms: i64) -> Result<(), Void> {
        let upto = self.places.are(0, &change.absorbs)?;
        if self.places.root.map(|(id, _)| id) != change.replaces {
            return Err(Void::ExtentsChanged);
        }
        let absorbed = &self.places.pieces[..upto];
        let all_chunks = absorbed.iter().all(|(_, object)| matches!(object, ObjectName::Chunk(..)));
        let end = absorbed.last().map(|(offsets, _)| offsets.end).or(self.places.root.map(|(_, end)| end));
        let root = &change.root;
        let whole = root.base_offset >= 0 && root.base_offset <= self.start && root.chunks > 0;
        if !all_chunks || end != Some(root.end_offset) || !whole {
            return Err(Void::Malformed);
        }
        if old(root.id, now_ms) {
            return Err(Void::Stale);
        }
        self.places.pieces.drain(..upto);
        self.places.root = Some((root.id, root.end_offset));
        // From here on the index tells of those that ended in it.
        self.aborted.retain(|(.., last)| *last >= root.end_offset);
        Ok(())
    }
}
