//! A bucket in memory as a cloud's: its stamps follow tokio's clock in whole seconds, the same body has the same mark, and
//! requests are counted. It can stop answering.
//!
//! Must not know nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use strandline_core::env::Env;
use strandline_core::store::{Provider, Store};
use tokio::time::Instant;

use crate::hash::fnv1a;

#[derive(Debug, Clone)]
pub(super) struct Bucket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    objects: InMemory,
    begun: Instant,
    /// When each object was written, and its mark.
    written: Mutex<BTreeMap<Path, (Duration, String)>>,
    /// The machine's time, once.
    epoch: Mutex<Option<ObjectMeta>>,
    requests: Mutex<BTreeMap<&'static str, usize>>,
    down: AtomicBool,
}

impl Bucket {
    pub(super) fn new() -> Bucket {
        Bucket(Arc::new(Inner {
            objects: InMemory::new(),
            begun: Instant::now(),
            written: Mutex::default(),
            epoch: Mutex::default(),
            requests: Mutex::default(),
            down: AtomicBool::new(false),
        }))
    }

    pub(super) fn store(&self) -> Store {
        Store::new(Arc::new(self.clone()), Path::default(), Provider::Memory, "memory:", Env::system())
    }

    /// PUTs, GETs, LISTs and DELETEs since the last call.
    pub(super) fn requests(&self) -> [usize; 4] {
        let counts = std::mem::take(&mut *self.0.requests.lock().unwrap());
        ["put", "get", "list", "delete"].map(|kind| counts.get(kind).copied().unwrap_or(0))
    }

    pub(super) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::Relaxed);
    }

    async fn request(&self, kind: &'static str) {
        *self.0.requests.lock().unwrap().entry(kind).or_default() += 1;
        if self.0.down.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    fn stamped(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let epoch = self.0.epoch.lock().unwrap().get_or_insert_with(|| meta.clone()).last_modified;
        if let Some((at, tag)) = self.0.written.lock().unwrap().get(&meta.location) {
            meta.last_modified = epoch + *at;
            meta.e_tag = Some(tag.clone());
        }
        meta
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, key: &Path, body: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.request("put").await;
        let at = Duration::from_secs(self.0.begun.elapsed().as_secs());
        let tag = format!("{:x}", fnv1a(&body.iter().map(|part| &part[..]).collect::<Vec<_>>()));
        self.0.written.lock().unwrap().insert(key.clone(), (at, tag));
        self.0.objects.put_opts(key, body, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.request("get").await;
        self.0.objects.get_opts(key, options).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (bucket, prefix) = (self.clone(), prefix.cloned());
        let page = async move {
            bucket.request("list").await;
            let found: Vec<_> = bucket.0.objects.list(prefix.as_ref()).collect().await;
            stream::iter(found).map_ok(move |meta| bucket.stamped(meta))
        };
        stream::once(page).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.objects.list_with_delimiter(prefix).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let bucket = self.clone();
        stream::once(async move {
            bucket.request("delete").await;
            bucket.0.objects.delete_stream(keys)
        })
        .flatten()
        .boxed()
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".into(), implementer: "Bucket".into() })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.objects.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bucket")
    }
}
