//! The bytes of what this node wrote or followed last, so that a reader at the end of the log never asks the store.
//!
//! Ingest puts segments in, the journal puts commits in, the reader looks things up: they meet here. Must not know any
//! of them. Holds at most its configured bytes, oldest out first; a scan of old data never comes by here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::state::ObjectId;
use crate::rope::Rope;

/// The newest objects, whole. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tail {
    // Held for a few map operations only, never across an await.
    objects: Arc<Mutex<Objects>>,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Objects {
    by_id: BTreeMap<ObjectId, Rope>,
    oldest_first: VecDeque<ObjectId>,
    bytes: usize,
}

impl Tail {
    /// Holds at most `most_bytes`.
    pub fn new(most_bytes: usize) -> Tail {
        Tail { objects: Arc::default(), most_bytes }
    }

    /// Keeps an object. One that is larger than all the room is not kept.
    pub fn insert(&self, id: ObjectId, body: Rope) {
        if body.len() > self.most_bytes {
            return;
        }
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.bytes += body.len();
        if let Some(before) = objects.by_id.insert(id, body) {
            objects.bytes -= before.len();
        } else {
            objects.oldest_first.push_back(id);
        }
        while objects.bytes > self.most_bytes {
            let Some(oldest) = objects.oldest_first.pop_front() else { break };
            if let Some(gone) = objects.by_id.remove(&oldest) {
                objects.bytes -= gone.len();
            }
        }
    }

    /// The whole object, if it is here.
    pub fn get(&self, id: &ObjectId) -> Option<Rope> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}
