//! The bucket: from a URL to an object store, with metering and bounded retries.
//!
//! Must not know what the objects mean. Everything is retried here, with jitter and an end, except
//! [`Store::create_once`] and [`Store::get_once`]: the journal decides for itself what an unclear answer means.

mod list;
mod open;
mod upload;

pub use list::Listing;
pub use upload::Upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
};
use tokio::time::Instant;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::limits::{DAMAGED_ATTEMPTS, STORE_ATTEMPTS, STORE_REQUEST, STORE_RETRY};
use crate::metrics;
use crate::rope::Rope;

/// Who runs the store; decides what a request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3 or a store that speaks its API.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// A folder on this machine, written with fsync.
    File,
    /// Nothing outlives the process.
    Memory,
}

/// Kinds of requests, as the metrics and the price list know them.
#[derive(Debug, Clone, Copy)]
enum Request {
    Put,
    Get,
    List,
    Delete,
}

impl Request {
    fn name(self) -> &'static str {
        match self {
            Request::Put => "put",
            Request::Get => "get",
            Request::List => "list",
            Request::Delete => "delete",
        }
    }

    /// List price in dollars: S3 Standard, us-east-1 (2026); the other clouds' are within a factor of two.
    fn price(self, provider: Provider) -> f64 {
        match (provider, self) {
            (Provider::File | Provider::Memory, _) | (_, Request::Delete) => 0.0,
            (_, Request::Put | Request::List) => 5.0e-6,
            (_, Request::Get) => 0.4e-6,
        }
    }
}

/// How a put-if-absent ended when it did not win.
#[derive(Debug)]
pub enum NotCreated {
    /// Something is there; whose it is, only a GET tells.
    Exists,
    /// It may have been written, it may still be.
    Unclear(Error),
}

/// An object of the store as a listing shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The key below the cluster's prefix.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, by the store's own clock: milliseconds since the Unix epoch, often in whole seconds.
    pub stamp_ms: i64,
    /// The store's mark for this content, if it has one: another content has another one.
    pub tag: Option<String>,
}

/// A prefix in a bucket. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    provider: Provider,
    url: String,
    location: String,
    env: Env,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.url).finish()
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

impl Store {
    /// Opens `s3://bucket/prefix`, `gs://`, `az://`, `file:///dir` (or `file:dir`) or `memory:`.
    ///
    /// Credentials and endpoints come from the standard environment variables of each cloud (`AWS_ACCESS_KEY_ID`,
    /// `AWS_ENDPOINT_URL`, ...). No request is made. A URL that cannot work gives [`Error::Invalid`].
    pub fn open(url: &str, env: Env) -> Result<Store> {
        let (objects, prefix, provider, location) = open::open(url)?;
        let url = open::without_secrets(url);
        Ok(Store(Arc::new(Inner { objects, prefix, provider, url, location, env })))
    }

