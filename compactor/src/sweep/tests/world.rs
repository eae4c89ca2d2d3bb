//! A cluster to which everything happens that makes garbage, in days that pass at once; and what it remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use strandline_core::index::Node;
use strandline_core::manifest::journal::Options;
use strandline_core::manifest::{Append, BatchMeta, Change, Journal, Manifest, ObjectId, Outcome};
use strandline_core::paths;
use strandline_core::record::{BatchHeader, RecordBuilder};
use strandline_core::rope::Rope;
use strandline_core::scrub::{self, Verdict};
use strandline_core::segment::Segment;
use ulid::Ulid;
use uuid::Uuid;

use crate::compactor::{Compactor, Config, Turn};
use crate::plan::Policy;
use crate::testing::Disk;

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) journal: Journal,
    pub(super) topics: Vec<Uuid>,
    pub(super) dice: Rng,
    names: u32,
    /// What the manifest referred to at each slot that was seen.
    pub(super) past: BTreeMap<u64, BTreeSet<String>>,
}

impl World {
    pub(super) async fn new(seed: u64) -> World {
        let disk = Disk::new();
        let journal = open(&disk, seed).await;
        let mut world = World {
            disk,
            journal,
            topics: Vec::new(),
            dice: Rng::with_seed(seed),
            names: 0,
            past: BTreeMap::new(),
        };
        world.create_topic().await;
        world
    }

    /// Something happens.
    pub(super) async fn step(&mut self) {
        match self.dice.u32(..24) {
            0 => self.create_topic().await,
            1 if self.topics.len() > 1 => self.delete_topic().await,
            2..=6 => self.append_inline().await,
            7..=12 => self.append_segment().await,
            13 => self.orphans().await,
            14 => self.delete_records().await,
            15..=19 => self.compact().await,
            20 => drop(self.journal.write_checkpoint().await.unwrap()),
            _ => tokio::time::sleep(Duration::from_secs(self.dice.u64(600..30 * 3_600))).await,
        }
        self.remember().await;
    }

    pub(super) async fn propose(&self, changes: Vec<Change>) -> Vec<Outcome> {
        self.journal.propose(changes).await.unwrap()
    }

    async fn create_topic(&mut self) {
        self.names += 1;
        let partitions = self.dice.u32(1..3);
        let name = format!("t{}", self.names);
        let created = self.journal.create_topic(&name, partitions, BTreeMap::new()).await;
        self.topics.push(created.unwrap().unwrap());
    }

    pub(super) async fn delete_topic(&mut self) {
        let at = self.dice.usize(..self.topics.len());
        let id = self.topics.swap_remove(at);
        self.journal.delete_topic(id).await.unwrap().unwrap();
    }

    fn place(&mut self) -> (Uuid, u32) {
        let topic = self.topics[self.dice.usize(..self.topics.len())];
        let count = self.journal.view(|manifest| manifest.topic(&topic).unwrap().partitions.len());
        (topic, self.dice.u32(..count as u32))
    }

    fn batch(&mut self) -> (BatchMeta, Bytes) {
        let mut builder = RecordBuilder::default();
        for _ in 0..self.dice.usize(1..4) {
            let value = vec![self.dice.u8(..); self.dice.usize(1..200)];
            builder.push(self.journal.stamp_ms(), Some(b"key"), Some(&value));
        }
        let bytes = builder.finish();
        let BatchHeader { offsets, max_timestamp, .. } = BatchHeader::check(&bytes).unwrap();
        let meta = BatchMeta {
            bytes: bytes.len() as u32,
            offsets,
            max_timestamp,
            producer: None,
            joins: Default::default(),
        };
        (meta, bytes)
    }

    pub(super) async fn append_inline(&mut self) {
        let ((topic, partition), (meta, bytes)) = (self.place(), self.batch());
        let rope = Rope::from(bytes);
        let append =
            Append { topic, partition, segment: None, at: 0, crc: rope.crc32c(), batches: vec![meta] };
        self.journal.propose_with(vec![Change::Append(append)], rope).await.unwrap().await.unwrap();
    }

    pub(super) async fn append_segment(&mut self) {
        let runs: Vec<_> = (0..self.dice.usize(1..3)).map(|_| (self.place(), self.batch())).collect();
        let metas: Vec<_> = runs.iter().map(|(_, (meta, _))| *meta).collect();
        let runs = runs.into_iter().map(|((topic, partition), (_, bytes))| (topic, partition, vec![bytes]));
        let segment = Segment::new(self.fresh(), runs);
        segment.write(self.journal.store()).await.unwrap();
        let append = |(run, meta): (&strandline_core::segment::Run, BatchMeta)| {
            let (topic, partition, segment) = (run.topic, run.partition, Some(segment.id));
            Change::Append(Append {
                topic,
                partition,
                segment,
                at: run.at,
                crc: run.crc,
                batches: vec![meta],
            })
        };
        self.propose(segment.runs.iter().zip(metas).map(append).collect()).await;
    }

    pub(super) fn fresh(&self) -> Ulid {
        self.journal.env().ulid(self.journal.stamp_ms())
    }

