//! What must hold of every manifest, and some appends to go on with.
//!
//! Must not know how a manifest came to be.

use strandline_core::manifest::{
    Append, BatchMeta, Change, Manifest, ObjectId, Producer, Transaction, checkpoint,
};
use uuid::Uuid;

/// Offsets without gaps, ranges that can be added up, counts that are right, partitions and transactions that agree, an
/// index up to where the extents begin, and a checkpoint that says the same.
pub(crate) fn check(manifest: &Manifest) {
    check_transactions(manifest);
    let mut extents = 0;
    for partition in manifest.topics().flat_map(|topic| &topic.partitions) {
        extents += partition.extents.len();
        assert!((0..=partition.high_watermark).contains(&partition.log_start), "{partition:?}");
        assert!((0..=partition.high_watermark).contains(&partition.compacted), "{partition:?}");
        for extent in &partition.extents {
            assert!(extent.offsets > 0 && extent.bytes > 0 && extent.base_offset >= 0, "{extent:?}");
            assert!(extent.at.checked_add(extent.bytes.into()).is_some(), "its end overflows: {extent:?}");
        }
        for pair in partition.extents.windows(2) {
            assert_eq!(pair[0].end_offset(), pair[1].base_offset, "a gap or an overlap: {pair:?}");
        }
        let end = partition.extents.last().map_or(partition.high_watermark, |last| last.end_offset());
        assert_eq!(end, partition.high_watermark, "{partition:?}");
        if let Some(index) = partition.index {
            let first = partition.extents.first().map_or(end, |first| first.base_offset);
            assert_eq!(first, index.end_offset, "a gap or an overlap: {partition:?}");
            assert!(index.base_offset >= 0 && index.base_offset <= partition.log_start, "{partition:?}");
            assert!(index.end_offset > partition.log_start, "nothing of it is there: {partition:?}");
            let aborted = partition.aborted_in(0, i64::MAX);
            assert!(aborted.iter().all(|one| one.last_offset >= index.end_offset), "{partition:?}");
        }
        for extent in &partition.extents {
            let ObjectId::Chunk(chunk) = extent.object else { continue };
            assert_eq!(chunk.base_offset, extent.base_offset, "{extent:?}");
        }
    }
    assert_eq!(manifest.extents(), extents);
    let object = checkpoint::encode(manifest);
    let again = checkpoint::decode("checkpoint/x", &object).unwrap();
    assert_eq!(again, *manifest);
    assert_eq!(checkpoint::encode(&again), object, "equal manifests give equal bytes");
}

/// A partition is undecided from the first record on that an open transaction has there. What is over holds nothing more,
/// and what is said of an aborted one is where its records are, or were.
fn check_transactions(manifest: &Manifest) {
    for topic in manifest.topics() {
        for (partition, number) in topic.partitions.iter().zip(0..) {
            let first = |(_, open): (_, &Transaction)| open.partitions.get(&(topic.id, number)).copied();
            let first = manifest.open_transactions().filter_map(first).flatten().min();
            let stable = first.map_or(partition.high_watermark, |first| first.max(partition.log_start));
            assert_eq!(partition.last_stable_offset(), stable, "{partition:?}");
            assert!((partition.log_start..=partition.high_watermark).contains(&stable), "{partition:?}");
            for aborted in partition.aborted_in(0, i64::MAX) {
                assert!((0..aborted.last_offset).contains(&aborted.first_offset), "{aborted:?}");
                let there = partition.log_start..partition.high_watermark;
                assert!(there.contains(&aborted.last_offset), "{aborted:?} {partition:?}");
            }
        }
    }
    let open: Vec<_> = manifest.transactions().filter(|(_, of)| of.is_ongoing()).collect();
    assert_eq!(manifest.open_transactions().collect::<Vec<_>>(), open);
    for (id, of) in manifest.transactions() {
        assert!(of.is_ongoing() || of.partitions.is_empty() && of.groups.is_empty(), "{id}: {of:?}");
        assert_eq!(manifest.transaction_of(of.producer.id), Some((id, of)));
    }
}

/// Appends to the first partition of a topic: plain, and by a few producers.
pub(crate) fn appends(topic: Uuid) -> impl Iterator<Item = Change> {
    (0..4).map(move |n| {
        let producer = (n > 0).then_some(Producer { id: n, epoch: 0, sequence: 0 });
        let batch =
            BatchMeta { bytes: 70, offsets: 1, max_timestamp: n, producer, joins: Default::default() };
        Change::Append(Append { topic, partition: 0, segment: None, at: 0, crc: 0, batches: vec![batch] })
    })
}
