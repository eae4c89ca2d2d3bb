//! What ingest, the reader and the compactor promise, seen from the store: what is written before what, what it costs, what it holds.
//!
//! Runs on a watched in-memory store with time that the tests move, so that a minute passes in no time and nothing depends
//! on how fast this machine is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compaction;
mod ingest;
mod reader;

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_core::manifest::Journal;
use strandline_core::manifest::journal::Options;
use strandline_core::record::RecordBuilder;
use strandline_ingest::{Append, Config, Ingest};
use strandline_tests::Watched;
use uuid::Uuid;

/// One node that only writes, on a watched store, with one topic.
struct Writer {
    store: Watched,
    journal: Journal,
    ingest: Ingest,
    topic: Uuid,
}

impl Writer {
    async fn start(partitions: u32, config: Config) -> Writer {
        let store = Watched::default();
        let journal = Journal::open(store.store(), Options::default()).await.unwrap();
        let topic = journal.create_topic("t", partitions, BTreeMap::new()).await.unwrap().unwrap();
        Writer { ingest: Ingest::start(journal.clone(), config), store, journal, topic }
    }

    async fn append(&self, partition: u32, batch: Bytes) -> Append {
        let admission = self.ingest.admit(batch.len()).await.unwrap();
        self.ingest.append(self.topic, partition, batch, admission)
    }
}

/// A batch of one record of `bytes`.
fn batch(bytes: usize) -> Bytes {
    let mut builder = RecordBuilder::default();
    builder.push(1, None, Some(&vec![7; bytes]));
    builder.finish()
}
