//! What the index of a partition leads to.
//!
//! Must not know what is done with the answer. Holds the topmost node and one leaf: chunks are best asked about in the order of
//! their offsets, as listings give them.

use strandline_core::chunk::ChunkId;
use strandline_core::index::{Branch, Entry, Node};
use strandline_core::manifest::Manifest;
use strandline_core::store::Store;
use strandline_core::{Error, Result, paths};
use ulid::Ulid;
use uuid::Uuid;

/// The index of one partition, or none.
#[derive(Debug)]
pub(super) struct Index<'a> {
    store: &'a Store,
    pub(super) topic: Uuid,
    pub(super) partition: u32,
    log_start: i64,
    root: Option<Branch>,
    /// Once the root was read; the root alone if that is a leaf.
    leaves: Option<Vec<Branch>>,
    leaf: Option<(Ulid, Vec<Entry>)>,
}

impl<'a> Index<'a> {
    pub(super) fn of(store: &'a Store, manifest: &Manifest, topic: Uuid, partition: u32) -> Index<'a> {
        let known = manifest.partition(&topic, partition);
        let log_start = known.map_or(0, |known| known.log_start);
        let root = known.and_then(|known| known.index).filter(|root| root.end_offset > log_start);
        Index { store, topic, partition, log_start, root, leaves: None, leaf: None }
    }

    pub(super) fn is_of(&self, topic: Uuid, partition: u32) -> bool {
        (self.topic, self.partition) == (topic, partition)
    }

    /// Whether it is found from the root on, and has offsets that are there. Errors name the key.
    pub(super) async fn leads_to_node(&mut self, id: Ulid) -> Result<bool, (String, Error)> {
        let Some(root) = self.root else { return Ok(false) };
        if root.id == id {
            return Ok(true);
        }
        let log_start = self.log_start;
        let leaves = self.leaves(&root).await?;
        Ok(leaves.iter().any(|leaf| leaf.id == id && leaf.end_offset > log_start))
    }

    /// The same for a chunk.
    pub(super) async fn leads_to_chunk(&mut self, chunk: &ChunkId) -> Result<bool, (String, Error)> {
        let Some(root) = self.root.filter(|root| chunk.base_offset < root.end_offset) else {
            return Ok(false);
        };
        let leaves = self.leaves(&root).await?;
        let at = leaves.partition_point(|leaf| leaf.end_offset <= chunk.base_offset);
        let Some(leaf) = leaves.get(at).copied() else { return Ok(false) };
        if leaf.end_offset <= self.log_start {
            return Ok(false);
        }
        let log_start = self.log_start;
        let entries = self.entries(&leaf).await?;
        let at = entries.partition_point(|entry| entry.end_offset <= chunk.base_offset);
        Ok(entries.get(at).is_some_and(|entry| entry.chunk == *chunk && entry.end_offset > log_start))
    }

    async fn leaves(&mut self, root: &Branch) -> Result<&[Branch], (String, Error)> {
        if self.leaves.is_none() {
            match self.read(root).await? {
                Node::Inner(leaves) => self.leaves = Some(leaves),
                Node::Leaf(entries) => {
                    self.leaf = Some((root.id, entries));
                    self.leaves = Some(vec![*root]);
                }
            }
        }
        Ok(self.leaves.as_deref().unwrap_or_default())
    }

    async fn entries(&mut self, leaf: &Branch) -> Result<&[Entry], (String, Error)> {
        if self.leaf.as_ref().is_none_or(|(id, _)| *id != leaf.id) {
            match self.read(leaf).await? {
                Node::Leaf(entries) => self.leaf = Some((leaf.id, entries)),
                Node::Inner(_) => {
                    let key = self.key(leaf.id);
                    return Err((key.clone(), Error::corrupt(key, "an index has three levels")));
                }
            }
        }
        Ok(self.leaf.as_ref().map_or(&[], |(_, entries)| entries.as_slice()))
    }

    async fn read(&self, branch: &Branch) -> Result<Node, (String, Error)> {
        let key = self.key(branch.id);
        let read = self.store.get_as(&key, |body| Node::decode_as(&key, &body.to_bytes(), branch)).await;
        read.map_err(|error| (key, error))
    }

    fn key(&self, id: Ulid) -> String {
        paths::index(self.topic, self.partition, id)
    }
}
