//! What every part of a scrub shares: the way to the store, how much of it at a time, whether to go on.
//!
//! Only reads. Must not know what objects mean. No more than the agreed number of requests is under way, and no more
//! than [`SCRUB_BYTES`] of objects are held, unless a single one is larger.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::report::Findings;
use super::{Options, Progress, ReadFooter, Watch};
use crate::error::{Error, Result};
use crate::limits::{KIB, LIST_PAGE, SCRUB_BYTES, SCRUB_FAILURES};
use crate::paths;
use crate::rope::Rope;
use crate::store::{Listed, Store};

/// Bytes are counted in these.
const UNIT: u64 = KIB as u64;
const UNITS: usize = SCRUB_BYTES / KIB;

pub(super) struct Context<'a> {
    pub(super) store: &'a Store,
    pub(super) quick: bool,
    pub(super) width: usize,
    pub(super) parquet_footer: ReadFooter,
    requests: Semaphore,
    bytes: Semaphore,
    asked: AtomicU64,
    read: AtomicU64,
    failures: AtomicU64,
    stopped: AtomicBool,
    watch: &'a Watch<'a>,
}

/// Leave to hold some bytes; given back when dropped.
pub(super) struct Entered<'a> {
    _request: Option<SemaphorePermit<'a>>,
    _bytes: Option<SemaphorePermit<'a>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(store: &'a Store, options: &Options, watch: &'a Watch<'a>) -> Context<'a> {
        let width = options.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Context {
            store,
            quick: options.quick,
            width,
            parquet_footer: options.parquet_footer,
            requests: Semaphore::new(width),
            bytes: Semaphore::new(UNITS),
            asked: AtomicU64::new(0),
            read: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            watch,
        }
    }

    /// Waits until an object of so many bytes may be asked for and held.
    pub(super) async fn enter(&self, bytes: u64) -> Entered<'_> {
        let units = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(UNITS).clamp(1, UNITS);
        // Neither is ever closed, so that both are always given.
        let request = self.requests.acquire().await.ok();
        let bytes = self.bytes.acquire_many(units as u32).await.ok();
        Entered { _request: request, _bytes: bytes }
    }

    pub(super) async fn read(&self, key: &str) -> Result<Rope> {
        self.count(self.store.get(key).await)
    }

    pub(super) async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Rope> {
        self.count(self.store.get_range(key, range).await)
    }

    /// Reads slots of these sizes side by side, and gives them in their order.
    pub(super) fn read_slots<'s>(
        &'s self,
        slots: impl Iterator<Item = (u64, u64)> + Send + 's,
    ) -> BoxStream<'s, (u64, Result<Rope>, Entered<'s>)> {
        stream::iter(slots)
            // One after the other: the slot that is waited for never lacks room.
            .then(move |(slot, size)| async move { (slot, self.enter(size).await) })
            .map(move |(slot, entered)| async move { (slot, self.read(&paths::slot(slot)).await, entered) })
            .buffered(self.width)
            .boxed()
    }

    fn count(&self, read: Result<Rope>) -> Result<Rope> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.read.fetch_add(read.as_ref().map_or(0, Rope::len) as u64, Ordering::Relaxed);
        read
    }

    pub(super) async fn list(
        &self,
        folder: &str,
        mut each: impl FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut shown = 0_u64;
        let listed = self.store.list_each(folder, |found| {
            shown += 1;
            each(found)
        });
        let listed = listed.await;
        self.asked.fetch_add(shown / LIST_PAGE + 1, Ordering::Relaxed);
        listed
    }

    pub(super) async fn list_level(&self, folder: &str) -> Result<(Vec<String>, Vec<Listed>)> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.store.list_level(folder).await
    }

    /// The store did not give an object: that is no damage. After too many of those, nothing more is asked.
    pub(super) fn failed(&self, findings: &mut Findings, key: &str, error: &Error) {
        findings.unchecked(key, error);
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= SCRUB_FAILURES as u64 {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Tells how far it has come; whoever watches may end it.
    pub(super) fn tell(&self, progress: &Progress) {
        if (self.watch)(progress).is_break() {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
