//! What the footer of a file says: which rows it has, where its row groups lie, and what they must be.
//!
//! Must not know how row groups are decoded. Invariants: nothing of a footer is parsed before its seal holds; the row groups of a
//! [`Layout`] lie back to back and fill the run.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader};
use strandline_core::chunk::{ChunkId, Format};
use strandline_core::{Error, Result};

use crate::facts::{Facts, GroupFacts, seal_holds};

/// Where the run begins: behind Parquet's magic.
pub const RUN_AT: u64 = 4;
/// Bytes of the length of the footer and of the magic behind it.
const TRAILER_BYTES: usize = 8;

/// A row group of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroup {
    /// Of its first row.
    pub offset: i64,
    /// Of its last row.
    pub last_offset: i64,
    /// Rows in it.
    pub records: u64,
    /// Where it lies, in bytes from the start of the file.
    pub range: Range<u64>,
    /// Largest timestamp in it, milliseconds.
    pub max_timestamp: i64,
    /// CRC32C of its bytes.
    pub crc: u32,
}

/// What a file says of itself.
#[derive(Debug, Clone)]
pub struct Layout {
    key: String,
    file_bytes: u64,
    facts: Facts,
    row_groups: Vec<RowGroup>,
    metadata: ArrowReaderMetadata,
}

impl Layout {
    /// Reads all of the bytes behind the run of the chunk of this key; they begin `tail_at` bytes from the start of the file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if these are not the bytes that were written there.
    pub fn read(key: &str, tail_at: u64, tail: &[u8]) -> Result<Layout> {
        let corrupt = |what: &str| Error::corrupt(key, what);
        if !seal_holds(tail) {
            return Err(corrupt("the seal of its footer does not hold"));
        }
        let unreadable = |error: ParquetError| corrupt(&format!("its footer cannot be read: {error}"));
        let metadata = guarded(key, || parse(tail).map_err(unreadable))?;
        let entries = metadata.file_metadata().key_value_metadata();
        let facts = Facts::read(entries.map_or(&[], Vec::as_slice)).map_err(corrupt)?;
        let chunk = ChunkId::from_key(key).ok_or_else(|| corrupt("no chunk has this key"))?;
        if (chunk.format, chunk.partition, chunk.base_offset)
            != (Format::Parquet, facts.partition, facts.base_offset)
        {
            return Err(corrupt("its footer is that of another chunk"));
        }
        let row_groups = row_groups(&metadata, &facts, tail_at);
        let row_groups =
            row_groups.ok_or_else(|| corrupt("the fields of its footer contradict each other"))?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata =
            guarded(key, || ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(unreadable))?;
        let file_bytes = tail_at.saturating_add(tail.len() as u64);
        Ok(Layout { key: key.to_owned(), file_bytes, facts, row_groups, metadata })
    }

    /// The key that it was read for.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The partition whose rows these are.
    pub fn partition(&self) -> u32 {
        self.facts.partition
    }

    /// The first offset that the file stands for, whether or not a row has it.
    pub fn base_offset(&self) -> i64 {
        self.facts.base_offset
    }

    /// One past the last offset that the file stands for.
    pub fn end_offset(&self) -> i64 {
        self.facts.end_offset
    }

