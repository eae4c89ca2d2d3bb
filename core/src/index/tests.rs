//! Index nodes: what was written comes back, lookups agree with a scan, and nodes stay small.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::limits::{CHUNK_BLOCK_BYTES, KIB, MIB};
use crate::testing::{Dice, EPOCH_MS, for_seeds};

const TOPIC: Uuid = Uuid::from_u128(7);
const PARTITION: u32 = 3;

fn entry(dice: &mut Dice, base_offset: i64, blocks: u64) -> Entry {
    let id = Ulid::from(dice.u128());
    let chunk = ChunkId { topic: TOPIC, partition: PARTITION, base_offset, id, format: Format::Batches };
    let (mut offset, mut at) = (base_offset, chunk.run_at());
    let begin = at;
    let mut positions = Vec::new();
    for _ in 0..blocks {
        let max_timestamp = EPOCH_MS + offset + dice.below(10_000) as i64;
        positions.push(Position { offset, at, max_timestamp, crc: 0 });
        offset += dice.between(1, 2_000) as i64;
        at += CHUNK_BLOCK_BYTES + dice.below(16 * KIB as u64);
    }
    let end_offset = offset + dice.between(1, 9) as i64;
    let span = |first_offset, last_offset| AbortedSpan { producer_id: 9, first_offset, last_offset };
    let aborted = vec![span(0, base_offset), span(base_offset, end_offset + 5)];
    let max_timestamp = positions.iter().map(|position| position.max_timestamp).max().unwrap_or(-1);
    Entry { chunk, end_offset, at: begin, bytes: at - begin, max_timestamp, positions, aborted }
}

fn leaf(dice: &mut Dice, chunks: usize, blocks: u64) -> Node {
    let mut next = dice.below(1_000) as i64;
    let mut entries = Vec::new();
    for _ in 0..chunks {
        entries.push(entry(dice, next, dice.clone().below(blocks + 1)));
        next = entries.last().unwrap().end_offset;
    }
    Node::Leaf(entries)
}

fn inner(dice: &mut Dice, leaves: usize, chunk_bytes: u64) -> Node {
    let mut base_offset = dice.below(1_000) as i64;
    let mut branches = Vec::new();
    for _ in 0..leaves {
        let (id, chunks) = (Ulid::from(dice.u128()), dice.between(1, INDEX_LEAF_CHUNKS as u64));
        let end_offset = base_offset + (chunks * dice.between(1, 300_000)) as i64;
        let (bytes, max_timestamp) = (chunks * chunk_bytes + dice.below(99), EPOCH_MS + end_offset);
        branches.push(Branch { id, base_offset, end_offset, chunks, bytes, max_timestamp });
        base_offset = end_offset;
    }
    Node::Inner(branches)
}

fn drawn(seed: u64) -> (Ulid, Node) {
    let mut dice = Dice::new(seed);
    let children = dice.between(1, 20) as usize;
    let node =
        if dice.per_mille(500) { leaf(&mut dice, children, 6) } else { inner(&mut dice, children, 1_000) };
    (Ulid::from(dice.u128()), node)
}

fn decode(id: Ulid, bytes: &[u8]) -> Result<Node> {
    let (topic, partition, there, node) = Node::decode(&paths::index(TOPIC, PARTITION, id), bytes)?;
    assert_eq!((topic, partition, there), (TOPIC, PARTITION, id));
    Ok(node)
}

#[test]
fn a_node_comes_back_and_no_other_is_taken() {
    for_seeds(100, |seed| {
        let (id, node) = drawn(seed);
        let bytes = node.encode(TOPIC, PARTITION, id);
        assert_eq!(decode(id, &bytes).unwrap(), node);
        for key in [
            paths::index(TOPIC, PARTITION, Ulid::from(1_u128)),
            paths::index(TOPIC, PARTITION + 1, id),
            paths::index(Uuid::nil(), PARTITION, id),
            "index/x".to_owned(),
        ] {
            assert!(Node::decode(&key, &bytes).is_err(), "{key}");
        }
        assert!(decode(id, &[&bytes[..], b"x"].concat()).is_err());
        let mut dice = Dice::new(seed);
        for _ in 0..100 {
            let mut damaged = bytes.to_vec();
            damaged[dice.below(bytes.len() as u64) as usize] ^= 1 << dice.below(8);
            assert!(decode(id, &damaged).is_err());
            assert!(decode(id, &bytes[..dice.below(bytes.len() as u64) as usize]).is_err());
        }
    });
}

