//! Ranges as columns, over all that a compactor may make of a partition: the records that a consumer would get, all of them
//! or an error.

use arrow::array::RecordBatch;
use strandline_archive::{Column, Row, rows, schema};
use strandline_core::record;

use super::world::World;
use super::{BOTH, Isolation, MIB, Reader, for_seeds};
use crate::replay::{Bound, Part, PartitionRange, ReplayError, ReplayOptions};

impl World {
    fn range(&self, from: Bound, to: Bound, isolation: Isolation) -> ReplayOptions {
        let (topic, partitions) = (self.topic, vec![0]);
        ReplayOptions { topic, partitions, from, to, isolation, columns: Vec::new(), batch_rows: 10_000 }
    }

    fn all(&self) -> ReplayOptions {
        self.range(Bound::Earliest, Bound::Latest, Isolation::ReadCommitted)
    }

    /// The records in a range that a consumer sees, by the list of what is there and of what was aborted.
    fn seen(&self, offsets: std::ops::Range<i64>, isolation: Isolation) -> Vec<Row> {
        let mut seen = Vec::new();
        for batch in self.batches.iter().filter(|batch| !batch.control) {
            let header = record::BatchHeader::at(&batch.bytes.clone().into(), 0).unwrap();
            for record in record::records(&batch.bytes).unwrap() {
                let offset = batch.base_offset + i64::from(record.offset_delta);
                let is_aborted = header.transactional()
                    && isolation == Isolation::ReadCommitted
                    && self.aborted.iter().any(|span| {
                        span.producer_id == header.producer_id
                            && (span.first_offset..span.last_offset).contains(&offset)
                    });
                if offsets.contains(&offset) && !is_aborted {
                    let record::Record { timestamp, key, value, headers, .. } = record;
                    let append_time = header.append_time();
                    seen.push(Row { offset, timestamp, append_time, key, value, headers });
                }
            }
        }
        seen
    }

    /// Where a bound lies, by the list.
    fn offset_of(&self, bound: Bound, isolation: Isolation) -> i64 {
        let partition = self.partition();
        let end = match isolation {
            Isolation::ReadUncommitted => partition.high_watermark,
            Isolation::ReadCommitted => partition.last_stable_offset(),
        };
        let end = end.max(partition.log_start);
        match bound {
            Bound::Earliest => partition.log_start,
            Bound::Latest => end,
            Bound::Offset(offset) => offset.clamp(partition.log_start, end),
            Bound::Timestamp(ms) => {
                let all = self.seen(partition.log_start..end, Isolation::ReadUncommitted);
                all.iter().find(|row| row.timestamp >= ms).map_or(end, |row| row.offset)
            }
        }
    }

    fn any_bound(&mut self) -> Bound {
        let end = self.partition().high_watermark;
        match self.dice.u8(..5) {
            0 => Bound::Earliest,
            1 => Bound::Latest,
            2 | 3 => Bound::Offset(self.dice.i64(-5..end + 5)),
            _ => Bound::Timestamp(self.dice.i64(990..1_330)),
        }
    }
}

/// Everything that comes, and how it ends.
async fn replay(reader: &Reader, options: &ReplayOptions) -> (Vec<Part>, Result<(), ReplayError>) {
    let mut replay = reader.replay(options).await.unwrap();
    let mut parts = Vec::new();
    while let Some(part) = replay.next().await {
        match part {
            Ok(part) => parts.push(part),
            Err(error) => {
                assert!(replay.next().await.is_none(), "an error is the last that comes");
                return (parts, Err(error));
            }
        }
    }
    (parts, Ok(()))
}

fn rows_of(parts: &[Part]) -> Vec<Row> {
    parts.iter().flat_map(|part| rows(&part.rows).unwrap()).collect()
}

/// Parts follow one another without a gap, and none is larger than it may be.
fn parts_fit(parts: &[Part], from: i64, most_rows: usize) {
    let mut at = from;
    for part in parts {
        assert_eq!((part.partition, part.offsets.start), (0, at));
        at = part.offsets.end;
        assert!((1..=most_rows).contains(&part.rows.num_rows()));
        assert!(rows(&part.rows).unwrap().iter().all(|row| part.offsets.contains(&row.offset)));
    }
}

/// Wherever a range begins and ends, whatever became of its records: every record that a consumer would see comes out once, in
/// its order, and no other.
#[test]
fn a_range_is_what_a_consumer_sees_of_it() {
    for_seeds(24, |seed| async move {
        let mut world = World::new(seed).await;
        for _ in 0..4 {
            for _ in 0..world.dice.usize(5..25) {
                world.step().await;
            }
            let reader = world.reader(64 * MIB);
            for isolation in BOTH {
                let (whole, ended) = replay(&reader, &ReplayOptions { isolation, ..world.all() }).await;
                let end = world.offset_of(Bound::Latest, isolation);
                assert_eq!(rows_of(&whole), world.seen(world.partition().log_start..end, isolation));
                ended.unwrap();
                for _ in 0..8 {
                    let (from, to) = (world.any_bound(), world.any_bound());
                    let batch_rows = world.dice.usize(1..20);
                    let options = ReplayOptions { batch_rows, ..world.range(from, to, isolation) };
                    let begin = world.offset_of(from, isolation);
                    let offsets = begin..world.offset_of(to, isolation).max(begin);
                    let (parts, ended) = replay(&reader, &options).await;
                    ended.unwrap();
                    let what = format!("{from:?} to {to:?}, {isolation:?} of {:?}", world.partition());
                    assert_eq!(rows_of(&parts), world.seen(offsets.clone(), isolation), "{what}");
                    parts_fit(&parts, offsets.start, batch_rows);
                }
            }
        }
    });
}

