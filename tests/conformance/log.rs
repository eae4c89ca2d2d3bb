//! The properties of a log, as functions over a store. No test double: the real journal, ingest and reader.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use strandline_core::manifest::Journal;
use strandline_core::manifest::journal::Options;
use strandline_core::record::{RecordBuilder, records};
use strandline_core::rope::Rope;
use strandline_core::store::Store;
use strandline_ingest::{Appended, Config, Ingest};
use strandline_reader::{FetchLimits, FetchPartition, Isolation, OffsetSpec, ReadError, Reader};
use uuid::Uuid;

/// One process on the store.
struct Node {
    journal: Journal,
    ingest: Ingest,
    reader: Reader,
}

impl Node {
    async fn start(store: &Store) -> Node {
        Node::with(store, Config::default()).await
    }

    async fn with(store: &Store, config: Config) -> Node {
        let journal = Journal::open(store.clone(), Options::default()).await.unwrap();
        Node {
            ingest: Ingest::start(journal.clone(), config),
            reader: Reader::start(journal.clone(), Default::default()),
            journal,
        }
    }

    async fn stop(self) {
        self.ingest.close().await;
        self.journal.close().await;
    }

    async fn topic(&self, name: &str, partitions: u32) -> Uuid {
        self.journal.create_topic(name, partitions, BTreeMap::new()).await.unwrap().unwrap()
    }

    async fn append(&self, topic: Uuid, partition: u32, batch: Bytes) -> Appended {
        let admission = self.ingest.admit(batch.len()).await.unwrap();
        self.ingest.append(topic, partition, batch, admission).await.unwrap()
    }

    /// Everything in a partition, as (offset, value).
    async fn read_all(&self, topic: Uuid, partition: u32) -> Vec<(i64, String)> {
        let end = self
            .reader
            .offset_at(topic, partition, OffsetSpec::Latest, Isolation::ReadUncommitted)
            .await
            .unwrap()
            .offset;
        let mut found = Vec::new();
        let mut offset = 0;
        while offset < end {
            let wanted = FetchPartition { topic, partition, offset, max_bytes: 1 << 20 };
            let limits = FetchLimits {
                min_bytes: 1,
                max_bytes: 1 << 20,
                max_wait: Duration::from_secs(5),
                isolation: Isolation::ReadUncommitted,
            };
            let fetched = self.reader.fetch(&[wanted], limits).await.pop().unwrap().unwrap();
            for (at, value) in unfold(fetched.batches) {
                assert!(at >= offset, "offset {at} came again");
                assert_eq!(at, offset, "a gap before offset {at}");
                offset = at + 1;
                found.push((at, value));
            }
        }
        found
    }
}

/// The records of stamped batches.
fn unfold(batches: Vec<Bytes>) -> Vec<(i64, String)> {
    let mut rest = Rope::new(batches).to_bytes();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let base = i64::from_be_bytes(*rest.first_chunk().unwrap());
        let length = i32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize + 12;
        let batch = rest.split_to(length);
        for record in records(&batch).unwrap() {
            found.push((
                base + i64::from(record.offset_delta),
                String::from_utf8(record.value.unwrap().to_vec()).unwrap(),
            ));
        }
    }
    found
}

fn batch(values: &[String]) -> Bytes {
    let mut builder = RecordBuilder::default();
    for value in values {
        builder.push(1_000, None, Some(value.as_bytes()));
    }
    builder.finish()
}

/// Many small appends to several partitions, unacknowledged ones beside each other: order and content are kept.
pub(crate) async fn what_is_acknowledged_reads_back(store: Store) {
    let node = Node::start(&store).await;
    let topic = node.topic("t", 3).await;
    let mut waiting = Vec::new();
    for i in 0..300_u32 {
        let batch = batch(&[format!("{i}"), format!("{i}b")]);
        let admission = node.ingest.admit(batch.len()).await.unwrap();
        waiting.push(node.ingest.append(topic, i % 3, batch, admission));
    }
    let acks = join_all(waiting).await;
    for (i, ack) in acks.into_iter().enumerate() {
        assert_eq!(ack.unwrap().base_offset, (i as i64 / 3) * 2, "append {i}");
    }
    for partition in 0..3 {
        let expected: Vec<_> =
            (0..300).filter(|i| i % 3 == partition).flat_map(|i| [format!("{i}"), format!("{i}b")]).collect();
        let read: Vec<_> =
            node.read_all(topic, partition as u32).await.into_iter().map(|(_, value)| value).collect();
        assert_eq!(read, expected);
    }
    node.stop().await;
}

/// Flushes above the inline size go through segments, cut into several; a node with nothing in memory reads them back.
pub(crate) async fn large_flushes_go_through_segments(store: Store) {
    let config = Config {
        inline_max_bytes: 4 << 10,
        segment_bytes: 64 << 10,
        flush_interval: Duration::from_millis(20),
        ..Config::default()
    };
    let node = Node::with(&store, config).await;
    let topic = node.topic("t", 2).await;
    let mut waiting = Vec::new();
    for i in 0..600_u32 {
        let batch = batch(&[format!("{i:0>2000}")]);
        let admission = node.ingest.admit(batch.len()).await.unwrap();
        waiting.push(node.ingest.append(topic, i % 2, batch, admission));
    }
    for ack in join_all(waiting).await {
        ack.unwrap();
    }
    assert!(!store.list("segment", 10).await.unwrap().is_empty(), "no segment was written");
    let cold = Node::start(&store).await;
    for partition in 0..2 {
        let expected: Vec<_> =
            (0..600).filter(|i| i % 2 == partition).map(|i| format!("{i:0>2000}")).collect();
        let read: Vec<_> =
            cold.read_all(topic, partition as u32).await.into_iter().map(|(_, value)| value).collect();
        assert_eq!(read, expected);
    }
    node.stop().await;
    cold.stop().await;
}