/// Whatever is asked, a scan over all children says the same; and a parent says of its child what the child says itself.
#[test]
fn lookups_agree_with_a_scan() {
    for_seeds(200, |seed| {
        let (id, node) = drawn(seed);
        let children: Vec<_> = (0..node.len()).map(|at| node.child(at).unwrap()).collect();
        let branch = node.branch(id).unwrap();
        assert_eq!((branch.id, branch.base_offset), (id, children[0].base_offset));
        assert_eq!(branch.end_offset, children.last().unwrap().end_offset);
        assert_eq!(branch.chunks, children.iter().map(|child| child.chunks).sum::<u64>());
        assert_eq!(branch.bytes, children.iter().map(|child| child.bytes).sum::<u64>());
        assert_eq!(Some(branch.max_timestamp), children.iter().map(|child| child.max_timestamp).max());
        for child in &children {
            for offset in [child.base_offset - 1, child.base_offset, child.end_offset - 1, child.end_offset] {
                let scanned = children.iter().position(|child| child.end_offset > offset);
                assert_eq!(node.first_behind(offset), scanned);
            }
            for timestamp in [child.max_timestamp - 1, child.max_timestamp, child.max_timestamp + 1] {
                for from in 0..=children.len() {
                    let late = |at: &usize| children[*at].max_timestamp >= timestamp;
                    assert_eq!(node.first_since(from, timestamp), (from..children.len()).find(late));
                }
            }
        }
    });
}

type Lie<T> = fn(&mut T);

/// The frame is whole, and what it says cannot be.
#[test]
fn no_node_that_contradicts_itself_is_taken() {
    let id = Ulid::from(5_u128);
    let refused =
        |node: &Node, what: &str| assert!(decode(id, &node.encode(TOPIC, PARTITION, id)).is_err(), "{what}");
    let dice = &mut Dice::new(3);
    let good = Node::Leaf(vec![entry(&mut Dice::new(3), 0, 3)]);
    assert!(decode(id, &good.encode(TOPIC, PARTITION, id)).is_ok());
    let lies: [(&str, Lie<Entry>); 8] = [
        ("no offsets", |e| e.end_offset = e.chunk.base_offset),
        ("offsets that go back", |e| e.end_offset = e.chunk.base_offset - 1),
        ("offsets before all", |e| e.chunk.base_offset = -1),
        ("bytes behind the end of all", |e| e.bytes = u64::MAX),
        ("another start of the run", |e| e.at -= 1),
        ("another largest timestamp", |e| e.max_timestamp -= 1),
        ("positions that go back", |e| e.positions.swap(0, 1)),
        ("a transaction behind it", |e| e.aborted[1].first_offset = e.end_offset),
    ];
    for (what, lie) in lies {
        let mut entry = entry(&mut Dice::new(3), 0, 3);
        lie(&mut entry);
        refused(&Node::Leaf(vec![entry]), what);
    }
    let lies: [(&str, Lie<Branch>); 5] = [
        ("no offsets", |b| b.end_offset = b.base_offset),
        ("offsets that go back", |b| b.end_offset = b.base_offset - 1),
        ("no chunks", |b| b.chunks = 0),
        ("more chunks than a leaf has", |b| b.chunks = INDEX_LEAF_CHUNKS as u64 + 1),
        ("bytes that nobody can add up", |b| b.bytes = u64::MAX),
    ];
    for (what, lie) in lies {
        let Node::Inner(mut branches) = inner(&mut Dice::new(3), 3, 1_000) else { panic!() };
        lie(&mut branches[1]);
        refused(&Node::Inner(branches), what);
    }
    refused(&Node::Leaf(Vec::new()), "an empty leaf");
    refused(&Node::Inner(Vec::new()), "an empty inner node");
    refused(&leaf(dice, INDEX_LEAF_CHUNKS + 1, 1), "too many chunks");
    refused(&inner(dice, INDEX_INNER_BRANCHES + 1, 1), "too many leaves");
    assert!(Node::Leaf(Vec::new()).branch(id).is_none());
}

/// A lookup reads one node of each level: neither may cost much more than the block it leads to.
#[test]
fn nodes_stay_small() {
    let dice = &mut Dice::new(1);
    let id = Ulid::from(5_u128);
    let mut next = 1 << 40;
    let mut entries = Vec::new();
    for _ in 0..INDEX_LEAF_CHUNKS {
        entries.push(entry(dice, next, 256));
        next = entries.last().unwrap().end_offset;
    }
    assert!(entries.iter().all(|entry| entry.bytes >= 256 * MIB as u64));
    let node = Node::Leaf(entries);
    let bytes = node.encode(TOPIC, PARTITION, id);
    assert!(bytes.len() < 600 * KIB, "a full leaf has {} bytes", bytes.len());
    assert_eq!(decode(id, &bytes).unwrap(), node);
    let leaves = 1_000_000_usize.div_ceil(INDEX_LEAF_CHUNKS);
    let node = inner(dice, leaves, 256 * MIB as u64);
    let bytes = node.encode(TOPIC, PARTITION, id);
    assert!(bytes.len() < 600 * KIB, "a node over a million chunks has {} bytes", bytes.len());
    assert_eq!(decode(id, &bytes).unwrap(), node);
}
