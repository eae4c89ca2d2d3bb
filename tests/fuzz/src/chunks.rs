//! What the compactor leaves in the bucket: chunks with their footers, and the index over them.
//!
//! The bytes are looked at as they are, with frame and checksum set right, and as choices that make up a header. All of it
//! is read below the keys of the golden files, which headers must repeat. Must not know the manifest.

use strandline_core::chunk::{self, ChunkId, Footer, Format, TRAILER_BYTES};
use strandline_core::index::{Entry, Node};
use strandline_core::object::Shape;
use strandline_core::paths;
use ulid::Ulid;
use uuid::Uuid;

use crate::memory::Bound;
use crate::seal;
use crate::trees::{self, BASE_OFFSET, NAMES, NUMBER, TOPIC};

const HEADER: Bound = Bound { fixed: 8_192, per_byte: 8 };
/// A number of a column takes one byte on the wire and eight in memory. Measured: 13 times as much held.
const FOOTER: Bound = Bound { fixed: 8_192, per_byte: 32 };
/// An empty chunk takes two bytes on the wire, and seven columns in memory. Measured: 350 times as much held, where a vector
/// has just grown.
const NODE: Bound = Bound { fixed: 8_192, per_byte: 448 };

fn chunk_id() -> ChunkId {
    let (topic, id) = (Uuid::from_bytes(TOPIC), Ulid::from_bytes(NAMES[0]));
    ChunkId { topic, partition: NUMBER, base_offset: BASE_OFFSET, id, format: Format::Batches }
}

/// Any bytes as a chunk, as its beginning, as its end and as its footer.
pub fn chunk(data: &[u8]) {
    look_at_chunk(data);
    look_at_chunk(&seal::object(Shape::Chunk, data));
    if let Some(made_up) = seal::tree(Shape::Chunk, trees::CHUNK, data) {
        look_at_chunk(&made_up);
    }
    look_at_tail(data);
    for frame in
        [Some(seal::frame(Shape::Footer, data)), seal::tree_frame(Shape::Footer, trees::FOOTER, data)]
    {
        let Some(mut tail) = frame else { continue };
        tail.extend((tail.len() as u32).to_be_bytes());
        tail.extend(b"SLtr");
        look_at_tail(&tail);
    }
}

fn look_at_chunk(object: &[u8]) {
    let key = chunk_id().key();
    match HEADER.hold("the header of a chunk", object.len(), || chunk::read_header(&key, object)) {
        Ok((there, run_at)) => assert!(there == chunk_id() && run_at <= object.len() as u64),
        Err(error) => drop(error.to_string()),
    }
    let size = object.len() as u64;
    for claimed in [0, TRAILER_BYTES as u64 - 1, size, size.saturating_mul(1 << 20), u64::MAX] {
        let Ok(range) = chunk::footer_range(&key, claimed, object) else { continue };
        assert_eq!(range.end, claimed - TRAILER_BYTES as u64);
        assert!(range.start <= range.end, "{range:?} of {claimed}");
        if let Some(tail) = object.get(range.start as usize..).filter(|_| claimed == size) {
            look_at_tail(tail);
        }
    }
}

fn look_at_tail(tail: &[u8]) {
    let key = chunk_id().key();
    let footer = match FOOTER.hold("a footer", tail.len(), || chunk::read_footer(&key, tail)) {
        Ok(footer) => footer,
        Err(error) => return drop(error.to_string()),
    };
    check_footer(&footer);
    // What is read of a chunk can be said of it in an index.
    let leaf = Node::Leaf(vec![Entry::new(chunk_id(), &footer)]);
    assert_eq!(read_again(&leaf), leaf);
}

/// Places that can be added up, inside the run, in order; offsets inside the chunk.
fn check_footer(footer: &Footer) {
    let (run_at, offsets) = (chunk_id().run_at(), BASE_OFFSET..footer.end_offset);
    let end = run_at.checked_add(footer.bytes).expect("the end of the run overflows");
    assert!(!offsets.is_empty() && footer.records <= (offsets.end - offsets.start) as u64, "{footer:?}");
    assert_eq!(footer.positions.first().map(|first| first.at), (footer.bytes > 0).then_some(run_at));
    for position in &footer.positions {
        assert!(offsets.contains(&position.offset) && (run_at..end).contains(&position.at), "{footer:?}");
        assert!(position.max_timestamp <= footer.max_timestamp, "{footer:?}");
    }
    for pair in footer.positions.windows(2) {
        assert!(pair[0].offset < pair[1].offset && pair[0].at < pair[1].at, "{footer:?}");
    }
    for span in &footer.aborted {
        assert!((0..=span.last_offset).contains(&span.first_offset), "{footer:?}");
        assert!(span.first_offset < offsets.end && span.last_offset >= offsets.start, "{footer:?}");
    }
}

/// Any bytes as a node of an index.
pub fn index(data: &[u8]) {
    look_at_node(data);
    look_at_node(&seal::frame(Shape::Index, data));
    if let Some(made_up) = seal::tree_frame(Shape::Index, trees::NODE, data) {
        look_at_node(&made_up);
    }
}

fn look_at_node(object: &[u8]) {
    for name in &NAMES[1..] {
        let id = Ulid::from_bytes(*name);
        let key = paths::index(Uuid::from_bytes(TOPIC), NUMBER, id);
        let decoded = NODE.hold("a node", object.len(), || Node::decode(&key, object));
        match decoded {
            Ok((topic, partition, there, node)) => {
                assert_eq!((topic.into_bytes(), partition, there), (TOPIC, NUMBER, id));
                check_node(&node, id);
            }
            Err(error) => drop(error.to_string()),
        }
    }
}

/// Children without gaps, each found by its offsets, which are summed up by the node's branch.
fn check_node(node: &Node, id: Ulid) {
    assert_eq!(read_again(node), *node);
    let children: Vec<_> = match node {
        Node::Leaf(entries) => entries.iter().map(|one| (one.chunk.base_offset, one.end_offset)).collect(),
        Node::Inner(branches) => branches.iter().map(|one| (one.base_offset, one.end_offset)).collect(),
    };
    for (at, (base, end)) in children.iter().copied().enumerate() {
        assert!(base >= 0 && base < end && (at == 0 || children[at - 1].1 == base), "{node:?}");
        assert_eq!((node.first_behind(base), node.first_behind(end - 1)), (Some(at), Some(at)));
    }
    let branch = node.branch(id).expect("a node has children");
    let ends = (children.first().map(|first| first.0), children.last().map(|last| last.1));
    assert_eq!(ends, (Some(branch.base_offset), Some(branch.end_offset)));
    assert_eq!(node.first_behind(branch.end_offset), None);
    assert!(node.first_since(0, branch.max_timestamp).is_some(), "{node:?}");
    if matches!(node, Node::Leaf(_)) {
        let above = Node::Inner(vec![branch]);
        assert_eq!(read_again(&above), above);
    }
}

fn read_again(node: &Node) -> Node {
    let (topic, id) = (Uuid::from_bytes(TOPIC), Ulid::from_bytes(NAMES[1]));
    let object = node.encode(topic, NUMBER, id);
    Node::decode(&paths::index(topic, NUMBER, id), &object).unwrap().3
}
