//! Whole files: what was pushed is what is read, by us and by anybody who reads Parquet.
#![allow(clippy::unwrap_used)]

use arrow::array::{Array, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

use super::*;
use crate::decoder::{decode, decode_rows};
use crate::layout::Layout;
use crate::rows::{rows, times};
use crate::schema::Column;
use crate::testing::{Written, for_seeds, key, some_rows, written};
use crate::value::{Framing, ValueFormat};

fn small(base_offset: i64, rows: usize) -> Options {
    Options { row_group_rows: rows, ..Options::new(3, base_offset) }
}

fn group(layout: &Layout, at: usize, file: &Bytes) -> Bytes {
    let range = &layout.row_groups()[at].range;
    file.slice(range.start as usize..range.end as usize)
}

#[test]
fn every_row_is_read_back_from_its_row_group_alone() {
    for_seeds(60, |dice| {
        let base_offset = dice.i64(0..1_000);
        let count = dice.usize(1..300);
        let all = some_rows(dice, count, base_offset);
        let row_group_bytes = dice.usize(1..20_000);
        let options = Options { row_group_bytes, ..small(base_offset, dice.usize(1..100)) };
        let end_offset = all[count - 1].offset + 1 + dice.i64(0..3);
        let Written { file, summary, tail_at } = written(options.clone(), &all, end_offset);
        let layout = Layout::read(&key(base_offset), tail_at as u64, &file[tail_at..]).unwrap();
        assert_eq!(
            (layout.partition(), layout.base_offset(), layout.end_offset()),
            (3, base_offset, end_offset)
        );
        assert_eq!((layout.records(), layout.file_bytes()), (count as u64, file.len() as u64));
        assert_eq!((summary.records, summary.file_bytes), (count as u64, file.len() as u64));
        assert_eq!((layout.run(), summary.bytes), (4..tail_at as u64, tail_at as u64 - 4));
        let (first, last) = (all[0].offset, all[count - 1].offset);
        assert_eq!((layout.offsets(), summary.last_offset), (first..=last, last));
        let smallest = all.iter().map(|row| row.timestamp).min().unwrap();
        let largest = all.iter().map(|row| row.timestamp).max().unwrap();
        assert_eq!(layout.timestamps(), smallest..=largest);
        assert_eq!((summary.min_timestamp, summary.max_timestamp), (smallest, largest));
        let mut found = Vec::new();
        for (at, (row_group, position)) in layout.row_groups().iter().zip(&summary.positions).enumerate() {
            let bytes = group(&layout, at, &file);
            let read = rows(&decode(&layout, at, &bytes, &Column::ROW).unwrap()).unwrap();
            let max_timestamp = read.iter().map(|row| row.timestamp).max().unwrap();
            assert_eq!((row_group.offset, row_group.max_timestamp), (read[0].offset, max_timestamp));
            assert_eq!(row_group.last_offset, read[read.len() - 1].offset);
            let said = Position {
                offset: row_group.offset,
                at: row_group.range.start,
                max_timestamp,
                crc: row_group.crc,
            };
            assert_eq!(*position, said);
            assert_eq!(decode_rows(&layout, at, &bytes).unwrap(), read);
            assert!(read.len() <= options.row_group_rows);
            let only_times = times(&decode(&layout, at, &bytes, &Column::TIMES).unwrap()).unwrap();
            assert!(only_times.into_iter().eq(read.iter().map(|row| (row.offset, row.timestamp))));
            found.extend(read);
        }
        assert_eq!((found, layout.row_groups().len()), (all.clone(), summary.positions.len()));
        assert_eq!(written(options, &all, end_offset).file, file, "equal rows give equal bytes");
    });
}

/// More rows than go to the columns at once, and a value larger than a page, in one row group.
#[test]
fn a_row_group_may_take_many_slices() {
    let dice = &mut fastrand::Rng::with_seed(5);
    let mut all = some_rows(dice, 2 * SLICE_ROWS + 100, 0);
    all[SLICE_ROWS + 1].value = Some((0..3 * SLICE_BYTES).map(|_| dice.u8(..)).collect());
    let options = Options { row_group_bytes: usize::MAX, ..small(0, usize::MAX) };
    let Written { file, tail_at, .. } = written(options, &all, i64::MAX);
    let layout = Layout::read(&key(0), tail_at as u64, &file[tail_at..]).unwrap();
    assert_eq!(layout.row_groups().len(), 1);
    let bytes = group(&layout, 0, &file);
    assert_eq!(rows(&decode(&layout, 0, &bytes, &Column::ROW).unwrap()).unwrap(), all);
    assert_eq!(decode_rows(&layout, 0, &bytes).unwrap(), all);
}

/// The library reads the whole file without any of our code, and finds what a query would look for.
#[test]
fn anybody_reads_the_file() {
    let all = some_rows(&mut fastrand::Rng::with_seed(1), 500, 70);
    let properties = vec![("a.b".to_owned(), "text strandline.seal".to_owned())];
    let Written { file, .. } = written(Options { properties, ..small(70, 200) }, &all, all[499].offset + 1);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
    let batches = reader.collect::<Result<Vec<_>, _>>().unwrap();
    let found: Vec<Row> = batches.iter().flat_map(|batch| rows(batch).unwrap()).collect();
    assert_eq!(found, all);
    assert_eq!(batches[0].schema().fields(), crate::schema::schema(None).fields());

    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = reader.parse_and_finish(&file).unwrap();
    assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
    let entries = metadata.file_metadata().key_value_metadata().unwrap();
    assert!(entries.iter().any(|entry| entry.key == "a.b"));
    for group in metadata.row_groups() {
        let column = |name: &str| group.columns().iter().find(|c| c.column_path().string() == name).unwrap();
        assert!(column("offset").encodings().any(|encoding| encoding == Encoding::DELTA_BINARY_PACKED));
        assert!(column("offset").dictionary_page_offset().is_none());
        let longest = |name: &str| column(name).statistics().and_then(|s| s.max_bytes_opt()).unwrap().len();
        assert!(longest("key") <= STATISTICS_BYTES && longest("value") <= STATISTICS_BYTES);
    }
}

/// A projection gives no more than was asked for.
#[test]
fn only_the_columns_that_were_asked_for_are_decoded() {
    let all = some_rows(&mut fastrand::Rng::with_seed(2), 50, 0);
    let Written { file, tail_at, .. } = written(small(0, 50), &all, i64::MAX);
    let layout = Layout::read(&key(0), tail_at as u64, &file[tail_at..]).unwrap();
    let bytes = group(&layout, 0, &file);
    let batch = decode(&layout, 0, &bytes, &[Column::Fields, Column::Offset, Column::Partition]).unwrap();
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["partition", "offset"], "in the order of the file, without those that it has not");
    let offsets = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
    assert!(offsets.values().iter().copied().eq(all.iter().map(|row| row.offset)));
    assert!(rows(&batch).is_err(), "too few to make rows of");
    assert!(decode(&layout, 1, &bytes, &Column::ROW).is_err(), "there is no such row group");
}

