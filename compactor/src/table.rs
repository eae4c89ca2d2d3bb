//! Iceberg tables over the Parquet chunks of topics, one a topic, in the bucket itself: no catalog, no server.
//!
//! ```text
//! table/<topic id>/metadata/v<N>.metadata.json      version N of the table; whoever puts it first has committed it
//! table/<topic id>/metadata/version-hint.text       N or less, for readers
//! table/<topic id>/metadata/snap-<id>-<ulid>.avro   the manifests of a snapshot
//! table/<topic id>/metadata/<ulid>-m<n>.avro        a manifest: files, with their bounds
//! ```
//!
//! A table follows the log and is followed by nobody: the log never reads it. Must not know how chunks are made, nor when there
//! is time for a table. Invariants:
//!
//! - **The files of a snapshot are exactly the Parquet chunks that the manifest referred to in one slot**, which the snapshot
//!   names (`strandline.slot`). Of two publishers the one with the later slot stands: nobody goes back.
//! - **A version is committed by put-if-absent** (`version`); everything that it refers to was written before. What a publisher
//!   that died has left is referred to by nobody, and goes by its age.
//! - A snapshot stays for twelve hours of journal time after it was followed by another (`expiry`), and the sweep keeps every
//!   chunk that a snapshot refers to: **what a version shows can be read**.
//! - A table that is gone, damaged or was copied from elsewhere is written anew, as the next version: nothing in it is known
//!   here alone.
//!
//! Rows below a partition's first offset stay visible until their chunk goes as a whole.
//!
//! Modules import only modules listed after them:
//!
//! - `held`: what the versions of a table refer to, for the sweep
//! - `snapshot`: from the files of one state to those of another
//! - `metadata`: what a version says
//! - `version`: which version is the newest, and how another one becomes it
//! - `expiry`: which snapshots go
//! - `avro`: manifests and their lists, from and to bytes
//! - `facts`: what a table tells of a file
//! - `files`: the Parquet chunks of a state

mod held;
mod snapshot;
mod metadata;
mod version;
mod expiry;
mod avro;
mod facts;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use iceberg::spec::{DataFile, Snapshot, TableMetadata};
use strandline_core::manifest::Journal;
use strandline_core::rope::Rope;
use strandline_core::store::Store;
use strandline_core::{Error, Kind, Result, paths};
use tokio::time::Instant;
use uuid::Uuid;

use crate::metrics;
use avro::{Origin, Written};
use files::{Glance, State};
pub(crate) use held::Held;
use metadata::Base;
use snapshot::{Difference, Names};

/// Time that the tables of one pass may take: the log does not wait for them for long. What was read until then is kept.
const PUBLISH: Duration = Duration::from_secs(120);
/// Time between two snapshots of one table of this process.
const PUBLISH_EVERY: Duration = Duration::from_secs(30);
/// How long a publisher may be at one version: long before what it has written could be taken for left behind.
const VERSION: Duration = Duration::from_secs(3_600);
/// Versions that others may win before a publisher leaves the table to them.
const ATTEMPTS: usize = 8;
/// Objects that are written side by side.
const WRITES: usize = 8;

/// What came of a look at a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// The newest version shows it already.
    Unchanged,
    /// The newest version shows something later.
    Behind,
    /// It is a new version.
    Version(u64),
}

/// What a process knows of the tables: enough to ask the store for nothing while nothing happens.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Topics that have a table, as far as known; none: nobody has looked.
    known: Option<BTreeSet<Uuid>>,
    shown: BTreeMap<Uuid, Shown>,
    /// The last slot after which everything was shown.
    seen: u64,
    /// Of the tables that did not come to an end: what was read of files so far.
    read: BTreeMap<Uuid, BTreeMap<String, DataFile>>,
}

/// What the newest version of a table shows.
#[derive(Debug, Clone, Copy)]
struct Shown {
    mark: u64,
    at: Instant,
    /// The journal time at which a snapshot goes.
    expires_ms: Option<i64>,
}

impl Tables {
    /// Brings the tables of all topics to what is known of the log. What fails is tried again with the next call.
    pub(crate) async fn publish_all(&mut self, journal: &Journal) {
        let applied = journal.view(|manifest| manifest.applied);
        match self.publish_due(journal).await {
            Ok(true) => self.seen = applied,
            Ok(false) => {}
            Err(error) if error.kind() == Kind::Closed => {}
            Err(error) => tracing::warn!(%error, "not all tables show what is there, it is tried again"),
        }
    }

