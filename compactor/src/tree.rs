//! The index of a partition: chunks join it at its end.
//!
//! Must not know when they should. Invariants: nodes are written before the root that leads to them is named; nodes that stay
//! as they are keep their names; what lies below the partition's first offset is left out. The fold looks at the time of the
//! root alone: whatever comes in with it must not carry an earlier one, or it may be garbage by then.

use bytes::Bytes;
use strandline_core::index::{Branch, Entry, Node};
use strandline_core::limits::{INDEX_INNER_BRANCHES, INDEX_LEAF_CHUNKS, MIB};
use strandline_core::manifest::{Change, Extent, IndexChunks, Journal, ObjectId};
use strandline_core::{Error, Result, paths};
use ulid::Ulid;
use uuid::Uuid;

use crate::input::damaged;
use crate::output;

/// What new nodes are made of, and the time that all of them carry.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    at_ms: i64,
    chunks: &'a [Extent],
}

/// More than a footer ever has.
const FOOTER_BYTES: u64 = 64 * MIB as u64;

/// A partition whose index is at work here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
    /// Chunks of one leaf.
    pub(crate) leaf_chunks: usize,
}

/// What of a partition's history is there.
struct Found {
    log_start: i64,
    root: Option<Branch>,
    chunks: Vec<Extent>,
}

impl<'a> Tree<'a> {
    /// To be read, or to grow as usual.
    pub(crate) fn of(journal: &'a Journal, topic: Uuid, partition: u32) -> Tree<'a> {
        Tree { journal, topic, partition, leaf_chunks: INDEX_LEAF_CHUNKS }
    }

    /// Writes the nodes that take in the first `count` extents, and gives the change that names their root; `None`: there are
    /// no such chunks any more.
    pub(crate) async fn absorb(self, count: usize) -> Result<Option<Change>> {
        let at_ms = output::now_ms(self.journal);
        let Some(Found { log_start, root, chunks }) = self.look(count) else { return Ok(None) };
        let origin = Origin { at_ms, chunks: &chunks };
        let alive = |end_offset: i64| end_offset > log_start;
        let (mut branches, mut entries) = match &root {
            None => (Vec::new(), Vec::new()),
            Some(root) => self.last_leaf(root).await?,
        };
        branches.retain(|branch| alive(branch.end_offset));
        entries.retain(|entry| alive(entry.end_offset));
        for chunk in &chunks {
            entries.push(self.entry(chunk).await?);
        }
        branches.extend(self.put_leaves(entries, origin).await?);
        let root_now = self.put_root(branches, origin).await?;
        Ok(Some(Change::IndexChunks(IndexChunks {
            topic: self.topic,
            partition: self.partition,
            replaces: root.map(|root| root.id),
            absorbs: chunks.iter().map(|extent| extent.object.into()).collect(),
            root: root_now,
        })))
    }

    /// The chunks that end behind `log_start`, in order.
    pub(crate) async fn entries(self, root: &Branch, log_start: i64) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut ahead = vec![*root];
        while let Some(branch) = ahead.pop() {
            if branch.end_offset <= log_start {
                continue;
            }
            match self.get(&branch).await? {
                Node::Inner(branches) => ahead.extend(branches.into_iter().rev()),
                Node::Leaf(entries) => found.extend(entries),
            }
        }
        found.retain(|entry| entry.end_offset > log_start);
        Ok(found)
    }

    /// Writes the nodes in which `entry` takes the place of these chunks, and gives the change that names their root; `None`:
    /// they are not all there.
    pub(crate) async fn replace(
        self,
        root: &Branch,
        chunks: &[Extent],
        entry: Entry,
    ) -> Result<Option<Change>> {
        let leaves = match self.get(root).await? {
            Node::Leaf(_) => vec![*root],
            Node::Inner(branches) => branches,
        };
        let (from, upto) = (entry.chunk.base_offset, entry.end_offset);
        let begin = leaves.partition_point(|leaf| leaf.end_offset <= from);
        let end = leaves.partition_point(|leaf| leaf.base_offset < upto);
        let mut entries = Vec::new();
        for leaf in leaves.get(begin..end).unwrap_or_default() {
            match self.get(leaf).await? {
                Node::Leaf(some) => entries.extend(some),
                Node::Inner(_) => return Err(Error::corrupt(self.key(leaf.id), "an index has three levels")),
            }
        }
        let at = entries.partition_point(|one| one.end_offset <= from);
        let replaced = entries.get(at..at + chunks.len()).unwrap_or_default();
        let same = |(one, chunk): (&Entry, &Extent)| ObjectId::Chunk(one.chunk) == chunk.object;
        if replaced.len() != chunks.len() || !replaced.iter().zip(chunks).all(same) {
            return Ok(None);
        }
        let entry_ms = entry.chunk.id.timestamp_ms();
        entries.splice(at..at + chunks.len(), [entry]);
        let at_ms = i64::try_from(entry_ms).unwrap_or(i64::MAX);
        let origin = Origin { at_ms, chunks };
        let (mut before, after) = (leaves.get(..begin).unwrap_or_default().to_vec(), leaves.get(end..));
        before.extend(self.put_leaves(entries, origin).await?);
        before.extend_from_slice(after.unwrap_or_default());
        let root_now = self.put_root(before, origin).await?;
        Ok(Some(Change::IndexChunks(IndexChunks {
            topic: self.topic,
            partition: self.partition,
            replaces: Some(root.id),
            absorbs: Vec::new(),
            root: root_now,
        })))
    }