    /// Takes an object store that is already there: tests, the simulation, an application's own client. `url` is how others
    /// reach its prefix.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        prefix: Path,
        provider: Provider,
        url: &str,
        env: Env,
    ) -> Store {
        let url = open::without_secrets(url);
        let location = url.trim_end_matches('/').to_owned();
        Store(Arc::new(Inner { objects, prefix, provider, url, location, env }))
    }

    /// The absolute URL of an object, as other programs name it: `s3://bucket/prefix/key`, `file:///folder/key`.
    pub fn location(&self, key: &str) -> String {
        format!("{}/{key}", self.0.location)
    }

    /// The key of such a URL; `None` if it does not lie below this store's prefix.
    pub fn key_of<'a>(&self, location: &'a str) -> Option<&'a str> {
        location.strip_prefix(&self.0.location)?.strip_prefix('/')
    }

    /// Who runs the store.
    pub fn provider(&self) -> Provider {
        self.0.provider
    }

    /// Whether each request costs money, which is when flushes are paced.
    pub fn charges(&self) -> bool {
        !matches!(self.0.provider, Provider::File | Provider::Memory)
    }

    /// The clock and the dice of this store's users.
    pub fn env(&self) -> &Env {
        &self.0.env
    }

    /// The whole object. [`Error::NotFound`] if it is not there.
    pub async fn get(&self, key: &str) -> Result<Rope> {
        self.retrying("read", key, || self.read(key, None)).await
    }

    /// What `decode` makes of the whole object; see [`Store::get_whole`].
    pub async fn get_as<T>(&self, key: &str, decode: impl Fn(&Rope) -> Result<T>) -> Result<T> {
        self.get_whole(key, || self.get(key), decode).await?.1
    }

    /// The object and what `decode` makes of it. Bits change on the way, too: what cannot be decoded is read again, and is
    /// believed only when [`DAMAGED_ATTEMPTS`] reads gave the same bytes. Until then it may pass.
    pub async fn get_whole<T, F: Future<Output = Result<Rope>>>(
        &self,
        key: &str,
        read: impl Fn() -> F,
        decode: impl Fn(&Rope) -> Result<T>,
    ) -> Result<(Rope, Result<T>)> {
        let first = read().await?;
        let mut decoded = decode(&first);
        for _ in 1..DAMAGED_ATTEMPTS {
            if !matches!(decoded, Err(Error::Corrupt { .. } | Error::Unsupported(_))) {
                break;
            }
            tracing::warn!(key, "an object cannot be decoded, reading it again");
            tokio::time::sleep(STORE_RETRY.0).await;
            let again = read().await?;
            decoded = decode(&again);
            if decoded.is_ok() {
                return Ok((again, decoded));
            }
            if again != first {
                let source = "two reads gave different bytes".into();
                return Err(unavailable("read", key, object_store::Error::Generic { store: "read", source }));
            }
        }
        Ok((first, decoded))
    }

    /// Some bytes of an object; fewer if it ends before the range does.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Rope> {
        self.retrying("read", key, || self.read(key, Some(range.clone()))).await
    }

    /// The whole object, in one attempt of at most `limit`.
    pub async fn get_once(&self, key: &str, limit: Duration) -> Result<Rope> {
        self.bounded("read", key, limit, self.read(key, None)).await
    }

    /// Writes an object, over whatever was there.
    pub async fn put(&self, key: &str, body: &Rope) -> Result<()> {
        self.retrying("write", key, || self.write(key, body, PutMode::Overwrite)).await
    }

    /// Puts if absent, with retries. `false`: something is there; after a retry it may be our own.
    pub async fn create(&self, key: &str, body: &Rope) -> Result<bool> {
        let write = || async {
            match self.write(key, body, PutMode::Create).await {
                Ok(()) => Ok(true),
                Err(Failure::Exists) => Ok(false),
                Err(failure) => Err(failure),
            }
        };
        self.retrying("write", key, write).await
    }

    /// Puts if absent, in one attempt of at most `limit`.
    pub async fn create_once(&self, key: &str, body: &Rope, limit: Duration) -> Result<(), NotCreated> {
        match tokio::time::timeout(limit, self.write(key, body, PutMode::Create)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Exists)) => Err(NotCreated::Exists),
            Ok(Err(failure)) => Err(NotCreated::Unclear(failure.into_error())),
            Err(_) => Err(NotCreated::Unclear(Error::Unknown(
                format!("no answer within {limit:?} to writing {key}").into(),
            ))),
        }
    }

    /// Removes an object; one that is not there is fine.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let delete = || async {
            let begun = self.begin(Request::Delete, key);
            match self.done(begun, self.0.objects.delete(&self.path(key)).await, "delete", key) {
                Err(Failure::Missing(_)) => Ok(()),
                other => other,
            }
        };
        self.retrying("delete", key, delete).await
    }

    fn path(&self, key: &str) -> Path {
        self.0.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Rope, Failure> {
        let begun = self.begin(Request::Get, key);
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let read = async {
            let found = self.0.objects.get_opts(&self.path(key), options).await?;
            match found.payload {
                // A file's stream comes in small pieces; one read of it all is quicker.
                GetResultPayload::File(..) => Ok(Rope::from(found.bytes().await?)),
                GetResultPayload::Stream(pieces) => Ok(Rope::new(pieces.try_collect::<Vec<_>>().await?)),
            }
        };
        let result = read.await;
        if let Ok(rope) = &result {
            metrics::BYTES.with_label_values(&["in"]).inc_by(rope.len() as u64);
        }
        self.done(begun, result, "read", key)
    }

    async fn write(&self, key: &str, body: &Rope, mode: PutMode) -> Result<(), Failure> {
        let begun = self.begin(Request::Put, key);
        metrics::BYTES.with_label_values(&["out"]).inc_by(body.len() as u64);
        let payload: PutPayload = body.pieces().iter().cloned().collect();
        let result = self.0.objects.put_opts(&self.path(key), payload, mode.into()).await;
        self.done(begun, result.map(drop), "write", key)
    }

    fn begin(&self, request: Request, key: &str) -> (Request, Instant) {
        let object = key.split('/').next().unwrap_or_default();
        let price = request.price(self.0.provider);
        metrics::REQUESTS.with_label_values(&[request.name(), object]).inc();
        metrics::COST.with_label_values(&[request.name()]).inc_by(price);
        metrics::COST_TOTAL.inc_by(price);
        (request, Instant::now())
    }

    fn done<T>(
        &self,
        (request, begun): (Request, Instant),
        result: object_store::Result<T>,
        action: &'static str,
        key: &str,
    ) -> Result<T, Failure> {
        metrics::REQUEST_SECONDS.with_label_values(&[request.name()]).observe(begun.elapsed().as_secs_f64());
        result.map_err(|error| {
            let failure = Failure::from(error, action, key);
            metrics::REQUEST_ERRORS.with_label_values(&[request.name(), failure.name()]).inc();
            failure
        })
    }

    async fn bounded<T>(
        &self,
        action: &'static str,
        key: &str,
        limit: Duration,
        attempt: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T> {
        match tokio::time::timeout(limit, attempt).await {
            Ok(result) => result.map_err(Failure::into_error),
            Err(elapsed) => Err(no_answer(action, key, elapsed)),
        }
    }

    async fn retrying<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        action: &'static str,
        key: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T> {
        let mut longest = STORE_RETRY.0;
        let mut tried = 1;
        loop {
            let error = match tokio::time::timeout(STORE_REQUEST * 2, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failure)) if !failure.may_pass() || tried >= STORE_ATTEMPTS => {
                    return Err(failure.into_error());
                }
                Ok(Err(failure)) => failure.into_error().to_string(),
                Err(elapsed) if tried >= STORE_ATTEMPTS => return Err(no_answer(action, key, elapsed)),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::debug!(tried, error, "the store failed, trying again");
            tokio::time::sleep(longest / 2 + self.0.env.jitter(longest / 2)).await;
            longest = (longest * 2).min(STORE_RETRY.1);
            tried += 1;
        }
    }
}

