//! What the checker must come across in a scenario, so that "no counterexample" is not said of an empty world.
//!
//! Must not know the rules: these are facts about states.

use crate::checks::{Reach, State, World};
use crate::node::{Answer, Node, Position, Proposal, Reading};
use crate::scenario::{Content, SLOTS};

fn slots() -> impl Iterator<Item = u8> {
    1..SLOTS as u8
}

fn proposals<'a>(world: &'a World, state: &'a State) -> impl Iterator<Item = (Content, Proposal)> + 'a {
    let parts = world.scenario.parts.iter().zip(&state.nodes);
    parts.flat_map(|(part, node)| part.proposes.iter().copied().zip(node.proposals))
}

fn any_node(state: &State, is_so: impl Fn(&Node) -> bool) -> bool {
    state.nodes.iter().any(is_so)
}

fn heard<'a>(world: &'a World, state: &'a State, answer: Answer) -> impl Iterator<Item = Content> + 'a {
    let answered = move |(content, proposal): (Content, Proposal)| {
        (proposal == Proposal::Done(answer)).then_some(content)
    };
    proposals(world, state).filter_map(answered)
}

/// Put-if-absent forgets.
pub const DELETED_UNDER_A_SLEEPER: Reach = ("a slot is deleted while its proposer sleeps", |world, state| {
    let asks = |proposal: Proposal| match proposal {
        Proposal::Asked { slot, .. } => state.bucket.is_deleted(slot),
        _ => false,
    };
    proposals(world, state).any(|(_, proposal)| asks(proposal))
});

/// The hazard itself.
pub const DEAD_SLOT_FILLED: Reach = ("a PUT lands on a deleted slot, with other content", |_, state| {
    let there = |slot: &u8| state.bucket.get(*slot).is_there();
    slots().filter(there).any(|slot| state.bucket.get(slot) != state.bucket.truth(slot))
});

/// What the writer's lease is for.
pub const DEAD_SLOT_WON: Reach = ("a proposer wins a slot that was deleted", |world, state| {
    proposals(world, state).any(|(content, proposal)| match proposal {
        Proposal::Ours { slot, .. } => state.bucket.truth(slot) != content,
        _ => false,
    })
});

/// What the reader's lease is for.
pub const DELETED_SLOT_READ: Reach = ("a reader gets a 404 from a deleted slot", |_, state| {
    any_node(state, |node| match node.read {
        Reading::Heard(read) => !read.found.is_there() && !read.was_end,
        _ => false,
    })
});

/// Worse.
pub const DEAD_SLOT_READ: Reach = ("a reader gets what a sleeper put into a deleted slot", |_, state| {
    any_node(state, |node| match node.read {
        Reading::Heard(read) => read.found.is_there() && read.found != state.bucket.truth(read.slot),
        _ => false,
    })
});

/// P < floor.
pub const RELOADED_WITH_A_SLOT: Reach =
    ("a sleeper must load anew, with a won slot in its hand", |_, state| {
        any_node(state, |node| {
            let won = |proposal: &Proposal| matches!(proposal, Proposal::Ours { .. });
            node.position == Position::Loading && node.proposals.iter().any(won)
        })
    });

/// The floor moved while it looked.
pub const LOADED_BELOW_THE_FLOOR: Reach = ("a loader finds its checkpoint below the floor", |_, state| {
    any_node(state, |node| match node.position {
        Position::Picked(slot) => slot < state.bucket.floor(),
        _ => false,
    })
});

/// The log is the longest prefix without a gap.
pub const HOLE: Reach = ("a later slot is filled before an earlier one", |_, state| {
    slots().any(|slot| slot > state.bucket.tail() && state.bucket.truth(slot).is_there())
});

/// 412 for one's own write, or its answer was lost.
pub const OWN_WRITE_MET: Reach =
    ("a proposer whose answer was lost has its own commit in the slot", |world, state| {
        proposals(world, state).any(|(content, proposal)| match proposal {
            Proposal::Asked { slot, .. } => state.bucket.get(slot) == content,
            _ => false,
        })
    });

/// Unchanged, at the next slot.
pub const PUT_TWICE: Reach = ("a commit is put at two slots", |world, state| {
    proposals(world, state).any(|(content, _)| state.bucket.times_sent(content) >= 2)
});

/// What the fold drops.
pub const TWICE_IN_THE_LOG: Reach = ("a commit stands in the log twice", |world, state| {
    let times =
        |content| (1..=state.bucket.tail()).filter(|slot| state.bucket.truth(*slot) == content).count();
    proposals(world, state).any(|(content, _)| times(content) >= 2)
});

/// The good end.
pub const ACKNOWLEDGED_AFTER_ALL: Reach =
    ("a commit that was put at two slots is acknowledged", |world, state| {
        heard(world, state, Answer::Acknowledged).any(|content| state.bucket.times_sent(content) >= 2)
    });

/// A definite error.
pub const REFUSED: Reach =
    ("a claim is refused", |world, state| heard(world, state, Answer::Refused).next().is_some());

/// An honest one.
pub const UNKNOWN: Reach = ("a client hears that the outcome is not known", |world, state| {
    heard(world, state, Answer::Unknown).next().is_some()
});

/// Two collectors, or one that slept, move the same floor.
pub const FLOOR_MOVED_TWICE: Reach = ("the floor moves twice, and slots below both are gone", |_, state| {
    let floors = state.bucket.floors.iter().flatten().count();
    floors == 3 && (1..state.bucket.floor()).all(|slot| state.bucket.is_deleted(slot))
});