/// The end of a range is that of the moment at which it was asked for, in all partitions; partitions come one after the other.
#[tokio::test(start_paused = true)]
async fn a_range_is_fixed_when_it_begins() {
    let mut world = World::new(1).await;
    for _ in 0..3 {
        world.append_plain(10).await;
        world.append_to(1, 10).await;
    }
    let reader = world.reader(64 * MIB);
    let options = ReplayOptions { partitions: Vec::new(), batch_rows: 2, ..world.all() };
    let mut replay = reader.replay(&options).await.unwrap();
    let ranges: Vec<_> = replay.ranges().to_vec();
    assert_eq!(ranges, [0, 1].map(|partition| PartitionRange { partition, offsets: 0..3 }));
    for partition in [0, 1] {
        world.append_to(partition, 10).await;
    }
    let mut offsets = Vec::new();
    while let Some(part) = replay.next().await {
        let part = part.unwrap();
        offsets.push((part.partition, part.offsets));
    }
    assert_eq!(offsets, [(0, 0..2), (0, 2..3), (1, 0..2), (1, 2..3)]);
    let missing = reader.replay(&ReplayOptions { partitions: vec![0, 2], ..options }).await;
    assert!(matches!(missing, Err(ReplayError::NoPartition { partition: 2, partitions: 2 })));
}

/// Columns come in the order in which they are named, and those that are not named do not fill a batch.
#[tokio::test(start_paused = true)]
async fn columns_are_those_that_are_wanted() {
    let mut world = World::new(1).await;
    for _ in 0..20 {
        world.append_plain(MIB - 100).await;
    }
    let reader = world.reader(64 * MIB);
    let (whole, _) = replay(&reader, &world.all()).await;
    assert_eq!(whole[0].rows.schema(), schema(None));
    let rows: Vec<_> = whole.iter().map(|part| part.rows.num_rows()).collect();
    assert_eq!(rows, [8, 8, 4], "a record batch is cut at 8 MiB");
    let columns = vec![Column::Timestamp, Column::Offset];
    let (parts, _) = replay(&reader, &ReplayOptions { columns, ..world.all() }).await;
    let [part] = &parts[..] else { panic!("{} parts", parts.len()) };
    let names = |batch: &RecordBatch| batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    let names: Vec<String> = names(&part.rows);
    assert_eq!((names, part.rows.num_rows()), (vec!["timestamp".to_owned(), "offset".to_owned()], 20));
    let columns = vec![Column::Fields];
    let refused = reader.replay(&ReplayOptions { columns, ..world.all() }).await;
    assert!(matches!(refused, Err(ReplayError::Columns(_))), "no value format is known");
}

/// What cannot be read ends a replay, after all that lies before it, with an error that says where.
#[tokio::test(start_paused = true)]
async fn damage_is_an_error_and_never_a_gap() {
    let mut world = World::new(1).await;
    for _ in 0..4 {
        world.append_plain(10).await;
    }
    world.chunk(0, 4).await;
    let extent = world.partition().extents[0];
    let (key, third) = (extent.object.key(), extent.at as usize + extent.bytes as usize / 2);
    world.objects.damage(&key, |bytes| bytes[third + 65] ^= 1).await;
    let options = ReplayOptions { batch_rows: 1, ..world.all() };
    let (parts, ended) = replay(&world.reader(64 * MIB), &options).await;
    assert!(parts.len() <= 2 && parts.iter().all(|part| part.offsets.end <= 2), "{parts:?}");
    let said = ended.unwrap_err().to_string();
    assert!(said.contains(&key) && said.contains("the batch at offset 2"), "{said}");
    let behind = ReplayOptions { from: Bound::Offset(3), ..world.all() };
    let (_, ended) = replay(&world.reader(64 * MIB), &behind).await;
    assert!(ended.is_err(), "what lies behind it in a run cannot be trusted");

    world.append_to(1, 10).await;
    world.append_unreadable().await;
    world.append_to(1, 10).await;
    let reader = world.reader(64 * MIB);
    let part = |from, to| ReplayOptions {
        partitions: vec![1],
        batch_rows: 1,
        ..world.range(Bound::Offset(from), Bound::Offset(to), Isolation::ReadUncommitted)
    };
    let (parts, ended) = replay(&reader, &ReplayOptions { batch_rows: 9, ..part(0, 3) }).await;
    assert!(matches!(ended, Err(ReplayError::Unreadable { partition: 1, offset: 1, .. })), "{ended:?}");
    assert_eq!(rows_of(&parts).iter().map(|row| row.offset).collect::<Vec<_>>(), [0]);
    for (from, to) in [(0, 1), (2, 3)] {
        let (parts, ended) = replay(&reader, &part(from, to)).await;
        assert!(
            ended.is_ok() && rows_of(&parts).len() == 1,
            "{from} to {to} is not touched by it: {ended:?}"
        );
    }
}

/// Whoever looks for little reads little.
#[tokio::test(start_paused = true)]
async fn a_short_range_costs_a_block_or_two() {
    let mut world = World::new(1).await;
    for _ in 0..160 {
        world.append_plain(100 * 1_024).await;
    }
    world.chunk(0, 160).await;
    let (reader, before) = (world.reader(64 * MIB), world.objects.gets("chunk"));
    let options = world.range(Bound::Offset(100), Bound::Offset(102), Isolation::ReadCommitted);
    let (parts, ended) = replay(&reader, &options).await;
    ended.unwrap();
    assert_eq!(rows_of(&parts).iter().map(|row| row.offset).collect::<Vec<_>>(), [100, 101]);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let gets = world.objects.gets("chunk") - before;
    assert!(gets <= 3, "{gets} reads, of the footer and of 8 blocks");
}
