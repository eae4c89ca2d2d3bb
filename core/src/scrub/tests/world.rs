//! A log as ingest writes one: inline runs, segments with runs of several partitions, idempotent and plain batches,
//! duplicates, refused batches, three checkpoints.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use ulid::Ulid;
use uuid::Uuid;

use super::*;
use crate::manifest::commit::group::{CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup};
use crate::manifest::journal::{self, Journal};
use crate::manifest::{Append, BatchMeta, Change, Extent, ObjectId, Outcome, Producer, checkpoint};
use crate::record::RecordBuilder;
use crate::rope::Rope;
use crate::segment::Segment;
use crate::testing::{Bucket, Dice, Machine, contents};

pub(super) struct World {
    pub(super) bucket: Bucket,
    pub(super) journal: Journal,
    pub(super) machine: Machine,
    pub(super) topics: Vec<Uuid>,
    dice: Dice,
    sequence: i32,
}

type Batch = (BatchMeta, Bytes);

impl World {
    pub(super) async fn empty(seed: u64) -> World {
        let bucket = Bucket::new();
        let machine = Machine::new(&bucket, seed);
        let journal = Journal::open(
            machine.store.clone(),
            journal::Options { tail_bytes: 0, ..journal::Options::default() },
        )
        .await
        .unwrap();
        World { bucket, journal, machine, topics: vec![], dice: Dice::new(seed), sequence: 0 }
    }

    /// About fifty slots; checkpoints after a quarter, a half and three quarters of them.
    pub(super) async fn new(seed: u64) -> World {
        let mut world = World::empty(seed).await;
        for (name, partitions) in [("a", 3), ("b", 1)] {
            let created = world.journal.create_topic(name, partitions, BTreeMap::new()).await;
            world.topics.push(created.unwrap().unwrap());
        }
        for part in 0..4 {
            for _ in 0..12 {
                match world.dice.below(10) {
                    0 => drop(world.journal.propose(vec![Change::Tick]).await.unwrap()),
                    1..=5 => world.append_inline().await,
                    _ => world.append_segment().await,
                }
            }
            // What every damage needs is there, whatever the dice say.
            world.append_inline().await;
            world.append_segment().await;
            if part < 3 {
                world.checkpoint().await;
            }
        }
        world
    }

    pub(super) fn manifest(&self) -> Manifest {
        self.journal.view(Manifest::clone)
    }

    pub(super) async fn checkpoint(&self) {
        let manifest = self.manifest();
        let key = paths::checkpoint(manifest.applied);
        self.put(&key, checkpoint::encode(&manifest)).await;
        self.put(paths::LATEST, manifest.applied.to_string()).await;
    }

    /// Records of every partition go, up to some offset in its second half.
    pub(super) async fn delete_records(&mut self) {
        let manifest = self.manifest();
        for topic in manifest.topics() {
            for (partition, of) in (0..).zip(&topic.partitions) {
                let high = of.high_watermark as u64;
                let before = self.dice.between(high / 2, high) as i64;
                let change = Change::DeleteRecords { topic: topic.id, partition, before };
                self.journal.propose(vec![change]).await.unwrap();
            }
        }
    }

    /// A batch of one to four records; every third is of an idempotent producer, at times one that was sent before.
    fn batch(&mut self) -> Batch {
        let mut records = RecordBuilder::default();
        for _ in 0..self.dice.between(1, 4) {
            let value = vec![self.dice.draw() as u8; self.dice.between(1, 300) as usize];
            records.push(self.dice.below(1_000) as i64, Some(b"key"), Some(&value));
        }
        let offsets = records.len() as u32;
        let producer = self.dice.per_mille(300).then(|| {
            let sequence = self.sequence;
            self.sequence += offsets as i32;
            Producer { id: 7, epoch: 0, sequence }
        });
        let bytes = match producer {
            Some(producer) => records.finish_as(producer.id, producer.epoch, producer.sequence),
            None => records.finish(),
        };
        (
            BatchMeta {
                bytes: bytes.len() as u32,
                offsets,
                max_timestamp: 1_000,
                producer,
                joins: Default::default(),
            },
            bytes,
        )
    }

