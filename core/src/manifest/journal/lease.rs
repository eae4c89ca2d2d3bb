//! The floor and the lease: why a node may believe what a slot tells it.
//!
//! Put-if-absent forgets a key once it is deleted. So a result from a slot counts only while the node knows that its folded
//! position was at or above the floor less than the lease ago; otherwise the newest floor is read first. Must not know
//! proposals.

use crate::env::{Env, Moment};
use crate::error::{Error, Result};
use crate::limits::{LEASE, STORE_ATTEMPTS, STORE_RETRY};
use crate::manifest::state::{FEATURE_LEVEL, Manifest};
use crate::manifest::{checkpoint, floor};
use crate::mutation::{self, Mutation};
use crate::paths;
use crate::store::Store;

/// What a node knows about the floor, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    verified_at: Moment,
    /// The floor object that comes next.
    next_floor: u64,
    floor: u64,
}

/// A manifest and the proof that it is not below the floor.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) manifest: Manifest,
    pub(super) lease: Lease,
}

/// What came of reading the newest floor.
#[derive(Debug)]
pub(super) enum Verified {
    /// The folded position stands.
    Renewed(Lease),
    /// It was below the floor: the world went on without us.
    Reloaded(Box<Loaded>),
}

impl Lease {
    /// Whether results may be used. Must be asked *after* the result is there.
    pub(super) fn holds(&self, env: &Env) -> bool {
        env.within(self.verified_at, LEASE)
    }

    /// An operation that began at `begun` proved anew that the folded position is the tail. Only inside the lease.
    pub(super) fn renew(&mut self, begun: Moment) {
        self.verified_at = begun;
    }

    /// Reads the newest floor; below it, loads the manifest anew.
    pub(super) async fn verify(mut self, store: Store, applied: u64) -> Result<Verified> {
        self.verified_at = store.env().moment();
        let lease = self.read_on(&store).await?;
        if applied >= lease.floor {
            return Ok(Verified::Renewed(lease));
        }
        load(&store).await.map(|loaded| Verified::Reloaded(Box::new(loaded)))
    }

    /// Reads the floors from the next one on, to the newest.
    async fn read_on(mut self, store: &Store) -> Result<Lease> {
        loop {
            let key = paths::floor(self.next_floor);
            match store.get_as(&key, |body| floor::decode(&key, &body.to_bytes())).await {
                Ok(slot) => {
                    // It never moves back; an object that says so is wrong.
                    self.floor = self.floor.max(slot);
                    self.next_floor += 1;
                }
                Err(Error::NotFound(_)) => return Ok(self),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Loads the newest manifest that is not below the floor.
pub(super) async fn load(store: &Store) -> Result<Loaded> {
    let mut tried = 1;
    loop {
        match load_newest(store).await {
            // The floor may have moved past all that was listed while it was looked through.
            Err(Error::Invalid(why)) if tried < STORE_ATTEMPTS => tracing::debug!(%why, "loading again"),
            Err(Error::Invalid(why)) => return Err(Error::corrupt(paths::CHECKPOINTS, why)),
            decided => return decided,
        }
        tokio::time::sleep(STORE_RETRY.0).await;
        tried += 1;
    }
}

/// The same for those who fold on for themselves, and only look.
pub(crate) async fn load_manifest(store: &Store) -> Result<Manifest> {
    load(store).await.map(|loaded| loaded.manifest)
}

/// Picks a checkpoint, *then* reads the newest floor: one below it is useless ([`Error::Invalid`]), and the next is tried.
async fn load_newest(store: &Store) -> Result<Loaded> {
    let hinted = match store.get(paths::LATEST).await {
        Ok(hint) => std::str::from_utf8(&hint.to_bytes()).ok().and_then(|slot| slot.trim().parse().ok()),
        Err(Error::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    let mut damaged = None;
    if let Some(slot) = hinted {
        match load_at(store, slot).await {
            Ok(loaded) => return Ok(loaded),
            Err(error @ (Error::Unavailable { .. } | Error::Denied { .. } | Error::Unsupported(_))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(slot, %error, "the checkpoint that was hinted at cannot be used, looking for another");
                damaged = Some(error).filter(|error| matches!(error, Error::Corrupt { .. }));
            }
        }
    }
    let mut slots: Vec<u64> = store
        .list(paths::CHECKPOINTS, usize::MAX)
        .await?
        .iter()
        .filter_map(|found| paths::checkpoint_slot(&found.key))
        .collect();
    slots.sort_unstable();
    while let Some(slot) = slots.pop() {
        match load_at(store, slot).await {
            Err(error @ Error::Corrupt { .. }) => damaged = Some(error),
            Err(Error::NotFound(_) | Error::Invalid(_)) => {}
            decided => return decided,
        }
    }
    match load_empty(store).await {
        // A damaged checkpoint may be the one that is missing.
        Err(Error::Invalid(_)) => Err(damaged
            .unwrap_or(Error::Invalid("the floor has moved, but no checkpoint above it is there".into()))),
        decided => decided,
    }
}

async fn load_at(store: &Store, slot: u64) -> Result<Loaded> {
    above_floor(store, load_checkpoint(store, slot).await?).await
}

/// The manifest in the checkpoint of a slot. Whether it lies above the floor is not looked at.
pub async fn load_checkpoint(store: &Store, slot: u64) -> Result<Manifest> {
    let key = paths::checkpoint(slot);
    let manifest = store.get_as(&key, |body| checkpoint::decode(&key, &body.to_bytes())).await?;
    if manifest.applied != slot {
        return Err(Error::corrupt(&key, format!("it is the manifest at slot {}", manifest.applied)));
    }
    if manifest.feature_level > FEATURE_LEVEL {
        return Err(unknown_level(manifest.feature_level));
    }
    Ok(manifest)
}

async fn load_empty(store: &Store) -> Result<Loaded> {
    above_floor(store, Manifest::default()).await
}

async fn above_floor(store: &Store, manifest: Manifest) -> Result<Loaded> {
    let begun = store.env().moment();
    if mutation::is(Mutation::NoFloorOnLoad) {
        let lease = Lease { verified_at: begun, next_floor: 0, floor: 0 };
        return Ok(Loaded { manifest, lease });
    }
    let listed = store.list("floor", usize::MAX).await?;
    let newest = listed.iter().filter_map(|found| found.key.rsplit('/').next()?.parse::<u64>().ok()).max();
    let lease = Lease { verified_at: begun, next_floor: newest.unwrap_or(0), floor: 0 };
    match lease.read_on(store).await? {
        lease if manifest.applied >= lease.floor => Ok(Loaded { manifest, lease }),
        lease => Err(Error::Invalid(
            format!("checkpoint {} lies below the floor {}", manifest.applied, lease.floor).into(),
        )),
    }
}

/// The bucket follows rules that this program does not know.
pub(crate) fn unknown_level(level: u32) -> Error {
    Error::Unsupported(format!("the journal uses feature level {level}, this program knows up to {FEATURE_LEVEL}: upgrade Strandline on this node").into())
}
