//! A bucket with stamps of the test's own time, and ways to it that can be held, cut or made to fail.
//!
//! Never part of a program. Must not know what is tested.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use strandline_core::env::{Clock, Env};
use strandline_core::store::{Provider, Store};
use tokio::sync::watch;
use tokio::time::Instant;

/// 2026-01-01, when every test begins.
pub(crate) const EPOCH_MS: i64 = 1_767_225_600_000;

/// What several processes share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    objects: Arc<InMemory>,
    stamps_ms: Arc<Mutex<BTreeMap<String, i64>>>,
    begun: Instant,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk { objects: Arc::default(), stamps_ms: Arc::default(), begun: Instant::now() }
    }

    /// The same content, for another course of things.
    pub(crate) fn fork(&self) -> Disk {
        let stamps_ms = self.stamps_ms.lock().unwrap().clone();
        let objects = Arc::new(self.objects.fork());
        Disk { objects, stamps_ms: Arc::new(Mutex::new(stamps_ms)), begun: self.begun }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        EPOCH_MS + self.begun.elapsed().as_millis() as i64
    }

    /// A way that nothing befalls.
    pub(crate) fn store(&self, seed: u64) -> Store {
        self.way(seed).1
    }

    pub(crate) fn way(&self, seed: u64) -> (Way, Store) {
        let course = Course {
            asked: AtomicU64::new(0),
            trap: Mutex::default(),
            open: watch::Sender::new(true),
            sprung: watch::Sender::new(false),
            refused_per_mille: AtomicU64::new(0),
            most_ms: AtomicU64::new(1),
            dice: Mutex::new(Rng::with_seed(seed)),
            log: Mutex::default(),
        };
        let way = Way { disk: self.clone(), course: Arc::new(course) };
        let store = way.store_at("memory:", !seed);
        (way, store)
    }

    pub(crate) async fn keys(&self, folder: &str) -> BTreeSet<String> {
        let prefix = (!folder.is_empty()).then(|| Path::from(folder));
        self.objects
            .list(prefix.as_ref())
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await
            .unwrap()
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Bytes> {
        match self.objects.get(&Path::from(key)).await {
            Ok(found) => Some(found.bytes().await.unwrap()),
            Err(_) => None,
        }
    }

    pub(crate) async fn put(&self, key: &str, body: impl Into<Bytes>) {
        let body: Bytes = body.into();
        self.objects.put(&Path::from(key), body.into()).await.unwrap();
        self.stamps_ms.lock().unwrap().insert(key.to_owned(), self.now_ms());
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.objects.delete(&Path::from(key)).await.unwrap();
    }

    pub(crate) fn stamp_ms(&self, key: &str) -> i64 {
        *self.stamps_ms.lock().unwrap().entry(key.to_owned()).or_insert_with(|| self.now_ms())
    }
}

/// Follows the disk's time.
#[derive(Debug)]
struct TestClock {
    disk: Disk,
    dice: Mutex<Rng>,
}

impl Clock for TestClock {
    fn wall_ms(&self) -> i64 {
        self.disk.now_ms()
    }

    fn boot_ms(&self) -> u64 {
        self.disk.begun.elapsed().as_millis() as u64
    }

    fn entropy(&self) -> u128 {
        self.dice.lock().unwrap().u128(..)
    }
}

/// What happens at the request with this number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    pub(crate) at: u64,
    /// The bucket has heard of it.
    pub(crate) applied: bool,
}

/// One process' way to a disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    disk: Disk,
    course: Arc<Course>,
}

#[derive(Debug)]
struct Course {
    asked: AtomicU64,
    trap: Mutex<Option<Trap>>,
    /// `false`: requests wait.
    open: watch::Sender<bool>,
    sprung: watch::Sender<bool>,
    refused_per_mille: AtomicU64,
    most_ms: AtomicU64,
    dice: Mutex<Rng>,
    log: Mutex<Vec<String>>,
}

impl Way {
    /// The same bucket under another URL.
    pub(crate) fn store_at(&self, url: &str, seed: u64) -> Store {
        let clock = TestClock { disk: self.disk.clone(), dice: Mutex::new(Rng::with_seed(seed)) };
        Store::new(Arc::new(self.clone()), Path::default(), Provider::Memory, url, Env::new(clock))
    }

    /// From now on requests count from 0. At the trap's the way closes.
    pub(crate) fn set_trap(&self, trap: Trap) {
        self.course.asked.store(0, Ordering::Relaxed);
        *self.course.trap.lock().unwrap() = Some(trap);
    }

