//! Who takes part, and the bounds: everything that is not in the state.
//!
//! Must not know the rules or how anybody moves. Time is counted in ticks; the state holds ages, not dates, so that the
//! number of ticks is not bounded.

/// Slots of the arrays; slot 0 is the empty manifest before the first commit.
pub const SLOTS: usize = 6;
/// Nodes of a scenario, at most.
pub const NODES: usize = 3;
/// Proposals of one node, at most.
pub const PROPOSALS: usize = 3;
/// Commits of a scenario, at most.
pub const COMMITS: usize = 4;
/// Floor objects, the first one at slot 0 included.
pub const FLOORS: usize = 3;
/// Incarnations of proposers, at most.
pub const INCARNATIONS: usize = 3;
/// Counters that the fold remembers below the highest of an incarnation (64 in the design).
pub const WINDOW: u8 = 2;

/// What a slot holds: which of the scenario's commits, by its bytes. 0: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content(pub u8);

impl Content {
    /// No object under the key.
    pub const NOTHING: Content = Content(0);

    /// Whether there is an object.
    pub fn is_there(self) -> bool {
        self != Content::NOTHING
    }
}

/// One commit; its bytes never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Half of the commit id: whose it is.
    pub incarnation: u8,
    /// The other half, from 1.
    pub counter: u8,
    /// Days on the clock of whoever made it. Clocks may be wrong: this has nothing to do with ticks.
    pub timestamp: u8,
    /// Asks for something that only one can have, such as a topic's name: the fold refuses all but the first.
    pub claim: bool,
}

impl Commit {
    /// A commit that only appends.
    pub const fn append(incarnation: u8, counter: u8) -> Commit {
        Commit { incarnation, counter, timestamp: 0, claim: false }
    }

    /// A commit that claims what only one can have.
    pub const fn claim(incarnation: u8, counter: u8) -> Commit {
        Commit { claim: true, ..Commit::append(incarnation, counter) }
    }

    /// The same, made by a clock that says a day later.
    pub const fn a_day_later(self) -> Commit {
        Commit { timestamp: self.timestamp + 1, ..self }
    }
}

/// What a node does.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The commits that it proposes, in order. One that stands at two nodes was handed over: both may propose it.
    pub proposes: &'static [Content],
    /// Slots that it may have in flight.
    pub pipeline: u8,
    /// Whether it follows the journal.
    pub reads: bool,
    /// Whether it begins by loading a checkpoint; else it begins at the empty manifest, just verified.
    pub loads: bool,
}

impl Part {
    /// A proposer that learns of others only by losing slots.
    pub const fn proposer(proposes: &'static [Content]) -> Part {
        Part { proposes, pipeline: 1, reads: false, loads: false }
    }

    /// A node that only reads.
    pub const FOLLOWER: Part = Part { proposes: &[], pipeline: 1, reads: true, loads: false };

    /// A node that starts.
    pub const LOADER: Part = Part { loads: true, ..Part::FOLLOWER };

    /// The same, and it follows the journal.
    pub const fn reading(self) -> Part {
        Part { reads: true, ..self }
    }

    /// The same, and it begins by loading a checkpoint.
    pub const fn loading(self) -> Part {
        Part { loads: true, ..self }
    }

    /// The same with several slots in flight.
    pub const fn pipelined(self, pipeline: u8) -> Part {
        Part { pipeline, ..self }
    }
}

/// Who takes part, and how far the checker goes.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// For the reports.
    pub name: &'static str,
    /// The highest slot.
    pub last_slot: u8,
    /// The commits: `Content(n)` is the one at `n - 1`.
    pub commits: &'static [Commit],
    /// The nodes.
    pub parts: &'static [Part],
    /// How often the floor may move; 0: there is no collector.
    pub floor_moves: u8,
    /// L: results count while less than so many ticks have passed since the position was verified.
    pub lease: u8,
    /// D: a slot is deleted when the floor moved past it at least so many ticks ago.
    pub delay: u8,
}

impl Scenario {
    /// The commit with these bytes.
    pub fn commit(&self, content: Content) -> Commit {
        self.commits[usize::from(content.0) - 1]
    }

    /// Whether the commit ids, not necessarily the bytes, are the same.
    pub fn same_id(&self, a: Content, b: Content) -> bool {
        let id = |content: Content| (self.commit(content).incarnation, self.commit(content).counter);
        a.is_there() && b.is_there() && id(a) == id(b)
    }

    /// Whether more than one node may propose it.
    pub fn is_handed_over(&self, content: Content) -> bool {
        self.parts.iter().filter(|part| part.proposes.contains(&content)).count() > 1
    }
}