    /// What processes that died leave behind.
    pub(super) async fn orphans(&mut self) {
        let (topic, partition) = self.place();
        let (_, bytes) = self.batch();
        let segment = Segment::new(self.fresh(), [(topic, partition, vec![bytes])]);
        segment.write(self.journal.store()).await.unwrap();
        let id = self.fresh();
        let chunk = paths::chunk(topic, partition, self.dice.i64(0..40), id, "batches");
        let manifest = paths::table_file(topic, &format!("{id}-m0.avro"));
        for key in [chunk, paths::index(topic, partition, id), manifest, paths::probe(id, "race")] {
            self.disk.put(&key, "left behind").await;
        }
    }

    pub(super) async fn delete_records(&mut self) {
        let (topic, partition) = self.place();
        let high =
            self.journal.view(|manifest| manifest.partition(&topic, partition).unwrap().high_watermark);
        let before = self.dice.i64(0..=high);
        self.propose(vec![Change::DeleteRecords { topic, partition, before }]).await;
    }

    /// What the compactor does, with sizes at which it has something to do.
    pub(super) async fn compact(&mut self) {
        let policy = Policy {
            merge_bytes: 600,
            merge_extents: 4,
            merge_age_ms: 3_600_000,
            merge_slots: 10,
            large_bytes: 300,
            chunk_least_bytes: 500,
            chunk_bytes: 900,
            chunk_extents: 3,
            chunk_age_ms: 7_200_000,
            index_chunks: 2,
            block_bytes: 200,
            leaf_chunks: 3,
            ..Policy::default()
        };
        let mut compactor = Compactor::new(self.journal.clone(), Config { policy, ..Config::default() });
        compactor.pass(Turn::Busy, |_| {}).await.unwrap();
    }

    /// Notes what the manifest needs now.
    pub(super) async fn remember(&mut self) {
        self.journal.catch_up().await.unwrap();
        let manifest = self.journal.view(Manifest::clone);
        let needed = self.needed(&manifest).await;
        self.past.insert(manifest.applied, needed);
    }

    /// Every object in which a record is to be found, and what leads there.
    pub(super) async fn needed(&self, manifest: &Manifest) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        for topic in manifest.topics() {
            for (number, partition) in (0..).zip(&topic.partitions) {
                let bytes =
                    partition.extents.iter().filter(|extent| !matches!(extent.object, ObjectId::Marker(_)));
                needed.extend(bytes.map(|extent| extent.object.key()));
                let mut nodes: Vec<_> = partition.index.into_iter().collect();
                while let Some(branch) = nodes.pop() {
                    let key = paths::index(topic.id, number, branch.id);
                    let body =
                        self.disk.get(&key).await.unwrap_or_else(|| panic!("{key} is needed and gone"));
                    let (.., node) = Node::decode(&key, &body).unwrap();
                    match node {
                        Node::Inner(more) => {
                            nodes.extend(more.into_iter().filter(|one| one.end_offset > partition.log_start));
                        }
                        Node::Leaf(entries) => {
                            let alive = entries.iter().filter(|entry| entry.end_offset > partition.log_start);
                            needed.extend(alive.map(|entry| entry.chunk.key()));
                        }
                    }
                    needed.insert(key);
                }
            }
        }
        needed
    }

    /// D2: what any state from the floor on needs is there.
    pub(super) async fn assert_nothing_needed_is_gone(&self) {
        let floor = newest_floor(&self.disk).await;
        let there = self.disk.keys("").await;
        for (slot, needed) in self.past.range(floor..) {
            let gone: Vec<_> = needed.difference(&there).collect();
            assert!(gone.is_empty(), "gone, needed at {slot}, the floor is {floor}: {gone:?}");
        }
        assert_whole(&self.disk).await;
    }

    /// D3: nothing is there but what the newest state needs, and what the protocol keeps.
    pub(super) async fn assert_only_needed_is_there(&self) {
        let manifest = self.journal.view(Manifest::clone);
        let floor = newest_floor(&self.disk).await;
        let mut expected = self.needed(&manifest).await;
        expected.extend((floor..=manifest.applied).map(paths::slot));
        let there = self.disk.keys("").await;
        let kept = |key: &String| {
            let checkpoint = paths::numbered(key, paths::CHECKPOINTS);
            key == paths::LATEST
                || key == paths::CLUSTER
                || key.starts_with("floor/")
                || checkpoint.is_some_and(|slot| slot >= floor)
        };
        let left: Vec<_> = there.difference(&expected).filter(|key| !kept(key)).collect();
        assert!(left.is_empty(), "left at floor {floor}, {}: {left:?}", manifest.applied);
        assert_eq!(expected.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

pub(super) async fn open(disk: &Disk, seed: u64) -> Journal {
    let options = Options { tail_bytes: 0, checkpoint_every: 40 };
    Journal::open(disk.store(seed), options).await.unwrap()
}

/// Floors rise one by one; the newest.
pub(super) async fn newest_floor(disk: &Disk) -> u64 {
    let mut newest = 0;
    for (k, key) in disk.keys("floor").await.iter().enumerate() {
        assert_eq!(*key, paths::floor(k as u64));
        let slot = strandline_core::manifest::floor::decode(key, &disk.get(key).await.unwrap()).unwrap();
        assert!(slot > newest, "{key} is at {slot}, the one before at {newest}");
        newest = slot;
    }
    newest
}

pub(super) async fn assert_whole(disk: &Disk) {
    let options = scrub::Options { concurrency: 2, ..Default::default() };
    let report =
        scrub::scrub(&disk.store(77), &options, &|_| std::ops::ControlFlow::Continue(())).await.unwrap();
    assert_eq!((report.verdict, &report.faults), (Verdict::Clean, &vec![]), "{report:#?}");
}
