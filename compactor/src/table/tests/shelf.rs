//! A topic whose chunks come and go, and a reader that knows nothing but the bucket.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use strandline_archive::encoder::{Encoder, Options};
use strandline_archive::{Row, Unfold};
use strandline_core::chunk::{ChunkId, Format};

use super::*;
use crate::table::files::File;

/// 2026-01-01.
const BEGIN_MS: i64 = 1_767_225_600_000;

pub(super) struct Shelf {
    pub(super) store: Store,
    pub(super) topic: Uuid,
    pub(super) state: State,
    pub(super) dice: Rng,
    /// Of each slot the files that the log had then.
    pub(super) past: BTreeMap<u64, BTreeSet<String>>,
    /// What stands in values, and how: then files have columns of it.
    pub(super) values: Option<(Arc<Unfold>, Bytes)>,
    known: RefCell<BTreeMap<String, Vec<(String, u64)>>>,
}

/// What a version shows, read as any program would: from its metadata on.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) metadata: TableMetadata,
    pub(super) slot: u64,
    /// Keys of the current snapshot.
    pub(super) files: BTreeSet<String>,
}

impl Shelf {
    pub(super) fn new(store: Store, seed: u64) -> Shelf {
        let topic = Uuid::from_u128(0x5eed_0000 + u128::from(seed));
        let state = State {
            topic,
            name: "orders".to_owned(),
            columns: strandline_archive::schema(None),
            slot: 1,
            now_ms: BEGIN_MS,
            files: Vec::new(),
            ends: vec![0; 2],
        };
        let mut shelf = Shelf {
            store,
            topic,
            state,
            dice: Rng::with_seed(seed),
            past: BTreeMap::new(),
            values: None,
            known: RefCell::default(),
        };
        shelf.remember();
        shelf
    }

    fn remember(&mut self) {
        let files = self.state.files.iter().map(|file| file.chunk.key()).collect();
        self.past.insert(self.state.slot, files);
    }

    /// Something happens to the log.
    pub(super) async fn step(&mut self) {
        let partition = self.dice.u32(..2);
        match self.dice.u32(..10) {
            0..6 => {
                let records = self.dice.i64(1..12);
                self.append(partition, records).await;
            }
            6..8 => self.expire(partition),
            8 => self.replace(partition).await,
            _ => self.state.now_ms += self.dice.i64(0..9 * 3_600_000),
        }
    }

    /// All versions that there are, in order.
    pub(super) async fn versions(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(one) = self.version(seen.len() as u64 + 1).await {
            seen.push(one);
        }
        seen
    }

    pub(super) async fn version(&self, version: u64) -> Option<Seen> {
        let body = self.store.get(&paths::table_version(self.topic, version)).await.ok()?;
        let metadata: TableMetadata = serde_json::from_slice(&body.to_bytes()).unwrap();
        let current = metadata.current_snapshot().unwrap();
        let slot = current.summary().additional_properties["strandline.slot"].parse().unwrap();
        let files = self.files(current).await;
        Some(Seen { slot, files, metadata })
    }

    /// The files of a snapshot, each of which must be what its manifest says.
    pub(super) async fn files(&self, snapshot: &Snapshot) -> BTreeSet<String> {
        let (mut files, mut records, mut lists) = (BTreeSet::new(), 0, 0);
        for manifest in snapshot::manifests(&self.store, snapshot.manifest_list()).await.unwrap() {
            for (key, count) in self.entries(&manifest).await {
                records += count;
                assert!(files.insert(key), "listed twice");
            }
            lists += 1;
        }
        let said = &snapshot.summary().additional_properties;
        assert_eq!(said["total-data-files"], files.len().to_string());
        assert_eq!(said["total-records"], records.to_string());
        assert!(lists <= 3 + files.len() / 3 + 1, "{lists} manifests for {} files", files.len());
        files
    }

