//! The versions of a table: which one is the newest, and how another one becomes it.
//!
//! Must not know what is in a table. **The commit is a put-if-absent of `v<N+1>.metadata.json`**: whoever wins it has written
//! version N+1, everybody else looks again. `version-hint.text` follows by plain overwrite, for readers alone: it may lag
//! behind, also go back when writers overtake each other, and no compare-and-swap is needed. Writers list the folder, whose
//! highest version is never deleted, and read on from there until there is no next one.

use std::ops::ControlFlow;

use bytes::Bytes;
use iceberg::spec::TableMetadata;
use strandline_core::rope::Rope;
use strandline_core::store::{Listed, Store};
use strandline_core::{Error, Result, paths};
use uuid::Uuid;

const HINT: &str = "version-hint.text";

/// The newest version of a table.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) version: u64,
    /// What the hint says, if it says anything.
    pub(super) hint: Option<u64>,
    /// None if it is damaged.
    pub(super) metadata: Option<TableMetadata>,
}

/// Finds it; `None`: there is no table.
pub(super) async fn newest(store: &Store, topic: Uuid) -> Result<Option<Newest>> {
    let Some(mut version) = highest(store, topic).await? else { return Ok(None) };
    let hint = read_hint(store, topic).await?;
    let gone = || Error::NotFound(paths::table_version(topic, version));
    let mut body = read(store, topic, version).await?.ok_or_else(gone)?;
    while let Some(next) = read(store, topic, version + 1).await? {
        (version, body) = (version + 1, next);
    }
    let metadata = match serde_json::from_slice(&body) {
        Ok(metadata) => Some(metadata),
        Err(error) => {
            tracing::warn!(key = paths::table_version(topic, version), %error, "the metadata of a table is damaged");
            None
        }
    };
    Ok(Some(Newest { version, hint, metadata }))
}

/// Makes `body` this version, unless there is one already: `false`.
pub(super) async fn commit(store: &Store, topic: Uuid, version: u64, body: Bytes) -> Result<bool> {
    let (key, body) = (paths::table_version(topic, version), Rope::from(body));
    // After an answer that was not clear, what is there may be our own.
    Ok(store.create(&key, &body).await? || store.get(&key).await? == body)
}

/// Tells readers of a version.
pub(super) async fn hint(store: &Store, topic: Uuid, version: u64) -> Result<()> {
    store.put(&paths::table_file(topic, HINT), &Rope::from(Bytes::from(version.to_string()))).await
}

/// Whether this is the name of the hint.
pub(super) fn is_hint(name: &str) -> bool {
    name == HINT
}

async fn read_hint(store: &Store, topic: Uuid) -> Result<Option<u64>> {
    let text = match store.get(&paths::table_file(topic, HINT)).await {
        Ok(text) => text.to_bytes(),
        Err(Error::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()))
}

async fn read(store: &Store, topic: Uuid, version: u64) -> Result<Option<Bytes>> {
    match store.get(&paths::table_version(topic, version)).await {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The highest version that there is, by looking at all files.
async fn highest(store: &Store, topic: Uuid) -> Result<Option<u64>> {
    let mut highest = None;
    let each = |found: Listed| {
        let version = paths::table_parts(&found.key).and_then(|(_, name)| paths::table_version_of(name));
        highest = highest.max(version);
        ControlFlow::Continue(())
    };
    store.list_each(&paths::table(topic), each).await?;
    Ok(highest)
}