    /// Whether all are done; the last error, once all were tried.
    async fn publish_due(&mut self, journal: &Journal) -> Result<bool> {
        self.look_for_tables(journal).await?;
        let (due, all) = self.due(journal);
        let (begun, mut failed) = (Instant::now(), Ok(()));
        for topic in due {
            let left = PUBLISH.saturating_sub(begun.elapsed());
            // The library may panic on what is not what it should be; the compactor goes on.
            let publish = AssertUnwindSafe(self.publish(journal, topic).boxed()).catch_unwind();
            let published = match tokio::time::timeout(left, publish).await {
                Ok(Ok(published)) => published,
                Ok(Err(_)) => Err(Error::Invalid("the Iceberg library panicked".into())),
                Err(_) => Err(Error::Unknown("the tables take too long, and go on later".into())),
            };
            let result = match &published {
                Ok(Published::Unchanged) => "unchanged",
                Ok(Published::Behind) => "behind",
                Ok(Published::Version(_)) => "published",
                Err(_) => "failed",
            };
            metrics::TABLES.with_label_values(&[result]).inc();
            tracing::debug!(%topic, ?published, "looked at a table");
            failed = published.map(drop).and(failed);
            if begun.elapsed() >= PUBLISH {
                break;
            }
        }
        failed.map(|()| all)
    }

    /// Which topics have a table, or are to have one. Asks the store once.
    async fn look_for_tables(&mut self, journal: &Journal) -> Result<()> {
        if journal.view(|manifest| manifest.applied == self.seen) {
            return Ok(());
        }
        let mut known = match self.known.take() {
            Some(known) => known,
            None => {
                let (folders, _) = journal.store().list_level(paths::TABLES).await?;
                folders.iter().filter_map(|name| name.parse().ok()).collect()
            }
        };
        journal.view(|manifest| {
            // A topic may stop to be written as Parquet: what it has stays in its table, and goes from it.
            known.extend(manifest.topics().filter(|topic| files::wants_table(topic)).map(|topic| topic.id));
            known.retain(|id| manifest.topic(id).is_some());
        });
        self.shown.retain(|id, _| known.contains(id));
        self.read.retain(|id, _| known.contains(id));
        self.known = Some(known);
        Ok(())
    }

    /// The topics whose tables may be behind, and whether these are all, but for those that were published just now.
    fn due(&self, journal: &Journal) -> (Vec<Uuid>, bool) {
        let now_ms = journal.stamp_ms();
        let is_news = journal.view(|manifest| manifest.applied != self.seen);
        let expires = |shown: &Shown| shown.expires_ms.is_some_and(|at_ms| at_ms < now_ms);
        let behind = |id: &&Uuid| is_news || self.shown.get(id).is_some_and(expires);
        let rests = |id: &Uuid| self.shown.get(id).is_some_and(|shown| shown.at.elapsed() < PUBLISH_EVERY);
        let behind = self.known.iter().flatten().filter(behind).copied();
        let (rest, due): (Vec<_>, Vec<_>) = behind.partition(rests);
        (due, rest.is_empty())
    }

    /// Brings the table of a topic to what is known of the log.
    pub(crate) async fn publish(&mut self, journal: &Journal, topic: Uuid) -> Result<Published> {
        let Some(glance) = Glance::at(journal, &topic) else { return Ok(Published::Unchanged) };
        let (now_ms, mark) = (journal.stamp_ms(), glance.mark);
        let expires = |shown: &Shown| shown.expires_ms.is_some_and(|at_ms| at_ms < now_ms);
        if self.shown.get(&topic).is_some_and(|shown| shown.mark == mark && !expires(shown)) {
            return Ok(Published::Unchanged);
        }
        let state = glance.state(journal).await?;
        let read = self.read.entry(topic).or_default();
        let (published, expires_ms) = publish(journal.store(), &state, now_ms, read).await?;
        self.read.remove(&topic);
        if published != Published::Behind {
            self.shown.insert(topic, Shown { mark, at: Instant::now(), expires_ms });
        }
        Ok(published)
    }
}

/// What the newest version of a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its absolute URL, under which other programs open it.
    pub location: String,
    /// Its number.
    pub version: u64,
    /// Snapshots that can be read.
    pub snapshots: usize,
    /// The slot of the journal whose state the current one shows.
    pub slot: u64,
    /// Journal time there, milliseconds since 1970.
    pub now_ms: i64,
    /// Files in it.
    pub files: u64,
    /// Their rows.
    pub records: u64,
}

/// Describes the table of a topic; `None`: there is none.
///
/// # Errors
/// What the store said; [`Error::Corrupt`] if the newest version is damaged, until it is followed by another.
pub async fn describe(store: &Store, topic: Uuid) -> Result<Option<Description>> {
    let Some(newest) = version::newest(store, topic).await? else { return Ok(None) };
    let (version, key) = (newest.version, paths::table_version(topic, newest.version));
    let metadata = newest.metadata.ok_or_else(|| Error::corrupt(key, "it is no metadata of a table"))?;
    let Some(current) = metadata.current_snapshot() else { return Ok(None) };
    let said = &current.summary().additional_properties;
    let number = |name: &str| said.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Some(Description {
        location: store.location(&paths::table(topic)),
        version,
        snapshots: metadata.snapshots().len(),
        slot: number("strandline.slot"),
        now_ms: current.timestamp_ms(),
        files: number("total-data-files"),
        records: number("total-records"),
    }))
}

