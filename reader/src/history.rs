//! Which runs of bytes hold the offsets of a partition: first those that only its index knows, then its extents.
//!
//! Must not know batches. What is in the index is found with two nodes at most, which are kept decoded, for many lookups;
//! no node is asked for before somebody needs what lies below it, and nothing here waits for one but [`Runs::next`].

use std::sync::Arc;

use moka::future::Cache;
use moka::policy::EvictionPolicy;
use strandline_archive::Layout;
use strandline_core::chunk::{self, AbortedSpan, ChunkId, Footer, Format, Position};
use strandline_core::index::{Branch, Entry, Node};
use strandline_core::manifest::{Extent, ObjectId};
use strandline_core::object::{self, Shape};
use strandline_core::rope::Rope;
use strandline_core::store::Store;
use strandline_core::{Error, env, limits, paths};
use ulid::Ulid;
use uuid::Uuid;

use crate::metrics;

/// What is read behind the run of a chunk at once: nearly every footer is shorter.
const FOOTER_BYTES: u64 = 64 * limits::KIB as u64;

/// The most that is read behind the row groups of a Parquet file, whose footer does not say in front how long it is.
const MOST_FOOTER_BYTES: u64 = 64 * limits::MIB as u64;

/// A run of offsets of one partition and where its bytes lie: an extent, or a chunk that only the index knows.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) object: ObjectId,
    pub(crate) base_offset: i64,
    pub(crate) end_offset: i64,
    /// Bytes from the start of the object.
    pub(crate) at: u64,
    /// Length in bytes. 0: a chunk of which compaction left nothing.
    pub(crate) bytes: u64,
    /// No record has a larger one, milliseconds.
    pub(crate) max_timestamp: i64,
    /// What the index says of its inside.
    indexed: Option<Arc<Inside>>,
}

/// What is known of a chunk without its batches.
#[derive(Debug)]
pub(crate) struct Inside {
    /// In order; the first is the start of the run.
    pub(crate) positions: Vec<Position>,
    pub(crate) aborted: Vec<AbortedSpan>,
}

impl Inside {
    /// The position from which to look for `offset`: the last one that does not lie behind it, else the first.
    pub(crate) fn before(&self, offset: i64) -> usize {
        self.positions.partition_point(|position| position.offset <= offset).saturating_sub(1)
    }
}

impl Run {
    /// Where its bytes end, from the start of the object.
    pub(crate) fn end_at(&self) -> u64 {
        self.at.saturating_add(self.bytes)
    }

    /// Whether the batches say themselves which offsets they have.
    pub(crate) fn is_chunk(&self) -> bool {
        matches!(self.object, ObjectId::Chunk(_))
    }

    /// The transactions in it that were aborted, if it comes from the index. The manifest knows those of all others.
    pub(crate) fn aborted(&self) -> &[AbortedSpan] {
        self.indexed.as_ref().map_or(&[], |inside| &inside.aborted)
    }

    /// Its chunk, if that is a Parquet file.
    pub(crate) fn parquet(&self) -> Option<ChunkId> {
        match self.object {
            ObjectId::Chunk(chunk) if chunk.format == Format::Parquet => Some(chunk),
            _ => None,
        }
    }

    fn of_entry(entry: Entry) -> Run {
        let Entry { chunk, end_offset, at, bytes, max_timestamp, positions, aborted } = entry;
        let (object, base_offset) = (ObjectId::Chunk(chunk), chunk.base_offset);
        let indexed = Some(Arc::new(Inside { positions, aborted }));
        Run { object, base_offset, end_offset, at, bytes, max_timestamp, indexed }
    }
}

impl From<&Extent> for Run {
    fn from(extent: &Extent) -> Run {
        let Extent { base_offset, object, at, bytes, max_timestamp, .. } = *extent;
        let (end_offset, bytes) = (extent.end_offset(), u64::from(bytes));
        Run { object, base_offset, end_offset, at, bytes, max_timestamp, indexed: None }
    }
}

/// From which offset on a partition is read, and all that the manifest knows of what lies there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span<'a> {
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    pub(crate) from: i64,
    /// None if nothing in it ends behind `from`.
    pub(crate) index: Option<Branch>,
    pub(crate) extents: &'a [Extent],
}

/// What was decoded.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    Inner(Arc<[Branch]>),
    Leaf(Arc<[Run]>),
    Chunk(Arc<Inside>),
    Columns(Arc<Layout>, Arc<Inside>),
}

