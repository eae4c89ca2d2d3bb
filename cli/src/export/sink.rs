//! Where columns go: standard output, a file, or a file of each partition, as a stream of Arrow or as Parquet.
//!
//! Must not know where columns come from. Runs on a thread of its own. Invariant: a file appears under its name only when it is
//! whole; a stream that is not breaks off inside a message, so that whoever reads it hears of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use strandline_archive::Column;
use strandline_reader::replay::Part;
use tokio::sync::mpsc::Receiver;

use crate::args::{ExportArgs, ExportFormat};

/// Written at once.
const BUFFER_BYTES: usize = 256 * 1_024;
/// A row group is written when it has come to this: it is held in memory until then.
const ROW_GROUP_BYTES: usize = 64 * 1_024 * 1_024;
const ZSTD_LEVEL: i32 = 3;
/// A message that announces eight bytes of metadata, and then has none.
const BROKEN_MESSAGE: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 8, 0, 0, 0];

/// What is to be done.
pub(super) enum Job {
    Write(Part),
    /// That was all. Without it, nothing is whole.
    Finish,
}

/// What was written.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Written {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// Writes parts as they come.
pub(super) struct Sink {
    place: Place,
    format: ExportFormat,
    schema: SchemaRef,
}

enum Place {
    Stdout,
    File(PathBuf),
    /// The folder, and what the names of its files begin with.
    Folder(PathBuf, String),
}

impl Sink {
    /// Makes the folder, if it is one, and nothing else.
    pub(super) fn new(args: &ExportArgs, schema: &SchemaRef) -> Result<Sink> {
        let place = match () {
            () if args.output.as_os_str() == "-" => Place::Stdout,
            () if args.is_folder() => {
                empty_folder(&args.output)?;
                Place::Folder(args.output.clone(), args.topic.clone())
            }
            () => Place::File(args.output.clone()),
        };
        Ok(Sink { place, format: args.format(), schema: schema.clone() })
    }

    /// Writes until it hears that that was all; `None`: it did not. `seen` is shown each part.
    pub(super) fn run(self, mut jobs: Receiver<Job>, seen: impl Fn(&Part)) -> Result<Option<Written>> {
        let is_folder = matches!(self.place, Place::Folder(..));
        // Also without any record there is a schema to be written.
        let mut open = if is_folder { None } else { Some((0, self.open(0)?)) };
        let mut whole = Vec::new();
        let mut written = Written::default();
        while let Some(job) = jobs.blocking_recv() {
            let Job::Write(part) = job else {
                whole.extend(open.map(|(_, table)| table.close()).transpose()?);
                for target in whole {
                    written.bytes += target.keep()?;
                }
                return Ok(Some(written));
            };
            if is_folder && open.as_ref().is_none_or(|(partition, _)| *partition != part.partition) {
                whole.extend(open.take().map(|(_, table)| table.close()).transpose()?);
                open = Some((part.partition, self.open(part.partition)?));
            }
            if let Some((_, table)) = &mut open {
                table.write(&part.rows)?;
            }
            written.records += part.rows.num_rows() as u64;
            seen(&part);
        }
        if let Some((_, table)) = open {
            table.break_off()?;
        }
        Ok(None)
    }

    fn open(&self, partition: u32) -> Result<Table> {
        let target = match &self.place {
            Place::Stdout => Target::of(Box::new(io::stdout()), None),
            Place::File(path) => Target::file(path)?,
            Place::Folder(folder, topic) => {
                let ending = match self.format {
                    ExportFormat::Arrow => "arrows",
                    ExportFormat::Parquet => "parquet",
                };
                Target::file(&folder.join(format!("{topic}-{partition:05}.{ending}")))?
            }
        };
        let table = match self.format {
            ExportFormat::Arrow => StreamWriter::try_new(target, &self.schema).map(Table::Arrow)?,
            ExportFormat::Parquet => {
                let writer = ArrowWriter::try_new(target, self.schema.clone(), Some(properties()?))?;
                Table::Parquet(Box::new(writer))
            }
        };
        Ok(table)
    }
}

/// Files of another export in it would be taken for some of this one.
fn empty_folder(folder: &Path) -> Result<()> {
    let shown = folder.display();
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {shown}"))?;
    let mut inside = fs::read_dir(folder).with_context(|| format!("cannot look into {shown}"))?;
    if inside.next().is_some() {
        bail!("the folder {shown} is not empty: name a new one, or empty it first");
    }
    Ok(())
}

/// Offsets and times grow by steps, values are the producers' own.
fn properties() -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_created_by(concat!("strandline ", env!("CARGO_PKG_VERSION")).to_owned());
    for column in [Column::Offset, Column::Timestamp].map(|column| ColumnPath::from(column.name())) {
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

/// Record batches in one file or stream.
enum Table {
    Arrow(StreamWriter<Target>),
    Parquet(Box<ArrowWriter<Target>>),
}

impl Table {
    fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match self {
            Table::Arrow(writer) => writer.write(rows)?,
            Table::Parquet(writer) => writer.write(rows)?,
        }
        Ok(())
    }

    /// Writes what belongs at the end.
    fn close(self) -> Result<Target> {
        let mut target = match self {
            Table::Arrow(writer) => writer.into_inner()?,
            Table::Parquet(writer) => writer.into_inner()?,
        };
        target.flush()?;
        Ok(target)
    }

    /// Ends it so that nobody takes it for whole. Parquet's readers miss the footer.
    fn break_off(self) -> Result<()> {
        if let Table::Arrow(mut writer) = self {
            writer.get_mut().write_all(&BROKEN_MESSAGE)?;
            writer.get_mut().flush()?;
        }
        Ok(())
    }
}

/// Counts what goes through. Dropped before it is kept, a file goes.
struct Target {
    out: BufWriter<Box<dyn Write + Send>>,
    bytes: u64,
    unfinished: Option<Unfinished>,
}

/// A file that is not yet called what it will be called.
struct Unfinished {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl Target {
    fn of(out: Box<dyn Write + Send>, unfinished: Option<Unfinished>) -> Target {
        Target { out: BufWriter::with_capacity(BUFFER_BYTES, out), bytes: 0, unfinished }
    }

    fn file(path: &Path) -> Result<Target> {
        let cannot = || format!("cannot write {}", path.display());
        let path = match fs::metadata(path) {
            Ok(there) if there.is_dir() => {
                bail!("{0} is a folder: write {0}/ for a file of each partition", path.display())
            }
            // What is there stays there: a pipe, a device.
            Ok(there) if !there.is_file() => {
                let out = OpenOptions::new().write(true).open(path).with_context(cannot)?;
                return Ok(Target::of(Box::new(out), None));
            }
            // A link stays a link.
            Ok(_) => fs::canonicalize(path).with_context(cannot)?,
            Err(_) => path.to_owned(),
        };
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).with_context(cannot)?;
        let out = file.try_clone().with_context(cannot)?;
        Ok(Target::of(Box::new(out), Some(Unfinished { file, partial, path })))
    }

    /// Gives a file its name. Everything is in it.
    fn keep(mut self) -> Result<u64> {
        if let Some(Unfinished { file, partial, path }) = &self.unfinished {
            let cannot = || format!("cannot write {}", path.display());
            file.sync_all().and_then(|()| fs::rename(partial, path)).with_context(cannot)?;
            self.unfinished = None;
        }
        Ok(self.bytes)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Where it was kept, it is no longer there under this name.
        let _ = fs::remove_file(&self.partial);
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