    fn run(&mut self, most: u64) -> Vec<Batch> {
        (0..self.dice.between(1, most)).map(|_| self.batch()).collect()
    }

    fn place(&mut self) -> (Uuid, u32) {
        match self.dice.below(4) {
            3 => (self.topics[1], 0),
            partition => (self.topics[0], partition as u32),
        }
    }

    pub(super) async fn append_inline(&mut self) {
        let (mut changes, mut payload, mut at) = (vec![], vec![], 0);
        for _ in 0..self.dice.between(1, 3) {
            let ((topic, partition), run) = (self.place(), self.run(3));
            let (batches, bytes): (Vec<_>, Vec<_>) = run.into_iter().unzip();
            let crc = Rope::new(bytes.iter().cloned()).crc32c();
            let append = Append { topic, partition, segment: None, at, crc, batches };
            at += append.bytes();
            changes.push(Change::Append(append));
            payload.extend(bytes);
        }
        self.journal.propose_with(changes, Rope::new(payload)).await.unwrap().await.unwrap();
    }

    /// Half of the first topic's records are deleted, groups join and commit, a topic grows and is configured; two
    /// checkpoints more, the last one at the tail.
    pub(super) async fn befall(&mut self) {
        let topic = self.topics[0];
        let ends: Vec<i64> =
            self.manifest().topic(&topic).unwrap().partitions.iter().map(|one| one.high_watermark).collect();
        let mut changes: Vec<_> = (0..)
            .zip(ends)
            .map(|(partition, end)| Change::DeleteRecords { topic, partition, before: end / 2 + 1 })
            .collect();
        changes.push(Change::CreatePartitions { topic, count: 5 });
        changes.push(Change::UpdateGroup(UpdateGroup {
            group: "readers".to_owned(),
            seen_version: 0,
            kind: GroupKind::Classic,
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            epoch: 1,
            leader: "one".to_owned(),
            state: Bytes::new(),
            replace: true,
            put: vec![GroupMember { id: "one".to_owned(), epoch: 1, ..GroupMember::default() }],
            remove: vec![],
        }));
        changes.push(self.commit_offsets());
        let outcomes = self.journal.propose(changes).await.unwrap();
        assert!(!outcomes.iter().any(|outcome| matches!(outcome, Outcome::Void(_))), "{outcomes:?}");
        self.checkpoint().await;
        self.append_inline().await;
        self.append_segment().await;
        let commit = self.commit_offsets();
        self.journal.propose(vec![commit]).await.unwrap();
        self.checkpoint().await;
    }

    fn commit_offsets(&mut self) -> Change {
        let topic = self.topics[0];
        let offset = |partition| OffsetCommit {
            topic,
            partition,
            offset: 3,
            leader_epoch: -1,
            metadata: String::new(),
        };
        Change::CommitOffsets(CommitOffsets {
            group: "readers".to_owned(),
            member: "one".to_owned(),
            epoch: 1,
            instance_id: None,
            offsets: (0..3).map(offset).collect(),
        })
    }

    pub(super) async fn append_segment(&mut self) {
        let env = self.journal.env().clone();
        self.append_segment_as(env.ulid(env.wall_ms())).await;
    }

