//! Blocks of objects, read from the store once however many ask (single flight), and ahead of those who scan. Neighbours come
//! with one request.
//!
//! Must not know offsets. What was just written or followed is in the journal's tail, which scans never touch; historic
//! blocks live here, oldest use out first. Each holds its share of the configured bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, try_join_all};
use moka::future::Cache as Blocks;
use moka::policy::EvictionPolicy;
use strandline_core::manifest::{Journal, ObjectId};
use strandline_core::mutation::{self, Mutation};
use strandline_core::rope::Rope;
use strandline_core::{Error, env, limits};
use tokio::sync::Semaphore;

use crate::metrics;

/// Bytes of a block: large enough that a scan makes few requests, small enough that a lookup reads little in vain.
const BLOCK_BYTES: u64 = 2 * limits::MIB as u64;
/// The most that is fetched ahead of one pull.
const READ_AHEAD_BYTES: u64 = 32 * limits::MIB as u64;
/// Blocks fetched ahead side by side.
const READ_AHEAD_AT_ONCE: usize = 16;
/// Blocks that one request brings, at most.
const BLOCKS_AT_ONCE: usize = 4;

type Key = (ObjectId, u64);
/// A request under way: the first block that it brings, and the bytes from there on.
type Request = (u64, Shared<BoxFuture<'static, Result<Rope, Error>>>);

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kept {
    /// By its number.
    Block(Key),
    /// Batches that were made of a row group, by where that begins.
    Rendered(Key),
}

#[derive(Debug, Clone)]
pub(crate) struct Cache {
    journal: Journal,
    blocks: Blocks<Kept, Rope>,
    requests: Arc<Requests>,
    ahead: Arc<Ahead>,
}

/// Requests for several blocks, by each of these.
// Held for a map operation only, never across an await.
#[derive(Debug, Default)]
struct Requests(Mutex<BTreeMap<Key, Request>>);

/// Requests that others may use until this is dropped.
struct Begun {
    requests: Arc<Requests>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Ahead {
    // Held for a set operation only, never across an await.
    under_way: Mutex<BTreeSet<Key>>,
    room: Semaphore,
}

impl Cache {
    pub(crate) fn new(journal: Journal, most_bytes: usize) -> Cache {
        let blocks = Blocks::builder()
            .max_capacity(most_bytes as u64)
            .weigher(|_, block: &Rope| u32::try_from(block.len() + 256).unwrap_or(u32::MAX))
            // The default policy refuses newcomers that nobody asked for yet, which is what a block read ahead is.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let ahead = Arc::new(Ahead { under_way: Mutex::default(), room: Semaphore::new(READ_AHEAD_AT_ONCE) });
        Cache { journal, blocks, requests: Arc::default(), ahead }
    }

    /// How far ahead of a pull over so many partitions to read, each, so that nothing is pushed out before it is used:
    /// half the cache, less what lies beside the wanted bytes in the blocks at both ends, about one block a partition.
    pub(crate) fn ahead_bytes(&self, partitions: usize) -> usize {
        let partitions = partitions.max(1);
        let half = self.blocks.policy().max_capacity().unwrap_or(0) / 2;
        let beside = BLOCK_BYTES * partitions as u64;
        half.saturating_sub(beside).min(READ_AHEAD_BYTES) as usize / partitions
    }

    /// The bytes `range` of an object. [`Error::NotFound`]: it was replaced by others, plan anew from a newer manifest.
    pub(crate) async fn read(&self, object: ObjectId, range: Range<u64>) -> Result<Rope, Error> {
        if let Some(whole) = self.journal.tail().get(&object) {
            metrics::READS.with_label_values(&["tail"]).inc();
            return cut(&object, &whole, range.start as usize..range.end as usize);
        }
        let blocks = self.neighbours(object, blocks_of(&range)).await?;
        let first = range.start - range.start % BLOCK_BYTES;
        let all = Rope::new(blocks.iter().flat_map(|block| block.pieces().iter().cloned()));
        cut(&object, &all, (range.start - first) as usize..(range.end - first) as usize)
    }

    /// Fetches the blocks of `range` in the background, if they are nowhere yet.
    pub(crate) fn read_ahead(&self, object: ObjectId, range: Range<u64>) {
        if self.journal.tail().get(&object).is_some() {
            return;
        }
        let nowhere = |block: &u64| !self.has(&(object, *block)) && self.ahead.begin((object, *block));
        for blocks in spans(blocks_of(&range).filter(nowhere)) {
            let cache = self.clone();
            env::spawn(async move {
                let count = blocks.end - blocks.start;
                if let Ok(_room) = cache.ahead.room.acquire_many(count as u32).await {
                    metrics::READ_AHEAD.inc_by(count);
                    if let Err(error) = cache.neighbours(object, blocks.clone()).await {
                        // Whoever needs the blocks will try again, and hear of it.
                        tracing::debug!(%error, "reading ahead failed");
                    }
                }
                blocks.for_each(|block| cache.ahead.end(&(object, block)));
            });
        }
    }

    /// Forgets the blocks of `range`, which turned out to be damaged: the next read asks the store again.
    pub(crate) async fn forget(&self, object: ObjectId, range: Range<u64>) {
        for block in blocks_of(&range).filter(|_| !mutation::is(Mutation::DamagedBlockKept)) {
            self.blocks.invalidate(&Kept::Block((object, block))).await;
        }
    }

    fn has(&self, key: &Key) -> bool {
        self.blocks.contains_key(&Kept::Block(*key))
    }

    /// Neighbouring blocks of an object; those that are neither here nor on their way come together.
    async fn neighbours(&self, object: ObjectId, blocks: Range<u64>) -> Result<Vec<Rope>, Error> {
        let _begun = self.begin(object, blocks.clone());
        try_join_all(blocks.map(|block| self.block((object, block)))).await
    }

    /// Begins what brings several blocks at once. Nothing is sent before somebody waits for it.
    fn begin(&self, object: ObjectId, blocks: Range<u64>) -> Begun {
        let mut requests = self.requests.lock();
        let nowhere = |block: &u64| !self.has(&(object, *block)) && !requests.contains_key(&(object, *block));
        let spans = spans(blocks.filter(nowhere));
        let mut keys = Vec::new();
        for span in spans.into_iter().filter(|span| span.end - span.start > 1) {
            let (journal, blocks) = (self.journal.clone(), span.clone());
            let bytes = async move { get(&journal, object, blocks).await }.boxed().shared();
            let first = span.start;
            for block in span {
                requests.insert((object, block), (first, bytes.clone()));
                keys.push((object, block));
            }
        }
        Begun { requests: self.requests.clone(), keys }
    }

    async fn block(&self, key: Key) -> Result<Rope, Error> {
        let mut from = "cache";
        let fetch = async {
            from = "store";
            match self.requests.get(&key) {
                Some((first, bytes)) => Ok(nth_block(&bytes.await?, key.1 - first)),
                None => get(&self.journal, key.0, key.1..key.1 + 1).await,
            }
        };
        let block = self.keep(Kept::Block(key), fetch).await?;
        metrics::READS.with_label_values(&[from]).inc();
        Ok(block)
    }

    /// What `render` makes of the row group that begins at `at` in an object, made once however many ask.
    pub(crate) async fn rendered(
        &self,
        object: ObjectId,
        at: u64,
        render: impl Future<Output = Result<Rope, Error>>,
    ) -> Result<Rope, Error> {
        self.keep(Kept::Rendered((object, at)), render).await
    }

    async fn keep(&self, key: Kept, make: impl Future<Output = Result<Rope, Error>>) -> Result<Rope, Error> {
        let mut made = false;
        let make = async {
            made = true;
            make.await
        };
        let rope = self.blocks.try_get_with(key, make).await.map_err(|error: Arc<Error>| (*error).clone())?;
        if made {
            // Evictions are put off by default; with blocks this large that would be hundreds of megabytes.
            self.blocks.run_pending_tasks().await;
            metrics::CACHE_BYTES.set(self.blocks.weighted_size() as i64);
        }
        Ok(rope)
    }
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Option<Request> {
        self.lock().get(key).cloned()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut requests = self.requests.lock();
        for key in &self.keys {
            requests.remove(key);
        }
    }
}

impl Ahead {
    /// `false`: somebody is at it.
    fn begin(&self, key: Key) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(key)
    }

    fn end(&self, key: &Key) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

async fn get(journal: &Journal, object: ObjectId, blocks: Range<u64>) -> Result<Rope, Error> {
    let range = blocks.start * BLOCK_BYTES..blocks.end * BLOCK_BYTES;
    journal.store().get_range(&object.key(), range).await
}

/// The `n`th block of what one request brought; the last one may be short.
fn nth_block(bytes: &Rope, n: u64) -> Rope {
    let end = bytes.len().min(((n + 1) * BLOCK_BYTES) as usize);
    bytes.slice((n * BLOCK_BYTES) as usize..end).unwrap_or_default()
}

/// Ascending blocks, as one request each may bring them.
fn spans(blocks: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for block in blocks {
        match spans.last_mut() {
            Some(span) if span.end == block && span.end - span.start < BLOCKS_AT_ONCE as u64 => span.end += 1,
            _ => spans.push(block..block + 1),
        }
    }
    spans
}

/// Where reading so many bytes ahead, up to `upto` in the middle of a run, stops instead: a scan is to go on by several blocks
/// at once, and not by the last one each time.
pub(crate) fn ahead_stop(upto: u64, ahead_bytes: usize) -> u64 {
    let step = BLOCK_BYTES * (ahead_bytes as u64 / 2 / BLOCK_BYTES).clamp(1, BLOCKS_AT_ONCE as u64);
    upto - upto % step
}

fn blocks_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)
}

fn cut(object: &ObjectId, rope: &Rope, range: Range<usize>) -> Result<Rope, Error> {
    rope.slice(range)
        .ok_or_else(|| Error::corrupt(object.key(), "it ends before the records that it should hold"))
}
