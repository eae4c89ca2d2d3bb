//! What a table tells of a file beside its name, from the file's footer.
//!
//! Must not know tables. One ranged read a file: the footer lies behind the run, whose end the manifest or the index knows.

use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum};
use strandline_archive::Column;
use strandline_archive::layout::Layout;
use strandline_core::limits::MIB;
use strandline_core::store::Store;
use strandline_core::{Error, Result};

use super::files::File;

/// More than a footer ever has.
const FOOTER_BYTES: u64 = 64 * MIB as u64;
/// Of a millisecond; the columns saturate, too.
const MICROS: i64 = 1_000;

/// Reads it, as the lines of a manifest want it. `location` is the URL of the file.
pub(super) async fn read(store: &Store, file: &File, location: String) -> Result<DataFile> {
    let key = file.chunk.key();
    let tail_at = file.run_end..file.run_end.saturating_add(FOOTER_BYTES);
    let tail = store.get_range(&key, tail_at).await?.to_bytes();
    let layout = Layout::read(&key, file.run_end, &tail)?;
    if layout.end_offset() != file.end_offset {
        return Err(Error::corrupt(key, "its footer tells of another end than the manifest or the index"));
    }
    let partition = i32::try_from(layout.partition()).unwrap_or(i32::MAX);
    let (offsets, timestamps) = (layout.offsets(), layout.timestamps());
    let bounds = |offset: i64, timestamp: i64| {
        [
            (Column::Partition.id(), Datum::int(partition)),
            (Column::Offset.id(), Datum::long(offset)),
            (Column::Timestamp.id(), Datum::timestamptz_micros(timestamp.saturating_mul(MICROS))),
        ]
    };
    let groups = layout.row_groups().iter();
    let splits = groups.map(|group| i64::try_from(group.range.start).unwrap_or(i64::MAX)).collect();
    let never_null = [Column::Partition, Column::Offset, Column::Timestamp, Column::TimestampType];
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(location)
        .file_format(DataFileFormat::Parquet)
        .record_count(layout.records())
        .file_size_in_bytes(layout.file_bytes())
        .value_counts(never_null.map(|column| (column.id(), layout.records())).into())
        .null_value_counts(never_null.map(|column| (column.id(), 0)).into())
        .lower_bounds(bounds(*offsets.start(), *timestamps.start()).into())
        .upper_bounds(bounds(*offsets.end(), *timestamps.end()).into())
        .split_offsets(Some(splits))
        .build()
        .map_err(|error| Error::Invalid(format!("{key} cannot be listed in a table: {error}").into()))
}
