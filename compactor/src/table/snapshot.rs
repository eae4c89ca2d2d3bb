//! From the files of one state to those of another: the manifests of a snapshot.
//!
//! Must not know versions. Manifests whose files all stay are taken over as they are; those that lose some are written anew,
//! and say what went; what comes in goes into a new one. Nothing is referred to before the caller has written all of it.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataFile, ManifestEntryRef, ManifestFile, Operation, PrimitiveLiteral, Summary, TableMetadata,
};
use strandline_archive::Column;
use strandline_core::store::Store;
use strandline_core::{Error, Result, paths};

use super::avro::{self, Line, Origin, Written};
use super::facts;
use super::files::{File, State};

/// Files that one manifest lists, at most.
const MANIFEST_FILES: usize = if cfg!(test) { 6 } else { 8_192 };
/// Manifests of one snapshot, above which the small ones are joined.
const MANIFESTS: usize = if cfg!(test) { 3 } else { 64 };
/// Footers, and manifests, that are read side by side.
const READS: usize = 8;

/// What files hold, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) files: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Sum {
    fn add(&mut self, file: &DataFile) {
        self.files += 1;
        self.records = self.records.saturating_add(file.record_count());
        self.bytes = self.bytes.saturating_add(file.file_size_in_bytes());
    }
}

/// A table as it is, compared with how it is to be.
#[derive(Debug)]
pub(super) struct Difference<'a> {
    /// Manifests of which nothing goes.
    whole: Vec<ManifestFile>,
    /// What is to be written anew, and what went with it.
    lines: Vec<Line>,
    stays: Sum,
    gone: Flow,
    /// By their absolute URLs.
    missing: BTreeMap<String, &'a File>,
}

impl<'a> Difference<'a> {
    /// Reads the manifests of the current snapshot. [`Error::Corrupt`] and [`Error::NotFound`]: the table cannot be read.
    pub(super) async fn of(
        store: &Store,
        metadata: Option<&TableMetadata>,
        state: &'a State,
    ) -> Result<Difference<'a>> {
        let mut missing = BTreeMap::new();
        for file in &state.files {
            missing.insert(store.location(&file.chunk.key()), file);
        }
        let mut difference = Difference {
            whole: Vec::new(),
            lines: Vec::new(),
            stays: Sum::default(),
            gone: Flow::default(),
            missing,
        };
        let Some(snapshot) = metadata.and_then(TableMetadata::current_snapshot) else {
            return Ok(difference);
        };
        let manifests = manifests(store, snapshot.manifest_list()).await?;
        let read =
            |file: ManifestFile| async move { Ok::<_, Error>((read_manifest(store, &file).await?, file)) };
        let mut read = stream::iter(manifests).map(read).buffered(READS);
        while let Some((entries, file)) = read.try_next().await? {
            difference.add(file, entries);
        }
        Ok(difference)
    }

    fn add(&mut self, file: ManifestFile, entries: Vec<ManifestEntryRef>) {
        let before = entries.len();
        let (stay, go): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| self.missing.remove(entry.file_path()).is_some());
        stay.iter().for_each(|entry| self.stays.add(entry.data_file()));
        go.iter().for_each(|entry| self.gone.add(entry.data_file()));
        if go.is_empty() && before > 0 {
            self.whole.push(file);
            return;
        }
        self.lines.extend(stay.into_iter().map(Line::Kept));
        self.lines.extend(go.into_iter().map(Line::Gone));
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.missing.is_empty() && self.gone.sum == Sum::default()
    }

    /// Reads the footers of what is missing. `known` keeps them in case that this does not come to an end.
    pub(super) async fn read_footers(
        &self,
        store: &Store,
        known: &mut BTreeMap<String, DataFile>,
    ) -> Result<()> {
        let unread = self.missing.iter().filter(|(location, _)| !known.contains_key(*location));
        let unread: Vec<_> = unread.map(|(location, file)| (location.clone(), **file)).collect();
        let read = |(location, file): (String, File)| async move {
            Ok::<_, Error>((location.clone(), facts::read(store, &file, location).await?))
        };
        let mut read = stream::iter(unread).map(read).buffer_unordered(READS);
        while let Some((location, file)) = read.try_next().await? {
            known.insert(location, file);
        }
        Ok(())
    }

    /// The manifests and their list, the list last, and what there is to say about the snapshot.
    pub(super) async fn write(
        mut self,
        names: &Names<'_>,
        origin: &Origin,
        known: &BTreeMap<String, DataFile>,
        state: &State,
    ) -> Result<(Vec<Written>, Summary)> {
        let (mut added, mut total) = (Flow::default(), self.stays);
        for location in self.missing.keys() {
            let gone = || Error::NotFound(location.clone());
            let file = known.get(location).ok_or_else(gone)?.clone();
            added.add(&file);
            total.add(&file);
            self.lines.push(Line::Added(Box::new(file)));
        }
        self.join_small(names.store).await?;
        let (mut manifests, mut written) = (self.whole, Vec::new());
        let mut lines = self.lines.into_iter().peekable();
        while lines.peek().is_some() {
            let location = names.manifest(written.len());
            let (file, body) = avro::manifest(location, origin, lines.by_ref().take(MANIFEST_FILES)).await?;
            manifests.push(file);
            written.push(body);
        }
        written.push(avro::list(names.list(origin.id), origin, manifests.into_iter()).await?);
        Ok((written, summary(&added, &self.gone, total, state)))
    }

    /// Where there are many manifests the small ones become one.
    async fn join_small(&mut self, store: &Store) -> Result<()> {
        if self.whole.len() + self.lines.len().div_ceil(MANIFEST_FILES) <= MANIFESTS {
            return Ok(());
        }
        let is_small = |file: &ManifestFile| {
            let files = file.added_files_count.unwrap_or(0) + file.existing_files_count.unwrap_or(0);
            (files as usize) < MANIFEST_FILES / 2
        };
        let (small, large): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.whole).into_iter().partition(is_small);
        self.whole = large;
        for file in small {
            self.lines.extend(read_manifest(store, &file).await?.into_iter().map(Line::Kept));
        }
        Ok(())
    }
}

