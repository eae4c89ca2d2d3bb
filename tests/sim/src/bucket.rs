//! The objects, and what no bucket remembers: what every slot held first and when, and every segment that ever was.
//!
//! Must not know who asks, nor any fault of the way there. The truth of a slot is its first content: what is written
//! there after it was deleted never counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, Result,
};
use tokio::time::Instant;

/// From 1970 to the moment at which every run begins.
const EPOCH: Duration = Duration::from_millis(1_767_225_600_000);

/// What is wrong with the store itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Every conditional write wins.
    IgnoresCondition,
    /// Two steps, with room for others in between.
    ChecksThenActs,
    /// Some segments and chunks are accepted and thrown away.
    ForgetsWrites,
}

/// A handle on the bucket of one run. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    objects: Arc<InMemory>,
    past: Arc<Mutex<Past>>,
    flaw: Option<Flaw>,
    begun: Instant,
}

#[derive(Debug, Default)]
struct Past {
    slots: BTreeMap<u64, (Instant, Bytes)>,
    segments: BTreeMap<String, Bytes>,
    stamps: BTreeMap<String, Instant>,
    deleted: BTreeSet<String>,
    writes: u64,
}

impl Bucket {
    pub(crate) fn new(flaw: Option<Flaw>) -> Bucket {
        Bucket { objects: Arc::new(InMemory::new()), past: Arc::default(), flaw, begun: Instant::now() }
    }

    pub(crate) async fn put(&self, key: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes: Bytes = body.clone().into();
        // The start-up probe would find these out; they are about stores that break later.
        let broken = self.flaw.filter(|_| !key.as_ref().starts_with("probe/"));
        let result = match (broken, &options.mode) {
            (Some(Flaw::IgnoresCondition), PutMode::Create) => self.overwrite(key, body).await,
            (Some(Flaw::ChecksThenActs), PutMode::Create) => {
                self.objects.head(key).await.is_ok().then_some(()).map_or(Ok(()), |()| Err(exists(key)))?;
                tokio::time::sleep(Duration::from_millis(8)).await;
                self.overwrite(key, body).await
            }
            (Some(Flaw::ForgetsWrites), PutMode::Create) if self.forgets(key) => {
                return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
            }
            _ => self.objects.put_opts(key, body, options).await,
        };
        if result.is_ok() {
            self.remember(key.as_ref(), bytes);
        }
        result
    }

    async fn overwrite(&self, key: &Path, body: PutPayload) -> Result<PutResult> {
        self.objects.put_opts(key, body, PutMode::Overwrite.into()).await
    }

    /// Every fiftieth write, if it is data.
    fn forgets(&self, key: &Path) -> bool {
        let mut past = self.past.lock().unwrap();
        past.writes += 1;
        let data = ["segment/", "chunk/"].iter().any(|folder| key.as_ref().starts_with(folder));
        data && past.writes.is_multiple_of(50)
    }

    fn remember(&self, key: &str, body: Bytes) {
        let mut past = self.past.lock().unwrap();
        past.stamps.insert(key.to_owned(), Instant::now());
        if let Some(slot) = slot_of(key) {
            past.slots.entry(slot).or_insert((Instant::now(), body));
        } else if key.starts_with("segment/") {
            past.segments.entry(key.to_owned()).or_insert(body);
        }
    }

    pub(crate) fn objects(&self) -> &Arc<InMemory> {
        &self.objects
    }

    /// The first content of every slot.
    pub(crate) fn slots(&self) -> BTreeMap<u64, Bytes> {
        let past = self.past.lock().unwrap();
        past.slots.iter().map(|(slot, (_, body))| (*slot, body.clone())).collect()
    }

    /// The last slot that was ever filled; 0: none.
    pub(crate) fn last_slot(&self) -> u64 {
        self.past.lock().unwrap().slots.last_key_value().map_or(0, |(slot, _)| *slot)
    }

    /// The first content of a slot.
    pub(crate) fn slot(&self, slot: u64) -> Option<Bytes> {
        self.past.lock().unwrap().slots.get(&slot).map(|(_, body)| body.clone())
    }

    /// How long after the beginning a slot was first filled.
    pub(crate) fn filled_ms(&self, slot: u64) -> Option<u64> {
        let filled = self.past.lock().unwrap().slots.get(&slot).map(|(at, _)| *at)?;
        Some((filled - self.begun).as_millis() as u64)
    }

    /// The first content of a segment, also of one that is gone.
    pub(crate) fn segment(&self, key: &str) -> Option<Bytes> {
        self.past.lock().unwrap().segments.get(key).cloned()
    }

    /// When an object was last written, by the store's own clock.
    pub(crate) fn stamp(&self, key: &str) -> Option<Instant> {
        self.past.lock().unwrap().stamps.get(key).copied()
    }

    /// With the store's own stamp.
    pub(crate) fn stamped(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(stamp) = self.stamp(meta.location.as_ref()) {
            meta.last_modified = Default::default();
            meta.last_modified += EPOCH + (stamp - self.begun);
        }
        meta
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Bytes> {
        self.objects.get_opts(&Path::from(key), GetOptions::default()).await.ok()?.bytes().await.ok()
    }

    pub(crate) fn was_deleted(&self, key: &str) -> bool {
        self.past.lock().unwrap().deleted.contains(key)
    }

    pub(crate) async fn put_new(&self, key: &str, body: Bytes) -> bool {
        self.put(&Path::from(key), body.into(), PutMode::Create.into()).await.is_ok()
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.past.lock().unwrap().deleted.insert(key.to_owned());
        // Deleting what is not there is fine.
        let _ = self.objects.delete(&Path::from(key)).await;
    }

    /// Keys below a folder, in order.
    pub(crate) async fn keys(&self, folder: &str) -> Vec<String> {
        let found: Vec<_> = self.objects.list(Some(&Path::from(folder))).try_collect().await.unwrap();
        let mut keys: Vec<_> = found.into_iter().map(|meta| meta.location.to_string()).collect();
        keys.sort();
        keys
    }
}

pub(crate) fn slot_of(key: &str) -> Option<u64> {
    key.strip_prefix("journal/")?.parse().ok()
}

pub(crate) fn exists(key: &Path) -> object_store::Error {
    object_store::Error::AlreadyExists { path: key.to_string(), source: "412".into() }
}
