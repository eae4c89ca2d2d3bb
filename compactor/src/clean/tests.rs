//! What is written anew together.
#![allow(clippy::unwrap_used)]

use strandline_core::chunk::{ChunkId, Format};
use ulid::Ulid;

use super::*;

/// Chunks of so many bytes and offsets each, some of them in the index.
fn chunks(sizes: &[(bool, u32, u32)]) -> Vec<(bool, Extent)> {
    let mut base_offset = 0;
    let mut extents = Vec::new();
    for (indexed, bytes, offsets) in sizes {
        let (topic, id) = (Uuid::from_u128(1), Ulid::from_parts(1, extents.len() as u128));
        let chunk = ChunkId { topic, partition: 0, base_offset, id, format: Format::Batches };
        let (bytes, offsets, object) = (*bytes, *offsets, ObjectId::Chunk(chunk));
        extents.push((
            *indexed,
            Extent { base_offset, offsets, object, at: chunk.run_at(), bytes, max_timestamp: 0 },
        ));
        base_offset += i64::from(offsets);
    }
    extents
}

/// Of each part, whether it is in the index, and how many extents it has.
fn lengths(policy: &Policy, extents: &[(bool, Extent)]) -> Vec<(bool, usize)> {
    let parts = parts(policy, &[], extents.to_vec());
    let together: Vec<_> =
        parts.iter().flat_map(|part| part.extents.iter().map(|extent| (part.indexed, *extent))).collect();
    assert_eq!(together, extents, "all of it, in order");
    parts.iter().map(|part| (part.indexed, part.extents.len())).collect()
}

/// A topic that was compacted very far has few bytes over many offsets: a part of it must still fit into an extent.
#[test]
fn a_part_has_no_more_offsets_than_an_extent_can_have() {
    let half = 1 << 31;
    let policy = Policy::default();
    let far = chunks(&[(true, 100, half), (true, 100, half - 1), (true, 100, 1), (true, 100, half)]);
    assert_eq!(lengths(&policy, &far), [(true, 2), (true, 1 + 1)]);
    let whole = chunks(&[(false, 100, u32::MAX), (false, 100, u32::MAX), (false, 100, 1)]);
    assert_eq!(lengths(&policy, &whole), [(false, 1), (false, 1), (false, 1)]);
}

#[test]
fn a_part_ends_where_it_is_large_enough_and_where_the_index_does() {
    let policy = Policy { chunk_bytes: 250, job_extents: 4, ..Policy::default() };
    let small = chunks(&[(true, 100, 5); 5]);
    assert_eq!(lengths(&policy, &small), [(true, 3), (true, 2)]);
    let both = chunks(&[(true, 100, 5), (true, 100, 5), (false, 100, 5), (false, 900, 5), (false, 1, 5)]);
    assert_eq!(lengths(&policy, &both), [(true, 2), (false, 2), (false, 1)]);
    let tiny = chunks(&[(false, 1, 5); 9]);
    assert_eq!(lengths(&policy, &tiny), [(false, 4), (false, 4), (false, 1)]);
    assert_eq!(lengths(&policy, &[]), []);
}

#[test]
fn a_part_in_which_an_aborted_transaction_has_offsets_is_written_anew() {
    let policy = Policy { chunk_bytes: 1, ..Policy::default() };
    let span = AbortedSpan { producer_id: 3, first_offset: 7, last_offset: 12 };
    let parts =
        parts(&policy, &[span], chunks(&[(true, 100, 5), (true, 100, 5), (false, 100, 5), (false, 100, 5)]));
    let aborted: Vec<_> = parts.iter().map(|part| part.aborted).collect();
    assert_eq!(aborted, [false, true, true, false]);
}