impl Known {
    fn bytes(&self) -> usize {
        let inside = |inside: &Inside| {
            size_of_val(inside) + size_of_val(&*inside.positions) + size_of_val(&*inside.aborted)
        };
        let behind = match self {
            Known::Inner(branches) => size_of_val(&**branches),
            Known::Chunk(chunk) => inside(chunk),
            Known::Columns(layout, chunk) => layout.memory_bytes() + inside(chunk),
            Known::Leaf(runs) => {
                let indexed = runs.iter().filter_map(|run| run.indexed.as_deref());
                size_of_val(&**runs) + indexed.map(inside).sum::<usize>()
            }
        };
        256 + behind
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Node(Uuid, u32, Ulid),
    Footer(ChunkId),
}

/// Nodes and footers, decoded. A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct History {
    store: Store,
    known: Cache<Key, Known>,
}

impl History {
    pub(crate) fn new(store: Store, most_bytes: usize) -> History {
        let known = Cache::builder()
            .max_capacity(most_bytes as u64)
            .weigher(|_, known: &Known| u32::try_from(known.bytes()).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .build();
        History { store, known }
    }

    /// What the node `branch` holds. [`Error::NotFound`]: it was replaced, plan anew from a newer manifest.
    pub(crate) async fn node(&self, topic: Uuid, partition: u32, branch: Branch) -> Result<Known, Error> {
        let fetch = async {
            let key = paths::index(topic, partition, branch.id);
            self.store.get_as(&key, |body| decode(&key, &body.to_bytes(), &branch)).await
        };
        self.get(Key::Node(topic, partition, branch.id), fetch).await
    }

    /// What is known of the inside of a run: of a chunk its positions, of all others nothing.
    pub(crate) async fn inside(&self, run: &Run) -> Result<Option<Arc<Inside>>, Error> {
        let ObjectId::Chunk(chunk) = run.object else { return Ok(None) };
        if let Some(indexed) = &run.indexed {
            return Ok(Some(Arc::clone(indexed)));
        }
        match self.footer(run, chunk).await? {
            Known::Chunk(inside) | Known::Columns(_, inside) => Ok(Some(inside)),
            Known::Inner(_) | Known::Leaf(_) => Ok(None),
        }
    }

    /// What the footer of a Parquet chunk says.
    pub(crate) async fn layout(&self, run: &Run, chunk: ChunkId) -> Result<Arc<Layout>, Error> {
        match self.footer(run, chunk).await? {
            Known::Columns(layout, _) => Ok(layout),
            _ => Err(Error::corrupt(chunk.key(), "it is no Parquet file")),
        }
    }

    async fn footer(&self, run: &Run, chunk: ChunkId) -> Result<Known, Error> {
        let fetch = async {
            let key = chunk.key();
            let read = || self.read_footer(&key, chunk.format, run.end_at());
            let decode = |tail: &Rope| {
                let (footer, layout) =
                    strandline_archive::read_footer(&chunk, run.end_at(), &tail.to_bytes())?;
                let Footer { end_offset, bytes, positions, aborted, .. } = footer;
                if (chunk.run_at(), bytes, end_offset) != (run.at, run.bytes, run.end_offset) {
                    return Err(Error::corrupt(&key, "its footer is not that of its extent"));
                }
                let inside = Arc::new(Inside { positions, aborted });
                Ok(match layout {
                    Some(layout) => Known::Columns(Arc::new(layout), inside),
                    None => Known::Chunk(inside),
                })
            };
            self.store.get_whole(&key, read, decode).await?.1
        };
        self.get(Key::Footer(chunk), fetch).await
    }

    /// All that lies in a chunk from `at` on.
    async fn read_footer(&self, key: &str, format: Format, at: u64) -> Result<Rope, Error> {
        let begin = self.store.get_range(key, at..at.saturating_add(FOOTER_BYTES)).await?;
        if format == Format::Parquet {
            let whole = (begin.len() as u64) < FOOTER_BYTES;
            let all = at..at.saturating_add(MOST_FOOTER_BYTES);
            return if whole { Ok(begin) } else { self.store.get_range(key, all).await };
        }
        let prefix = begin.array::<{ object::PREFIX_BYTES }>(0).unwrap_or_default();
        // What is no footer is refused when it is decoded.
        let frame = object::header_end(key, Shape::Footer, &prefix).unwrap_or(0);
        let all = (frame + chunk::TRAILER_BYTES) as u64;
        if all <= begin.len() as u64 || (begin.len() as u64) < FOOTER_BYTES {
            return Ok(begin);
        }
        self.store.get_range(key, at..at.saturating_add(all)).await
    }

    async fn get(&self, key: Key, fetch: impl Future<Output = Result<Known, Error>>) -> Result<Known, Error> {
        let mut from = "cache";
        let fetch = async {
            from = "store";
            fetch.await
        };
        let known =
            self.known.try_get_with(key, fetch).await.map_err(|error: Arc<Error>| (*error).clone())?;
        metrics::INDEX_READS.with_label_values(&[from]).inc();
        if from == "store" {
            // Evictions are put off by default.
            self.known.run_pending_tasks().await;
            metrics::INDEX_BYTES.set(self.known.weighted_size() as i64);
        }
        Ok(known)
    }

    /// What a node holds, if it is here. If not, it is fetched beside.
    async fn at_hand(&self, topic: Uuid, partition: u32, branch: Branch) -> Option<Known> {
        let known = self.known.get(&Key::Node(topic, partition, branch.id)).await;
        if known.is_none() {
            let history = self.clone();
            env::spawn(async move {
                if let Err(error) = history.node(topic, partition, branch).await {
                    // Whoever needs the node will try again, and hear of it.
                    tracing::debug!(%error, "reading ahead failed");
                }
            });
        }
        known
    }
}

fn decode(key: &str, body: &[u8], branch: &Branch) -> Result<Known, Error> {
    let (.., id, node) = Node::decode(key, body)?;
    let offsets = |branch: &Branch| (branch.base_offset, branch.end_offset);
    if node.branch(id).as_ref().map(offsets) != Some(offsets(branch)) {
        return Err(Error::corrupt(key, "it stands for other offsets than the one above it says"));
    }
    Ok(match node {
        Node::Inner(branches) => Known::Inner(branches.into()),
        Node::Leaf(entries) => Known::Leaf(entries.into_iter().map(Run::of_entry).collect()),
    })
}

/// The runs of a span, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Runs<'a> {
    span: Span<'a>,
    /// Until it is opened.
    root: Option<Branch>,
    /// What is open, and how far it was gone through.
    inner: Option<(Arc<[Branch]>, usize)>,
    leaf: Option<(Arc<[Run]>, usize)>,
    extent: usize,
}

