//! What waits to be flushed: batches by partition, in order of arrival.
//!
//! Must not know when or where they go. One lock, held for a push or a take; nothing is copied. What is flushed together
//! came in the same era of the process: what still waits from the one before is given up. Riders take effect in the order
//! in which they came: those of one flush are decided before the next flush has any, since nothing in them says which
//! came first, as sequence numbers do for batches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strandline_core::Error;
use strandline_core::env::Era;
use strandline_core::limits::MAX_CHANGES_PER_COMMIT;
use strandline_core::mutation::{self, Mutation};
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use crate::ack::{self, AppendError, Entry, Rider, STOOD_STILL};

/// Changes of riders in one commit, unless one rider alone has more.
const RIDING_CHANGES: usize = MAX_CHANGES_PER_COMMIT / 2;
/// Runs in one commit.
const RUNS: usize = MAX_CHANGES_PER_COMMIT / 2;
/// Bytes of riders in one commit, unless one rider alone has more.
const RIDING_BYTES: usize = 16 << 20;
/// Bytes of riders that wait.
const WAITING_BYTES: usize = 64 << 20;
/// How long a rider waits to be put. While the store does not answer, its sender goes elsewhere with something newer.
const RIDER_PATIENCE: Duration = Duration::from_secs(30);

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
    /// `None`: there are none, or they wait for those of an earlier flush.
    pub(crate) riders: Option<Riders>,
    pub(crate) bytes: usize,
    pub(crate) since: Instant,
    pub(crate) era: Era,
}

/// The riders of one flush. Until it is dropped no other flush has any.
#[derive(Debug)]
pub(crate) struct Riders {
    pub(crate) list: Vec<Rider>,
    batcher: Arc<Batcher>,
}

impl Drop for Riders {
    fn drop(&mut self) {
        self.batcher.open.lock().unwrap_or_else(PoisonError::into_inner).riding = false;
        self.batcher.news.notify_one();
    }
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
    bytes: usize,
    riders: VecDeque<Rider>,
    rider_bytes: usize,
    /// A flush with riders is not decided yet.
    riding: bool,
    /// Of what waits longest.
    since: Option<(Era, Instant)>,
    closed: bool,
}

impl Open {
    /// Makes room for something of this era. `true`: the flusher may be asleep.
    fn begin(&mut self, era: Era) -> bool {
        if self.since.is_some_and(|(begun, _)| begun != era) {
            self.give_up();
        }
        self.since.get_or_insert_with(|| (era, Instant::now()));
        !self.any()
    }

    fn give_up(&mut self) {
        let entries = std::mem::take(&mut self.runs).into_values().flatten();
        let error = AppendError::Unavailable(STOOD_STILL.to_owned());
        ack::refuse(entries.map(|entry| entry.waiter), &error);
        for rider in std::mem::take(&mut self.riders) {
            rider.give_up(STOOD_STILL);
        }
        (self.bytes, self.rider_bytes, self.since) = (0, 0, None);
    }

    /// Whether a flush would find anything.
    fn any(&self) -> bool {
        !self.runs.is_empty() || !self.riding && !self.riders.is_empty()
    }

    /// The first riders, as many as fit a commit beside its batches; the others wait for the next flush.
    fn take_riders(&mut self) -> Vec<Rider> {
        let (mut taken, mut changes, mut bytes) = (Vec::new(), 0, 0);
        while let Some(rider) = self.riders.pop_front_if(|rider| {
            (changes, bytes) = (changes + rider.changes.len(), bytes + rider.bytes);
            taken.is_empty() || changes <= RIDING_CHANGES && bytes <= RIDING_BYTES
        }) {
            self.rider_bytes -= rider.bytes;
            match rider.begun.elapsed() > RIDER_PATIENCE {
                true => rider.give_up("the store did not answer in time"),
                false => taken.push(rider),
            }
        }
        taken
    }

    /// The first runs, as many as fit a commit, and their bytes.
    fn take_runs(&mut self) -> (BTreeMap<(Uuid, u32), Vec<Entry>>, usize) {
        let next = self.runs.keys().nth(RUNS).copied();
        let rest = next.map(|next| self.runs.split_off(&next)).unwrap_or_default();
        let bytes = |runs: &BTreeMap<_, Vec<Entry>>| {
            runs.values().flatten().map(|entry| entry.bytes.len()).sum::<usize>()
        };
        let left = bytes(&rest);
        let taken = std::mem::replace(&mut self.runs, rest);
        (taken, std::mem::replace(&mut self.bytes, left) - left)
    }
}

/// What waits now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    /// Whether anything does.
    pub(crate) any: bool,
    /// Riders wait for those before them.
    pub(crate) held_back: bool,
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

    /// Takes the rider in, or says why not.
    pub(crate) fn ride(&self, era: Era, rider: Rider) -> Result<(), Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.closed {
            return Err(Error::Closed);
        }
        let first = open.begin(era);
        if open.rider_bytes + rider.bytes > WAITING_BYTES && !open.riders.is_empty() {
            return Err(Error::Unknown("too many changes wait for the store".into()));
        }
        open.rider_bytes += rider.bytes;
        open.riders.push_back(rider);
        drop(open);
        if first {
            self.news.notify_one();
        }
        Ok(())
    }

    pub(crate) fn pending(&self) -> Pending {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let held_back = open.riding && !open.riders.is_empty();
        Pending { any: open.any(), held_back, bytes: open.bytes, closed: open.closed }
    }

    /// Waits for something new to look at.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// What waits, as much as fits a commit; `None`: nothing does, or riders that have to wait for those before them.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Batch> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.any() {
            return None;
        }
        let (era, since) = open.since.take()?;
        let (runs, bytes) = open.take_runs();
        let list = if open.riding { Vec::new() } else { open.take_riders() };
        let riders = (!list.is_empty()).then(|| Riders { list, batcher: Arc::clone(self) });
        open.riding |= riders.is_some() && !mutation::is(Mutation::RidersOvertake);
        if !open.runs.is_empty() || !open.riders.is_empty() {
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
