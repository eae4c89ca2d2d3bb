//! The records that ride in a commit: do they match what the commit says of them?
//!
//! Must not know the fold. Decoding made sure that all runs lie inside the object.

use uuid::Uuid;

use crate::manifest::{Append, Change, Commit, Outcome};
use crate::rope::Rope;
use crate::scrub::batches::{RunCheck, Span};

/// What is wrong with one run.
#[derive(Debug)]
pub(super) struct Damage {
    /// Which change of the commit it is.
    pub(super) change: usize,
    pub(super) topic: Uuid,
    pub(super) partition: u32,
    pub(super) what: String,
    /// The batch concerned, and how many offsets each batch takes.
    batch: Option<usize>,
    offsets: Vec<u32>,
}

/// At most one for each run.
pub(super) fn check(commit: &Commit, payload_at: u64, object: &Rope) -> Vec<Damage> {
    let runs = commit.changes.iter().enumerate().filter_map(|(index, change)| match change {
        Change::Append(append) if append.segment.is_none() => Some((index, append)),
        _ => None,
    });
    runs.filter_map(|(index, append)| check_run(index, append, payload_at, object)).collect()
}

fn check_run(change: usize, append: &Append, payload_at: u64, object: &Rope) -> Option<Damage> {
    let at = payload_at.checked_add(append.at)?;
    let mut next = at;
    let spans = append.batches.iter().map(|batch| {
        let span =
            Span { at: next, bytes: u64::from(batch.bytes), offsets: u64::from(batch.offsets), from: None };
        next = next.saturating_add(span.bytes);
        span
    });
    let mut check = RunCheck::new(at, append.bytes(), Some(append.crc), spans.collect());
    let run = usize::try_from(at).ok().zip(usize::try_from(check.end()).ok());
    let run = run.and_then(|(from, upto)| object.slice(from..upto)).unwrap_or_default();
    run.pieces().iter().for_each(|piece| check.feed(piece));
    let problem = check.finish()?;
    let what = format!("records inside this slot are not what the commit says: {}", problem.what);
    let (topic, partition, batch) = (append.topic, append.partition, problem.span);
    let offsets = append.batches.iter().map(|batch| batch.offsets).collect();
    Some(Damage { change, topic, partition, what, batch, offsets })
}

impl Damage {
    /// Offsets that cannot be relied on, from what the fold made of the run; `None`: nobody reads the damaged batches.
    pub(super) fn offsets(&self, outcome: &Outcome) -> Option<(i64, i64)> {
        let Outcome::Appended(placed) = outcome else { return None };
        let ranges = placed.iter().zip(&self.offsets).enumerate().filter_map(|(index, (placed, offsets))| {
            let concerned = self.batch.is_none_or(|batch| batch == index);
            let placed = placed.as_ref().ok().filter(|_| concerned)?;
            Some((placed.base_offset, placed.base_offset + i64::from(*offsets) - 1))
        });
        ranges.reduce(|(first, _), (_, last)| (first, last))
    }
}
