//! The index of a partition, as it lies in the bucket: the nodes below a root, and the chunks that they name. What ends at or
//! before the first offset may be gone, although it is named.
//!
//! Must not know who asks, nor any fault of the way to the bucket.

use strandline_core::index::{Branch, Entry, Node};
use strandline_core::paths;
use uuid::Uuid;

use crate::bucket::Bucket;

/// What is found through a root.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Keys of the nodes, the root's among them.
    pub(crate) nodes: Vec<String>,
    /// By offset.
    pub(crate) entries: Vec<Entry>,
}

impl Tree {
    /// Reads all of it. Says what is missing, or not what the node above it says.
    pub(crate) async fn read(
        bucket: &Bucket,
        topic: Uuid,
        partition: u32,
        (root, log_start): (Branch, i64),
    ) -> Result<Tree, String> {
        let mut tree = Tree::default();
        let mut ahead = vec![root];
        while let Some(branch) = ahead.pop() {
            if branch.end_offset <= log_start {
                continue;
            }
            let key = paths::index(topic, partition, branch.id);
            let body = bucket.get(&key).await.ok_or_else(|| format!("{key} is gone"))?;
            let (of_topic, of_partition, id, node) =
                Node::decode(&key, &body).map_err(|error| error.to_string())?;
            let same = (of_topic, of_partition, id) == (topic, partition, branch.id);
            if !same || node.branch(id) != Some(branch) {
                return Err(format!("{key} is not what the node above it says: {branch:?}"));
            }
            tree.nodes.push(key);
            match node {
                Node::Leaf(entries) => {
                    tree.entries.extend(entries.into_iter().filter(|entry| entry.end_offset > log_start));
                }
                Node::Inner(branches) => ahead.extend(branches.into_iter().rev()),
            }
        }
        Ok(tree)
    }
}
