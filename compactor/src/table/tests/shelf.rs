//! A topic whose chunks come and go, and a reader that knows nothing but the bucket.

use bytes::Bytes;
use fastrand::Rng;
use strandline_archive::encoder::{Encoder, Options};
use strandline_archive::Row;
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
        Shelf { store, topic, state, dice: Rng::with_seed(seed) }
    }

    pub(super) async fn publish(&self) -> Result<Published> {
        let mut read = BTreeMap::new();
        Ok(publish(&self.store, &self.state, self.state.now_ms, &mut read).await?.0)
    }

    /// Something was committed.
    fn commit(&mut self) {
        self.state.slot += 1;
        self.state.now_ms += 60_000;
        self.state.settle();
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

    async fn write(&mut self, partition: u32, base_offset: i64, end_offset: i64) -> File {
        let id = ulid::Ulid::from_parts(self.state.now_ms as u64, self.dice.u128(..));
        let chunk = ChunkId { topic: self.topic, partition, base_offset, id, format: Format::Parquet };
        let options = Options { row_group_rows: 4, ..Options::new(partition, base_offset) };
        let mut encoder = Encoder::new(options).unwrap();
        for offset in base_offset..end_offset {
            let key = Some(Bytes::from(format!("key {offset}")));
            let value = (offset % 5 > 0).then(|| Bytes::from(format!("value {offset} of {partition}")));
            let timestamp = BEGIN_MS + offset * 1_000;
            encoder.push(Row { offset, timestamp, append_time: false, key, value, headers: Vec::new() }).unwrap();
        }
        let mut pieces = encoder.take();
        let (last, summary) = encoder.finish(end_offset).unwrap();
        pieces.extend(last);
        self.store.put(&chunk.key(), &Rope::new(pieces)).await.unwrap();
        File { chunk, end_offset, run_end: 4 + summary.bytes }
    }
}
