//! Manifests and manifest lists of Iceberg, from and to bytes.
//!
//! Must not know the bucket: the library reads and writes in memory here, and what it wrote is handed back. Whatever it says
//! about bytes that are not what they should be names the object.

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, ManifestEntry, ManifestEntryRef, ManifestFile, ManifestList, ManifestListWriter,
    ManifestWriterBuilder, PartitionSpec, SchemaRef,
};
use strandline_core::{Error, Result};

/// What one line of a manifest is to say.
#[derive(Debug)]
pub(super) enum Line {
    /// A file that comes in.
    Added(Box<DataFile>),
    /// A file that stays, from another manifest.
    Kept(ManifestEntryRef),
    /// A file that goes.
    Gone(ManifestEntryRef),
}

/// An object of a table, not written yet.
#[derive(Debug)]
pub(super) struct Written {
    /// Its absolute URL.
    pub(super) location: String,
    pub(super) body: Bytes,
}

/// The snapshot that something is written for.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) id: i64,
    pub(super) parent: Option<i64>,
    pub(super) sequence_number: i64,
    pub(super) schema: SchemaRef,
}

/// A manifest with these lines, for a snapshot.
pub(super) async fn manifest(
    location: String,
    origin: &Origin,
    lines: impl IntoIterator<Item = Line>,
) -> Result<(ManifestFile, Written)> {
    let memory = FileIO::new_with_memory();
    let output = memory.new_output(&location).map_err(unwritten)?;
    let spec = PartitionSpec::unpartition_spec();
    let builder = ManifestWriterBuilder::new(output, Some(origin.id), origin.schema.clone(), spec);
    let mut writer = builder.build_v2_data();
    for line in lines {
        let wrote = match line {
            // No sequence number: it is that of the manifest, which the list tells.
            Line::Added(file) => writer.add_file(*file, -1),
            Line::Kept(entry) => {
                let ManifestEntry { snapshot_id, sequence_number, file_sequence_number, data_file, .. } =
                    &*entry;
                let (snapshot, sequence) = (snapshot_id.unwrap_or(origin.id), sequence_number.unwrap_or(0));
                writer.add_existing_file(data_file.clone(), snapshot, sequence, *file_sequence_number)
            }
            Line::Gone(entry) => {
                let ManifestEntry { sequence_number, file_sequence_number, data_file, .. } = &*entry;
                let sequence = sequence_number.unwrap_or(0);
                writer.add_delete_file(data_file.clone(), sequence, *file_sequence_number)
            }
        };
        wrote.map_err(unwritten)?;
    }
    let file = writer.write_manifest_file().await.map_err(unwritten)?;
    let body = read(&memory, &location).await?;
    Ok((file, Written { location, body }))
}

/// The list of all manifests of a snapshot.
pub(super) async fn list(
    location: String,
    origin: &Origin,
    manifests: impl Iterator<Item = ManifestFile>,
) -> Result<Written> {
    let memory = FileIO::new_with_memory();
    let output = memory.new_output(&location).map_err(unwritten)?;
    let output = output.writer().await.map_err(unwritten)?;
    let mut writer = ManifestListWriter::v2(output, origin.id, origin.parent, origin.sequence_number);
    writer.add_manifests(manifests).map_err(unwritten)?;
    writer.close().await.map_err(unwritten)?;
    let body = read(&memory, &location).await?;
    Ok(Written { location, body })
}

/// The manifests that a list names.
pub(super) fn read_list(key: &str, body: &[u8]) -> Result<Vec<ManifestFile>> {
    let list = ManifestList::parse_with_version(body, iceberg::spec::FormatVersion::V2);
    let list = list.map_err(|error| Error::corrupt(key, error.to_string()))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// The files that are there according to a manifest.
pub(super) async fn read_manifest(
    key: &str,
    file: &ManifestFile,
    body: Bytes,
) -> Result<Vec<ManifestEntryRef>> {
    let memory = FileIO::new_with_memory();
    let damaged = |error: iceberg::Error| Error::corrupt(key, error.to_string());
    let copy = memory.new_output(&file.manifest_path).map_err(damaged)?;
    copy.write(body).await.map_err(damaged)?;
    let manifest = file.load_manifest(&memory).await.map_err(damaged)?;
    Ok(manifest.entries().iter().filter(|entry| entry.is_alive()).cloned().collect())
}

async fn read(memory: &FileIO, location: &str) -> Result<Bytes> {
    memory.new_input(location).map_err(unwritten)?.read().await.map_err(unwritten)
}

pub(super) fn unwritten(error: iceberg::Error) -> Error {
    Error::Invalid(format!("an Iceberg table cannot be written: {error}").into())
}