/// The columns of values stand beside the values, and are not needed to read rows.
#[test]
fn values_are_unfolded_beside_what_they_are() {
    let schema = r#"{"type": "object", "properties": {"user": {"type": "integer"}, "tags": {"type": "array",
        "items": {"type": "string"}}, "at": {"type": "string", "format": "date-time"}}}"#;
    let unfold = Arc::new(Unfold::new(ValueFormat::Json, schema, Framing::None).unwrap());
    let mut all = some_rows(&mut fastrand::Rng::with_seed(3), 300, 0);
    for (at, row) in all.iter_mut().enumerate().filter(|(at, _)| at % 3 == 0) {
        row.value = Some(format!(r#"{{"user": {at}, "tags": ["a", "b"]}}"#).into());
    }
    let options = Options { unfold: Some(Arc::clone(&unfold)), ..small(0, 128) };
    let Written { file, tail_at, .. } = written(options, &all, i64::MAX);
    let layout = Layout::read(&key(0), tail_at as u64, &file[tail_at..]).unwrap();
    let mut found = Vec::new();
    for (at, row_group) in layout.row_groups().iter().enumerate() {
        let bytes = group(&layout, at, &file);
        let batch =
            decode(&layout, at, &bytes, &[Column::Value, Column::Fields, Column::FieldsError]).unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().clone();
        let (fields, errors) = (column("fields"), column("fields_error"));
        let users = fields.as_struct().column_by_name("user").unwrap().as_primitive::<Int64Type>().clone();
        for row in 0..row_group.records as usize {
            let at = found.len() + row;
            let (fits, tombstone) = (at % 3 == 0, all[at].value.is_none());
            assert_eq!(fields.is_valid(row), fits, "{at}");
            assert_eq!(errors.is_valid(row), !fits && !tombstone, "{at}");
            assert!(!fits || users.value(row) == at as i64);
        }
        found.extend(decode_rows(&layout, at, &bytes).unwrap());
    }
    assert_eq!(found, all);
}

/// What is not taken stays in memory, so it must come as early as it can.
#[test]
fn finished_row_groups_can_be_taken_at_once() {
    let row = |offset| Row {
        offset,
        timestamp: 5,
        append_time: false,
        key: None,
        value: Some(Bytes::from(vec![b'v'; 1_000])),
        headers: Vec::new(),
    };
    let mut encoder = Encoder::new(Options { row_group_bytes: 10_000, ..Options::new(3, 0) }).unwrap();
    assert_eq!(encoder.take(), [Bytes::from_static(b"PAR1")]);
    for offset in 0..100 {
        encoder.push(row(offset)).unwrap();
        assert_eq!(encoder.take().len(), usize::from(offset % 10 == 9), "{offset}");
    }
}

#[test]
fn what_cannot_be_a_file_is_refused() {
    let row = |offset| Row {
        offset,
        timestamp: 5,
        append_time: false,
        key: None,
        value: None,
        headers: Vec::new(),
    };
    let new = |base_offset| Encoder::new(Options::new(3, base_offset)).unwrap();
    assert!(Encoder::new(Options::new(3, -1)).is_err());
    assert!(Encoder::new(Options::new(u32::MAX, 0)).is_err(), "no partition of Kafka");
    let properties = vec![("strandline.seal".to_owned(), String::new())];
    assert!(Encoder::new(Options { properties, ..Options::new(3, 0) }).is_err(), "a property of ours");
    assert!(new(0).finish(1).is_err(), "no rows");
    assert!(new(5).push(row(4)).is_err(), "before the file");
    let mut encoder = new(5);
    encoder.push(row(7)).unwrap();
    assert!(encoder.push(row(7)).is_err(), "the same offset again");
    let mut encoder = new(5);
    encoder.push(row(7)).unwrap();
    assert!(encoder.finish(7).is_err(), "ends before its last row");
    assert!(new(5).push(row(i64::MAX)).is_err(), "there is no end behind it");
}
