//! The scenarios that the tests go through, and how many states each has.
//!
//! Must not know the rules. Bounds: at most five slots, three nodes, four commits, two moves of the floor; no bound on
//! time, on attempts, or on how often a PUT lands. The numbers of states are asserted, so that they stay true.

use crate::scenario::{Commit, Content, Part, Scenario};

/// First commit of node 0.
pub const A1: Content = Content(1);
/// Second commit of node 0.
pub const A2: Content = Content(2);
/// First commit of node 1.
pub const B1: Content = Content(3);
/// First commit of a third incarnation, whose clock says a day later: folding it makes the fold forget the others.
pub const X1: Content = Content(4);

const APPENDS: &[Commit] =
    &[Commit::append(0, 1), Commit::append(0, 2), Commit::append(1, 1), Commit::append(2, 1).a_day_later()];
/// The first commits of both claim the same.
const CLAIMS: &[Commit] = &[Commit::claim(0, 1), Commit::append(0, 2), Commit::claim(1, 1)];
/// Two machines that were restored from one snapshot: the same commit id with other bytes.
const CLONES: &[Commit] = &[Commit::append(0, 1), Commit::append(0, 2), Commit::append(0, 1)];

/// Two proposers, one of them with two slots in flight, and a follower; both want the same name.
pub const CONTENTION: Scenario = Scenario {
    name: "contention",
    last_slot: 4,
    commits: CLAIMS,
    parts: &[Part::proposer(&[A1, A2]).pipelined(2), Part::proposer(&[B1]), Part::FOLLOWER],
    floor_moves: 0,
    lease: 1,
    delay: 2,
};

/// Two proposers that sleep while the collector works; the floor moves twice.
pub const SLEEPING_WRITERS: Scenario = Scenario {
    name: "sleeping writers",
    last_slot: 4,
    commits: APPENDS,
    parts: &[Part::proposer(&[A1, A2]), Part::proposer(&[B1])],
    floor_moves: 2,
    lease: 2,
    delay: 3,
};

/// The same, and the delay is no longer than the lease: all that the proof needs.
pub const TIGHT_DELAY: Scenario =
    Scenario { name: "tight delay", delay: SLEEPING_WRITERS.lease, ..SLEEPING_WRITERS };

/// Two proposers, a follower and the collector; anybody sleeps.
pub const SLEEPING_READER: Scenario = Scenario {
    name: "sleeping reader",
    last_slot: 3,
    parts: &[Part::proposer(&[A1, A2]), Part::proposer(&[B1]), Part::FOLLOWER],
    floor_moves: 1,
    lease: 1,
    delay: 2,
    ..SLEEPING_WRITERS
};

/// A proposer that reads ahead while it puts: a read and a PUT of one node are under way together.
pub const READING_WRITER: Scenario = Scenario {
    name: "reading writer",
    parts: &[Part::proposer(&[A1, A2]), Part::proposer(&[B1]).reading()],
    lease: 2,
    delay: 3,
    ..SLEEPING_READER
};

/// A node starts from any checkpoint that is or was there, follows and proposes; another one proposes; the floor moves
/// twice.
pub const STALE_LOADER: Scenario = Scenario {
    name: "stale loader",
    parts: &[Part::proposer(&[A1, A2]), Part::proposer(&[B1]).reading().loading()],
    floor_moves: 2,
    lease: 1,
    delay: 2,
    ..SLEEPING_WRITERS
};

/// One commit was handed over: the sequencer, with two slots in flight, and its owner may both propose it.
pub const HANDED_OVER: Scenario = Scenario {
    name: "handed over",
    parts: &[Part::proposer(&[A1, B1]).pipelined(2), Part::proposer(&[B1])],
    lease: 1,
    delay: 2,
    ..SLEEPING_WRITERS
};

/// A third node's clock is a day ahead: the fold forgets the ids of the others while they sleep.
pub const A_DAY_AHEAD: Scenario = Scenario {
    name: "a day ahead",
    parts: &[Part::proposer(&[A1]), Part::proposer(&[X1, B1])],
    floor_moves: 1,
    ..SLEEPING_WRITERS
};

/// Known gap: the sequencer of a handed-over commit has three slots in flight, and a third node's clock is a day ahead.
pub const HANDED_OVER_AND_FORGOTTEN: Scenario = Scenario {
    name: "handed over and forgotten",
    last_slot: 3,
    parts: &[Part::proposer(&[A1, A2, B1]).pipelined(3), Part::proposer(&[B1]), Part::proposer(&[X1])],
    floor_moves: 0,
    lease: 1,
    delay: 2,
    ..SLEEPING_WRITERS
};

/// Known gap: two machines restored from one snapshot propose different things under one commit id.
pub const CLONED_MACHINE: Scenario = Scenario {
    name: "cloned machine",
    commits: CLONES,
    parts: &[Part::proposer(&[A1]), Part::proposer(&[B1])],
    ..HANDED_OVER_AND_FORGOTTEN
};
