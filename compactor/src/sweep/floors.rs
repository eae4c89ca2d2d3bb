//! Where the floor is, and where to it moves.
//!
//! Must not know what lies below it. Invariants: it moves to a checkpoint that was read and is whole, and never back; ages are
//! differences of the store's own stamps.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use strandline_core::limits::{FLOOR_EVERY, FLOOR_LAG};
use strandline_core::manifest::{Manifest, floor, journal};
use strandline_core::rope::Rope;
use strandline_core::scrub::Count;
use strandline_core::store::{Listed, Store};
use strandline_core::{Error, Result, paths};

/// The floors that there are.
#[derive(Debug, Default)]
pub(super) struct Floors {
    /// When each was written, by its number.
    stamps_ms: BTreeMap<u64, i64>,
    newest_slot: u64,
}

impl Floors {
    pub(super) async fn list(store: &Store, unknown: &mut Count) -> Result<Floors> {
        let mut floors = Floors::default();
        let mut listing = store.listing("floor");
        while let Some(found) = listing.next().await? {
            match paths::numbered(&found.key, "floor") {
                Some(k) => drop(floors.stamps_ms.insert(k, found.stamp_ms)),
                None => unknown.add(found.size),
            }
        }
        if let Some((newest, _)) = floors.stamps_ms.last_key_value() {
            floors.newest_slot = read(store, *newest).await?;
        }
        Ok(floors)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stamps_ms.is_empty()
    }

    /// The slot that it is at; 0: it never moved.
    pub(super) fn newest_slot(&self) -> u64 {
        self.newest_slot
    }

    /// Whether it may move again.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.stamps_ms.last_key_value().is_none_or(|(_, stamp_ms)| age(*stamp_ms, now_ms) >= FLOOR_EVERY)
    }

    /// The slot that it had passed by so long ago; 0: none.
    pub(super) async fn passed(&self, store: &Store, now_ms: i64, ago: Duration) -> Result<u64> {
        let old = |(_, stamp_ms): &(&u64, &i64)| age(**stamp_ms, now_ms) >= ago;
        let newest = self.stamps_ms.last_key_value().map(|(k, _)| *k);
        match self.stamps_ms.iter().rev().find(old).map(|(k, _)| *k) {
            None => Ok(0),
            k if k == newest => Ok(self.newest_slot),
            // One above the newest would be wrong, and none that a node goes by.
            Some(k) => read(store, k).await.map(|slot| slot.min(self.newest_slot)),
        }
    }

    /// Moves it to `slot`. Somebody else may have been first, to the same end: look again.
    pub(super) async fn advance(&self, store: &Store, slot: u64) -> Result<()> {
        let key = paths::floor(self.next());
        // `false`, or an answer that is not clear: it may be ours, it may still come to be. Whenever it does it is right, since
        // the floor before it lies below `slot`, and it never takes the place of another.
        match store.create(&key, &Rope::from(floor::encode(slot))).await {
            Ok(true) => tracing::info!(slot, key, "the floor has moved"),
            Ok(false) => {
                tracing::debug!(key, "the floor was moved by somebody else, or by an attempt before")
            }
            Err(error @ (Error::Denied { .. } | Error::Unsupported(_) | Error::Invalid(_))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(key, %error, "it is not known whether the floor has moved, looking at what is there");
            }
        }
        Ok(())
    }

    /// As if it had moved.
    pub(super) fn pretend(&mut self, slot: u64, now_ms: i64) {
        self.stamps_ms.insert(self.next(), now_ms);
        self.newest_slot = slot;
    }

    fn next(&self) -> u64 {
        self.stamps_ms.last_key_value().map_or(0, |(k, _)| k.saturating_add(1))
    }
}

/// The checkpoints that there are.
#[derive(Debug, Default)]
pub(super) struct Checkpoints(BTreeMap<u64, Listed>);

impl Checkpoints {
    pub(super) async fn list(store: &Store, unknown: &mut Count) -> Result<Checkpoints> {
        let mut found = BTreeMap::new();
        let mut listing = store.listing(paths::CHECKPOINTS);
        while let Some(one) = listing.next().await? {
            match paths::numbered(&one.key, paths::CHECKPOINTS) {
                Some(slot) => drop(found.insert(slot, one)),
                None if one.key == paths::LATEST => {}
                None => unknown.add(one.size),
            }
        }
        Ok(Checkpoints(found))
    }

    /// The manifest to judge by: the first one at or above the floor.
    pub(super) async fn first(&self, store: &Store, floor: u64) -> Result<Manifest> {
        let mut damaged = None;
        for slot in self.0.range(floor..).map(|(slot, _)| *slot) {
            match journal::load_checkpoint(store, slot).await {
                Err(error @ (Error::Corrupt { .. } | Error::NotFound(_))) => {
                    tracing::warn!(slot, %error, "a checkpoint cannot be used to judge by");
                    damaged.get_or_insert(error);
                }
                decided => return decided,
            }
        }
        let why = "the floor has moved there, but no checkpoint at or above it is there";
        Err(damaged.unwrap_or_else(|| Error::corrupt(paths::checkpoint(floor), why)))
    }

    pub(super) fn has_above(&self, slot: u64) -> bool {
        self.0.last_key_value().is_some_and(|(last, _)| *last > slot)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&u64, &Listed)> {
        self.0.iter()
    }

    /// The manifest to whose slot the floor may move: the newest that is old enough, above it, and whole.
    pub(super) async fn to_follow(
        &self,
        store: &Store,
        floors: &Floors,
        now_ms: i64,
    ) -> Result<Option<Manifest>> {
        let above = self.0.iter().rev().take_while(|(slot, _)| **slot > floors.newest_slot);
        for (slot, _) in above.filter(|(_, found)| age(found.stamp_ms, now_ms) >= FLOOR_LAG) {
            match journal::load_checkpoint(store, *slot).await {
                Ok(manifest) => return Ok(Some(manifest)),
                Err(error @ (Error::Corrupt { .. } | Error::NotFound(_))) => {
                    tracing::warn!(slot, %error, "the floor does not move to this checkpoint");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The store's clock: the stamp of an object that was just written, milliseconds since 1970.
pub(super) async fn stamp_now(store: &Store) -> Result<i64> {
    let env = store.env();
    let id = env.ulid(env.wall_ms());
    let key = paths::probe(id, "clock");
    store.put(&key, &Rope::from(Bytes::from_static(b"what time is it?"))).await?;
    let listed = store.list(&format!("probe/{id}"), 1).await;
    store.delete(&key).await?;
    let found = listed?.into_iter().next().filter(|found| found.key == key);
    let why = || Error::Unsupported(format!("{store} does not list what was just written: {key}").into());
    found.map(|found| found.stamp_ms).ok_or_else(why)
}

/// How long ago that was; nothing for what is to come.
pub(super) fn age(stamp_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(stamp_ms)).unwrap_or(0))
}

async fn read(store: &Store, k: u64) -> Result<u64> {
    let key = paths::floor(k);
    store.get_as(&key, |body| floor::decode(&key, &body.to_bytes())).await
}
