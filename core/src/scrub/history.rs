//! What extents and indexes know of chunks, and what of that listings show.
//!
//! Must not know what is inside a chunk. Walks the index of every partition: reads each node and compares it with what the
//! one above it says. Holds, for the shards of one group, what is known of each chunk (128 bytes), and the names of all
//! nodes (16 bytes).

use std::collections::BTreeSet;
use std::ops::{ControlFlow, RangeInclusive};

use futures_util::{StreamExt, stream};
use ulid::Ulid;
use uuid::Uuid;

use super::context::Context;
use super::objects::RESTORE;
use super::report::{Finding, Findings, Kind, Orphans, Records, Unknown};
use super::survey::note;
use crate::chunk::ChunkId;
use crate::error::{Error, Result};
use crate::index::{Branch, Entry, Node};
use crate::manifest::state::is_stale;
use crate::manifest::{Manifest, ObjectId, Partition, Topic};
use crate::paths;

/// A chunk, as the manifest or its leaf knows it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) chunk: ChunkId,
    pub(super) end_offset: i64,
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) max_timestamp: i64,
    /// Of all that the leaf says of it; none: an extent lies in it, and no leaf knows it yet.
    pub(super) fingerprint: Option<u32>,
    /// None: not there.
    pub(super) size: Option<u64>,
}

/// Something that was named and was not found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    Chunk(ChunkId),
    Node(Uuid, u32, Ulid),
}

/// What is known for a group of shards.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By shard and name.
    known: Vec<Known>,
    /// All of them, sorted.
    nodes: Vec<Ulid>,
    /// Partitions whose index could not be read as a whole: nobody can tell what is an orphan there.
    unread: BTreeSet<(Uuid, u32)>,
    /// Nodes of the group's shards that were looked at.
    pub(super) nodes_read: u64,
    pub(super) findings: Findings,
    pub(super) suspects: Vec<(Wanted, Finding)>,
    pub(super) orphans: Orphans,
    pub(super) unknown: Unknown,
}

pub(super) fn shard_of(id: Ulid) -> u8 {
    id.0 as u8
}

impl Known {
    fn of_entry(entry: &Entry) -> Known {
        Known {
            chunk: entry.chunk,
            end_offset: entry.end_offset,
            at: entry.at,
            bytes: entry.bytes,
            max_timestamp: entry.max_timestamp,
            fingerprint: Some(fingerprint(entry)),
            size: None,
        }
    }

    pub(super) fn records(&self, manifest: &Manifest) -> Option<Records> {
        let ChunkId { topic, partition, base_offset, .. } = self.chunk;
        records(manifest, topic, partition, base_offset, self.end_offset)
    }

    fn order(&self) -> (u8, ChunkId) {
        (shard_of(self.chunk.id), self.chunk)
    }
}

/// Equal entries have equal ones.
pub(super) fn fingerprint(entry: &Entry) -> u32 {
    let ChunkId { topic, partition, .. } = entry.chunk;
    crc32c::crc32c(&Node::Leaf(vec![entry.clone()]).encode(topic, partition, Ulid::nil()))
}

/// Offsets of a partition that are still there, if there are any.
pub(super) fn records(
    manifest: &Manifest,
    topic: Uuid,
    partition: u32,
    base_offset: i64,
    end_offset: i64,
) -> Option<Records> {
    let found = manifest.topic(&topic)?;
    let log_start = found.partitions.get(partition as usize)?.log_start;
    Some(Records {
        topic: found.name.clone(),
        topic_id: topic.to_string(),
        partition,
        offsets: Some((base_offset.max(log_start), end_offset.saturating_sub(1))),
    })
}

impl History {
    /// Reads all indexes, and lists what there is.
    pub(super) async fn collect(
        ctx: &Context<'_>,
        manifest: &Manifest,
        shards: &RangeInclusive<u8>,
    ) -> History {
        let mut history = History::default();
        for topic in manifest.topics() {
            for (number, partition) in (0..).zip(&topic.partitions) {
                if ctx.is_stopped() {
                    return history;
                }
                history.extents(partition, shards);
                let mut walk = Walk { ctx, manifest, topic, number, shards, history: &mut history };
                walk.index(partition).await;
            }
        }
        history.known.sort_unstable_by_key(Known::order);
        history.nodes.sort_unstable();
        if let Err(error) = history.list_chunks(ctx, manifest, shards).await {
            // Nothing is known of what is there.
            (history.orphans, history.known) = Default::default();
            ctx.failed(&mut history.findings, "chunk", &error);
        }
        if let Err(error) = history.list_nodes(ctx, manifest, shards).await {
            ctx.failed(&mut history.findings, "index", &error);
        }
        history
    }