    /// Waits until the trap has closed the way.
    pub(crate) async fn sprung(&self) {
        self.course.sprung.subscribe().wait_for(|sprung| *sprung).await.unwrap();
    }

    pub(crate) fn reopen(&self) {
        self.course.open.send_replace(true);
    }

    /// So many of a thousand requests fail, some of them after they were done; and it takes its time.
    pub(crate) fn set_faults(&self, per_mille: u64, most_ms: u64) {
        self.course.refused_per_mille.store(per_mille, Ordering::Relaxed);
        self.course.most_ms.store(most_ms, Ordering::Relaxed);
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.course.log.lock().unwrap())
    }

    /// Does something, unless or until something befalls it.
    async fn pass<T>(&self, kind: &str, key: &str, act: impl Future<Output = Result<T>>) -> Result<T> {
        self.course.log.lock().unwrap().push(format!("{kind} {key}"));
        self.arrive().await;
        let asked = self.course.asked.fetch_add(1, Ordering::Relaxed);
        let trap = *self.course.trap.lock().unwrap();
        if let Some(trap) = trap.filter(|trap| trap.at == asked) {
            self.course.open.send_replace(false);
            let done = if trap.applied { Some(act.await) } else { None };
            self.course.sprung.send_replace(true);
            self.arrive().await;
            return done.unwrap_or_else(|| Err(failed("it never came there")));
        }
        let (fails, applied, ms) = {
            let mut dice = self.course.dice.lock().unwrap();
            let fails = dice.u64(..1_000) < self.course.refused_per_mille.load(Ordering::Relaxed);
            (fails, dice.bool(), dice.u64(0..=self.course.most_ms.load(Ordering::Relaxed)))
        };
        tokio::time::sleep(Duration::from_millis(ms)).await;
        match (fails, applied) {
            (false, _) => act.await,
            (true, false) => Err(failed("503, not done")),
            (true, true) => act.await.and(Err(failed("reset, done"))),
        }
    }

    async fn arrive(&self) {
        self.course.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    fn listed(&self, prefix: Option<&Path>, behind: Option<Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (way, prefix) = (self.clone(), prefix.cloned());
        let listing = async move {
            let key = prefix.as_ref().map_or("", |prefix| prefix.as_ref());
            let found = match &behind {
                Some(behind) => way.disk.objects.list_with_offset(prefix.as_ref(), behind),
                None => way.disk.objects.list(prefix.as_ref()),
            };
            let found: Vec<_> = way.pass("list", key, found.try_collect()).await?;
            let stamped = move |mut meta: ObjectMeta| {
                // Stores give whole seconds.
                let secs = way.disk.stamp_ms(meta.location.as_ref()) as u64 / 1_000;
                meta.last_modified = (std::time::UNIX_EPOCH + Duration::from_secs(secs)).into();
                Ok::<_, Error>(meta)
            };
            Ok::<_, Error>(stream::iter(found.into_iter().map(stamped)))
        };
        stream::once(listing).try_flatten().boxed()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Way {
    async fn put_opts(&self, key: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        let act = async {
            let put = self.disk.objects.put_opts(key, body, options).await?;
            self.disk.stamps_ms.lock().unwrap().insert(key.to_string(), self.disk.now_ms());
            Ok(put)
        };
        self.pass("put", key.as_ref(), act).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.disk.objects.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass("get", key.as_ref(), self.disk.objects.get_opts(key, options)).await
    }

    async fn get_ranges(&self, key: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.pass("get", key.as_ref(), self.disk.objects.get_ranges(key, ranges)).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let way = self.clone();
        let delete = move |key: Result<Path>| {
            let way = way.clone();
            async move {
                let key = key?;
                way.pass("delete", key.as_ref(), way.disk.objects.delete(&key)).await?;
                Ok(key)
            }
        };
        keys.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, Some(offset.clone()))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let key = prefix.map_or("", |prefix| prefix.as_ref()).to_owned();
        self.pass("list", &key, self.disk.objects.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.disk.objects.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.disk.objects.rename_opts(from, to, options).await
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Way")
    }
}

fn failed(why: &'static str) -> Error {
    Error::Generic { store: "way", source: why.into() }
}

/// Runs `one` for many seeds, each on a runtime of its own whose time stands still until nothing else is left to do.
pub(crate) fn for_seeds<F: Future<Output = ()>>(count: u64, one: impl Fn(u64) -> F) {
    let set = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seeds = match set("STRANDLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..set("STRANDLINE_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let run = || runtime.unwrap().block_on(one(seed));
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        if let Err(panic) = ran {
            eprintln!("failed with STRANDLINE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
