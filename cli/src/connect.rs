//! From a store URL to an open journal, with errors that say what to look at.
//!
//! Must not know commands. Whoever only reads never makes a cluster: a mistyped URL leaves no trace.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use strandline_core::env::Env;
use strandline_core::manifest::{Journal, journal};
use strandline_core::store::{Provider, Store};
use strandline_core::{Error, limits, paths};
use strandline_ingest as ingest;

use crate::output;

/// One attempt of the first request to a store, how many there are, and the pause between them.
const FIRST_REQUEST: Duration = Duration::from_secs(6);
const FIRST_REQUEST_ATTEMPTS: u32 = 3;
const FIRST_REQUEST_PAUSE: Duration = Duration::from_millis(300);

/// The store behind a URL. Nothing is asked of it.
pub(crate) fn store(url: &str) -> Result<Store> {
    Ok(Store::open(url, Env::system())?)
}

/// Opens the journal; makes the cluster if there is none.
pub(crate) async fn open(store: Store, options: journal::Options) -> Result<Journal> {
    has_cluster(&store).await?;
    let shown = store.to_string();
    Journal::open(store, options).await.with_context(|| format!("cannot open the log in {shown}"))
}

/// Opens the journal; `None` if nothing was ever written under this prefix.
pub(crate) async fn open_existing(url: &str) -> Result<Option<Journal>> {
    if missing_folder(url).is_some() {
        return Ok(None);
    }
    let store = store(url)?;
    if !has_cluster(&store).await? {
        return Ok(None);
    }
    // These commands read a topic once: keeping what goes by would help nobody.
    open(store, journal::Options { tail_bytes: 0, ..journal::Options::default() }).await.map(Some)
}

/// The folder behind a `file:` URL.
pub(crate) fn folder(url: &str) -> Option<PathBuf> {
    let folder = url.strip_prefix("file:")?;
    Some(PathBuf::from(folder.strip_prefix("//").unwrap_or(folder)))
}

/// The folder behind a `file:` URL, if it is not there. Anything else in its way is an error for the store to tell.
pub(crate) fn missing_folder(url: &str) -> Option<PathBuf> {
    let missing = |folder: &PathBuf| fs::metadata(folder).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    folder(url).filter(missing)
}

/// Whether the prefix holds a cluster. The first request of every command: it fails soon and says why.
pub(crate) async fn has_cluster(store: &Store) -> Result<bool> {
    let mut tried = 1;
    loop {
        match store.get_once(paths::CLUSTER, FIRST_REQUEST).await {
            Ok(_) => return Ok(true),
            Err(Error::NotFound(_)) => return bucket_is_there(store).await.map(|()| false),
            Err(error @ (Error::Unavailable { .. } | Error::Unknown(_)))
                if tried < FIRST_REQUEST_ATTEMPTS =>
            {
                let error = output::plain(&error.to_string());
                tracing::info!(error, tried, "the store does not answer, trying again");
                tokio::time::sleep(FIRST_REQUEST_PAUSE).await;
                tried += 1;
            }
            Err(error) => return Err(explain(store, error)),
        }
    }
}

/// A missing object and a missing bucket look the same to a read, but not to a listing.
async fn bucket_is_there(store: &Store) -> Result<()> {
    match store.list("journal", 1).await {
        Ok(_) => return Ok(()),
        Err(Error::NotFound(_)) => {}
        Err(Error::Unavailable { source, .. }) if source.to_string().contains("404 Not Found") => {}
        Err(error) => return Err(explain(store, error)),
    }
    bail!("the bucket of {store} does not exist: create it first, Strandline does not")
}

fn explain(store: &Store, error: Error) -> anyhow::Error {
    match error {
        Error::Unavailable { source, .. } => {
            let cause = root_cause(&*source);
            if cause.contains("URL scheme is not allowed") {
                return anyhow!(
                    "cannot reach the store {store}: its endpoint has no TLS; use https://, or set AWS_ALLOW_HTTP=true"
                );
            }
            let look_at = match has_no_credentials(store) {
                true => {
                    "no credentials are set: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then check the network"
                }
                false => "check the endpoint (AWS_ENDPOINT_URL), the region, the credentials and the network",
            };
            anyhow!("cannot reach the store {store}; {look_at}: {cause}")
        }
        Error::Denied { source, .. } => {
            let look_at = "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of your cloud) and their rights";
            anyhow!("{store} refused access; {look_at}: {}", root_cause(&*source))
        }
        other => anyhow::Error::new(other).context(format!("cannot use the store {store}")),
    }
}

/// On S3 without any, the client asks the machine it runs on, which answers only inside AWS.
fn has_no_credentials(store: &Store) -> bool {
    let sources = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    store.provider() == Provider::S3 && sources.iter().all(|name| std::env::var_os(name).is_none())
}

/// What lies at the bottom of a client library's chain of errors: the part that says something.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// How a command writes to a store: as a node does that nobody configured.
pub(crate) fn ingest_config(store: &Store) -> ingest::Config {
    ingest::Config { flush_interval: flush_interval(store), ..ingest::Config::default() }
}

/// Flushes are paced where each one costs money.
pub(crate) fn flush_interval(store: &Store) -> Duration {
    if store.charges() { limits::FLUSH_INTERVAL_DEFAULT } else { Duration::ZERO }
}

/// A store URL as it may be shown: nothing secret in it.
pub(crate) fn shown(url: &str) -> String {
    if folder(url).is_some() {
        return url.to_owned();
    }
    // Opening a cloud store asks nothing of it; its name leaves the secrets out.
    store(url).map_or_else(|_| "this store".to_owned(), |store| store.to_string())
}
