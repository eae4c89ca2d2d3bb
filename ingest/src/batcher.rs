//! What waits to be flushed: batches by partition, in order of arrival.
//!
//! Must not know when or where they go. One lock, held for a push or a take; nothing is copied. What is flushed together
//! came in the same era of the process: what still waits from the one before is given up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use strandline_core::Error;
use strandline_core::env::Era;
use strandline_core::limits::MAX_CHANGES_PER_COMMIT;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use crate::ack::{self, AppendError, Entry, Rider, STOOD_STILL};

/// Changes of riders in one commit, unless one rider alone has more.
const RIDING_CHANGES: usize = MAX_CHANGES_PER_COMMIT / 2;

/// One partition's batches, in order.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    pub(crate) entries: Vec<Entry>,
}

/// Everything that one flush takes.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) runs: Vec<Run>,
    pub(crate) riders: Vec<Rider>,
    pub(crate) bytes: usize,
    pub(crate) since: Instant,
    pub(crate) era: Era,
}

#[derive(Debug)]
pub(crate) struct Batcher {
    // Never held across an await.
    open: Mutex<Open>,
    /// Wakes the flusher: the first batch after a flush, the batch that fills, closing.
    news: Notify,
    full_bytes: usize,
}

#[derive(Debug, Default)]
struct Open {
    runs: BTreeMap<(Uuid, u32), Vec<Entry>>,
    riders: Vec<Rider>,
    bytes: usize,
    /// Of what waits longest.
    since: Option<(Era, Instant)>,
    closed: bool,
}

impl Open {
    /// Makes room for something of this era. `true`: it is the first.
    fn begin(&mut self, era: Era) -> bool {
        if self.since.is_some_and(|(begun, _)| begun != era) {
            self.bytes = 0;
            let entries = std::mem::take(&mut self.runs).into_values().flatten();
            let error = AppendError::Unavailable(STOOD_STILL.to_owned());
            ack::refuse(entries.map(|entry| entry.waiter), &error);
            let nothing = Err(Error::Unknown(STOOD_STILL.into()));
            ack::answer_riders(std::mem::take(&mut self.riders), 0, &nothing);
            self.since = None;
        }
        let first = self.since.is_none();
        self.since.get_or_insert_with(|| (era, Instant::now()));
        first
    }

    /// The first riders, as many as fit a commit beside its batches; the others wait for the next flush.
    fn take_riders(&mut self) -> Vec<Rider> {
        let mut changes = 0;
        let mut fits = |rider: &Rider| {
            changes += rider.changes.len();
            changes <= RIDING_CHANGES
        };
        let count = self.riders.iter().take_while(|rider| fits(rider)).count().max(1);
        self.riders.drain(..count.min(self.riders.len())).collect()
    }
}

/// What waits now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// Whether anything does.
    pub(crate) any: bool,
    pub(crate) bytes: usize,
    pub(crate) closed: bool,
}

impl Batcher {
    pub(crate) fn new(full_bytes: usize) -> Batcher {
        Batcher { open: Mutex::default(), news: Notify::new(), full_bytes }
    }

    /// Gives the entry back if nothing is taken any more.
    pub(crate) fn push(&self, era: Era, topic: Uuid, partition: u32, entry: Entry) -> Result<(), Entry> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.closed {
            return Err(entry);
        }
        let (first, before) = (open.begin(era), open.bytes);
        open.bytes += entry.bytes.len();
        let fills = before < self.full_bytes && open.bytes >= self.full_bytes;
        open.runs.entry((topic, partition)).or_default().push(entry);
        drop(open);
        if first || fills {
            self.news.notify_one();
        }
        Ok(())
    }

    /// Gives the rider back if nothing is taken any more.
    pub(crate) fn ride(&self, era: Era, rider: Rider) -> Result<(), Rider> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.closed {
            return Err(rider);
        }
        let first = open.begin(era);
        open.riders.push(rider);
        drop(open);
        if first {
            self.news.notify_one();
        }
        Ok(())
    }

    pub(crate) fn pending(&self) -> Pending {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Pending { any: open.since.is_some(), bytes: open.bytes, closed: open.closed }
    }

    /// Waits for something new to look at.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Everything that waits; `None`: nothing does.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (era, since) = open.since.take()?;
        let bytes = std::mem::take(&mut open.bytes);
        let runs = std::mem::take(&mut open.runs);
        let riders = open.take_riders();
        if !open.riders.is_empty() {
            open.since = Some((era, since));
        }
        drop(open);
        let runs =
            runs.into_iter().map(|((topic, partition), entries)| Run { topic, partition, entries }).collect();
        Some(Batch { runs, riders, bytes, since, era })
    }

    /// Takes nothing more in; what waits is still flushed.
    pub(crate) fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.news.notify_one();
    }
}
