//! Tests of Strandline from the outside, and the one thing that they share: a store that is watched.
//!
//! - `conformance/`: what must hold on every store, as library functions called once a store
//! - `invariants/`: what ingest and the reader promise, seen from the store: order of writes, money, memory
//! - `tidy.rs`: the rules of the house: layout, sizes, headers
//! - `sim.rs`: the share of the simulation (`sim/`) in every run; `model/` and `fuzz/` test themselves
//! - `clients/`, `faults/`: real Kafka clients and kills, in Python, started by `tests/run`
//! - `bench/`: figures that anyone can measure again
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use strandline_core::env::Env;
use strandline_core::store::{Provider, Store};
use tokio::sync::watch;

/// An in-memory store that counts requests, can hold some of them back, and can be damaged.
#[derive(Debug, Clone)]
pub struct Watched {
    inner: Arc<InMemory>,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Requests whose `<method> <folder>` starts with this wait.
    held: watch::Sender<String>,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

impl Default for Watched {
    fn default() -> Watched {
        Watched {
            inner: Arc::default(),
            counts: Arc::default(),
            held: watch::Sender::new("nothing".to_owned()),
        }
    }
}

impl Watched {
    /// This store as the log sees it; flushes are paced as on a store that charges.
    pub fn store(&self) -> Store {
        Store::new(Arc::new(self.clone()), Path::default(), Provider::S3, "s3://watched", Env::system())
    }

    /// Requests so far whose `<method> <folder>` starts with `what`, such as `put journal`, `get` or the empty string.
    pub fn count(&self, what: &str) -> usize {
        self.counts.lock().unwrap().iter().filter(|(name, _)| name.starts_with(what)).map(|(_, n)| n).sum()
    }

    /// From now on, requests like `put segment` wait.
    pub fn hold(&self, what: &str) {
        self.held.send_replace(what.to_owned());
    }

    /// Whatever waits goes on.
    pub fn release(&self) {
        self.hold("nothing");
    }

    /// Keys that start with `folder/`.
    pub async fn keys(&self, folder: &str) -> Vec<String> {
        self.sizes(folder).await.into_keys().collect()
    }

    /// Bytes of each object whose key starts with `folder/`.
    pub async fn sizes(&self, folder: &str) -> BTreeMap<String, u64> {
        let found = self.inner.list(Some(&Path::from(folder)));
        found.map_ok(|meta| (meta.location.to_string(), meta.size)).try_collect().await.unwrap()
    }

    /// Changes the bytes of an object behind everybody's back.
    pub async fn damage(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = Path::from(key);
        let mut bytes = self.inner.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        change(&mut bytes);
        self.inner.put(&path, bytes.into()).await.unwrap();
    }

    /// Takes an object away behind everybody's back.
    pub async fn remove(&self, key: &str) {
        self.inner.delete(&Path::from(key)).await.unwrap();
    }

    async fn pass(&self, method: &str, path: &Path) {
        let what = format!(
            "{method} {}",
            path.parts().next().map(|part| part.as_ref().to_owned()).unwrap_or_default()
        );
        *self.counts.lock().unwrap().entry(what.clone()).or_default() += 1;
        let mut held = self.held.subscribe();
        held.wait_for(|held| !what.starts_with(held.as_str())).await.unwrap();
    }
}

#[async_trait::async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.pass("put", location).await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass("get", location).await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        *self.counts.lock().unwrap().entry("list".to_owned()).or_default() += 1;
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
