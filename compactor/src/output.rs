//! What is common to all that the compactor writes: names, a look at what is there when an answer was unclear, and the change
//! that makes it count.
//!
//! Must not know what the objects hold. Invariant: a name follows from chance and from what was read, so that two clones of a
//! process, which throw the same dice, give one name to one content only.

use bytes::Bytes;
use strandline_core::manifest::{Change, Extent, Journal, ObjectName, Outcome, Void};
use strandline_core::rope::Rope;
use strandline_core::{Error, Result};
use ulid::Ulid;

/// The time that new names carry: journal time where that is ahead, so that the fold does not take an object for an old one.
pub(crate) fn now_ms(journal: &Journal) -> i64 {
    journal.env().wall_ms().max(journal.view(|manifest| manifest.now_ms))
}

/// A name for what is made of these extents.
pub(crate) fn name<'a>(journal: &Journal, at_ms: i64, extents: impl IntoIterator<Item = &'a Extent>) -> Ulid {
    name_by(journal, at_ms, extents, &[])
}

/// The same for what depends on more than the extents: `rules` are the rest.
pub(crate) fn name_by<'a>(
    journal: &Journal,
    at_ms: i64,
    extents: impl IntoIterator<Item = &'a Extent>,
    rules: &[u64],
) -> Ulid {
    let drawn = journal.env().ulid(at_ms);
    let mut mixed = rules.iter().fold(drawn.random(), |mixed, word| mix(mixed, *word));
    for extent in extents {
        let (kind, low, high) = match ObjectName::from(extent.object) {
            ObjectName::Segment(id) => (1, id.0 as u64, (id.0 >> 64) as u64),
            ObjectName::Slot(slot) => (2, slot, 0),
            ObjectName::Marker => (3, 0, 0),
            ObjectName::Merged(id) => (4, id.0 as u64, (id.0 >> 64) as u64),
            ObjectName::Chunk(id, _) => (5, id.0 as u64, (id.0 >> 64) as u64),
        };
        for word in [kind, low, high, extent.base_offset as u64, extent.at, u64::from(extent.offsets)] {
            mixed = mix(mixed, word);
        }
    }
    Ulid::from_parts(drawn.timestamp_ms(), mixed)
}

/// Stirs a word into 80 bits (they are all that a ULID keeps): the finalizer of splitmix64 on both halves.
fn mix(state: u128, word: u64) -> u128 {
    let stir = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let (low, high) = (state as u64, (state >> 64) as u64);
    let low = stir(low.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word);
    let high = stir(high.wrapping_add(low).rotate_left(17) ^ word);
    u128::from(high) << 64 | u128::from(low)
}

/// Puts a small object. Something else of this name is refused: take another one.
pub(crate) async fn put(journal: &Journal, key: &str, body: Bytes) -> Result<()> {
    let body = Rope::from(body);
    let store = journal.store();
    if store.create(key, &body).await? || store.get(key).await? == body {
        return Ok(());
    }
    Err(Error::Invalid(format!("{key} exists and holds something else").into()))
}

/// Proposes changes; how many of them, or of their runs, hold. Nothing is cleaned up here, whatever the answer: what is not
/// referred to is garbage by its age.
pub(crate) async fn propose(journal: &Journal, changes: Vec<Change>) -> Result<usize> {
    let outcomes = journal.propose(changes).await?;
    let void = |void: &Void| tracing::debug!(%void, "a change of the compactor no longer holds");
    let held = outcomes.iter().map(|outcome| match outcome {
        Outcome::Swapped(runs) => {
            runs.iter().filter_map(|run| run.as_ref().err()).for_each(void);
            runs.iter().filter(|run| run.is_ok()).count()
        }
        Outcome::Void(reason) => {
            void(reason);
            0
        }
        _ => 1,
    });
    Ok(held.sum())
}
