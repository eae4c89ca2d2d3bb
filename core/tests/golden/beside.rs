//! What version 4 added beside the journal: a chunk of batches, and a leaf and an inner node of an index.
//!
//! No commit names them. They are also compared byte by byte: equal inputs give equal objects, whoever writes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_core::chunk::{
    self, AbortedSpan, ChunkId, Footer, Format, Position, TRAILER_BYTES, Writer, footer_range,
};
use strandline_core::index::{Branch, Entry, Node};
use strandline_core::paths;
use strandline_core::record::BatchHeader;
use strandline_core::rope::Rope;
use strandline_core::store::Store;
use ulid::Ulid;

use super::{EPOCH_MS, ORDERS, batch, producer, ulid};

const PARTITION: u32 = 2;
/// Two of the three batches fill a block.
const BLOCK_BYTES: u64 = 100;

fn id(n: u64, format: Format, base_offset: i64) -> ChunkId {
    ChunkId { topic: ORDERS, partition: PARTITION, base_offset, id: ulid(n), format }
}

fn chunk_id() -> ChunkId {
    id(60, Format::Batches, 4)
}

/// Records at the offsets 5 and 6, 7 and 8, 20 and 21 of those from 4 to 24. A transaction began before them, one ended after.
fn chunk() -> (Footer, Bytes) {
    let (mut writer, header) = Writer::new(chunk_id(), BLOCK_BYTES);
    let mut object = header.to_vec();
    for (base_offset, by) in [(5_i64, None), (7, producer(3, 2)), (20, None)] {
        let mut bytes = batch(by).0.to_vec();
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        let bytes = Bytes::from(bytes);
        let header = BatchHeader::at(&Rope::from(bytes.clone()), 0).unwrap();
        writer.push(&header, std::slice::from_ref(&bytes)).unwrap();
        object.extend_from_slice(&bytes);
    }
    let (footer, tail) = writer.finish(aborted(), 25).unwrap();
    object.extend_from_slice(&tail);
    (footer, object.into())
}

fn aborted() -> Vec<AbortedSpan> {
    let span =
        |producer_id, first_offset, last_offset| AbortedSpan { producer_id, first_offset, last_offset };
    vec![span(1_000, 2, 9), span(2_000, 22, 31)]
}

fn leaf() -> Node {
    let start = Position { offset: 25, at: 4, max_timestamp: EPOCH_MS, crc: 0 };
    let parquet = Entry {
        chunk: id(61, Format::Parquet, 25),
        end_offset: 40,
        at: 4,
        bytes: 5_000,
        max_timestamp: EPOCH_MS + 9,
        positions: vec![start, Position { offset: 33, at: 2_900, max_timestamp: EPOCH_MS + 9, crc: 0 }],
        aborted: aborted()[1..].to_vec(),
    };
    let nothing = Entry {
        chunk: id(62, Format::Batches, 40),
        end_offset: 41,
        at: id(62, Format::Batches, 40).run_at(),
        bytes: 0,
        max_timestamp: -1,
        positions: vec![],
        aborted: vec![],
    };
    Node::Leaf(vec![Entry::new(chunk_id(), &chunk().0), parquet, nothing])
}

fn inner() -> Node {
    let next = Branch {
        id: ulid(64),
        base_offset: 41,
        end_offset: 1_000_000,
        chunks: 128,
        bytes: 1 << 35,
        max_timestamp: EPOCH_MS - 1,
    };
    Node::Inner(vec![leaf().branch(ulid(63)).unwrap(), next])
}

fn nodes() -> [(Ulid, Node); 2] {
    [(ulid(63), leaf()), (ulid(65), inner())]
}

/// By their keys.
pub(crate) fn objects() -> BTreeMap<String, Bytes> {
    let node =
        |(id, node): (Ulid, Node)| (paths::index(ORDERS, PARTITION, id), node.encode(ORDERS, PARTITION, id));
    nodes().into_iter().map(node).chain([(chunk_id().key(), chunk().1)]).collect()
}

pub(crate) async fn check(store: &Store) {
    for (key, written) in objects() {
        assert_eq!(store.get(&key).await.unwrap().to_bytes(), written, "{key}");
    }
    for (id, node) in nodes() {
        let key = paths::index(ORDERS, PARTITION, id);
        let object = store.get(&key).await.unwrap().to_bytes();
        assert_eq!(Node::decode(&key, &object).unwrap(), (ORDERS, PARTITION, id, node));
    }
    let key = chunk_id().key();
    let object = store.get(&key).await.unwrap().to_bytes();
    let (there, run_at) = chunk::read_header(&key, &object).unwrap();
    let footer = chunk().0;
    let tail_at = (run_at + footer.bytes) as usize;
    assert_eq!((there, run_at), (chunk_id(), chunk_id().run_at()));
    let range = footer_range(&key, object.len() as u64, &object).unwrap();
    assert_eq!(range, tail_at as u64..(object.len() - TRAILER_BYTES) as u64);
    assert_eq!(chunk::read_footer(&key, &object[tail_at..]).unwrap(), footer);
    // By value, not only by what the same writer makes of it.
    assert_eq!((footer.end_offset, footer.records, footer.aborted), (25, 6, aborted()));
    assert_eq!(footer.positions.iter().map(|one| one.offset).collect::<Vec<_>>(), [5, 20]);
    let run = Rope::from(object.slice(run_at as usize..tail_at));
    let (mut at, mut found) = (0, vec![]);
    while at < run.len() {
        let batch = BatchHeader::at(&run, at).unwrap();
        found.push((batch.base_offset, batch.offsets));
        at += batch.bytes;
    }
    assert_eq!(found, [(5, 2), (7, 2), (20, 2)]);
}