    async fn append_segment_as(&mut self, id: Ulid) {
        let runs: Vec<_> = (0..3).map(|partition| (self.topics[0], partition, self.run(4))).collect();
        let metas: Vec<Vec<_>> =
            runs.iter().map(|(_, _, run)| run.iter().map(|(meta, _)| *meta).collect()).collect();
        let runs = runs.into_iter().map(|(topic, partition, run)| {
            (topic, partition, run.into_iter().map(|(_, bytes)| bytes).collect())
        });
        let segment = Segment::new(id, runs);
        segment.write(&self.machine.store).await.unwrap();
        let changes = segment.runs.iter().zip(metas).map(|(run, batches)| {
            let (topic, partition, segment) = (run.topic, run.partition, Some(id));
            Change::Append(Append { topic, partition, segment, at: run.at, crc: run.crc, batches })
        });
        self.journal.propose(changes.collect()).await.unwrap();
    }

    /// A segment that no commit names.
    pub(super) async fn orphan(&self, at_ms: i64) -> u64 {
        let segment =
            Segment::new(self.journal.env().ulid(at_ms), [(self.topics[0], 0, vec![Bytes::from("x")])]);
        segment.write(&self.machine.store).await.unwrap();
        segment.body.len() as u64
    }

    pub(super) async fn floor(&self, k: u64, slot: u64) {
        self.put(&paths::floor(k), crate::manifest::floor::encode(slot)).await;
    }

    /// Plays the collector: slots below the floor go, but for those with records in them. Gives how many stay.
    pub(super) async fn trim(&self, floor: u64) -> u64 {
        self.floor(0, floor).await;
        let manifest = self.manifest();
        let used: Vec<_> = extents(&manifest).map(|(_, _, extent)| extent.object).collect();
        let mut left = 0;
        for slot in 1..floor {
            match used.contains(&ObjectId::Slot(slot)) {
                true => left += 1,
                false => self.delete(&paths::slot(slot)).await,
            }
        }
        for checkpoint in self.checkpoints().await.into_iter().filter(|slot| *slot < floor) {
            self.delete(&paths::checkpoint(checkpoint)).await;
        }
        left
    }

    pub(super) fn segment_extents(&self) -> Vec<Extent> {
        let manifest = self.manifest();
        let in_segment = |extent: &Extent| matches!(extent.object, ObjectId::Segment(_));
        extents(&manifest).map(|(_, _, extent)| *extent).filter(in_segment).collect()
    }

    pub(super) async fn segments(&self) -> Vec<String> {
        contents(&self.bucket, "segment").await.into_iter().map(|(key, _)| key).collect()
    }

    pub(super) async fn checkpoints(&self) -> Vec<u64> {
        let found = contents(&self.bucket, "checkpoint").await;
        found.iter().filter_map(|(key, _)| paths::checkpoint_slot(key)).collect()
    }

    /// Lets what was started beside everything else end.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    /// Another process, which has written nothing.
    pub(super) fn machine(&self) -> Machine {
        Machine::new(&self.bucket, 99)
    }

    pub(super) async fn scrub(&self, options: &Options) -> Report {
        scrub(&self.machine().store, options, &go).await.unwrap()
    }

    pub(super) async fn get(&self, key: &str) -> Vec<u8> {
        self.bucket.get(&Path::from(key)).await.unwrap().bytes().await.unwrap().to_vec()
    }

    pub(super) async fn put(&self, key: &str, body: impl Into<Bytes>) {
        self.bucket.put(&Path::from(key), body.into().into()).await.unwrap();
    }

    pub(super) async fn delete(&self, key: &str) {
        self.bucket.delete(&Path::from(key)).await.unwrap();
    }

    pub(super) async fn flip(&self, key: &str, at: usize, bit: u8) {
        let mut body = self.get(key).await;
        body[at] ^= 1 << bit;
        self.put(key, body).await;
    }
}

/// Every extent, whose it is, in the order of topics and partitions.
pub(super) fn extents(manifest: &Manifest) -> impl Iterator<Item = (Uuid, u32, &Extent)> {
    manifest.topics().flat_map(|topic| {
        (0..).zip(&topic.partitions).flat_map(move |(partition, found)| {
            found.extents.iter().map(move |extent| (topic.id, partition, extent))
        })
    })
}
