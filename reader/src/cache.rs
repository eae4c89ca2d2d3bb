//! Blocks of objects, read from the store once however many ask (single flight), and ahead of those who scan.
//!
//! Must not know offsets. What was just written or followed is in the journal's tail, which scans never touch; historic
//! blocks live here, oldest use out first. Each holds its share of the configured bytes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
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

type Key = (ObjectId, u64);

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
    ahead: Arc<Ahead>,
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
        Cache { journal, blocks, ahead }
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
        let blocks = try_join_all(blocks_of(&range).map(|block| self.block((object, block)))).await?;
        let first = range.start - range.start % BLOCK_BYTES;
        let all = Rope::new(blocks.iter().flat_map(|block| block.pieces().iter().cloned()));
        cut(&object, &all, (range.start - first) as usize..(range.end - first) as usize)
    }

    /// Fetches the blocks of `range` in the background, if they are nowhere yet.
    pub(crate) fn read_ahead(&self, object: ObjectId, range: Range<u64>) {
        for block in blocks_of(&range) {
            let key = (object, block);
            if self.blocks.contains_key(&Kept::Block(key))
                || self.journal.tail().get(&object).is_some()
                || !self.ahead.begin(key)
            {
                continue;
            }
            let cache = self.clone();
            env::spawn(async move {
                if let Ok(_room) = cache.ahead.room.acquire().await {
                    metrics::READ_AHEAD.inc();
                    if let Err(error) = cache.block(key).await {
                        // Whoever needs the block will try again, and hear of it.
                        tracing::debug!(%error, "reading ahead failed");
                    }
                }
                cache.ahead.end(&key);
            });
        }
    }

    /// Forgets the blocks of `range`, which turned out to be damaged: the next read asks the store again.
    pub(crate) async fn forget(&self, object: ObjectId, range: Range<u64>) {
        for block in blocks_of(&range).filter(|_| !mutation::is(Mutation::DamagedBlockKept)) {
            self.blocks.invalidate(&Kept::Block((object, block))).await;
        }
    }

    async fn block(&self, key: Key) -> Result<Rope, Error> {
        let mut from = "cache";
        let fetch = async {
            from = "store";
            let at = key.1 * BLOCK_BYTES;
            self.journal.store().get_range(&key.0.key(), at..at + BLOCK_BYTES).await
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

impl Ahead {
    /// `false`: somebody is at it.
    fn begin(&self, key: Key) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(key)
    }

    fn end(&self, key: &Key) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn blocks_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)
}

fn cut(object: &ObjectId, rope: &Rope, range: Range<usize>) -> Result<Rope, Error> {
    rope.slice(range)
        .ok_or_else(|| Error::corrupt(object.key(), "it ends before the records that it should hold"))
}
