//! What lies in the bucket: commits, checkpoints, segments.
//!
//! The bytes are looked at as they are, with frame and checksum set right, and as choices that make up a header. Must not
//! know the journal.

use bytes::Bytes;
use strandline_core::manifest::{Change, Commit, CommitId, Manifest, checkpoint as checkpoints, state};
use strandline_core::object::Shape;
use strandline_core::rope::Rope;
use strandline_core::segment::read_header;
use ulid::Ulid;

use crate::manifests;
use crate::memory::Bound;
use crate::seal;
use crate::trees::{self, Field};

/// The smallest change and the smallest batch take two bytes on the wire. Measured: 170 times as much held, twice that
/// where a vector has just grown.
const COMMIT: Bound = Bound { fixed: 8_192, per_byte: 384 };
/// An empty partition takes two bytes on the wire, and eight columns in memory. Measured: 280 times as much held, where a
/// vector has just grown.
const CHECKPOINT: Bound = Bound { fixed: 8_192, per_byte: 352 };
/// Measured: 71 times as much held.
const SEGMENT: Bound = Bound { fixed: 8_192, per_byte: 144 };

fn look(shape: Shape, fields: &[Field], data: &[u8], look_at: fn(&[u8])) {
    look_at(data);
    look_at(&seal::object(shape, data));
    if let Some(made_up) = seal::tree(shape, fields, data) {
        look_at(&made_up);
    }
}

/// Any bytes as the object of a slot.
pub fn commit(data: &[u8]) {
    look(Shape::Commit, trees::COMMIT, data, look_at_commit);
}

fn look_at_commit(object: &[u8]) {
    let cut = 1 + object.last().copied().map_or(0, usize::from);
    let object = Rope::new(object.chunks(cut).map(Bytes::copy_from_slice));
    let decoded = COMMIT.hold("a commit", object.len(), || Commit::decode("journal/x", &object));
    let (commit, payload_at) = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return drop(error.to_string()),
    };
    let payload = object.slice(payload_at as usize..object.len()).unwrap();
    for change in &commit.changes {
        let Change::Append(append) = change else { continue };
        let held = append.at.checked_add(append.bytes()).is_some_and(|end| end <= payload.len() as u64);
        assert!(append.segment.is_some() || held, "it names bytes that are not there: {append:?}");
    }
    let again = commit.encode(payload.pieces().to_vec());
    let (same, again_at) = Commit::decode("journal/x", &again).unwrap();
    assert_eq!(same, commit);
    assert_eq!(again.slice(again_at as usize..again.len()).unwrap().to_bytes(), payload.to_bytes());
    let mut manifest = Manifest::default();
    for slot in 1..4 {
        let outcomes = state::apply(&mut manifest, slot, &commit, payload_at);
        assert_eq!(outcomes.len(), commit.changes.len());
    }
    manifests::check(&manifest);
}

/// Any bytes as a checkpoint.
pub fn checkpoint(data: &[u8]) {
    look(Shape::Checkpoint, trees::CHECKPOINT, data, look_at_checkpoint);
}

fn look_at_checkpoint(object: &[u8]) {
    let decoded =
        CHECKPOINT.hold("a checkpoint", object.len(), || checkpoints::decode("checkpoint/x", object));
    let mut manifest = match decoded {
        Ok(manifest) => manifest,
        Err(error) => return drop(error.to_string()),
    };
    manifests::check(&manifest);
    // The fold goes on from it, to the end of every topic.
    let ids: Vec<_> = manifest.topics().map(|topic| topic.id).collect();
    let changes = ids.iter().flat_map(|id| manifests::appends(*id)).collect();
    let deletions = ids.iter().map(|id| Change::DeleteTopic { id: *id }).collect();
    for (counter, changes) in [changes, deletions].into_iter().enumerate() {
        let slot = manifest.applied + 1;
        let id = CommitId { incarnation: Ulid::from_parts(1, 1), counter: counter as u64 + 1 };
        let commit = Commit { id, oldest_open: id.counter, timestamp_ms: manifest.now_ms, changes };
        state::apply(&mut manifest, slot, &commit, 100);
        manifests::check(&manifest);
    }
}

/// Any bytes as the beginning of a segment.
pub fn segment(data: &[u8]) {
    look(Shape::Segment, trees::SEGMENT, data, look_at_segment);
}

fn look_at_segment(object: &[u8]) {
    let decoded = SEGMENT.hold("a segment", object.len(), || read_header("segment/x", object));
    let (_, runs) = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return drop(error.to_string()),
    };
    let Some(first) = runs.first() else { return };
    assert!(first.at <= object.len() as u64);
    for pair in runs.windows(2) {
        assert_eq!(pair[1].at, pair[0].at + u64::from(pair[0].bytes), "runs lie side by side");
    }
}
