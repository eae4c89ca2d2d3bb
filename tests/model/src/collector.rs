//! The collector: checkpoints, the floor, and deletion.
//!
//! Must not know what nodes are waiting for. It may pause between any two steps; every condition that it acts on stays
//! true once it is true, but for the newest floor, and that one is guarded by put-if-absent.

use crate::bucket::{Age, Bucket, Floor};
use crate::rules::Rules;
use crate::scenario::Scenario;

/// A move of the floor that was decided and not yet put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Move {
    /// The floor object that comes next, as far as the collector knows.
    pub next: u8,
    /// Where the floor goes.
    pub to: u8,
}

/// A checkpoint is the manifest as of a slot that some node has folded; its PUT may land when that node is far beyond.
pub fn write_checkpoint(bucket: &mut Bucket, slot: u8, highest_position: u8) -> Option<()> {
    if slot > highest_position || bucket.has_checkpoint(slot) || slot < bucket.floor() {
        return None;
    }
    bucket.checkpoints |= 1 << slot;
    Some(())
}

/// Reads the newest floor and picks a durable checkpoint above it: "to a slot at or below a durable checkpoint".
pub fn decide_move(scenario: &Scenario, rules: &Rules, bucket: &Bucket, to: u8) -> Option<Move> {
    let next = bucket.floors.iter().flatten().count() as u8;
    let durable = bucket.has_checkpoint(to) || !rules.floor_at_a_checkpoint;
    let may = next <= scenario.floor_moves && durable && to > bucket.floor() && to <= bucket.tail();
    may.then_some(Move { next, to })
}

/// "The floor moves by `floor/<k+1>` (put-if-absent, never deleted)": of two moves decided on the same floor, one lands.
pub fn put_floor(bucket: &mut Bucket, decided: Move) {
    let key = &mut bucket.floors[usize::from(decided.next)];
    if key.is_none() {
        *key = Some(Floor { slot: decided.to, age: Age::NOW });
    }
}

/// "A slot is deleted only if it is below the floor, the floor moved past it at least 24 h ago by the store's own stamps,
/// and no extent points into it": in any order, and only some of them. What a sleeper put there later goes too.
pub fn delete_slot(scenario: &Scenario, rules: &Rules, bucket: &mut Bucket, slot: u8) -> Option<()> {
    let delay = if rules.deletion_delay { scenario.delay } else { 0 };
    let below = slot < bucket.floor_before(delay) || !rules.deletes_below_the_floor;
    if !below || !bucket.get(slot).is_there() {
        return None;
    }
    bucket.journal[usize::from(slot)] = crate::scenario::Content::NOTHING;
    Some(())
}

/// A checkpoint below the floor is of no use to anybody who starts from now on, and goes.
pub fn delete_checkpoint(bucket: &mut Bucket, slot: u8) -> Option<()> {
    if slot >= bucket.floor() || !bucket.has_checkpoint(slot) {
        return None;
    }
    bucket.checkpoints &= !(1 << slot);
    Some(())
}
