//! How fast files are written and read, against Arrow's own writer and reader with the same columns and options:
//! `cargo run --release -p strandline-archive --example ratio`.
//!
//! Owns no rule. The runs of all four take turns, so that what else the machine does falls on each; medians are printed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use strandline_archive::encoder::{ROW_GROUP_BYTES, writer_properties};
use strandline_archive::{Encoder, Layout, Options, Row, RowsBuilder, batches, schema};

const ROWS: usize = 200_000;
const RUNS: usize = 9;
const SLICE_ROWS: usize = 8_192;

/// Events as services write them: JSON of a few hundred bytes, keys that come again, a header.
fn events() -> Vec<Row> {
    let mut dice = fastrand::Rng::with_seed(1);
    let event = |offset| {
        let (user, price) = (dice.u32(0..20_000), dice.u32(..) / 1_000);
        let trace: String = (0..16).map(|_| format!("{:02x}", dice.u8(..))).collect();
        let action = ["view", "click", "purchase", "return"][dice.usize(0..4)];
        let value = format!(
            r#"{{"user":{user},"action":"{action}","price":{price},"currency":"EUR","trace":"{trace}","agent":"Mozilla/5.0 (X11; Linux x86_64)","page":"/shop/item/{}","session":"{:016x}"}}"#,
            dice.u32(0..5_000),
            dice.u64(..)
        );
        Row {
            offset,
            timestamp: 1_700_000_000_000 + offset * 3 + dice.i64(0..50),
            append_time: false,
            key: Some(format!("user-{user}").into()),
            value: Some(value.into()),
            headers: vec![(Bytes::from_static(b"source"), Some(Bytes::from_static(b"shop")))],
        }
    };
    (0..ROWS as i64).map(event).collect()
}

fn encode(rows: &[Row]) -> (Vec<Bytes>, u64) {
    let mut encoder = Encoder::new(Options::new(0, 0)).unwrap();
    let mut file = Vec::new();
    for row in rows {
        encoder.push(row.clone()).unwrap();
        file.append(&mut encoder.take());
    }
    let (mut rest, summary) = encoder.finish(rows.len() as i64).unwrap();
    file.append(&mut rest);
    (file, 4 + summary.bytes)
}

fn encode_as_arrow_does(batches: &[RecordBatch], rows_of_group: usize) -> usize {
    let options = ArrowWriterOptions::new()
        .with_properties(writer_properties(Vec::new()).unwrap())
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema(None), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
        if writer.in_progress_rows() >= rows_of_group {
            writer.flush().unwrap();
        }
    }
    writer.into_inner().unwrap().len()
}

/// What a broker does for a consumer: each row group by itself becomes record batches.
fn decode_for_kafka(file: &Bytes, layout: &Layout) -> usize {
    let mut bytes = 0;
    for (at, group) in layout.row_groups().iter().enumerate() {
        let part = file.slice(group.range.start as usize..group.range.end as usize);
        bytes += batches(layout, at, &part).unwrap().iter().map(|(_, batch)| batch.len()).sum::<usize>();
    }
    bytes
}

fn decode_as_arrow_does(file: &Bytes) -> usize {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
    reader.map(|batch| black_box(batch.unwrap()).num_rows()).sum()
}

fn timed<T>(times: &mut Vec<f64>, run: impl FnOnce() -> T) {
    let begun = Instant::now();
    black_box(run());
    times.push(begun.elapsed().as_secs_f64());
}

fn main() {
    let rows = events();
    let part = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
    let raw: usize = rows.iter().map(|row| part(&row.key) + part(&row.value) + 10).sum();
    let slices: Vec<RecordBatch> = rows.chunks(SLICE_ROWS).map(columns).collect();
    let (file, tail_at) = encode(&rows);
    let file = Bytes::from(file.concat());
    let key = "chunk/00000000-0000-0000-0000-000000000007/0/00000000000000000000-00000000000000000000000008.parquet";
    let layout = Layout::read(key, tail_at, &file[tail_at as usize..]).unwrap();
    let rows_of_group = ROWS * ROW_GROUP_BYTES / raw;
    let mut times: [Vec<f64>; 4] = Default::default();
    let [ours_in, arrows_in, ours_out, arrows_out] = &mut times;
    for _ in 0..RUNS {
        timed(ours_in, || encode(&rows).0.len());
        timed(arrows_in, || encode_as_arrow_does(&slices, rows_of_group));
        timed(ours_out, || decode_for_kafka(&file, &layout));
        timed(arrows_out, || decode_as_arrow_does(&file));
    }
    let mib = raw as f64 / 1024.0 / 1024.0;
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        mib / times[times.len() / 2]
    };
    let [ours_in, arrows_in, ours_out, arrows_out] = times.each_mut().map(median);
    println!(
        "{mib:.0} MiB raw, {:.0} MiB in {} row groups",
        file.len() as f64 / 1048576.0,
        layout.row_groups().len()
    );
    println!(
        "encode: {ours_in:.0} MiB/s, Arrow's writer {arrows_in:.0}: {:.0} %",
        100.0 * ours_in / arrows_in
    );
    println!(
        "to Kafka: {ours_out:.0} MiB/s, Arrow's reader {arrows_out:.0}: {:.0} %",
        100.0 * ours_out / arrows_out
    );
}

fn columns(rows: &[Row]) -> RecordBatch {
    let mut builder = RowsBuilder::new(0, None);
    rows.iter().for_each(|row| builder.push(row));
    builder.finish().unwrap()
}