    /// The chunks of one shard.
    pub(super) fn of_shard(&self, shard: u8) -> &[Known] {
        let from = self.known.partition_point(|known| shard_of(known.chunk.id) < shard);
        let upto = self.known.partition_point(|known| shard_of(known.chunk.id) <= shard);
        self.known.get(from..upto).unwrap_or_default()
    }

    fn extents(&mut self, partition: &Partition, shards: &RangeInclusive<u8>) {
        for extent in &partition.extents {
            if let ObjectId::Chunk(chunk) = extent.object
                && shards.contains(&shard_of(chunk.id))
            {
                self.known.push(Known {
                    chunk,
                    end_offset: extent.end_offset(),
                    at: extent.at,
                    bytes: u64::from(extent.bytes),
                    max_timestamp: extent.max_timestamp,
                    fingerprint: None,
                    size: None,
                });
            }
        }
    }

    async fn list_chunks(
        &mut self,
        ctx: &Context<'_>,
        manifest: &Manifest,
        shards: &RangeInclusive<u8>,
    ) -> Result<()> {
        let History { known, unread, orphans, unknown, .. } = self;
        let _entered = ctx.enter(0).await;
        let listed = ctx.list("chunk", |found| {
            match ChunkId::from_key(&found.key) {
                // Counted once, whatever the groups are.
                None if shards.contains(&0) => note(unknown, found),
                Some(chunk) if shards.contains(&shard_of(chunk.id)) => {
                    match known.binary_search_by_key(&(shard_of(chunk.id), chunk), Known::order) {
                        Ok(at) => known.get_mut(at).into_iter().for_each(|one| one.size = Some(found.size)),
                        Err(_) if unread.contains(&(chunk.topic, chunk.partition)) => {}
                        Err(_) => count(orphans, chunk.id, manifest, found.size),
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        listed.await
    }

    async fn list_nodes(
        &mut self,
        ctx: &Context<'_>,
        manifest: &Manifest,
        shards: &RangeInclusive<u8>,
    ) -> Result<()> {
        let History { nodes, unread, orphans, unknown, .. } = self;
        let _entered = ctx.enter(0).await;
        let listed = ctx.list("index", |found| {
            match paths::index_parts(&found.key) {
                None if shards.contains(&0) => note(unknown, found),
                Some((topic, partition, id))
                    if shards.contains(&shard_of(id))
                        && nodes.binary_search(&id).is_err()
                        && !unread.contains(&(topic, partition)) =>
                {
                    count(orphans, id, manifest, found.size);
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        listed.await
    }
}

fn count(orphans: &mut Orphans, id: Ulid, manifest: &Manifest, size: u64) {
    match is_stale(id, manifest.now_ms) {
        true => orphans.collectable.add(size),
        false => orphans.young.add(size),
    }
}

/// The index of one partition.
struct Walk<'a, 'b> {
    ctx: &'a Context<'a>,
    manifest: &'a Manifest,
    topic: &'a Topic,
    number: u32,
    shards: &'a RangeInclusive<u8>,
    history: &'b mut History,
}

impl Walk<'_, '_> {
    async fn index(&mut self, partition: &Partition) {
        let Some(root) = partition.index else { return };
        let leaves = match read_node(self.ctx, self.topic.id, self.number, &root).await {
            Ok(Node::Inner(leaves)) => {
                self.saw(&root);
                leaves
            }
            Ok(Node::Leaf(entries)) => {
                self.saw(&root);
                return self.take(&entries, partition.log_start);
            }
            Err(error) => return self.failed(&root, error),
        };
        let (ctx, topic, number) = (self.ctx, self.topic.id, self.number);
        let alive = leaves.into_iter().filter(|leaf| leaf.end_offset > partition.log_start);
        let mut reads = stream::iter(alive)
            .map(|leaf| async move { (leaf, read_node(ctx, topic, number, &leaf).await) })
            .buffered(ctx.width);
        while let Some((leaf, read)) = reads.next().await {
            match read {
                Ok(Node::Leaf(entries)) => {
                    self.saw(&leaf);
                    self.take(&entries, partition.log_start);
                }
                Ok(Node::Inner(_)) => {
                    let key = paths::index(topic, number, leaf.id);
                    self.failed(&leaf, Error::corrupt(key, "it is an inner node where a leaf should be"));
                }
                Err(error) => self.failed(&leaf, error),
            }
        }
    }

    fn saw(&mut self, branch: &Branch) {
        self.history.nodes.push(branch.id);
        self.history.nodes_read += u64::from(self.shards.contains(&shard_of(branch.id)));
    }

    /// The chunks of a leaf that have offsets which are there.
    fn take(&mut self, entries: &[Entry], log_start: i64) {
        let ours = entries.iter().filter(|entry| entry.end_offset > log_start);
        let ours = ours.filter(|entry| self.shards.contains(&shard_of(entry.chunk.id)));
        self.history.known.extend(ours.map(Known::of_entry));
    }

    fn failed(&mut self, branch: &Branch, error: Error) {
        let (topic, number) = (self.topic.id, self.number);
        let key = paths::index(topic, number, branch.id);
        self.saw(branch);
        self.history.unread.insert((topic, number));
        let records = records(self.manifest, topic, number, branch.base_offset, branch.end_offset);
        let counts = self.shards.contains(&shard_of(branch.id));
        match error {
            // Another group of shards says so.
            Error::NotFound(_) | Error::Corrupt { .. } if !counts => {}
            Error::NotFound(_) => {
                let what = format!("it is not there, though it leads to {} chunks", branch.chunks);
                let finding = Finding::new(Kind::IndexMissing, "D1", key, what, RESTORE).records(records);
                self.history.suspects.push((Wanted::Node(topic, number, branch.id), finding));
            }
            Error::Corrupt { what, .. } => {
                let finding = Finding::new(Kind::IndexDamaged, "D1", key, what, RESTORE);
                self.history.findings.fault(finding.records(records));
            }
            error => self.ctx.failed(&mut self.history.findings, &key, &error),
        }
    }
}

/// A node that is what the one above it says. What does not decode is read again: the bytes may have changed on the way.
async fn read_node(ctx: &Context<'_>, topic: Uuid, partition: u32, branch: &Branch) -> Result<Node> {
    let key = paths::index(topic, partition, branch.id);
    let _entered = ctx.enter(1).await;
    let decode = |bytes: &[u8]| Node::decode_as(&key, bytes, branch);
    match decode(&ctx.read(&key).await?.to_bytes()) {
        Err(Error::Corrupt { .. }) => decode(&ctx.read(&key).await?.to_bytes()),
        decided => decided,
    }
}

/// Whether a newer manifest still leads to it.
pub(super) async fn is_wanted(ctx: &Context<'_>, newer: &Manifest, wanted: Wanted) -> Result<bool> {
    let (topic, number) = match wanted {
        Wanted::Chunk(chunk) => (chunk.topic, chunk.partition),
        Wanted::Node(topic, number, _) => (topic, number),
    };
    let Some(partition) = newer.partition(&topic, number) else { return Ok(false) };
    if let Wanted::Chunk(chunk) = wanted
        && partition.extents.iter().any(|extent| extent.object == ObjectId::Chunk(chunk))
    {
        return Ok(true);
    }
    let Some(root) = partition.index else { return Ok(false) };
    if matches!(wanted, Wanted::Node(_, _, id) if id == root.id) {
        return Ok(true);
    }
    let alive = |end_offset: i64| end_offset > partition.log_start;
    let mut node = read_node(ctx, topic, number, &root).await?;
    match (wanted, &node) {
        (Wanted::Node(_, _, id), Node::Inner(leaves)) => {
            return Ok(leaves.iter().any(|leaf| leaf.id == id && alive(leaf.end_offset)));
        }
        (Wanted::Node(..), Node::Leaf(_)) => return Ok(false),
        (Wanted::Chunk(chunk), Node::Inner(leaves)) => {
            let leaf = node.first_behind(chunk.base_offset).and_then(|at| leaves.get(at));
            let Some(leaf) = leaf.copied() else { return Ok(false) };
            node = read_node(ctx, topic, number, &leaf).await?;
        }
        (Wanted::Chunk(_), Node::Leaf(_)) => {}
    }
    let (Wanted::Chunk(chunk), Node::Leaf(entries)) = (wanted, node) else { return Ok(false) };
    Ok(entries.iter().any(|entry| entry.chunk == chunk && alive(entry.end_offset)))
}

impl Wanted {
    pub(super) fn key(&self) -> String {
        match self {
            Wanted::Chunk(chunk) => chunk.key(),
            Wanted::Node(topic, partition, id) => paths::index(*topic, *partition, *id),
        }
    }
}
