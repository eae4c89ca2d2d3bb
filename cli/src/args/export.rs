//! `strandline export`: what is written, of what range, and where to.
//!
//! Must not know files. A moment is written as everywhere, with or without the `@` of `consume`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use strandline_archive::{Column, schema};
use strandline_gateway::moment_ms;

use super::{IsolationLevel, StoreArg};
use crate::units;

const EXAMPLES: &str = "\
Examples:
  strandline export orders -o orders.parquet
  strandline export orders -o orders/               one file a partition
  strandline export orders --from -1h --columns offset,timestamp,value -o hour.parquet
  strandline export orders --partitions 0,3-5 --from 1000 --to 2000 -o some.parquet
  strandline export orders --from 2026-07-01 --to 2026-07-02 > day.arrows
  strandline export orders | python -c 'import sys, polars; print(polars.read_ipc_stream(sys.stdin.buffer))'

Needs no node. It ends where the topic ended when it began, and what it writes is
whole: whatever cannot be read ends it with exit code 1, a file then does not
appear, and a stream breaks off in the middle of a message, which its reader
notices. The order is that of each partition, one partition after the other.

The columns are partition, offset, timestamp (UTC), timestamp_type (0: the
producer's, 1: the log's), key, value, headers, raw_timestamp (milliseconds,
only where they do not fit the column timestamp); and fields and fields_error
where the topic says what its values are (strandline.value.format).";

/// `export`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The topic
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// The file; `-` for standard output, a folder (with `/` at its end) for a file of each partition
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// arrow: a stream of Arrow's IPC; parquet: a Parquet file
    /// [default: parquet if the file is called .parquet, else arrow]
    #[arg(long, value_name = "FORMAT")]
    format: Option<ExportFormat>,
    /// Where to begin: earliest, an offset, a moment (2026-07-01T12:00:00Z), or how long ago (-90s, -1h, -7d)
    #[arg(long, value_name = "WHERE", default_value = "earliest", allow_hyphen_values = true)]
    pub(crate) from: Point,
    /// Where to end, likewise: the first offset that is not wanted, or that of the first record of this moment or later
    #[arg(long, value_name = "WHERE", default_value = "latest", allow_hyphen_values = true)]
    pub(crate) to: Point,
    /// Only these partitions
    #[arg(long, value_name = "N,N-N", value_parser = partitions)]
    pub(crate) partitions: Option<Partitions>,
    /// Only these columns, in this order
    #[arg(long, value_name = "NAME,NAME", value_parser = columns)]
    pub(crate) columns: Option<Columns>,
    /// Which records of transactions: all, or only those that were committed, up to the first that is undecided
    #[arg(long, value_name = "LEVEL", default_value = "read-committed")]
    pub(crate) isolation: IsolationLevel,
    /// The most rows of a record batch; it is also cut at 8 MiB
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub(crate) batch_rows: u32,
    /// Show no progress
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl ExportArgs {
    /// The one that was given, or that which the name of the file tells.
    pub(crate) fn format(&self) -> ExportFormat {
        let named = self.output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet"));
        self.format.unwrap_or(match named || self.is_folder() {
            true => ExportFormat::Parquet,
            false => ExportFormat::Arrow,
        })
    }

    /// Whether each partition gets a file of its own.
    pub(crate) fn is_folder(&self) -> bool {
        self.output.as_os_str().as_encoded_bytes().ends_with(b"/")
    }
}

/// How columns are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    // Plain comments, since the help says it at the flag. Messages, one after the other:
    Arrow,
    // With a footer:
    Parquet,
}

/// Numbers of partitions, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partitions(pub(crate) Vec<u32>);

/// Columns, in the order in which they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns(pub(crate) Vec<Column>);

/// Where a range begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// At the first record that is there.
    Earliest,
    /// Behind the last one.
    Latest,
    /// At this offset of each partition.
    Offset(i64),
    /// At the first record of this time (milliseconds) or a later one.
    Time(i64),
    /// At the first record that is not older.
    Age(Duration),
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        const WRONG: &str = "write earliest, latest, an offset such as 1000, a moment such as 2026-07-01T12:00:00Z, \
                             or how long ago, such as -1h";
        let wrong = |_| WRONG.to_owned();
        if let Ok(offset) = text.parse() {
            return Some(offset)
                .filter(|offset| *offset >= 0)
                .map(Point::Offset)
                .ok_or_else(|| WRONG.to_owned());
        }
        match (text, text.strip_prefix('@'), text.strip_prefix('-')) {
            ("earliest", ..) => Ok(Point::Earliest),
            ("latest", ..) => Ok(Point::Latest),
            (_, Some(moment), _) => moment_ms(moment).map(Point::Time).map_err(wrong),
            (_, _, Some(age)) => units::age(age).map(Point::Age).map_err(wrong),
            _ => day_or_moment(text).map(Point::Time).map_err(wrong),
        }
    }
}

