//! What the tables of topics hold: their own files, and the chunks that their snapshots refer to.
//!
//! Must not know what is done with the answer. Holds what one topic's table does: files and chunks are best asked about topic by
//! topic, as listings give them.

use strandline_core::chunk::{ChunkId, Format};
use strandline_core::store::Store;
use strandline_core::{Error, Result};
use uuid::Uuid;

use crate::table::Held;

/// The table that was asked about last.
#[derive(Debug, Default)]
pub(super) struct Holder(Option<(Uuid, Result<Held>)>);

impl Holder {
    /// Whether a file of a table is needed.
    pub(super) async fn holds_file(&mut self, store: &Store, topic: Uuid, name: &str) -> Result<bool> {
        Ok(self.of(store, topic).await?.has_file(name))
    }

    /// Whether a snapshot refers to a chunk. Nobody but tables knows of those that are not Parquet.
    pub(super) async fn holds_chunk(&mut self, store: &Store, chunk: &ChunkId) -> Result<bool> {
        match chunk.format {
            Format::Batches => Ok(false),
            Format::Parquet => self.of(store, chunk.topic).await?.has_chunk(store, chunk).await,
        }
    }

    async fn of(&mut self, store: &Store, topic: Uuid) -> Result<&mut Held> {
        let known = match self.0.take().filter(|(known, _)| *known == topic) {
            Some(known) => known,
            None => (topic, Held::of(store, topic).await),
        };
        let (_, held) = self.0.insert(known);
        held.as_mut().map_err(|error| Error::clone(error))
    }
}
