//! Tables of a real manifest, and the sweep beside them.

use std::ops::ControlFlow;

use strandline_core::chunk::Format;
use strandline_core::manifest::journal::Options;
use strandline_core::manifest::{Append, BatchMeta, Change, ObjectName, Outcome, Swap, SwapOutput, SwapRun};
use strandline_core::record::{BatchHeader, RecordBuilder};
use tokio::time::sleep;

use super::*;
use crate::sweep::Sweep;
use crate::testing::Way;

const HOUR: Duration = Duration::from_secs(3_600);

/// A log with one topic of one partition, its compactor's tables, and a shelf to make chunks with.
struct Log {
    way: Way,
    journal: Journal,
    tables: Tables,
    shelf: Shelf,
}

impl Log {
    async fn new() -> Log {
        let (way, store) = Disk::new().way(1);
        let options = Options { tail_bytes: 0, checkpoint_every: 40 };
        let journal = Journal::open(store.clone(), options).await.unwrap();
        let topic = journal.create_topic("orders", 1, BTreeMap::new()).await.unwrap().unwrap();
        let mut shelf = Shelf::new(store, 1);
        shelf.topic = topic;
        Log { way, journal, tables: Tables::default(), shelf }
    }

    /// Records come in and become a Parquet chunk.
    async fn append_chunk(&mut self) {
        let mut builder = RecordBuilder::default();
        (0..5).for_each(|_| builder.push(self.journal.stamp_ms(), Some(b"key"), Some(b"value")));
        let bytes = builder.finish();
        let BatchHeader { offsets, max_timestamp, .. } = BatchHeader::check(&bytes).unwrap();
        let (producer, joins) = Default::default();
        let batch = BatchMeta { bytes: bytes.len() as u32, offsets, max_timestamp, producer, joins };
        let (topic, rope) = (self.shelf.topic, Rope::from(bytes));
        let crc = rope.crc32c();
        let append = Append { topic, partition: 0, segment: None, at: 0, crc, batches: vec![batch] };
        self.journal.propose_with(vec![Change::Append(append)], rope).await.unwrap().await.unwrap();
        let last = |manifest: &strandline_core::manifest::Manifest| {
            manifest.partition(&topic, 0).unwrap().extents.last().copied().unwrap()
        };
        let extent = self.journal.view(last);
        self.shelf.state.now_ms = self.journal.stamp_ms();
        let file = self.shelf.write(0, extent.base_offset, extent.end_offset()).await;
        let output = SwapOutput {
            object: ObjectName::Chunk(file.chunk.id, Format::Parquet),
            at: 4,
            bytes: u32::try_from(file.run_end - 4).unwrap(),
            offsets,
            max_timestamp,
        };
        let (inputs, base_offset) = (vec![extent.object.into()], extent.base_offset);
        let run = SwapRun { topic, partition: 0, base_offset, inputs, outputs: vec![output] };
        let outcomes = self.journal.propose(vec![Change::Swap(Swap { runs: vec![run] })]).await.unwrap();
        assert!(matches!(&outcomes[0], Outcome::Swapped(runs) if runs[0].is_ok()), "{outcomes:?}");
    }

    async fn delete_records(&mut self, before: i64) {
        let change = Change::DeleteRecords { topic: self.shelf.topic, partition: 0, before };
        self.journal.propose(vec![change]).await.unwrap();
    }

    /// As a compactor does it. How many files the table shows then.
    async fn publish(&mut self) -> usize {
        sleep(PUBLISH_EVERY).await;
        self.tables.publish_all(&self.journal).await;
        let newest = version::newest(self.journal.store(), self.shelf.topic).await.unwrap().unwrap();
        assert_eq!(newest.hint, Some(newest.version));
        self.shelf.version(newest.version).await.unwrap().files.len()
    }

    /// Time passes, and what nobody needs goes.
    async fn sweep(&self, hours: u32) {
        for _ in 0..hours {
            sleep(HOUR).await;
            Sweep::new(self.journal.clone()).run(&|_| ControlFlow::Continue(())).await.unwrap();
        }
    }

    async fn keys(&self, folder: &str) -> usize {
        self.journal.store().list(folder, 1_000).await.unwrap().len()
    }

    /// Reads everything that the newest version leads to.
    async fn read_all(&self) {
        let newest = version::newest(self.journal.store(), self.shelf.topic).await.unwrap().unwrap();
        for snapshot in newest.metadata.unwrap().snapshots() {
            self.shelf.files(snapshot).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_follows_its_log_and_asks_for_nothing_while_nothing_happens() {
    let mut log = Log::new().await;
    log.tables.publish_all(&log.journal).await;
    assert_eq!(log.keys("table").await, 0);
    for count in 1..4 {
        log.append_chunk().await;
        assert_eq!(log.publish().await, count);
    }
    log.delete_records(7).await;
    assert_eq!(log.publish().await, 2);
    sleep(PUBLISH_EVERY).await;
    log.tables.publish_all(&log.journal).await;
    // Something happens to others.
    for name in ["payments", "returns"] {
        log.journal.create_topic(name, 3, BTreeMap::new()).await.unwrap().unwrap();
        log.way.take_log();
        sleep(PUBLISH_EVERY).await;
        log.tables.publish_all(&log.journal).await;
        assert_eq!(log.way.take_log(), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_too_soon_for_another_snapshot_comes_into_the_next() {
    let mut log = Log::new().await;
    for _ in 0..2 {
        log.append_chunk().await;
        log.tables.publish_all(&log.journal).await;
        assert_eq!(log.shelf.versions().await.len(), 1);
    }
    // Nothing has happened to the log since.
    assert_eq!(log.publish().await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_snapshots_lead_to_stays_and_all_else_goes() {
    let mut log = Log::new().await;
    for _ in 0..3 {
        log.append_chunk().await;
        log.publish().await;
    }
    // The chunks are old by now: without a table they would go as soon as the floor has passed.
    log.sweep(40).await;
    log.delete_records(12).await;
    log.publish().await;
    log.sweep(10).await;
    assert_eq!(log.keys("chunk").await, 3);
    log.read_all().await;
    // Twelve hours later the snapshots go, and with them what only they needed.
    log.sweep(4).await;
    log.publish().await;
    log.sweep(40).await;
    assert_eq!(log.keys("chunk").await, 1);
    log.read_all().await;
    // Versions, the hint, one list, a manifest of what is there and one of what went.
    let newest = version::newest(log.journal.store(), log.shelf.topic).await.unwrap().unwrap();
    assert_eq!(log.keys("table").await as u64, newest.version + 4);
    log.journal.delete_topic(log.shelf.topic).await.unwrap().unwrap();
    log.sweep(60).await;
    assert_eq!((log.keys("table").await, log.keys("chunk").await), (0, 0));
}