/// A process that vanishes without a word loses nothing that it acknowledged; the next one goes on after it.
pub(crate) async fn a_restart_loses_nothing(store: Store) {
    let mut topic = Uuid::nil();
    for round in 0..5 {
        let node = Node::start(&store).await;
        if round == 0 {
            topic = node.topic("t", 1).await;
        }
        for i in 0..20 {
            let appended = node.append(topic, 0, batch(&[format!("{round}.{i}")])).await;
            assert_eq!(appended.base_offset, round * 20 + i);
        }
        // Not stopped: dropped.
    }
    let node = Node::start(&store).await;
    let expected: Vec<_> = (0..5).flat_map(|round| (0..20).map(move |i| format!("{round}.{i}"))).collect();
    assert_eq!(
        node.read_all(topic, 0).await.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
        expected
    );
    node.stop().await;
}

/// Two processes that do not know of each other: every acknowledged record is there once, where its acknowledgement said,
/// in the order of its writer, and both read the same.
pub(crate) async fn two_writers_share_one_log(store: Store) {
    let nodes = [Node::start(&store).await, Node::start(&store).await];
    let topic = nodes[0].topic("t", 1).await;
    nodes[1].journal.catch_up().await.unwrap();
    let write = |writer: usize| {
        let node = &nodes[writer];
        async move {
            let mut acked = Vec::new();
            for i in 0..60 {
                let value = format!("{writer}.{i}");
                acked.push((
                    node.append(topic, 0, batch(std::slice::from_ref(&value))).await.base_offset,
                    value,
                ));
            }
            acked
        }
    };
    let (mut first, second) = tokio::join!(write(0), write(1));
    assert!(first.is_sorted() && second.is_sorted(), "a writer's records are out of order");
    first.extend(second);
    first.sort();
    assert_eq!(nodes[0].read_all(topic, 0).await, first);
    assert_eq!(nodes[1].read_all(topic, 0).await, first);
    for node in nodes {
        node.stop().await;
    }
}

/// A name used again is another topic: it starts empty, and the old id reads nothing.
pub(crate) async fn a_deleted_topic_does_not_come_back(store: Store) {
    let node = Node::start(&store).await;
    let old = node.topic("t", 1).await;
    node.append(old, 0, batch(&["gone".to_owned()])).await;
    node.journal.delete_topic(old).await.unwrap().unwrap();
    let new = node.topic("t", 1).await;
    assert_ne!(old, new);
    assert_eq!(node.append(new, 0, batch(&["new".to_owned()])).await.base_offset, 0);
    assert_eq!(node.read_all(new, 0).await, [(0, "new".to_owned())]);
    let wanted = FetchPartition { topic: old, partition: 0, offset: 0, max_bytes: 1 };
    let limits = FetchLimits {
        min_bytes: 0,
        max_bytes: 1,
        max_wait: Duration::ZERO,
        isolation: Isolation::ReadUncommitted,
    };
    assert_eq!(
        node.reader.fetch(&[wanted], limits).await.pop().unwrap().unwrap_err(),
        ReadError::UnknownTopic
    );
    node.stop().await;
}

/// The first record at or after a time, also inside a batch; the largest timestamp; none after the last.
pub(crate) async fn offsets_are_found_by_time(store: Store) {
    let node = Node::start(&store).await;
    let topic = node.topic("t", 1).await;
    for start in [100, 50, 300] {
        let mut builder = RecordBuilder::default();
        for i in 0..10 {
            builder.push(start + i, None, Some(b"x"));
        }
        node.append(topic, 0, builder.finish()).await;
    }
    for (at, offset) in [(0, 0), (100, 0), (105, 5), (110, 20), (305, 25), (309, 29), (310, -1)] {
        let found = node
            .reader
            .offset_at(topic, 0, OffsetSpec::Timestamp(at), Isolation::ReadUncommitted)
            .await
            .unwrap();
        assert_eq!(found.offset, offset, "at {at}");
    }
    let max =
        node.reader.offset_at(topic, 0, OffsetSpec::MaxTimestamp, Isolation::ReadUncommitted).await.unwrap();
    assert_eq!((max.offset, max.timestamp), (29, 309));
    node.stop().await;
}

/// A pull that waits on one node is answered by what another node wrote.
pub(crate) async fn waiting_readers_hear_of_other_nodes(store: Store) {
    let (writer, follower) = (Node::start(&store).await, Node::start(&store).await);
    let topic = writer.topic("t", 1).await;
    let waiting = tokio::spawn(async move {
        let wanted = FetchPartition { topic, partition: 0, offset: 0, max_bytes: 1 << 20 };
        let limits = FetchLimits {
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_wait: Duration::from_secs(30),
            isolation: Isolation::ReadUncommitted,
        };
        let fetched = follower.reader.fetch(&[wanted], limits).await.pop().unwrap().unwrap();
        follower.stop().await;
        unfold(fetched.batches)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    writer.append(topic, 0, batch(&["news".to_owned()])).await;
    let found = tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("the follower never heard of it")
        .unwrap();
    assert_eq!(found, [(0, "news".to_owned())]);
    writer.stop().await;
}
