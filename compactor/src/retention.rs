//! What is too old or too much: from which offset on a partition's records stay.
//!
//! Must not know how anything is deleted. Invariants: time is the earlier of journal time and this node's clock, so that a
//! clock in the future expires nothing; whole extents and chunks go, from the first one on, and nothing that is undecided;
//! an index is read only when something of it may be due.

use std::collections::BTreeMap;

use strandline_core::Result;
use strandline_core::index::{Branch, Node};
use strandline_core::manifest::{Change, Expire, Extent, Journal, Manifest, ObjectId, Partition, Retention};
use strandline_core::mutation::{self, Mutation};
use ulid::Ulid;
use uuid::Uuid;

use crate::tree::Tree;

/// A run of offsets that goes as a whole.
#[derive(Debug, Clone, Copy)]
struct Part {
    end_offset: i64,
    bytes: u64,
    /// Of its newest record, or of its object where records have no time.
    newest_ms: i64,
}

/// Remembers of each index until when nothing in it is due.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    quiet: BTreeMap<Ulid, i64>,
}

/// A partition with a bound, as the manifest has it.
struct Bounded {
    topic: Uuid,
    partition: u32,
    retention: Retention,
    log_start: i64,
    last_stable: i64,
    bytes: u64,
    index: Option<Branch>,
    /// What is due of the extents by age, and the first part that is not.
    extents: Vec<Part>,
}

impl Expiry {
    /// The changes that are due now.
    pub(crate) async fn due(&mut self, journal: &Journal) -> Result<Vec<Change>> {
        let wall_ms = journal.env().wall_ms();
        let (now_ms, bounded) = journal.view(|manifest| {
            let own_clock = mutation::is(Mutation::ExpiresByOwnClock);
            let now_ms = if own_clock { wall_ms } else { manifest.now_ms.min(wall_ms) };
            (now_ms, bounded(manifest, now_ms))
        });
        let mut changes = Vec::new();
        let mut quiet = BTreeMap::new();
        for bounded in bounded {
            if let Some(before) = self.before(journal, &bounded, now_ms, &mut quiet).await? {
                let Bounded { topic, partition, retention, .. } = bounded;
                let (retention_ms, retention_bytes) = (retention.ms, retention.bytes);
                changes.push(Change::Expire(Expire {
                    topic,
                    partition,
                    before,
                    retention_ms,
                    retention_bytes,
                }));
            }
        }
        self.quiet = quiet;
        Ok(changes)
    }

    /// The first offset that stays, if it is not the one that is the first already.
    async fn before(
        &self,
        journal: &Journal,
        of: &Bounded,
        now_ms: i64,
        quiet: &mut BTreeMap<Ulid, i64>,
    ) -> Result<Option<i64>> {
        let mut cut = Cut::new(of, now_ms);
        if let Some(root) = of.index {
            let until = self.quiet.get(&root.id).copied().unwrap_or(i64::MIN);
            if now_ms < until && !cut.is_too_large() {
                quiet.insert(root.id, until);
                return Ok(None);
            }
            let tree = Tree::of(journal, of.topic, of.partition);
            if let Some(due_ms) = cut.take_index(tree, &root).await? {
                quiet.insert(root.id, due_ms);
                return Ok(cut.before());
            }
        }
        for part in &of.extents {
            if !cut.take(part) {
                break;
            }
        }
        Ok(cut.before())
    }
}

/// How far from the beginning everything goes.
struct Cut<'a> {
    of: &'a Bounded,
    now_ms: i64,
    /// More than the partition may have.
    too_many: u64,
    upto: i64,
}

