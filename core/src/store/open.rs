//! From a URL to an object store of the right kind.
//!
//! Must not know what is kept there. The client underneath never retries: retries are counted in one place only,
//! and the journal has its own rules. Secrets in a URL never reach a message.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use url::Url;

use super::Provider;
use crate::error::{Error, Result};
use crate::limits::STORE_REQUEST;

/// The store, the prefix in it, who runs it, and the prefix as an absolute URL.
type Opened = (Arc<dyn ObjectStore>, Path, Provider, String);

pub(super) fn open(url: &str) -> Result<Opened> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| bad(url, "it has no scheme"))?;
    match scheme {
        "memory" => {
            let prefix = prefix(url, rest.trim_start_matches('/'))?;
            let location = below("memory:/", &prefix);
            Ok((Arc::new(InMemory::new()), prefix, Provider::Memory, location))
        }
        "file" => open_file(url, rest.strip_prefix("//").unwrap_or(rest)),
        "s3" | "s3a" => open_cloud(url, Provider::S3),
        "gs" => open_cloud(url, Provider::Gcs),
        "az" | "abfs" | "abfss" => open_cloud(url, Provider::Azure),
        _ => Err(bad(url, "its scheme is none of s3, gs, az, file, memory")),
    }
}

fn open_file(url: &str, folder: &str) -> Result<Opened> {
    if folder.is_empty() {
        return Err(bad(url, "it names no folder"));
    }
    let folder = PathBuf::from(folder);
    let fail = |e: &dyn std::fmt::Display| {
        Error::Invalid(format!("cannot use the folder {}: {e}", folder.display()).into())
    };
    std::fs::create_dir_all(&folder).map_err(|e| fail(&e))?;
    let store = LocalFileSystem::new_with_prefix(&folder).map_err(|e| fail(&e))?.with_fsync(true);
    let whole = folder.canonicalize().map_err(|e| fail(&e))?;
    // As it is: readers of such URLs take the rest for a path and do not decode it.
    let location = format!("file://{}", whole.display());
    Ok((Arc::new(store), Path::default(), Provider::File, location))
}

fn open_cloud(url: &str, provider: Provider) -> Result<Opened> {
    // Parsing would silently make another folder of it.
    if url.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(bad(url, "it has . or .. in its path"));
    }
    let parsed = Url::parse(url).map_err(|e| bad(url, &e.to_string()))?;
    let bucket =
        parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad(url, "it names no bucket"))?;
    let prefix = prefix(url, parsed.path().trim_matches('/'))?;
    // In Hadoop's form, `abfss://container@account.dfs.core.windows.net`, the user is the container.
    let container = match parsed.scheme() {
        "abfs" | "abfss" if !parsed.username().is_empty() => format!("{}@", parsed.username()),
        _ => String::new(),
    };
    let root = format!("{}://{container}{bucket}/", parsed.scheme());
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: STORE_REQUEST };
    let timeout = format!("{} seconds", STORE_REQUEST.as_secs());
    let store: Result<Arc<dyn ObjectStore>, object_store::Error> = match provider {
        Provider::Gcs => GoogleCloudStorageBuilder::from_env()
            .with_url(root)
            .with_retry(retry)
            .build()
            .map(|s| Arc::new(s) as _),
        Provider::Azure => MicrosoftAzureBuilder::from_env()
            .with_url(root)
            .with_retry(retry)
            .build()
            .map(|s| Arc::new(s) as _),
        _ => {
            let mut builder = AmazonS3Builder::from_env()
                .with_url(root)
                .with_retry(retry)
                // Every object carries its own CRC32C; hashing the body again would cost more than all the rest of a PUT.
                .with_unsigned_payload(true)
                .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), timeout)
                .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout), "5 seconds");
            if loopback_endpoint() {
                builder = builder.with_allow_http(true);
            }
            builder.build().map(|s| Arc::new(s) as _)
        }
    };
    // One prefix has one location, however it is spelled.
    let root = format!("{}://{container}{bucket}/", parsed.scheme().replace("s3a", "s3"));
    let location = below(&root, &prefix);
    Ok((store.map_err(|e| bad(url, &e.to_string()))?, prefix, provider, location))
}

fn below(root: &str, prefix: &Path) -> String {
    format!("{root}{prefix}").trim_end_matches('/').to_owned()
}

/// Plain HTTP leaves this machine only when the user says so (`AWS_ALLOW_HTTP`).
fn loopback_endpoint() -> bool {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .any(|endpoint| {
            let Ok(url) = Url::parse(&endpoint) else { return false };
            let Some(host) = url.host_str() else { return false };
            let address = host.trim_matches(|c| c == '[' || c == ']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
        })
}

fn prefix(url: &str, path: &str) -> Result<Path> {
    // The library's own words hold the whole path, and with it what stands where no query is known of.
    Path::parse(path).map_err(|e| match e {
        object_store::path::Error::EmptySegment { .. } => bad(url, "it has nothing between two slashes"),
        _ => bad(url, "it has a character in its path that keys cannot have"),
    })
}

fn bad(url: &str, why: &str) -> Error {
    Error::Invalid(
        format!(
            "cannot use the store URL {}: {why}; write s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, file:///folder or memory:",
            without_secrets(url)
        )
        .into(),
    )
}

/// The URL with user, password and query left out.
pub(super) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once(':').map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
    if scheme == Some("file") {
        return url.to_owned();
    }
    // A secret may hold any character, also '/', '?' and '#': what lies before an '@' is told to nobody, unless the
    // bucket's name ended before it.
    let slashes = if rest.starts_with("//") { "//" } else { "" };
    let rest = rest.trim_start_matches('/');
    let bucket = rest.split('/').next().unwrap_or_default();
    let shown = match rest.rsplit_once('@') {
        // What lies after the '@' may be the end of a query.
        Some((before, _)) if bucket.contains(['@', ':', '?', '#']) && before.contains(['?', '#']) => "",
        Some((_, after)) if bucket.contains(['@', ':']) => after,
        _ => rest,
    };
    let colon = if scheme.is_some() { ":" } else { "" };
    let scheme = scheme.unwrap_or_default();
    format!("{scheme}{colon}{slashes}{}", shown.split(['?', '#']).next().unwrap_or_default())
}