/// What one attempt came to.
#[derive(Debug)]
enum Failure {
    Missing(String),
    Exists,
    Final(Error),
    Passing(Error),
}

impl Failure {
    fn from(error: object_store::Error, action: &'static str, key: &str) -> Failure {
        use object_store::Error as E;
        match error {
            E::NotFound { .. } => Failure::Missing(key.to_owned()),
            E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => Failure::Exists,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
                Failure::Final(Error::Denied { action, key: key.to_owned(), source: Arc::new(error) })
            }
            E::NotImplemented { .. } | E::NotSupported { .. } => {
                Failure::Final(Error::Unsupported(format!("the store cannot {action} {key}: {error}").into()))
            }
            E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => {
                Failure::Final(Error::Invalid(format!("cannot {action} {key}: {error}").into()))
            }
            other => Failure::Passing(unavailable(action, key, other)),
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Failure::Passing(_))
    }

    fn name(&self) -> &'static str {
        match self {
            Failure::Missing(_) => "not_found",
            Failure::Exists => "exists",
            Failure::Final(Error::Denied { .. }) => "denied",
            Failure::Final(_) => "refused",
            Failure::Passing(_) => "unavailable",
        }
    }

    fn into_error(self) -> Error {
        match self {
            Failure::Missing(key) => Error::NotFound(key),
            Failure::Exists => Error::Unknown("something is there already".into()),
            Failure::Final(error) | Failure::Passing(error) => error,
        }
    }
}

/// After a write it is not known whether it took effect; anything else may simply be asked again.
fn no_answer(action: &'static str, key: &str, elapsed: tokio::time::error::Elapsed) -> Error {
    match action {
        "write" | "delete" => {
            Error::Unknown(format!("the store gave no answer in time: {action} {key}").into())
        }
        _ => unavailable(
            action,
            key,
            object_store::Error::Generic { store: "timeout", source: elapsed.into() },
        ),
    }
}

fn unavailable(action: &'static str, key: &str, error: object_store::Error) -> Error {
    Error::Unavailable { action, key: key.to_owned(), source: Arc::new(error) }
}

#[cfg(test)]
mod tests;