    async fn put_leaves(self, entries: Vec<Entry>, origin: Origin<'_>) -> Result<Vec<Branch>> {
        let mut leaves = Vec::new();
        for leaf in entries.chunks(self.leaf_chunks.clamp(1, INDEX_LEAF_CHUNKS)) {
            leaves.push(self.put(Node::Leaf(leaf.to_vec()), origin).await?);
        }
        Ok(leaves)
    }

    async fn put_root(self, leaves: Vec<Branch>, origin: Origin<'_>) -> Result<Branch> {
        match leaves.as_slice() {
            [only] => Ok(*only),
            _ if leaves.len() > INDEX_INNER_BRANCHES => {
                Err(Error::Invalid("the index of a partition has as many chunks as it may".into()))
            }
            _ => self.put(Node::Inner(leaves), origin).await,
        }
    }

    fn look(self, count: usize) -> Option<Found> {
        self.journal.view(|manifest| {
            let partition = manifest.partition(&self.topic, self.partition)?;
            let is_chunk = |extent: &&Extent| matches!(extent.object, ObjectId::Chunk(_));
            let chunks: Vec<_> = partition.extents.iter().take(count).take_while(is_chunk).copied().collect();
            let (log_start, root) = (partition.log_start, partition.index);
            (!chunks.is_empty()).then_some(Found { log_start, root, chunks })
        })
    }

    /// The leaves that stay as they are, and the chunks of the last one if there is room in it.
    async fn last_leaf(self, root: &Branch) -> Result<(Vec<Branch>, Vec<Entry>)> {
        let mut branches = match self.get(root).await? {
            Node::Leaf(entries) if entries.len() < self.leaf_chunks => return Ok((Vec::new(), entries)),
            Node::Leaf(_) => vec![*root],
            Node::Inner(branches) => branches,
        };
        let has_room = |leaf: &mut Branch| leaf.chunks < self.leaf_chunks as u64;
        let Some(last) = branches.pop_if(has_room) else { return Ok((branches, Vec::new())) };
        match self.get(&last).await? {
            Node::Leaf(entries) => Ok((branches, entries)),
            Node::Inner(_) => Err(Error::corrupt(self.key(last.id), "an index has three levels")),
        }
    }

    /// A node of the index.
    pub(crate) async fn get(self, branch: &Branch) -> Result<Node> {
        let key = self.key(branch.id);
        let store = self.journal.store();
        store.get_as(&key, |body| Node::decode_as(&key, &body.to_bytes(), branch)).await
    }

    async fn put(self, node: Node, origin: Origin<'_>) -> Result<Branch> {
        let id = output::name(self.journal, origin.at_ms, origin.chunks);
        let body: Bytes = node.encode(self.topic, self.partition, id);
        output::put(self.journal, &self.key(id), body).await?;
        node.branch(id).ok_or_else(|| Error::Invalid("a node of an index without children".into()))
    }

    async fn entry(self, extent: &Extent) -> Result<Entry> {
        let ObjectId::Chunk(id) = extent.object else { return Err(damaged(extent, "it is no chunk")) };
        let (key, end) = (id.key(), extent.at + u64::from(extent.bytes));
        let tail = self.journal.store().get_range(&key, end..end + FOOTER_BYTES).await?;
        let (footer, _) = strandline_archive::read_footer(&id, end, &tail.to_bytes())?;
        let entry = Entry::new(id, &footer);
        let same = entry.end_offset == extent.end_offset() && entry.bytes == u64::from(extent.bytes);
        if same { Ok(entry) } else { Err(damaged(extent, "its footer tells of another run")) }
    }

    fn key(self, id: Ulid) -> String {
        paths::index(self.topic, self.partition, id)
    }
}
