//! What a sweep came to, in numbers.
//!
//! Must not know how anything was judged. Holds counts and a few keys, never record bytes.

use serde::Serialize;
use strandline_core::scrub::Count;

/// What is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Manifests.
    Checkpoint,
    /// Commits.
    Slot,
    /// Segments, merged ones among them.
    Segment,
    /// Nodes of the indexes over chunks.
    IndexNode,
    /// Metadata of tables.
    Table,
    /// Chunks.
    Chunk,
    /// Scratch objects of start-up probes and of sweeps.
    Scratch,
}

impl Kind {
    /// All of them, in the order in which a sweep looks at them.
    pub const ALL: [Kind; 7] = [
        Kind::Checkpoint,
        Kind::Slot,
        Kind::Segment,
        Kind::IndexNode,
        Kind::Table,
        Kind::Chunk,
        Kind::Scratch,
    ];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Checkpoint => "checkpoint",
            Kind::Slot => "slot",
            Kind::Segment => "segment",
            Kind::IndexNode => "index node",
            Kind::Table => "table file",
            Kind::Chunk => "chunk",
            Kind::Scratch => "scratch object",
        }
    }

    /// Why objects of this kind go.
    pub fn why(self) -> &'static str {
        match self {
            Kind::Checkpoint => "nobody loads one below the floor; it passed them more than an hour ago",
            Kind::Slot => "the floor passed them more than a day ago, and no record is left in them",
            Kind::Segment | Kind::IndexNode | Kind::Chunk => {
                "nothing refers to them, and they are too old for anything to begin to"
            }
            Kind::Table => {
                "more than a day old, and the newest version of their table needs none of them, or the topic is gone"
            }
            Kind::Scratch => "more than a day old, left by a process that died",
        }
    }

    /// What those that nobody needs and that stay are waiting for.
    pub fn waits_for(self) -> &'static str {
        match self {
            Kind::Checkpoint => "an hour from the floor's move on",
            Kind::Slot => "a day from the floor's move on",
            Kind::Segment | Kind::IndexNode | Kind::Chunk => "a day of journal time, and the floor behind it",
            Kind::Table | Kind::Scratch => "a day",
        }
    }
}

/// What is to become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Gone,
    Young,
    Needed,
}

/// The objects of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Deleted, or to be deleted.
    pub gone: Count,
    /// Nobody needs them, but it is too early to know that this will stay so.
    pub young: Count,
    /// Somebody needs them.
    pub needed: Count,
}

/// The floor, and what it is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Floor {
    /// The slot that it was at; 0: it never moved.
    pub before: u64,
    /// The slot that it is at now, or would be.
    pub after: u64,
    /// The slot of the manifest that says what is needed; none: there is no floor yet, and all is needed.
    pub judged_by: Option<u64>,
}

/// What was done so that the next sweep can go further.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// Journal time had stood still, and was moved on.
    pub ticked: bool,
    /// The slot of a checkpoint that was written for the floor to follow.
    pub checkpoint: Option<u64>,
}

/// A partition's index of which something could not be read: nothing that may belong to it was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unjudged {
    /// The node.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Nothing was deleted.
    pub dry_run: bool,
    /// It ended early, because it was told to.
    pub stopped: bool,
    /// The floor.
    pub floor: Floor,
    /// Manifests.
    pub checkpoints: Part,
    /// Commits.
    pub slots: Part,
    /// Segments.
    pub segments: Part,
    /// Nodes of indexes.
    pub index_nodes: Part,
    /// Metadata of tables.
    pub tables: Part,
    /// Chunks.
    pub chunks: Part,
    /// Scratch objects.
    pub scratch: Part,
    /// Objects in these folders that are none of ours. They stay.
    pub unknown: Count,
    /// What could not be judged.
    pub unjudged: Vec<Unjudged>,
    /// Such nodes beyond those.
    pub more_unjudged: u64,
    /// For the next time.
    pub prepared: Prepared,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Report {
    /// Whether there is something that a later sweep can go on with, though nothing else happens.
    pub fn waits(&self) -> bool {
        let young = Kind::ALL.iter().any(|kind| self.part(*kind).young.objects > 0);
        young || self.prepared.checkpoint.is_some() || self.stopped
    }

    /// The objects of one kind.
    pub fn part(&self, kind: Kind) -> &Part {
        match kind {
            Kind::Checkpoint => &self.checkpoints,
            Kind::Slot => &self.slots,
            Kind::Segment => &self.segments,
            Kind::IndexNode => &self.index_nodes,
            Kind::Table => &self.tables,
            Kind::Chunk => &self.chunks,
            Kind::Scratch => &self.scratch,
        }
    }

    pub(super) fn part_mut(&mut self, kind: Kind) -> &mut Part {
        match kind {
            Kind::Checkpoint => &mut self.checkpoints,
            Kind::Slot => &mut self.slots,
            Kind::Segment => &mut self.segments,
            Kind::IndexNode => &mut self.index_nodes,
            Kind::Table => &mut self.tables,
            Kind::Chunk => &mut self.chunks,
            Kind::Scratch => &mut self.scratch,
        }
    }

    /// All that went, or would go.
    pub fn gone(&self) -> Count {
        let mut all = Count::default();
        Kind::ALL.iter().for_each(|kind| all.join(self.part(*kind).gone));
        all
    }
}