/// Makes a table show this state; also says when its next snapshot goes. What was read of files is left in `read`.
pub(crate) async fn publish(
    store: &Store,
    state: &State,
    now_ms: i64,
    read: &mut BTreeMap<String, DataFile>,
) -> Result<(Published, Option<i64>)> {
    for _ in 0..ATTEMPTS {
        let newest = version::newest(store, state.topic).await?;
        let version = newest.as_ref().map_or(0, |newest| newest.version);
        let hint = newest.as_ref().and_then(|newest| newest.hint);
        let metadata = newest.and_then(|newest| newest.metadata);
        let here = metadata
            .as_ref()
            .filter(|metadata| metadata.location() == store.location(&paths::table(state.topic)));
        if slot_of(here).is_some_and(|slot| slot > state.slot) {
            return Ok((Published::Behind, None));
        }
        let (metadata, difference) = match Difference::of(store, metadata.as_ref(), state).await {
            Ok(difference) => (metadata, difference),
            Err(error @ (Error::Corrupt { .. } | Error::NotFound(_))) => {
                tracing::warn!(topic = %state.topic, version, %error, "a table cannot be read and is written anew");
                (None, Difference::of(store, None, state).await?)
            }
            Err(error) => return Err(error),
        };
        let base = Base::new(store, state, metadata.map(|metadata| (version, metadata)))?;
        match next(base, difference, now_ms, read).await? {
            Next::Nothing(expires_ms) => {
                if version > 0 && hint != Some(version) {
                    version::hint(store, state.topic, version).await?;
                }
                return Ok((Published::Unchanged, expires_ms));
            }
            Next::Version(body, expires_ms) => {
                if version::commit(store, state.topic, version + 1, body).await? {
                    version::hint(store, state.topic, version + 1).await?;
                    return Ok((Published::Version(version + 1), expires_ms));
                }
                tracing::debug!(topic = %state.topic, version, "another publisher was first");
            }
        }
    }
    Err(Error::Unknown(format!("others are always first with the table of {}", state.topic).into()))
}

/// What a table needs to show a state.
enum Next {
    /// It does; and when a snapshot goes.
    Nothing(Option<i64>),
    /// This version, of which all but itself is written.
    Version(bytes::Bytes, Option<i64>),
}

async fn next(
    base: Base<'_>,
    difference: Difference<'_>,
    now_ms: i64,
    read: &mut BTreeMap<String, DataFile>,
) -> Result<Next> {
    let (store, state) = (base.store, base.state);
    let (expired, expires_ms) = match base.metadata() {
        Some(metadata) => expiry::due(metadata, now_ms, usize::from(!difference.is_nothing())),
        None => (Vec::new(), None),
    };
    if difference.is_nothing() {
        if base.before.is_none() && state.files.is_empty() || expired.is_empty() && !base.is_other() {
            return Ok(Next::Nothing(expires_ms));
        }
        let (_, body) = base.next(None, &expired, now_ms)?;
        return Ok(Next::Version(body, expires_ms));
    }
    let begun = store.env().moment();
    difference.read_footers(store, read).await?;
    let drawn = store.env().ulid(now_ms);
    let origin = Origin {
        // Positive, and not that of another one.
        id: (drawn.0 as u64 >> 1) as i64,
        parent: base.metadata().and_then(TableMetadata::current_snapshot_id),
        sequence_number: base.metadata().map_or(1, TableMetadata::next_sequence_number),
        schema: base.schema.clone(),
    };
    let names = Names { store, topic: state.topic, id: drawn };
    let (written, summary) = difference.write(&names, &origin, read, state).await?;
    let builder = Snapshot::builder()
        .with_snapshot_id(origin.id)
        .with_parent_snapshot_id(origin.parent)
        .with_sequence_number(origin.sequence_number)
        .with_timestamp_ms(state.now_ms.max(base.since_ms()))
        .with_manifest_list(names.list(origin.id))
        .with_summary(summary)
        .with_schema_id(origin.schema.schema_id());
    let (metadata, body) = base.next(Some(builder.build()), &expired, state.now_ms)?;
    put_all(store, written).await?;
    if !store.env().within(begun, VERSION) {
        return Err(Error::Unknown("this process stood still while it wrote a table".into()));
    }
    Ok(Next::Version(body, expiry::due(&metadata, now_ms, 0).1))
}

async fn put_all(store: &Store, written: Vec<Written>) -> Result<()> {
    let put = |object: Written| async move {
        let key = store.key_of(&object.location).unwrap_or_default();
        let body = Rope::from(object.body);
        if store.create(key, &body).await? || store.get(key).await? == body {
            return Ok(());
        }
        Err(Error::Invalid(format!("{key} exists and holds something else").into()))
    };
    stream::iter(written).map(put).buffer_unordered(WRITES).try_collect().await
}

/// The slot whose state a table shows.
fn slot_of(metadata: Option<&TableMetadata>) -> Option<u64> {
    let summary = metadata?.current_snapshot()?.summary();
    summary.additional_properties.get("strandline.slot")?.parse().ok()
}

#[cfg(test)]
mod tests;