enum Step {
    Run(Run),
    /// This node is to be opened first.
    Open(Branch),
    End,
}

impl<'a> Runs<'a> {
    pub(crate) fn of(span: Span<'a>) -> Runs<'a> {
        Runs { span, root: span.index, inner: None, leaf: None, extent: 0 }
    }

    /// The next run that may have a timestamp of at least `since`.
    pub(crate) async fn next(&mut self, history: &History, since: i64) -> Result<Option<Run>, Error> {
        loop {
            match self.step(since) {
                Step::Run(run) => return Ok(Some(run)),
                Step::End => return Ok(None),
                Step::Open(branch) => {
                    let known = history.node(self.span.topic, self.span.partition, branch).await?;
                    self.open(&branch, known)?;
                }
            }
        }
    }

    /// The next run, if it is known without waiting.
    pub(crate) async fn next_at_hand(&mut self, history: &History) -> Option<Run> {
        loop {
            match self.step(i64::MIN) {
                Step::Run(run) => return Some(run),
                Step::End => return None,
                Step::Open(branch) => {
                    let known = history.at_hand(self.span.topic, self.span.partition, branch).await?;
                    self.open(&branch, known).ok()?;
                }
            }
        }
    }

    fn step(&mut self, since: i64) -> Step {
        let from = self.span.from;
        if let Some((runs, next)) = &mut self.leaf {
            let there = |run: &Run| (run.end_offset > from, run.max_timestamp >= since);
            if let Some(run) = next_of(runs, next, there) {
                return Step::Run(run.clone());
            }
            self.leaf = None;
        }
        if let Some((branches, next)) = &mut self.inner {
            let there = |branch: &Branch| (branch.end_offset > from, branch.max_timestamp >= since);
            if let Some(branch) = next_of(branches, next, there) {
                return Step::Open(*branch);
            }
            self.inner = None;
        }
        if let Some(root) = self.root.take().filter(|root| root.max_timestamp >= since) {
            return Step::Open(root);
        }
        let there = |extent: &Extent| (extent.end_offset() > from, extent.max_timestamp >= since);
        next_of(self.span.extents, &mut self.extent, there)
            .map_or(Step::End, |extent| Step::Run(extent.into()))
    }

    fn open(&mut self, branch: &Branch, known: Known) -> Result<(), Error> {
        match known {
            Known::Inner(branches) if self.inner.is_none() => self.inner = Some((branches, 0)),
            Known::Leaf(runs) => self.leaf = Some((runs, 0)),
            Known::Inner(_) | Known::Chunk(_) | Known::Columns(..) => {
                let key = paths::index(self.span.topic, self.span.partition, branch.id);
                return Err(Error::corrupt(key, "the index has no third level"));
            }
        }
        Ok(())
    }
}

/// The first of `items` from `next` on that ends behind the wanted offset and is late enough; moves `next` past it. The items
/// stand by offset.
fn next_of<'a, T>(items: &'a [T], next: &mut usize, there: impl Fn(&T) -> (bool, bool)) -> Option<&'a T> {
    let begun = (*next).max(items.partition_point(|item| !there(item).0));
    let found = items.get(begun..)?.iter().position(|item| there(item).1);
    *next = found.map_or(items.len(), |found| begun + found + 1);
    items.get(begun + found?)
}
