//! What a scrub found, in words and in numbers.
//!
//! Must not know how it was found. Holds keys, slots, offsets and counts, never record bytes. Lists have an end: what
//! lies beyond is counted.

use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use crate::error::Error;
use crate::limits::SCRUB_FINDINGS;

/// What a scrub comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that was to be checked is as it should be.
    Clean,
    /// At least one fault.
    Damaged,
    /// No fault, but something could not be checked.
    Incomplete,
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `strandline.json` is missing or damaged.
    Cluster,
    /// A slot between the floor and the tail, or one that extents point at, is not there.
    SlotMissing,
    /// A slot is not the commit that was written.
    SlotDamaged,
    /// Record bytes inside a slot are not those that were written.
    InlineRunDamaged,
    /// Slots beyond one that was never filled; nothing in them was acknowledged.
    OpenEnd,
    /// No checkpoint from which a node may start.
    CheckpointMissing,
    /// A checkpoint does not decode.
    CheckpointDamaged,
    /// A checkpoint holds another state than the journal gives.
    CheckpointDiffers,
    /// The journal no longer gives what checkpoints say that it gave.
    HistoryDiffers,
    /// `checkpoint/latest` is no slot.
    HintDamaged,
    /// A floor object is not there though later ones are.
    FloorMissing,
    /// A floor object does not decode.
    FloorDamaged,
    /// A floor lies below the one before it, or above everything that is there.
    FloorMisplaced,
    /// A segment that extents point at is not there.
    SegmentMissing,
    /// A segment is shorter than what it should hold.
    SegmentTruncated,
    /// The header of a segment is not what was written.
    SegmentDamaged,
    /// Record bytes in a segment or a chunk are not those that were written.
    RunDamaged,
    /// A chunk that an extent or an index names is not there.
    ChunkMissing,
    /// A chunk is shorter than what it should hold.
    ChunkTruncated,
    /// The header or the footer of a chunk is not what was written.
    ChunkDamaged,
    /// A node of an index is not there.
    IndexMissing,
    /// A node of an index is not what was written, or not what the one above it says.
    IndexDamaged,
    /// The manifest and an intact object disagree about where batches lie or how many offsets they take.
    ExtentMismatch,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// Which invariant does not hold: J2, J3, J7 or D1.
    pub invariant: &'static str,
    /// The object concerned.
    pub key: String,
    /// First and last slot concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<(u64, u64)>,
    /// The records concerned.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub records: Option<Records>,
    /// One sentence: what it means.
    pub what: String,
    /// One sentence: what to do.
    pub advice: &'static str,
}

/// Offsets of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Records {
    /// Name of the topic, empty if it is not known.
    pub topic: String,
    /// Its id.
    pub topic_id: String,
    /// The partition.
    pub partition: u32,
    /// First and last offset; none: not known.
    pub offsets: Option<(i64, i64)>,
}

impl Records {
    pub(super) fn unplaced(topic: Uuid, partition: u32) -> Records {
        Records { topic: String::new(), topic_id: topic.to_string(), partition, offsets: None }
    }
}

impl Finding {
    pub(super) fn new(
        kind: Kind,
        invariant: &'static str,
        key: impl Into<String>,
        what: impl Into<String>,
        advice: &'static str,
    ) -> Finding {
        let (key, what) = (key.into(), what.into());
        Finding { kind, invariant, key, slots: None, records: None, what, advice }
    }

    pub(super) fn slots(mut self, first: u64, last: u64) -> Finding {
        self.slots = Some((first, last));
        self
    }

    pub(super) fn records(mut self, records: Option<Records>) -> Finding {
        self.records = records;
        self
    }
}

/// An object that the store did not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The object.
    pub key: String,
    /// What the store said.
    pub why: String,
}

/// Objects and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    /// One more.
    pub fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }

    /// So many more.
    pub fn join(&mut self, other: Count) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// Segments, chunks and index nodes that nothing refers to. They are no fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Orphans {
    /// Older than a day of journal time: no commit can refer to them any more.
    pub collectable: Count,
    /// Younger: their commit may still come.
    pub young: Count,
}

/// Objects that are none of ours. They are no fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// How many there are.
    #[serde(flatten)]
    pub count: Count,
    /// Some of their keys.
    pub first: Vec<String>,
    /// `false`: counting stopped before the end.
    pub complete: bool,
}

/// What was done with the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JournalPart {
    /// First and last slot that were to be read.
    pub slots: Option<(u64, u64)>,
    /// Where the fold began: after this slot; 0: at the beginning of everything.
    pub folded_from: Option<u64>,
    /// Slots that were read.
    pub slots_read: u64,
    /// Checkpoints that were compared with the fold.
    pub checkpoints_compared: u64,
}

