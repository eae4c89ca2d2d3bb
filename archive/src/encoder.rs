//! Rows become a file, a row group at a time.
//!
//! Must not know where the bytes go. Invariants: equal rows in equal options give equal bytes; row groups lie back to back from
//! byte 4 on; no more is held than one row group and the facts about those before it.

use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use strandline_core::chunk::Position;
use strandline_core::record::Row;

use crate::error::{ArchiveError, Result};
use crate::facts::{Facts, GroupFacts, reserved, seal};
use crate::layout::RUN_AT;
use crate::rows::{RowsBuilder, row_bytes};
use crate::value::Unfold;

/// Raw bytes of a row group: a fetch decodes whole ones, and a reader of analytics wants few of them.
pub const ROW_GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Rows of a row group, where they are small.
pub const ROW_GROUP_ROWS: usize = 100_000;
/// Rows go to the columns in slices of at most so many, or so many bytes: they stay in the caches, and pages are compressed
/// as soon as they are full.
const SLICE_ROWS: usize = 8_192;
const SLICE_BYTES: usize = 1024 * 1024;
/// No record that Kafka takes is larger; Parquet tells the size of a page with 31 bits.
const MAX_ROW_BYTES: usize = 1024 * 1024 * 1024;
/// Of the smallest and the largest key in statistics; the rest is cut off.
const STATISTICS_BYTES: usize = 64;
/// The fastest: higher ones save a few percent of bytes for twice the time.
const ZSTD_LEVEL: i32 = 1;

/// What a file is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The partition whose rows these are.
    pub partition: u32,
    /// The first offset that the file stands for, whether or not a row has it.
    pub base_offset: i64,
    /// A row group ends with the row that reaches so many raw bytes.
    pub row_group_bytes: usize,
    /// A row group has at most so many rows.
    pub row_group_rows: usize,
    /// How values become columns, if they do.
    pub unfold: Option<Arc<Unfold>>,
    /// More entries for the footer, in this order.
    pub properties: Vec<(String, String)>,
}

impl Options {
    /// The usual row groups, without columns of values.
    pub fn new(partition: u32, base_offset: i64) -> Options {
        let (row_group_bytes, row_group_rows) = (ROW_GROUP_BYTES, ROW_GROUP_ROWS);
        let (unfold, properties) = (None, Vec::new());
        Options { partition, base_offset, row_group_bytes, row_group_rows, unfold, properties }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Of all row groups: of the run, which begins at byte 4.
    pub bytes: u64,
    /// Of the whole file.
    pub file_bytes: u64,
    /// Rows in it, at least one.
    pub records: u64,
    /// The last offset that a row has; the first is that of the first position.
    pub last_offset: i64,
    /// Smallest timestamp, milliseconds.
    pub min_timestamp: i64,
    /// Largest timestamp, milliseconds.
    pub max_timestamp: i64,
    /// One a row group.
    pub positions: Vec<Position>,
}

/// Writes one file. After an error it must not be used any more.
pub struct Encoder {
    row_group_bytes: usize,
    row_group_rows: usize,
    builder: RowsBuilder,
    writer: ArrowWriter<Vec<u8>>,
    /// What is known of the row group that is being written, but for its CRC.
    open: Option<Open>,
    facts: Facts,
    positions: Vec<Position>,
    records: u64,
    /// Bytes that are finished, from the start of the file.
    at: u64,
    ready: Vec<Bytes>,
}

struct Open {
    facts: GroupFacts,
    rows: usize,
    bytes: usize,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("facts", &self.facts).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Begins a file.
    ///
    /// # Errors
    /// [`ArchiveError::Invalid`] for a partition that Kafka does not have, a negative offset, or a property that is ours.
    pub fn new(options: Options) -> Result<Encoder> {
        let Options { partition, base_offset, row_group_bytes, row_group_rows, unfold, properties } = options;
        if base_offset < 0 || i32::try_from(partition).is_err() {
            return Err(ArchiveError::Invalid(format!("no log has offset {base_offset} of {partition}")));
        }
        if let Some((key, _)) = properties.iter().find(|(key, _)| reserved(key)) {
            return Err(ArchiveError::Invalid(format!("the property {key} is not to be set")));
        }
        let builder = RowsBuilder::new(partition, unfold);
        let options = ArrowWriterOptions::new()
            .with_properties(writer_properties(properties)?)
            .with_skip_arrow_metadata(true)
            .with_schema_root("record".to_owned());
        let schema = Arc::clone(builder.schema());
        let mut encoder = Encoder {
            row_group_bytes,
            row_group_rows: row_group_rows.max(1),
            builder,
            writer: ArrowWriter::try_new_with_options(Vec::new(), schema, options)?,
            open: None,
            facts: Facts { partition, base_offset, end_offset: base_offset, groups: Vec::new() },
            positions: Vec::new(),
            records: 0,
            at: 0,
            ready: Vec::new(),
        };
        encoder.drain()?;
        Ok(encoder)
    }