/// What the objects of a snapshot are called.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub(super) store: &'a Store,
    pub(super) topic: uuid::Uuid,
    pub(super) id: ulid::Ulid,
}

impl Names<'_> {
    fn manifest(&self, number: usize) -> String {
        self.location(&format!("{}-m{number}.avro", self.id))
    }

    pub(super) fn list(&self, snapshot: i64) -> String {
        self.location(&format!("snap-{snapshot}-{}.avro", self.id))
    }

    fn location(&self, name: &str) -> String {
        self.store.location(&paths::table_file(self.topic, name))
    }
}

/// Files that come or go, and of each partition the records and the span of their offsets.
#[derive(Debug, Default)]
struct Flow {
    sum: Sum,
    spans: BTreeMap<i64, (u64, i64, i64)>,
}

impl Flow {
    fn add(&mut self, file: &DataFile) {
        self.sum.add(file);
        let number = |bounds: Option<&iceberg::spec::Datum>| match bounds.map(|datum| datum.literal()) {
            Some(PrimitiveLiteral::Int(number)) => i64::from(*number),
            Some(PrimitiveLiteral::Long(number)) => *number,
            _ => 0,
        };
        let (lower, upper) = (file.lower_bounds(), file.upper_bounds());
        let partition = number(lower.get(&Column::Partition.id()));
        let (first, last) =
            (number(lower.get(&Column::Offset.id())), number(upper.get(&Column::Offset.id())));
        let span = self.spans.entry(partition).or_insert((0, first, last));
        *span = (span.0.saturating_add(file.record_count()), span.1.min(first), span.2.max(last));
    }
}

/// What readers of changes go by: `replace` has changed no rows.
fn operation(added: &Flow, gone: &Flow) -> Operation {
    match (added.sum.files, gone.sum.files) {
        (_, 0) => Operation::Append,
        (0, _) => Operation::Delete,
        _ if added.spans == gone.spans => Operation::Replace,
        _ => Operation::Overwrite,
    }
}

fn summary(added: &Flow, gone: &Flow, total: Sum, state: &State) -> Summary {
    let mut said = vec![("strandline.slot".to_owned(), state.slot.to_string())];
    if state.ends.len() <= SAID_PARTITIONS {
        let ends: Vec<_> = state.ends.iter().map(i64::to_string).collect();
        said.push(("strandline.offsets".to_owned(), ends.join(",")));
    }
    let counts = [
        ("added", "data-files", added.sum.files),
        ("added", "records", added.sum.records),
        ("added", "files-size", added.sum.bytes),
        ("deleted", "data-files", gone.sum.files),
        ("deleted", "records", gone.sum.records),
        ("removed", "files-size", gone.sum.bytes),
        ("total", "data-files", total.files),
        ("total", "records", total.records),
        ("total", "files-size", total.bytes),
        ("total", "delete-files", 0),
        ("total", "position-deletes", 0),
        ("total", "equality-deletes", 0),
    ];
    let said_too = counts.iter().filter(|(part, _, count)| *part == "total" || *count > 0);
    said.extend(said_too.map(|(part, what, count)| (format!("{part}-{what}"), count.to_string())));
    Summary { operation: operation(added, gone), additional_properties: said.into_iter().collect() }
}

/// Partitions of a topic whose end offsets a snapshot tells; beyond that the metadata would be long.
const SAID_PARTITIONS: usize = 1_000;

/// The manifests of the list at this URL.
pub(super) async fn manifests(store: &Store, list: &str) -> Result<Vec<ManifestFile>> {
    let key = key_of(store, list)?;
    avro::read_list(key, &store.get(key).await?.to_bytes())
}

/// The files that a manifest lists and that are there.
pub(super) async fn read_manifest(store: &Store, file: &ManifestFile) -> Result<Vec<ManifestEntryRef>> {
    let key = key_of(store, &file.manifest_path)?;
    let body = store.get(key).await?.to_bytes();
    avro::read_manifest(key, file, body).await
}

/// A table whose files lie elsewhere was copied from there.
fn key_of<'a>(store: &Store, location: &'a str) -> Result<&'a str> {
    let elsewhere = || Error::corrupt(location, "a table refers to it, and it does not lie in this store");
    store.key_of(location).ok_or_else(elsewhere)
}