/// What was done with the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DataPart {
    /// First and last shard, two hex digits each.
    pub shards: Option<(String, String)>,
    /// Segments that extents refer to.
    pub segments: u64,
    /// Slots below those that the journal part read, that extents refer to.
    pub slots: u64,
    /// Extents that were checked.
    pub extents: u64,
    /// Nodes of the indexes over chunks.
    pub index_nodes: u64,
    /// Chunks that extents or indexes name.
    pub chunks: u64,
    /// Bytes of extents and of chunks.
    pub extent_bytes: u64,
    /// Objects that retention or compaction took away meanwhile.
    pub moved: u64,
}

/// The options with which to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GoOn {
    /// The first slot that was not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The last slot that was asked for, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// The shards that were not checked, such as `7f..ff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// In one word.
    pub verdict: Verdict,
    /// The last slot at the start; 0: none.
    pub tail: u64,
    /// The newest floor; 0: none.
    pub floor: u64,
    /// What was done with the journal.
    pub journal: JournalPart,
    /// What was done with the data.
    pub data: DataPart,
    /// Damage.
    pub faults: Vec<Finding>,
    /// Faults beyond those.
    pub more_faults: u64,
    /// What deserves a look and endangers nothing.
    pub warnings: Vec<Finding>,
    /// Warnings beyond those.
    pub more_warnings: u64,
    /// What the store did not give.
    pub unchecked: Vec<Unchecked>,
    /// Such objects beyond those.
    pub more_unchecked: u64,
    /// What was not asked for, or cannot be checked at all; one sentence each.
    pub not_checked: Vec<String>,
    /// None: they were not looked for.
    pub orphans: Option<Orphans>,
    /// What is none of ours.
    pub unknown: Unknown,
    /// Set if the scrub stopped before its end.
    pub go_on: Option<GoOn>,
    /// Requests to the store; a page of a listing counts as one.
    pub requests: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Where everything that is found is put down.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: List<Finding>,
    pub(super) warnings: List<Finding>,
    pub(super) unchecked: List<Unchecked>,
    pub(super) not_checked: Vec<String>,
    said: BTreeSet<Said>,
}

/// By kind, key and offsets or slots.
type Said = (Kind, String, Option<(i64, i64)>);

#[derive(Debug)]
pub(super) struct List<T> {
    pub(super) kept: Vec<T>,
    pub(super) more: u64,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { kept: Vec::new(), more: 0 }
    }
}

impl<T> List<T> {
    fn push(&mut self, item: T) {
        if self.kept.len() < SCRUB_FINDINGS {
            self.kept.push(item);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.kept.len() as u64 + self.more
    }
}

impl Findings {
    /// Damage. The same thing is said once, also if two parts of a scrub come by it.
    pub(super) fn fault(&mut self, fault: Finding) {
        if self.is_new(&fault) {
            self.faults.push(fault);
        }
    }

    pub(super) fn warn(&mut self, warning: Finding) {
        if self.is_new(&warning) {
            self.warnings.push(warning);
        }
    }

    /// What counts only at or above the floor.
    pub(super) fn fault_if(&mut self, counts: bool, finding: Finding) {
        if counts { self.fault(finding) } else { self.warn(finding) }
    }

    pub(super) fn unchecked(&mut self, key: impl Into<String>, why: &Error) {
        let (key, why) = (key.into(), why.to_string());
        if !self.unchecked.kept.iter().any(|other| other.key == key) {
            self.unchecked.push(Unchecked { key, why });
        }
    }

    pub(super) fn not_checked(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.not_checked.len() < SCRUB_FINDINGS && !self.not_checked.contains(&what) {
            self.not_checked.push(what);
        }
    }

    pub(super) fn join(&mut self, other: Findings) {
        other.faults.kept.into_iter().for_each(|fault| self.fault(fault));
        other.warnings.kept.into_iter().for_each(|warning| self.warn(warning));
        other.unchecked.kept.into_iter().for_each(|unchecked| self.unchecked.push(unchecked));
        self.faults.more += other.faults.more;
        self.warnings.more += other.warnings.more;
        self.unchecked.more += other.unchecked.more;
    }

    fn is_new(&mut self, finding: &Finding) -> bool {
        let offsets = finding.records.as_ref().and_then(|records| records.offsets);
        let slots = finding.slots.map(|(first, last)| (first as i64, last as i64));
        let what = (finding.kind, finding.key.clone(), offsets.or(slots));
        // What is beyond the lists is counted, at worst twice.
        self.said.len() >= SCRUB_FINDINGS * 2 || self.said.insert(what)
    }
}