impl<'a> Cut<'a> {
    fn new(of: &'a Bounded, now_ms: i64) -> Cut<'a> {
        let most = u64::try_from(of.retention.bytes).unwrap_or(u64::MAX);
        Cut { of, now_ms, too_many: of.bytes.saturating_sub(most), upto: of.log_start }
    }

    fn is_too_large(&self) -> bool {
        self.too_many > 0
    }

    fn due_ms(&self, part: &Part) -> i64 {
        if self.of.retention.ms < 0 { i64::MAX } else { part.newest_ms.saturating_add(self.of.retention.ms) }
    }

    /// Whether the next part goes. Kafka's rule for bytes: as long as what stays has the bound at least.
    fn take(&mut self, part: &Part) -> bool {
        if part.end_offset <= self.of.log_start {
            // An index still counts what lies below the first offset.
            self.too_many = self.too_many.saturating_sub(part.bytes);
            return true;
        }
        let goes = self.due_ms(part) < self.now_ms || (self.too_many > 0 && part.bytes <= self.too_many);
        if !goes || part.end_offset > self.of.last_stable {
            return false;
        }
        self.too_many = self.too_many.saturating_sub(part.bytes);
        self.upto = part.end_offset;
        true
    }

    /// Goes through an index; the time at which its first remaining chunk is due, or `None` if none remains.
    async fn take_index(&mut self, tree: Tree<'_>, root: &Branch) -> Result<Option<i64>> {
        // A whole subtree goes only by age: by bytes, chunks go one by one.
        let mut ahead = vec![*root];
        while let Some(branch) = ahead.pop() {
            let whole = Part::of_branch(&branch);
            let gone = branch.end_offset <= self.of.log_start;
            if (gone || self.due_ms(&whole) < self.now_ms) && self.take(&whole) {
                continue;
            }
            match tree.get(&branch).await? {
                Node::Inner(branches) => ahead.extend(branches.into_iter().rev()),
                Node::Leaf(entries) => {
                    for entry in entries {
                        let part = Part {
                            end_offset: entry.end_offset,
                            bytes: entry.bytes,
                            newest_ms: newest_ms(entry.max_timestamp, entry.chunk.id),
                        };
                        if !self.take(&part) {
                            return Ok(Some(self.due_ms(&part)));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    fn before(&self) -> Option<i64> {
        (self.upto > self.of.log_start).then_some(self.upto)
    }
}

impl Part {
    fn of(extent: &Extent, now_ms: i64) -> Part {
        let newest_ms = match extent.object {
            ObjectId::Segment(id) | ObjectId::Merged(id) => newest_ms(extent.max_timestamp, id),
            ObjectId::Chunk(chunk) => newest_ms(extent.max_timestamp, chunk.id),
            ObjectId::Slot(_) | ObjectId::Marker(_) if extent.max_timestamp < 0 => now_ms,
            ObjectId::Slot(_) | ObjectId::Marker(_) => extent.max_timestamp,
        };
        Part { end_offset: extent.end_offset(), bytes: u64::from(extent.bytes), newest_ms }
    }

    fn of_branch(branch: &Branch) -> Part {
        let newest_ms = newest_ms(branch.max_timestamp, branch.id);
        Part { end_offset: branch.end_offset, bytes: branch.bytes, newest_ms }
    }
}

/// Records without a time are as old as their object.
fn newest_ms(max_timestamp: i64, object: Ulid) -> i64 {
    match max_timestamp {
        ..0 => i64::try_from(object.timestamp_ms()).unwrap_or(i64::MAX),
        max_timestamp => max_timestamp,
    }
}

/// The partitions of which something may be due.
fn bounded(manifest: &Manifest, now_ms: i64) -> Vec<Bounded> {
    let mut found = Vec::new();
    for topic in manifest.topics() {
        let retention = topic.retention();
        if !retention.deletes || (retention.ms < 0 && retention.bytes < 0) {
            continue;
        }
        for (number, partition) in (0..).zip(&topic.partitions) {
            let of = Bounded {
                topic: topic.id,
                partition: number,
                retention,
                log_start: partition.log_start,
                last_stable: partition.last_stable_offset(),
                bytes: partition.bytes(),
                index: partition.index,
                extents: Vec::new(),
            };
            let extents = due_extents(&of, partition, now_ms);
            if of.index.is_some() || !extents.is_empty() {
                found.push(Bounded { extents, ..of });
            }
        }
    }
    found
}

/// The extents that go if all before them do.
fn due_extents(of: &Bounded, partition: &Partition, now_ms: i64) -> Vec<Part> {
    let mut cut = Cut::new(of, now_ms);
    let parts = partition.extents.iter().map(|extent| Part::of(extent, now_ms));
    parts.take_while(|part| cut.take(part)).collect()
}
