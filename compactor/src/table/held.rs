//! What the versions of a table refer to, for the sweep.
//!
//! Must not know how anything is deleted.

use std::collections::BTreeSet;

use iceberg::spec::{ManifestFile, TableMetadata};
use strandline_core::chunk::ChunkId;
use strandline_core::store::Store;
use strandline_core::{Error, Result, paths};
use ulid::Ulid;
use uuid::Uuid;

use super::{snapshot, version};

/// What the newest version of a table holds: it, the versions that it names, and whatever its snapshots refer to.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The names of its own files.
    names: BTreeSet<String>,
    manifests: Vec<ManifestFile>,
    /// Once the manifests were read.
    chunks: Option<BTreeSet<Ulid>>,
}

impl Held {
    /// Reads it. A table that is not there holds nothing; of one that cannot be read the error tells.
    pub(crate) async fn of(store: &Store, topic: Uuid) -> Result<Held> {
        let mut held = Held::default();
        let Some(newest) = version::newest(store, topic).await? else { return Ok(held) };
        let key = paths::table_version(topic, newest.version);
        held.hold(&key);
        let metadata = newest.metadata.ok_or_else(|| Error::corrupt(key, "it is no metadata of a table"))?;
        for log in metadata.metadata_log() {
            held.hold(&log.metadata_file);
        }
        for snapshot in metadata.snapshots() {
            held.hold(snapshot.manifest_list());
        }
        held.read_lists(store, &metadata).await?;
        Ok(held)
    }

    async fn read_lists(&mut self, store: &Store, metadata: &TableMetadata) -> Result<()> {
        let mut seen = BTreeSet::new();
        for snapshot in metadata.snapshots() {
            for file in snapshot::manifests(store, snapshot.manifest_list()).await? {
                self.hold(&file.manifest_path);
                if seen.insert(file.manifest_path.clone()) {
                    self.manifests.push(file);
                }
            }
        }
        Ok(())
    }

    /// By a key or a URL.
    fn hold(&mut self, file: &str) {
        self.names.extend(file.rsplit('/').next().map(str::to_owned));
    }

    /// Whether a file of the table is needed.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        version::is_hint(name) || self.names.contains(name)
    }

    /// Whether a snapshot refers to a chunk.
    pub(crate) async fn has_chunk(&mut self, store: &Store, chunk: &ChunkId) -> Result<bool> {
        let chunks = match self.chunks.take() {
            Some(chunks) => chunks,
            None => self.read_chunks(store).await?,
        };
        let has = chunks.contains(&chunk.id);
        self.chunks = Some(chunks);
        Ok(has)
    }

    async fn read_chunks(&self, store: &Store) -> Result<BTreeSet<Ulid>> {
        let mut chunks = BTreeSet::new();
        for file in &self.manifests {
            for entry in snapshot::read_manifest(store, file).await? {
                let key = store.key_of(entry.file_path());
                chunks.extend(key.and_then(ChunkId::from_key).map(|chunk| chunk.id));
            }
        }
        Ok(chunks)
    }
}
