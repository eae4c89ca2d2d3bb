//! What is proposed again when a lost slot put commits out of order.
//!
//! A lone proposer has several slots in flight. When it loses one, later ones stand, and the fold voids idempotent batches
//! in them whose predecessors are still to come. Those batches alone are proposed again, in their old place in the order
//! and under a new commit id, before anybody hears of them. Must not know slots.

use bytes::Bytes;

use crate::manifest::commit::{Append, Change, Outcome, Void};
use crate::rope::Rope;

/// The outcomes that are known already, and where those still to come belong.
#[derive(Debug)]
pub(super) struct Partial {
    outcomes: Vec<Outcome>,
    /// For each change that is proposed again, the change and the batch that it was.
    places: Vec<(usize, usize)>,
}

/// What must be proposed again.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) changes: Vec<Change>,
    pub(super) payload: Rope,
    pub(super) partial: Partial,
}

/// The batches that were refused for their sequence number, as changes of one batch each; `None` if there are none.
pub(super) fn out_of_order(
    changes: &[Change],
    payload: &Rope,
    outcomes: Vec<Outcome>,
) -> Result<Again, Vec<Outcome>> {
    let mut again = Vec::new();
    let mut places = Vec::new();
    let mut bytes: Vec<Bytes> = Vec::new();
    let mut length = 0;
    for (index, (change, outcome)) in changes.iter().zip(&outcomes).enumerate() {
        let (Change::Append(append), Outcome::Appended(placed)) = (change, outcome) else { continue };
        let mut at = append.at;
        for (batch, (meta, placed)) in append.batches.iter().zip(placed).enumerate() {
            if matches!(placed, Err(Void::OutOfOrderSequence)) {
                let range = at as usize..at as usize + meta.bytes as usize;
                let (at, crc) = match append.segment {
                    // Part of a run: its checksum is in the header of the segment.
                    Some(_) => (at, 0),
                    None => {
                        let Some(part) = payload.slice(range) else { continue };
                        let place = (length, part.crc32c());
                        length += part.len() as u64;
                        bytes.extend(part.pieces().iter().cloned());
                        place
                    }
                };
                again.push(Change::Append(Append { at, crc, batches: vec![*meta], ..append.clone() }));
                places.push((index, batch));
            }
            at += u64::from(meta.bytes);
        }
    }
    if again.is_empty() {
        return Err(outcomes);
    }
    Ok(Again { changes: again, payload: Rope::new(bytes), partial: Partial { outcomes, places } })
}

impl Partial {
    /// Puts the outcomes of what was proposed again into their places.
    pub(super) fn complete(mut self, again: Vec<Outcome>) -> Vec<Outcome> {
        for ((change, batch), outcome) in self.places.into_iter().zip(again) {
            let Some(Outcome::Appended(placed)) = self.outcomes.get_mut(change) else { continue };
            let Some(slot) = placed.get_mut(batch) else { continue };
            *slot = match outcome {
                Outcome::Appended(mut one) => one.pop().unwrap_or(Err(Void::Malformed)),
                Outcome::Void(void) => Err(void),
                Outcome::ProducerIds(_)
                | Outcome::Producer(_)
                | Outcome::GroupVersion(_)
                | Outcome::Swapped(_)
                | Outcome::Applied => Err(Void::Malformed),
            };
        }
        self.outcomes
    }
}