/// A day is its first moment.
fn day_or_moment(text: &str) -> Result<i64, String> {
    const DAY_CHARS: usize = "2026-07-01".len();
    match text.len() {
        DAY_CHARS => moment_ms(&format!("{text}T00:00:00Z")),
        _ => moment_ms(text),
    }
}

fn partitions(text: &str) -> Result<Partitions, String> {
    let wrong = || "write numbers and ranges of them, such as 0,3-5".to_owned();
    let most = strandline_core::limits::MAX_PARTITIONS_PER_TOPIC;
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number < most);
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => found.extend(first..=last),
            _ => return Err(wrong()),
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(Partitions(found))
}

/// The columns that a topic has; the last two only if it says what its values are.
const ALL: [Column; 10] = [
    Column::Partition,
    Column::Offset,
    Column::Timestamp,
    Column::TimestampType,
    Column::Key,
    Column::Value,
    Column::Headers,
    Column::RawTimestamp,
    Column::Fields,
    Column::FieldsError,
];

fn columns(text: &str) -> Result<Columns, String> {
    let mut found = Vec::new();
    for name in text.split(',').map(str::trim) {
        let column = ALL.into_iter().find(|column| column.name() == name).ok_or_else(|| {
            let names: Vec<_> = schema(None).fields().iter().map(|field| field.name().clone()).collect();
            format!("there is no column `{name}`: there are {}", names.join(", "))
        })?;
        if found.contains(&column) {
            return Err(format!("`{name}` is named twice"));
        }
        found.push(column);
    }
    Ok(Columns(found))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn export(flags: &str) -> Result<ExportArgs, clap::Error> {
        let words = ["strandline", "export", "t"].into_iter().chain(flags.split_whitespace());
        Cli::try_parse_from(words).map(|cli| match cli.command {
            Command::Export(args) => args,
            other => panic!("{flags}: {other:?}"),
        })
    }

    #[test]
    fn ranges_are_offsets_moments_and_ages() {
        let day = 1_782_864_000_000;
        for (text, point) in [
            ("earliest", Point::Earliest),
            ("latest", Point::Latest),
            ("0", Point::Offset(0)),
            ("1782864000000", Point::Offset(day)),
            ("@1782864000000", Point::Time(day)),
            ("2026-07-01", Point::Time(day)),
            ("2026-07-01T00:00:00.250Z", Point::Time(day + 250)),
            ("@2026-07-01T00:00:01Z", Point::Time(day + 1_000)),
            ("-90s", Point::Age(Duration::from_secs(90))),
            ("-7d", Point::Age(Duration::from_secs(604_800))),
        ] {
            let args = export(&format!("--from {text} --to {text}")).unwrap();
            assert_eq!((args.from, args.to), (point, point), "{text}");
        }
    }

    #[test]
    fn the_name_of_the_file_tells_the_format() {
        for (flags, format) in [
            ("", ExportFormat::Arrow),
            ("-o a.arrows", ExportFormat::Arrow),
            ("-o a.Parquet", ExportFormat::Parquet),
            ("-o a/", ExportFormat::Parquet),
            ("-o a/ --format arrow", ExportFormat::Arrow),
            ("-o - --format parquet", ExportFormat::Parquet),
        ] {
            assert_eq!(export(flags).unwrap().format(), format, "{flags}");
        }
    }

    #[test]
    fn partitions_and_columns_are_lists() {
        let args = export("--partitions 7,0,3-5,4 --columns value,offset").unwrap();
        assert_eq!(args.partitions, Some(Partitions(vec![0, 3, 4, 5, 7])));
        assert_eq!(args.columns, Some(Columns(vec![Column::Value, Column::Offset])));
        assert_eq!(schema(None).fields().len() + 2, ALL.len());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for flags in [
            "--from -1",
            "--from yesterday",
            "--to @soon",
            "--from -1y",
            "--partitions 5-3",
            "--partitions 0,",
            "--partitions 0-4294967295",
            "--columns offset,offset",
            "--columns nothing",
            "--format csv",
            "--batch-rows 0",
        ] {
            assert_eq!(export(flags).err().map(|e| e.exit_code()), Some(2), "{flags}");
        }
    }
}