    /// Keys and numbers of records. Manifests never change: each is looked at once.
    async fn entries(&self, manifest: &iceberg::spec::ManifestFile) -> Vec<(String, u64)> {
        if let Some(known) = self.known.borrow().get(&manifest.manifest_path) {
            return known.clone();
        }
        let mut entries = Vec::new();
        for entry in snapshot::read_manifest(&self.store, manifest).await.unwrap() {
            let key = self.store.key_of(entry.file_path()).unwrap().to_owned();
            let bytes = self.store.get(&key).await.unwrap().len();
            assert_eq!(bytes as u64, entry.file_size_in_bytes(), "{key}");
            assert!(entry.sequence_number().unwrap() <= manifest.sequence_number);
            entries.push((key, entry.record_count()));
        }
        self.known.borrow_mut().insert(manifest.manifest_path.clone(), entries.clone());
        entries
    }

    /// The newest version, which must show what the log has now, in each of its snapshots what it had once.
    pub(super) async fn assert_shown(&self) -> TableMetadata {
        let newest = version::newest(&self.store, self.topic).await.unwrap().unwrap();
        assert_eq!(newest.hint, Some(newest.version));
        let seen = self.version(newest.version).await.unwrap();
        assert_eq!(seen.files, self.past[&self.state.slot]);
        for snapshot in seen.metadata.snapshots() {
            let slot: u64 = snapshot.summary().additional_properties["strandline.slot"].parse().unwrap();
            assert_eq!(self.files(snapshot).await, self.past[&slot]);
        }
        seen.metadata
    }

    pub(super) async fn publish(&self) -> Result<Published> {
        let mut read = BTreeMap::new();
        Ok(publish(&self.store, &self.state, self.state.now_ms, &mut read).await?.0)
    }

    /// Something was committed.
    pub(super) fn commit(&mut self) {
        self.state.slot += 1;
        self.state.now_ms += 60_000;
        self.state.settle();
        self.remember();
    }

    /// A chunk joins the end of a partition.
    pub(super) async fn append(&mut self, partition: u32, records: i64) {
        let ends = self.state.files.iter().filter(|file| file.chunk.partition == partition);
        let base_offset = ends.map(|file| file.end_offset).max().unwrap_or(0);
        let file = self.write(partition, base_offset, base_offset + records).await;
        self.state.files.push(file);
        self.commit();
    }

    /// All chunks of a partition become one, with the same rows.
    pub(super) async fn replace(&mut self, partition: u32) {
        let of = |file: &File| file.chunk.partition == partition;
        let old: Vec<_> = self.state.files.iter().copied().filter(of).collect();
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return };
        let file = self.write(partition, first.chunk.base_offset, last.end_offset).await;
        self.state.files.retain(|file| !of(file));
        self.state.files.push(file);
        self.commit();
    }

    /// The first chunk of a partition expires.
    pub(super) fn expire(&mut self, partition: u32) {
        if let Some(at) = self.state.files.iter().position(|file| file.chunk.partition == partition) {
            self.state.files.remove(at);
            self.commit();
        }
    }

    pub(super) async fn write(&mut self, partition: u32, base_offset: i64, end_offset: i64) -> File {
        let id = ulid::Ulid::from_parts(self.state.now_ms as u64, self.dice.u128(..));
        let chunk = ChunkId { topic: self.topic, partition, base_offset, id, format: Format::Parquet };
        let unfold = self.values.as_ref().map(|(unfold, _)| unfold.clone());
        let options = Options { row_group_rows: 4, unfold, ..Options::new(partition, base_offset) };
        let mut encoder = Encoder::new(options).unwrap();
        for offset in base_offset..end_offset {
            let key = Some(Bytes::from(format!("key {offset}")));
            let value = (offset % 5 > 0).then(|| Bytes::from(format!("value {offset} of {partition}")));
            let value = self.values.as_ref().map(|(_, value)| value.clone()).or(value);
            let timestamp = BEGIN_MS + offset * 1_000;
            encoder
                .push(Row { offset, timestamp, append_time: false, key, value, headers: Vec::new() })
                .unwrap();
        }
        let mut pieces = encoder.take();
        let (last, summary) = encoder.finish(end_offset).unwrap();
        pieces.extend(last);
        self.store.put(&chunk.key(), &Rope::new(pieces)).await.unwrap();
        File { chunk, end_offset, run_end: 4 + summary.bytes }
    }
}
