//! A bucket with one partition, what a compactor may make of it, and beside it all of its batches, one by one.
//!
//! Must not know the reader. What the compactor takes away is taken from the list as well, so that the list says at any time
//! what is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use strandline_core::chunk::{self, AbortedSpan, ChunkId, Footer, Format};
use strandline_core::env::Env;
use strandline_core::index::{Branch, Entry, Node};
use strandline_core::limits::CHUNK_BLOCK_BYTES;
use strandline_core::manifest::journal::Options;
use strandline_core::manifest::{
    Append, BatchMeta, Change, EndTransaction, Extent, IndexChunks, InitProducer, Joins, Journal, ObjectId,
    ObjectName, Outcome, Partition, Producer, Swap, SwapOutput, SwapRun, TransactionOf,
};
use strandline_core::paths;
use strandline_core::record::{self, BatchHeader, RecordBuilder};
use strandline_core::rope::Rope;
use strandline_core::segment::Segment;
use strandline_core::store::{Provider, Store};
use ulid::Ulid;
use uuid::Uuid;

/// Counts what is got of it, by folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Counted {
    inner: Arc<InMemory>,
    gets: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counted")
    }
}

impl Counted {
    pub(super) fn store(&self) -> Store {
        Store::new(Arc::new(self.clone()), Path::default(), Provider::Memory, "memory:", Env::system())
    }

    pub(super) fn gets(&self, folder: &str) -> usize {
        self.gets.lock().unwrap().get(folder).copied().unwrap_or(0)
    }

    pub(super) async fn damage(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.inner.get(&Path::from(key)).await.unwrap().bytes().await.unwrap().to_vec();
        change(&mut bytes);
        self.inner.put(&Path::from(key), bytes.into()).await.unwrap();
    }

