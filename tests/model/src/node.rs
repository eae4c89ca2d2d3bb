//! What a node knows between two steps: its position, its proposals, the read under way.
//!
//! Must not know how it gets there. A request is dated by the tick in which the store answered it, which is never before
//! its start: what is safe with that later date is safe with the design's earlier one.

use crate::bucket::Age;
use crate::scenario::{Content, PROPOSALS, Part};

/// What a client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It took effect.
    Acknowledged,
    /// It did not, and never will.
    Refused,
    /// Nobody knows: try again.
    Unknown,
}

/// How far a proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proposal {
    /// This node has no such proposal.
    Absent,
    /// Waits for a slot.
    Waiting,
    /// Put at the slot, and not known whether it is filled.
    Asked {
        /// Where.
        slot: u8,
        /// Since the first attempt at this slot.
        first: Age,
        /// Whether the lease held before it; only of use to those who look too early.
        looked: bool,
    },
    /// Our commit is in the slot. Not used yet.
    Ours {
        /// Where.
        slot: u8,
        /// Since the slot was surely still empty, or longer ago.
        empty: Age,
        /// As above.
        looked: bool,
    },
    /// Another commit is in the slot. Not used yet.
    Theirs {
        /// Where.
        slot: u8,
        /// Which.
        content: Content,
        /// As above.
        looked: bool,
    },
    /// The client has heard.
    Done(Answer),
}

impl Proposal {
    /// The slot that it is bound to.
    pub fn slot(self) -> Option<u8> {
        match self {
            Proposal::Asked { slot, .. } | Proposal::Ours { slot, .. } | Proposal::Theirs { slot, .. } => {
                Some(slot)
            }
            _ => None,
        }
    }
}

/// A GET of the slot after the folded ones, answered and not used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Read {
    /// The slot.
    pub slot: u8,
    /// What was there; nothing is a 404.
    pub found: Content,
    /// When the store answered.
    pub age: Age,
    /// Whether the lease held before the request.
    pub looked: bool,
    /// For the properties: no commit was in this slot when the store answered.
    pub was_end: bool,
}

/// A node reads one slot at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Nothing under way.
    Idle,
    /// Asked; only those who look at the clock too early are ever here.
    Sent {
        /// Which slot.
        slot: u8,
        /// Whether the lease held then.
        looked: bool,
    },
    /// Answered.
    Heard(Read),
}

/// Where a node's manifest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// It has none, and must load a checkpoint.
    Loading,
    /// It picked this checkpoint and has not read the floor since.
    Picked(u8),
    /// It has folded everything up to here.
    At(u8),
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// What it has folded.
    pub position: Position,
    /// Since its position was proved to be at or above the floor.
    pub verified: Age,
    /// In the order in which clients handed them in.
    pub proposals: [Proposal; PROPOSALS],
    /// The read under way.
    pub read: Reading,
}

/// What a step broke that the state does not show afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Nothing.
    No,
    /// A node folded something else than the slot's first content.
    Fork,
    /// A result was used at a position below a floor that is older than the lease.
    BelowTheFloor,
    /// A 404 was taken for the end of the journal, and was not.
    FalseEnd,
}

impl Node {
    /// A node as its part says.
    pub fn new(part: &Part) -> Node {
        let mut proposals = [Proposal::Absent; PROPOSALS];
        proposals[..part.proposes.len()].fill(Proposal::Waiting);
        let position = if part.loads { Position::Loading } else { Position::At(0) };
        Node { position, verified: Age::NOW, proposals, read: Reading::Idle }
    }

    /// One that takes no part.
    pub const ABSENT: Node = Node {
        position: Position::Loading,
        verified: Age::NOW,
        proposals: [Proposal::Absent; PROPOSALS],
        read: Reading::Idle,
    };

    /// The highest slot folded.
    pub fn folded(&self) -> Option<u8> {
        match self.position {
            Position::At(slot) => Some(slot),
            _ => None,
        }
    }

    /// Everything that is dated gets older; beyond the lease, how old does not matter.
    pub fn tick(&mut self, lease: u8) {
        self.verified.grow(lease);
        if let Reading::Heard(read) = &mut self.read {
            read.age.grow(lease);
        }
        for proposal in &mut self.proposals {
            match proposal {
                Proposal::Asked { first: age, .. } | Proposal::Ours { empty: age, .. } => age.grow(lease),
                _ => {}
            }
        }
    }
}