    /// Adds a row, behind all others.
    ///
    /// # Errors
    /// [`ArchiveError::Rows`] if it does not stand behind them, or is larger than any record.
    pub fn push(&mut self, row: Row) -> Result<()> {
        let bytes = row_bytes(&row);
        if row.offset < self.facts.end_offset || row.offset == i64::MAX {
            return Err(ArchiveError::Rows("their offsets do not ascend from that of the file on"));
        }
        if bytes > MAX_ROW_BYTES {
            return Err(ArchiveError::Rows("one is larger than 1 GiB"));
        }
        self.facts.end_offset = row.offset + 1;
        self.records += 1;
        let (offset, timestamp) = (row.offset, row.timestamp);
        let open = self.open.get_or_insert_with(|| Open::new(offset, timestamp));
        open.facts.last_offset = offset;
        open.facts.min_timestamp = open.facts.min_timestamp.min(timestamp);
        open.facts.max_timestamp = open.facts.max_timestamp.max(timestamp);
        open.rows += 1;
        open.bytes = open.bytes.saturating_add(bytes);
        let full = open.bytes >= self.row_group_bytes || open.rows >= self.row_group_rows;
        self.builder.push(&row);
        if full {
            self.end_row_group()
        } else if self.builder.len() >= SLICE_ROWS || self.builder.bytes() >= SLICE_BYTES {
            self.write_slice()
        } else {
            Ok(())
        }
    }

    /// What was finished since the last call, in the order of the file. To be called after each push: what is not taken
    /// stays in memory.
    pub fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.ready)
    }

    /// Ends the file: its last bytes, and what was written. `end_offset` may lie behind the last row.
    ///
    /// # Errors
    /// [`ArchiveError::Rows`] if there is no row, or the last one lies behind the end.
    pub fn finish(mut self, end_offset: i64) -> Result<(Vec<Bytes>, Summary)> {
        if end_offset < self.facts.end_offset {
            return Err(ArchiveError::Rows("the file ends before them"));
        }
        self.end_row_group()?;
        let groups = &self.facts.groups;
        let last = groups.last().ok_or(ArchiveError::Rows("there are none"))?;
        let timestamp = |group: &GroupFacts| (group.min_timestamp, group.max_timestamp);
        let (min_timestamp, max_timestamp) = groups
            .iter()
            .map(timestamp)
            .fold(timestamp(last), |(smallest, largest), (min, max)| (smallest.min(min), largest.max(max)));
        let last_offset = last.last_offset;
        let bytes = self.at - RUN_AT;
        let facts = Facts { end_offset, ..self.facts };
        facts.entries().into_iter().for_each(|entry| self.writer.append_key_value_metadata(entry));
        self.writer.finish()?;
        let mut tail = std::mem::take(self.writer.inner_mut());
        seal(&mut tail).ok_or(ArchiveError::Rows("the footer has no place for its seal"))?;
        let file_bytes = self.at + tail.len() as u64;
        self.ready.push(tail.into());
        let (records, positions) = (self.records, self.positions);
        let summary =
            Summary { bytes, file_bytes, records, last_offset, min_timestamp, max_timestamp, positions };
        Ok((self.ready, summary))
    }

    fn write_slice(&mut self) -> Result<()> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let slice = self.builder.finish()?;
        Ok(self.writer.write(&slice)?)
    }

    fn end_row_group(&mut self) -> Result<()> {
        self.write_slice()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        self.writer.flush()?;
        let at = self.at;
        let crc = self.drain()?;
        let facts = GroupFacts { crc, ..open.facts };
        let (offset, max_timestamp) = (facts.first_offset, facts.max_timestamp);
        self.positions.push(Position { offset, at, max_timestamp, crc });
        self.facts.groups.push(facts);
        Ok(())
    }

    /// Takes over what the writer has finished, and gives its CRC32C.
    fn drain(&mut self) -> Result<u32> {
        self.writer.sync().map_err(parquet::errors::ParquetError::from)?;
        let bytes = std::mem::take(self.writer.inner_mut());
        self.at += bytes.len() as u64;
        let crc = crc32c::crc32c(&bytes);
        self.ready.push(bytes.into());
        Ok(crc)
    }
}

impl Open {
    fn new(offset: i64, timestamp: i64) -> Open {
        let facts = GroupFacts {
            first_offset: offset,
            last_offset: offset,
            min_timestamp: timestamp,
            max_timestamp: timestamp,
            crc: 0,
        };
        Open { facts, rows: 0, bytes: 0 }
    }
}

/// How the columns are written. Offsets and times are close to those before them; keys repeat, values do not; where a
/// column may be long and nobody looks for ranges, pages have no statistics.
///
/// # Errors
/// None: the level of compression exists.
pub fn writer_properties(properties: Vec<(String, String)>) -> Result<WriterProperties> {
    let path = |path: &str| ColumnPath::from(path.split('.').map(str::to_owned).collect::<Vec<_>>());
    let entries = properties.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(entries))
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 1,
            descending: false,
            nulls_first: false,
        }]))
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES))
        .set_column_dictionary_enabled(path("value"), false);
    for column in ["offset", "timestamp"] {
        builder = builder
            .set_column_dictionary_enabled(path(column), false)
            .set_column_encoding(path(column), Encoding::DELTA_BINARY_PACKED);
    }
    for column in ["value", "headers.list.element.value", "headers.list.element.raw_key"] {
        builder = builder.set_column_statistics_enabled(path(column), EnabledStatistics::Chunk);
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests;
