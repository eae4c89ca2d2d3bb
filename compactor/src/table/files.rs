//! The Parquet chunks that a state of the manifest refers to.
//!
//! Must not know tables. A state is one look at the manifest: extents and roots of that moment, and the nodes below these,
//! which never change.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::datatypes::SchemaRef;
use strandline_archive::Unfold;
use strandline_core::Result;
use strandline_core::chunk::{ChunkId, Format};
use strandline_core::index::{Branch, Entry};
use strandline_core::manifest::{Extent, Journal, ObjectId, Partition, Topic};
use uuid::Uuid;

use crate::tree::Tree;

/// A Parquet chunk and where its run of row groups ends, behind which its footer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) chunk: ChunkId,
    /// One past the last offset that it stands for.
    pub(crate) end_offset: i64,
    /// Bytes from the start of the object to the end of its run.
    pub(crate) run_end: u64,
}

impl File {
    fn of_extent(extent: &Extent) -> Option<File> {
        let ObjectId::Chunk(chunk) = extent.object else { return None };
        let run_end = extent.at.saturating_add(u64::from(extent.bytes));
        (chunk.format == Format::Parquet).then_some(File { chunk, end_offset: extent.end_offset(), run_end })
    }

    fn of_entry(entry: &Entry) -> Option<File> {
        let Entry { chunk, end_offset, at, bytes, .. } = *entry;
        (chunk.format == Format::Parquet).then_some(File {
            chunk,
            end_offset,
            run_end: at.saturating_add(bytes),
        })
    }
}

/// What is to be found in a topic's table.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) topic: Uuid,
    pub(crate) name: String,
    /// What the columns of its files are by now.
    pub(crate) columns: SchemaRef,
    /// The last slot that it was folded from: of two states of a topic the one with the higher slot is the later one.
    pub(crate) slot: u64,
    /// Journal time there, milliseconds.
    pub(crate) now_ms: i64,
    /// By partition and offset.
    pub(crate) files: Vec<File>,
    /// Of each partition the offset up to which the files go; 0 where there are none.
    pub(crate) ends: Vec<i64>,
}

/// Whether a topic is to have a table, also where none is. Its files may all be in the index, which nobody wants to read to
/// find out that there are none.
pub(crate) fn wants_table(topic: &Topic) -> bool {
    let shown =
        |partition: &Partition| partition.extents.iter().any(|extent| File::of_extent(extent).is_some());
    topic.archive_format() == Format::Parquet || topic.partitions.iter().any(shown)
}

/// What the columns of a topic's files are by now.
fn columns(topic: &Topic) -> SchemaRef {
    // A schema that cannot be read gives no columns to files either.
    let unfold = Unfold::of_configs(&topic.configs).ok().flatten();
    strandline_archive::schema(unfold.as_ref())
}

/// What of a topic decides which files it has, without any request. Two that are equal have equal files.
#[derive(Debug, Clone)]
pub(crate) struct Glance {
    state: State,
    roots: Vec<(u32, i64, Branch)>,
    /// Equal glances have equal ones.
    pub(crate) mark: u64,
}

impl Glance {
    /// At the manifest as it is; `None`: there is no such topic.
    pub(crate) fn at(journal: &Journal, topic: &Uuid) -> Option<Glance> {
        journal.view(|manifest| {
            let topic = manifest.topic(topic)?;
            Some(Glance::new(topic, manifest.applied, manifest.now_ms))
        })
    }

    pub(crate) fn new(topic: &Topic, slot: u64, now_ms: i64) -> Glance {
        let (mut files, mut roots) = (Vec::new(), Vec::new());
        let mut hasher = DefaultHasher::new();
        (topic.id, &topic.name, &topic.configs, topic.partitions.len()).hash(&mut hasher);
        for (number, partition) in (0..).zip(&topic.partitions) {
            if let Some(root) = partition.index.filter(|root| root.end_offset > partition.log_start) {
                (number, partition.log_start, root.id).hash(&mut hasher);
                roots.push((number, partition.log_start, root));
            }
            files.extend(partition.extents.iter().filter_map(File::of_extent));
        }
        for file in &files {
            file.chunk.hash(&mut hasher);
        }
        let (id, name) = (topic.id, topic.name.clone());
        let ends = vec![0; topic.partitions.len()];
        let columns = columns(topic);
        let state = State { topic: id, name, columns, slot, now_ms, files, ends };
        Glance { state, roots, mark: hasher.finish() }
    }

    /// Reads the indexes.
    pub(crate) async fn state(self, journal: &Journal) -> Result<State> {
        let Glance { mut state, roots, .. } = self;
        for (number, log_start, root) in roots {
            let tree = Tree::of(journal, state.topic, number);
            let entries = tree.entries(&root, log_start).await?;
            state.files.extend(entries.iter().filter_map(File::of_entry));
        }
        state.settle();
        Ok(state)
    }
}

impl State {
    pub(crate) fn settle(&mut self) {
        self.files.sort_unstable_by_key(|file| (file.chunk.partition, file.chunk.base_offset));
        let mut ends = BTreeMap::new();
        for file in &self.files {
            ends.insert(file.chunk.partition, file.end_offset);
        }
        for (end, number) in self.ends.iter_mut().zip(0..) {
            *end = ends.get(&number).copied().unwrap_or(0);
        }
    }
}