    /// Rows in the file, at least one.
    pub fn records(&self) -> u64 {
        self.row_groups.iter().map(|group| group.records).sum()
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Where the row groups lie, all of them, in bytes from the start of the file.
    pub fn run(&self) -> Range<u64> {
        RUN_AT..self.row_groups.last().map_or(RUN_AT, |group| group.range.end)
    }

    /// In order, at least one.
    pub fn row_groups(&self) -> &[RowGroup] {
        &self.row_groups
    }

    /// Largest timestamp, milliseconds.
    pub fn max_timestamp(&self) -> i64 {
        *self.timestamps().end()
    }

    /// The first and the last offset that rows have.
    pub fn offsets(&self) -> RangeInclusive<i64> {
        let groups = &self.facts.groups;
        let first = groups.first().map_or(self.facts.base_offset, |group| group.first_offset);
        first..=groups.last().map_or(first, |group| group.last_offset)
    }

    /// The smallest and the largest timestamp that rows have, milliseconds.
    pub fn timestamps(&self) -> RangeInclusive<i64> {
        let smallest = self.facts.groups.iter().map(|group| group.min_timestamp).min();
        let largest = self.facts.groups.iter().map(|group| group.max_timestamp).max();
        smallest.unwrap_or_default()..=largest.unwrap_or_default()
    }

    /// Bytes that it takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        let groups = self.row_groups.len() * (size_of::<RowGroup>() + size_of::<GroupFacts>());
        self.metadata.metadata().memory_size() + groups + self.key.len()
    }

    pub(crate) fn metadata(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }
}

/// The library panics on some contents that nobody writes. Seal and CRC keep damage from it, but not what was forged.
pub(crate) fn guarded<T>(key: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    caught.unwrap_or_else(|_| Err(Error::corrupt(key, "it was forged so that nothing can read it")))
}

fn parse(tail: &[u8]) -> parquet::errors::Result<ParquetMetaData> {
    let trailer = tail.last_chunk::<TRAILER_BYTES>().ok_or_else(|| "it is too short".to_owned());
    let trailer = FooterTail::try_new(trailer.map_err(ParquetError::EOF)?)?;
    let end = tail.len() - TRAILER_BYTES;
    let start = end.checked_sub(trailer.metadata_length());
    let footer = start.and_then(|start| tail.get(start..end)).filter(|_| !trailer.is_encrypted_footer());
    let footer = footer.ok_or_else(|| ParquetError::EOF("it is not whole".to_owned()))?;
    ParquetMetaDataReader::decode_metadata(footer)
}

/// The row groups, if all that is said of them can be true together.
fn row_groups(metadata: &ParquetMetaData, facts: &Facts, tail_at: u64) -> Option<Vec<RowGroup>> {
    let count = metadata.row_groups().len();
    if count == 0 || count != facts.groups.len() || facts.base_offset < 0 {
        return None;
    }
    let mut row_groups: Vec<RowGroup> = Vec::with_capacity(count);
    let (mut at, mut next_offset) = (RUN_AT, facts.base_offset);
    for (group, facts) in metadata.row_groups().iter().zip(&facts.groups) {
        let records = u64::try_from(group.num_rows()).ok().filter(|records| *records > 0)?;
        let offsets = facts.last_offset.checked_sub(facts.first_offset)?.checked_add(1)?;
        let most_records = u64::try_from(offsets).ok()?;
        let holds = facts.first_offset >= next_offset
            && records <= most_records
            && facts.min_timestamp <= facts.max_timestamp;
        let end = group.columns().iter().try_fold(at, |at, column| end_of(column, at)).filter(|_| holds)?;
        row_groups.push(RowGroup {
            offset: facts.first_offset,
            last_offset: facts.last_offset,
            records,
            range: at..end,
            max_timestamp: facts.max_timestamp,
            crc: facts.crc,
        });
        (at, next_offset) = (end, facts.last_offset.checked_add(1)?);
    }
    let records: u64 = row_groups.iter().map(|group| group.records).sum();
    let complete = u64::try_from(metadata.file_metadata().num_rows()) == Ok(records) && at == tail_at;
    (complete && next_offset <= facts.end_offset).then_some(row_groups)
}

/// Where a column ends that begins here.
fn end_of(column: &ColumnChunkMetaData, at: u64) -> Option<u64> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let begins_here = u64::try_from(start) == Ok(at) && column.file_path().is_none();
    at.checked_add(u64::try_from(column.compressed_size()).ok()?).filter(|_| begins_here)
}

#[cfg(test)]
mod tests;