    pub(super) async fn remove(&self, key: &str) {
        self.inner.delete(&Path::from(key)).await.unwrap();
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counted {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let folder = location.parts().next().map(|part| part.as_ref().to_owned()).unwrap_or_default();
        *self.gets.lock().unwrap().entry(folder).or_default() += 1;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A batch that is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    pub(super) base_offset: i64,
    pub(super) end_offset: i64,
    /// As a consumer must see it.
    pub(super) bytes: Bytes,
    pub(super) control: bool,
    /// Offset and timestamp.
    pub(super) records: Vec<(i64, i64)>,
}

impl Batch {
    fn new(base_offset: i64, bytes: &Bytes) -> Batch {
        let header = BatchHeader::at(&Rope::from(bytes.clone()), 0).unwrap();
        let mut pieces = Vec::new();
        record::stamp(&Rope::from(bytes.clone()), 0, &header, base_offset, &mut pieces).unwrap();
        let bytes = Rope::new(pieces).to_bytes();
        let records = record::timestamps(&bytes).unwrap().map(Result::unwrap);
        let records = records.map(|(delta, at)| (base_offset + i64::from(delta), at)).collect();
        let (end_offset, control) = (base_offset + i64::from(header.offsets), header.control());
        Batch { base_offset, end_offset, bytes, control, records }
    }
}

/// Everything in it lies in one partition.
pub(super) struct World {
    pub(super) objects: Counted,
    pub(super) journal: Journal,
    pub(super) topic: Uuid,
    pub(super) dice: Rng,
    pub(super) batches: Vec<Batch>,
    /// By their last offsets.
    pub(super) aborted: Vec<AbortedSpan>,
    /// Between two positions of a chunk.
    pub(super) block_bytes: u64,
    /// What the index holds.
    pub(super) entries: Vec<Entry>,
    /// Producers with transactions: number of the transaction, next sequence number, first offset if it is open.
    producers: Vec<(u64, i32, Option<i64>)>,
}

pub(super) const PRODUCERS: usize = 3;

impl World {
    pub(super) async fn new(seed: u64) -> World {
        let objects = Counted::default();
        let options = Options { tail_bytes: 0, ..Options::default() };
        let journal = Journal::open(objects.store(), options).await.unwrap();
        let topic = journal.create_topic("t", 2, BTreeMap::new()).await.unwrap().unwrap();
        for id in 0..PRODUCERS {
            let transactional_id = format!("p{id}");
            let init = InitProducer { transactional_id, timeout_ms: 800_000, known: None, begun: 0 };
            let began = journal.propose(vec![Change::InitProducer(init)]).await.unwrap();
            assert!(matches!(began[..], [Outcome::Producer(who)] if who.id == id as i64));
        }
        let producers = vec![(0, 0, None); PRODUCERS];
        let (dice, batches, aborted) = (Rng::with_seed(seed), Vec::new(), Vec::new());
        let (block_bytes, entries) = (CHUNK_BLOCK_BYTES, Vec::new());
        World { objects, journal, topic, dice, batches, aborted, block_bytes, entries, producers }
    }

    pub(super) fn partition(&self) -> Partition {
        self.journal.view(|manifest| manifest.topic(&self.topic).unwrap().partitions[0].clone())
    }

    pub(super) fn ulid(&self) -> Ulid {
        self.journal.env().ulid(self.journal.stamp_ms())
    }

    pub(super) async fn propose(&self, change: Change, payload: Rope) -> Outcome {
        self.journal.propose_with(vec![change], payload).await.unwrap().await.unwrap().remove(0)
    }

    /// A batch of some records around one time.
    fn batch(&mut self, producer: Option<usize>) -> (Bytes, BatchMeta) {
        let mut builder = RecordBuilder::default();
        let around = self.dice.i64(1_000..1_300);
        for _ in 0..self.dice.usize(1..6) {
            let value = vec![b'v'; self.dice.usize(0..40)];
            builder.push(around + self.dice.i64(0..20), Some(b"k"), Some(&value));
        }
        let (bytes, joined) = match producer {
            None => (builder.finish(), None),
            Some(id) => {
                let producer = Producer { id: id as i64, epoch: 0, sequence: self.producers[id].1 };
                (builder.finish_in_transaction(id as i64, 0, producer.sequence), Some(producer))
            }
        };
        let bytes =
            if self.dice.u8(..5) == 0 { record::stamp_append_time(&bytes, around).unwrap() } else { bytes };
        let header = BatchHeader::check(&bytes).unwrap();
        let meta = BatchMeta {
            bytes: header.bytes as u32,
            offsets: header.offsets,
            max_timestamp: header.max_timestamp,
            producer: joined,
            joins: if joined.is_some() { Joins::Adds } else { Joins::Nothing },
        };
        (bytes, meta)
    }

    /// A few batches, of a transaction or not, in a slot or in a segment.
    pub(super) async fn append(&mut self) {
        let producer = Some(self.dice.usize(..PRODUCERS)).filter(|_| self.dice.u8(..3) == 0);
        let (mut bytes, mut metas) = (Vec::new(), Vec::new());
        for _ in 0..self.dice.usize(1..4) {
            let (batch, meta) = self.batch(producer);
            if let Some(id) = producer {
                self.producers[id].1 += meta.offsets as i32;
            }
            bytes.push(batch);
            metas.push(meta);
        }
        let inline = self.dice.bool();
        self.append_these(0, bytes, metas, inline, producer).await;
    }

    /// A segment with one batch of one record of so many bytes, whose timestamp is its offset.
    pub(super) async fn append_plain(&mut self, bytes: usize) {
        self.append_to(0, bytes).await;
    }

    pub(super) async fn append_to(&mut self, partition: u32, bytes: usize) {
        let at = self.journal.view(|manifest| {
            manifest.topic(&self.topic).unwrap().partitions[partition as usize].high_watermark
        });
        let mut builder = RecordBuilder::default();
        builder.push(at, None, Some(&vec![7; bytes]));
        let batch = builder.finish();
        let (bytes, producer, joins) = (batch.len() as u32, None, Joins::Nothing);
        let meta = BatchMeta { bytes, offsets: 1, max_timestamp: at, producer, joins };
        self.append_these(partition, vec![batch], vec![meta], false, None).await;
    }

    /// A batch in partition 1 whose checksum holds, and whose records are no gzip.
    pub(super) async fn append_unreadable(&mut self) {
        let mut builder = RecordBuilder::default();
        builder.push(0, None, Some(b"no gzip"));
        let mut bytes = BytesMut::from(&builder.finish()[..]);
        bytes[22] |= 1;
        // Makes the checksum anew.
        let batch = record::stamp_append_time(&bytes, 5).unwrap();
        let (bytes, producer, joins) = (batch.len() as u32, None, Joins::Nothing);
        let meta = BatchMeta { bytes, offsets: 1, max_timestamp: 5, producer, joins };
        self.append_these(1, vec![batch], vec![meta], false, None).await;
    }

    async fn append_these(
        &mut self,
        partition: u32,
        batches: Vec<Bytes>,
        metas: Vec<BatchMeta>,
        inline: bool,
        producer: Option<usize>,
    ) {
        let rope = Rope::new(batches.iter().cloned());
        let mut append =
            Append { topic: self.topic, partition, segment: None, at: 0, crc: rope.crc32c(), batches: metas };
        let payload = if inline { rope } else { Rope::default() };
        if !inline {
            let segment = Segment::new(self.ulid(), [(self.topic, partition, batches.clone())]);
            segment.write(&self.objects.store()).await.unwrap();
            (append.segment, append.at) = (Some(segment.id), segment.runs[0].at);
        }
        let Outcome::Appended(placed) = self.propose(Change::Append(append), payload).await else { panic!() };
        for (placed, batch) in placed.into_iter().zip(&batches).filter(|_| partition == 0) {
            let base_offset = placed.unwrap().base_offset;
            self.batches.push(Batch::new(base_offset, batch));
            if let Some(id) = producer {
                self.producers[id].2.get_or_insert(base_offset);
            }
        }
    }

    /// Ends a transaction, if this producer has one open.
    pub(super) async fn end_transaction(&mut self, id: usize, commit: bool) {
        let Some(first_offset) = self.producers[id].2.take() else { return };
        self.producers[id].0 += 1;
        let (transactional_id, number) = (format!("p{id}"), self.producers[id].0);
        let of = TransactionOf { transactional_id, producer_id: id as i64, epoch: 0, number };
        let end = EndTransaction { of, commit, bump: false, if_due: false };
        let ended = self.propose(Change::EndTransaction(end), Rope::default()).await;
        assert!(matches!(ended, Outcome::Producer(_)), "{ended:?}");
        let extent = *self.partition().extents.last().unwrap();
        let marker = record::marker(id as i64, 0, commit, extent.max_timestamp);
        self.batches.push(Batch::new(extent.base_offset, &marker));
        if !commit {
            let last_offset = extent.base_offset;
            self.aborted.push(AbortedSpan { producer_id: id as i64, first_offset, last_offset });
        }
    }

    pub(super) async fn delete_before(&mut self, before: i64) {
        let change = Change::DeleteRecords { topic: self.topic, partition: 0, before };
        assert_eq!(self.propose(change, Rope::default()).await, Outcome::Applied);
    }

    /// The batches of some extents.
    fn held(&self, extents: &[Extent]) -> Vec<Batch> {
        let (first, last) = (extents[0].base_offset, extents[extents.len() - 1].end_offset());
        let held = |batch: &&Batch| batch.base_offset >= first && batch.end_offset <= last;
        self.batches.iter().filter(held).cloned().collect()
    }

    async fn swap(&mut self, extents: &[Extent], outputs: Vec<SwapOutput>) {
        let inputs = extents.iter().map(|extent| ObjectName::from(extent.object)).collect();
        let (topic, base_offset) = (self.topic, extents[0].base_offset);
        let run = SwapRun { topic, partition: 0, base_offset, inputs, outputs };
        let swapped = self.propose(Change::Swap(Swap { runs: vec![run] }), Rope::default()).await;
        assert_eq!(swapped, Outcome::Swapped(vec![Ok(())]));
    }

    /// Some extents, ends of transactions included, become one of a merged segment.
    pub(super) async fn merge(&mut self) {
        let partition = self.partition();
        let fits = |extent: &Extent| !matches!(extent.object, ObjectId::Chunk(_));
        let Some(extents) = some_of(&mut self.dice, &partition.extents, fits) else { return };
        // As they lie in segments: what their headers say of offsets is not believed.
        let batches: Vec<Bytes> = self.held(extents).iter().map(|batch| unstamped(&batch.bytes)).collect();
        let segment = Segment::new(self.ulid(), [(self.topic, 0, batches)]);
        segment.write(&self.objects.store()).await.unwrap();
        let output = SwapOutput {
            object: ObjectName::Merged(segment.id),
            at: segment.runs[0].at,
            bytes: segment.runs[0].bytes,
            offsets: extents.iter().map(|extent| extent.offsets).sum(),
            max_timestamp: extents.iter().map(|extent| extent.max_timestamp).max().unwrap(),
        };
        self.swap(extents, vec![output]).await;
    }

    /// `count` extents become a chunk, from the one at `at` on.
    pub(super) async fn chunk(&mut self, at: usize, count: usize) {
        let extents = self.partition().extents;
        self.chunk_of(&extents[at..at + count], false).await;
    }

    /// Some extents become a chunk; `thin`: with gaps.
    pub(super) async fn chunk_some(&mut self, thin: bool) {
        let partition = self.partition();
        let stable = partition.last_stable_offset();
        let decided = partition.extents.partition_point(|extent| extent.end_offset() <= stable);
        if let Some(extents) = some_of(&mut self.dice, &partition.extents[..decided], |_| true) {
            self.chunk_of(extents, thin).await;
        }
    }

    async fn chunk_of(&mut self, extents: &[Extent], thin: bool) {
        let (first, last) = (extents[0].base_offset, extents[extents.len() - 1].end_offset());
        let kept = self.compacted(first, last, thin, true);
        let (chunk, footer) = self.write_chunk(first, last, &kept).await;
        let output = SwapOutput {
            object: ObjectName::Chunk(chunk.id, Format::Batches),
            at: chunk.run_at(),
            bytes: footer.bytes as u32,
            offsets: (last - first) as u32,
            max_timestamp: footer.max_timestamp,
        };
        self.swap(extents, vec![output]).await;
    }

    /// What compaction leaves between two offsets. At least one batch if `some`.
    fn compacted(&mut self, first: i64, last: i64, thin: bool, some: bool) -> Vec<Batch> {
        let (held, mut others): (Vec<Batch>, Vec<Batch>) =
            self.batches.drain(..).partition(|one| one.base_offset >= first && one.end_offset <= last);
        let mut kept = Vec::new();
        for batch in &held {
            match if thin { self.dice.u8(..4) } else { 0 } {
                1 => {}
                2 if !batch.control => kept.extend(thinned(batch, &mut self.dice)),
                _ => kept.push(batch.clone()),
            }
        }
        if some && kept.is_empty() {
            kept.extend(held.first().cloned());
        }
        others.extend(kept.iter().cloned());
        others.sort_by_key(|batch| batch.base_offset);
        self.batches = others;
        kept
    }

    async fn write_chunk(&mut self, first: i64, last: i64, batches: &[Batch]) -> (ChunkId, Footer) {
        let chunk = ChunkId {
            topic: self.topic,
            partition: 0,
            base_offset: first,
            id: self.ulid(),
            format: Format::Batches,
        };
        let (mut writer, header) = chunk::Writer::new(chunk, self.block_bytes);
        let mut pieces = vec![header];
        for batch in batches {
            let header = BatchHeader::at(&Rope::from(batch.bytes.clone()), 0).unwrap();
            writer.push(&header, std::slice::from_ref(&batch.bytes)).unwrap();
            pieces.push(batch.bytes.clone());
        }
        let overlaps = |span: &&AbortedSpan| span.last_offset >= first && span.first_offset < last;
        let aborted = self.aborted.iter().filter(overlaps).copied().collect();
        let (footer, end) = writer.finish(aborted, last).unwrap();
        pieces.push(end);
        self.objects.store().put(&chunk.key(), &Rope::new(pieces)).await.unwrap();
        (chunk, footer)
    }

    /// The first `count` extents, all of them chunks, go into the index; some of what is there is written anew, and what lies
    /// before the log start may go. `leaf`: chunks of a leaf.
    pub(super) async fn index(&mut self, count: usize, leaf: usize) {
        let partition = self.partition();
        let absorbed = &partition.extents[..count];
        let mut entries = std::mem::take(&mut self.entries);
        if partition.index.is_none() {
            entries.clear();
        }
        let over = entries.partition_point(|entry| entry.end_offset <= partition.log_start);
        entries.drain(..self.dice.usize(..=over));
        for extent in absorbed {
            let ObjectId::Chunk(chunk) = extent.object else { panic!() };
            let object = self.objects.store().get(&chunk.key()).await.unwrap().to_bytes();
            let tail = object.slice((extent.at + u64::from(extent.bytes)) as usize..);
            entries.push(Entry::new(chunk, &chunk::read_footer(&chunk.key(), &tail).unwrap()));
        }
        self.entries = entries;
        if let Some(root) = self.write_nodes(leaf).await {
            let absorbs = absorbed.iter().map(|extent| ObjectName::from(extent.object)).collect();
            let (topic, replaces) = (self.topic, partition.index.map(|index| index.id));
            let change = IndexChunks { topic, partition: 0, replaces, absorbs, root };
            let done = self.propose(Change::IndexChunks(change), Rope::default()).await;
            assert_eq!(done, Outcome::Applied);
        }
    }

    /// One chunk of the index is compacted anew, perhaps to nothing.
    pub(super) async fn recompact(&mut self, leaf: usize) {
        if self.partition().index.is_none() {
            return;
        }
        let at = self.dice.usize(..self.entries.len());
        let (first, last) = (self.entries[at].chunk.base_offset, self.entries[at].end_offset);
        let mut kept = self.compacted(first, last, true, false);
        if self.dice.u8(..4) == 0 {
            kept.clear();
            self.batches.retain(|batch| !(first..last).contains(&batch.base_offset));
        }
        let (chunk, footer) = self.write_chunk(first, last, &kept).await;
        self.entries[at] = Entry::new(chunk, &footer);
        self.index(0, leaf).await;
    }

    /// All chunks of the index are written anew, under other names.
    pub(super) async fn rewrite(&mut self) {
        for at in 0..self.entries.len() {
            let (first, last) = (self.entries[at].chunk.base_offset, self.entries[at].end_offset);
            let kept = self.compacted(first, last, false, true);
            let (chunk, footer) = self.write_chunk(first, last, &kept).await;
            self.entries[at] = Entry::new(chunk, &footer);
        }
    }

    async fn write_nodes(&mut self, leaf: usize) -> Option<Branch> {
        let entries = self.entries.clone();
        let mut branches = Vec::new();
        for entries in entries.chunks(leaf) {
            branches.push(self.write_node(&Node::Leaf(entries.to_vec())).await);
        }
        match branches[..] {
            [] => None,
            [one] if self.dice.bool() => Some(one),
            _ => Some(self.write_node(&Node::Inner(branches)).await),
        }
    }

    async fn write_node(&self, node: &Node) -> Branch {
        let id = self.ulid();
        let body = node.encode(self.topic, 0, id);
        self.objects.store().put(&paths::index(self.topic, 0, id), &Rope::from(body)).await.unwrap();
        node.branch(id).unwrap()
    }
}

/// Some items that stand side by side and all fit.
fn some_of<'a, T>(dice: &mut Rng, items: &'a [T], fits: impl Fn(&T) -> bool) -> Option<&'a [T]> {
    let first = dice.usize(..items.len().max(1));
    let most = items.get(first..)?.iter().take_while(|item| fits(item)).count();
    (most > 0).then(|| &items[first..first + dice.usize(1..=most.min(8))])
}

fn unstamped(batch: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    bytes[..8].fill(0);
    bytes.freeze()
}

/// The batch without some of its records.
fn thinned(batch: &Batch, dice: &mut Rng) -> Option<Batch> {
    let header = BatchHeader::at(&Rope::from(batch.bytes.clone()), 0).unwrap();
    let mut kept = record::records(&batch.bytes).unwrap();
    kept.retain(|_| dice.bool());
    let horizon_ms = Some(dice.i64(0..5_000)).filter(|_| dice.bool());
    let bytes = (!kept.is_empty()).then(|| record::rebuild(&header, &kept, horizon_ms).unwrap())?;
    Some(Batch::new(batch.base_offset, &bytes))
}
