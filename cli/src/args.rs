//! What may be typed: commands, flags, environment variables, and the help that goes with them.
//!
//! Must not know what commands do. Every setting has one name: `--flush-interval` is `STRANDLINE_FLUSH_INTERVAL`, and
//! the flag wins. What cannot work is refused here, before anything is opened.

mod compact;
mod export;
mod group;
mod init;
mod table;
mod txn;
mod addresses;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use strandline_core::limits;
use strandline_gateway::moment_ms;
use tracing_subscriber::EnvFilter;

use crate::output::Format;
use crate::units;
use addresses::{HttpAddress, Listener, socket};

pub(crate) use addresses::HostPort;
use compact::compact_memory;
pub(crate) use compact::{CompactArgs, Rate};
pub(crate) use export::{ExportArgs, ExportFormat, Point};
pub(crate) use group::{GroupArgs, GroupCommand, ResetArgs, Target, TopicPartitions};
pub(crate) use init::InitArgs;
pub(crate) use table::TableArgs;
pub(crate) use txn::{TxnArgs, TxnCommand, TxnState};

/// Where the help lists the flags that every command takes.
const LOGS: &str = "Logging";
const DEFAULT_STORE: &str = "file:./strandline-data";

const EXAMPLES: &str = "\
Examples:
  strandline serve                      a node on ./strandline-data and port 9092
  strandline serve --store s3://bucket/prefix
  strandline topic create orders --partitions 12
  strandline produce orders lines.txt   no node is needed for this,
  strandline consume orders --follow    nor for this
  strandline table orders               its history for DuckDB, Polars, Spark
  strandline export orders -o orders.parquet
  strandline group list                 how far has everybody read?
  strandline doctor s3://bucket/prefix  is this store safe to keep a log in?
  strandline scrub s3://bucket/prefix   is everything in it there and whole?
  strandline gc s3://bucket/prefix      delete what nobody needs any more

A store is s3://bucket/prefix, gs://bucket/prefix, az://container/prefix,
file:///folder or memory:. Credentials come from the environment, as for the
tools of each cloud: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on.";

/// A Kafka-compatible log that lives in object storage
#[derive(Debug, Parser)]
#[command(name = "strandline", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logs: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the program tells what it does.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Form of the log on standard error
    #[arg(
        long,
        global = true,
        env = "STRANDLINE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = LOGS,
    )]
    pub(crate) log_format: Format,
    /// What is logged: off, error, warn, info, debug, or a filter such as info,strandline_core=debug
    /// [default: info for serve and compact, else off]
    #[arg(
        long,
        global = true,
        env = "STRANDLINE_LOG_LEVEL",
        value_name = "LEVEL",
        value_parser = log_level,
        help_heading = LOGS,
    )]
    pub(crate) log_level: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node: Kafka clients produce to it and consume from it
    Serve(ServeArgs),
    /// Create, list, describe, alter and delete topics, straight on a store
    Topic(TopicArgs),
    /// List and describe consumer groups, reset their offsets, delete them, straight on a store
    Group(GroupArgs),
    /// List and describe transactions, abort one, straight on a store
    Txn(TxnArgs),
    /// Say where the Iceberg table of a topic is, and how other programs open it
    Table(TableArgs),
    /// Append lines of a file or of standard input to a topic, straight on a store
    Produce(ProduceArgs),
    /// Print the records of a topic, straight from a store
    Consume(ConsumeArgs),
    /// Write the records of a topic as columns, for pyarrow, Polars, DuckDB and the like, straight from a store
    Export(ExportArgs),
    /// Measure a store, and the log on it, in a scratch folder that is removed afterwards
    Bench(BenchArgs),
    /// Say in plain words whether a store is safe to keep a log in
    Doctor(DoctorArgs),
    /// Make a bucket on S3, with the settings that a log needs
    Init(InitArgs),
    /// Print any object of a store as JSON
    Inspect(InspectArgs),
    /// Check that everything in a bucket is there and whole, without writing to it
    Scrub(ScrubArgs),
    /// Delete what nobody needs any more, or say what that would be
    Gc(GcArgs),
    /// Merge what was written, delete what is too old; nodes do that by themselves
    Compact(CompactArgs),
}

/// Which store.
#[derive(Debug, Args)]
pub(crate) struct StoreArg {
    /// The store: s3://bucket/prefix, gs://, az://, file:///folder or memory:
    #[arg(
        long = "store",
        env = "STRANDLINE_STORE",
        value_name = "URL",
        default_value = DEFAULT_STORE,
        global = true,
    )]
    pub(crate) url: String,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  strandline serve
  strandline serve --store s3://bucket/prefix --kafka 0.0.0.0:9092
  AWS_ENDPOINT_URL=http://127.0.0.1:9000 strandline serve --store s3://bucket/log

Nodes on the same store are one cluster and find each other there. Where nodes
listen on 0.0.0.0, give each the --advertise address under which clients reach it.

SIGTERM and Ctrl-C flush, answer what is in flight and end the node within 10
seconds; a second one ends it at once. Nothing acknowledged is lost either way.";

/// `serve`
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// Where Kafka clients connect
    #[arg(
        long,
        env = "STRANDLINE_KAFKA",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092",
        value_parser = socket,
    )]
    pub(crate) kafka: SocketAddr,
    /// What Kafka clients are told to connect to [default: the address that they have just used]
    #[arg(long, env = "STRANDLINE_ADVERTISE", value_name = "HOST:PORT")]
    pub(crate) advertise: Option<HostPort>,
    /// A further address for Kafka clients, and what they are told to connect to; clients of a listener are told the
    /// addresses of the same name of all nodes. May be repeated
    #[arg(
        long = "listener",
        env = "STRANDLINE_LISTENER",
        value_name = "NAME=HOST:PORT[=HOST:PORT]",
        value_delimiter = ','
    )]
    pub(crate) listeners: Vec<Listener>,
    /// Where the HTTP API is served, with /healthz, /readyz and /metrics; `off` for nowhere
    #[arg(long, env = "STRANDLINE_HTTP", value_name = "HOST:PORT", default_value = "127.0.0.1:9080")]
    pub(crate) http: HttpAddress,
    /// The number of this node, different on every node of a store
    /// [default: one that belongs to the advertised address]
    #[arg(
        long,
        env = "STRANDLINE_NODE_ID",
        value_name = "N",
        value_parser = clap::value_parser!(i32).range(1..=1 << 30),
    )]
    pub(crate) node_id: Option<i32>,
    /// The availability zone of this node, as Kafka clients see it
    #[arg(long, env = "STRANDLINE_RACK", value_name = "NAME")]
    pub(crate) rack: Option<String>,
    /// Neither look for other nodes of the store nor tell them of this one: clients hear of this node only
    #[arg(long, env = "STRANDLINE_ALONE", value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) alone: bool,
    /// Memory for caches: a third for what was written last, the rest for older data
    #[arg(
        long,
        env = "STRANDLINE_CACHE_BYTES",
        value_name = "BYTES",
        default_value = "192MiB",
        value_parser = units::bytes,
    )]
    pub(crate) cache_bytes: usize,
    /// Time between two paid flushes when traffic is steady; 0: as soon as the pipeline allows
    /// [default: 100ms on stores that charge for requests, else 0]
    #[arg(long, env = "STRANDLINE_FLUSH_INTERVAL", value_name = "TIME", value_parser = units::duration)]
    pub(crate) flush_interval: Option<Duration>,
    /// A flush up to this size is one object; a larger one is several
    #[arg(
        long,
        env = "STRANDLINE_INLINE_MAX",
        value_name = "BYTES",
        default_value = "1MiB",
        value_parser = inline_max,
    )]
    pub(crate) inline_max: usize,
    /// What an object of a large flush aims at; twice as much is flushed at once, more is cut
    #[arg(
        long,
        env = "STRANDLINE_SEGMENT_BYTES",
        value_name = "BYTES",
        default_value = "8MiB",
        value_parser = segment_bytes,
    )]
    pub(crate) segment_bytes: usize,
    /// Bytes a second that this node may read and write to merge and to expire what was written; `off`: it does neither
    #[arg(long, env = "STRANDLINE_COMPACT", value_name = "RATE", default_value = "unlimited")]
    pub(crate) compact: Rate,
    /// Memory for that, beside the caches
    #[arg(
        long,
        env = "STRANDLINE_COMPACT_MEMORY",
        value_name = "BYTES",
        default_value = "192MiB",
        value_parser = compact_memory,
    )]
    pub(crate) compact_memory: u64,
}

const TOPIC_EXAMPLES: &str = "\
Examples:
  strandline topic create orders --partitions 12 --config max.message.bytes=4194304
  strandline topic list --store s3://bucket/prefix
  strandline topic describe orders --format json
  strandline topic alter orders --partitions 24 --config retention.ms=86400000
  strandline topic alter orders --delete-config retention.ms
  strandline topic delete orders --yes";

/// `topic`
#[derive(Debug, Args)]
#[command(after_help = TOPIC_EXAMPLES)]
pub(crate) struct TopicArgs {
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: TopicCommand,
}

/// `topic ...`
#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    Create {
        /// Name: letters, digits, `.`, `_` and `-`
        name: String,
        /// How many partitions; there can be more later, never fewer
        #[arg(
            long,
            value_name = "N",
            default_value_t = limits::DEFAULT_PARTITIONS,
            value_parser = partitions(),
        )]
        partitions: u32,
        /// A config of the topic; may be given several times
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
    },
    /// List all topics
    List,
    /// Show the partitions and the configs of a topic
    Describe {
        /// Name
        name: String,
    },
    /// Give a topic more partitions, or other configs
    Alter {
        /// Name
        name: String,
        /// How many partitions it is to have: more than it has. Records of a key may go to another one from then on
        #[arg(long, value_name = "N", value_parser = partitions())]
        partitions: Option<u32>,
        /// A config of the topic; may be given several times
        #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// A config that goes back to its default; may be given several times
        #[arg(long = "delete-config", value_name = "KEY")]
        delete_configs: Vec<String>,
    },
    /// Delete a topic and all its records
    Delete {
        /// Name
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

const PRODUCE_EXAMPLES: &str = "\
Examples:
  strandline produce orders lines.txt
  journalctl -f | strandline produce journal --store s3://bucket/prefix
  printf 'k1:v1\\nk2:v2\\n' | strandline produce orders --key-separator :

One record a line. Records of one key go to one partition, the one that Kafka's
own clients choose; records without a key fill one partition after the other,
a batch each. What is written is there once, also after a retry.";

/// `produce`
#[derive(Debug, Args)]
#[command(after_help = PRODUCE_EXAMPLES)]
pub(crate) struct ProduceArgs {
    /// The topic; it is created if it is not there
    pub(crate) topic: String,
    /// The file to read; standard input if there is none, or if it is `-`
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// What stands between key and value in a line; without it, records have no key
    #[arg(long, value_name = "TEXT", value_parser = separator)]
    pub(crate) key_separator: Option<String>,
    /// Write everything to this partition
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<u32>,
    /// Fail if the topic is not there
    #[arg(long)]
    pub(crate) no_create: bool,
    /// Partitions of the topic if it is created
    #[arg(long, value_name = "N", default_value_t = limits::DEFAULT_PARTITIONS, value_parser = partitions())]
    pub(crate) partitions: u32,
}

const CONSUME_EXAMPLES: &str = "\
Examples:
  strandline consume orders
  strandline consume orders --offset @2026-07-01T12:00:00Z --format json
  strandline consume orders --offset latest --follow --store s3://bucket/prefix
  strandline consume orders --partition 3 --offset 1000 --max-records 10
  strandline consume payments --isolation read-committed

Reads up to what was there when it started, unless it follows. The order is that
of each partition; several partitions take turns.";

/// `consume`
#[derive(Debug, Args)]
#[command(after_help = CONSUME_EXAMPLES)]
pub(crate) struct ConsumeArgs {
    /// The topic
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// Where to start: earliest, latest, an offset, or @ and a moment (milliseconds since 1970, or 2026-07-01T12:00:00Z)
    #[arg(long, value_name = "OFFSET", default_value = "earliest")]
    pub(crate) offset: Start,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub(crate) partition: Option<u32>,
    /// Wait for records to come
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    pub(crate) max_records: Option<u64>,
    /// Which records of transactions: all, or only those that were committed, up to the first that is undecided
    #[arg(long, value_name = "LEVEL", default_value = "read-uncommitted")]
    pub(crate) isolation: IsolationLevel,
    /// text: the value, one a line; json: one object a line, with partition, offset, timestamp, key, value and headers
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
    /// Print the key and this before each value
    #[arg(long, value_name = "TEXT", value_parser = separator)]
    pub(crate) key_separator: Option<String>,
}

/// As Kafka names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsolationLevel {
    /// All that is there
    #[value(alias = "uncommitted")]
    ReadUncommitted,
    /// Only what was committed
    #[value(alias = "committed")]
    ReadCommitted,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  strandline bench --store s3://bucket/scratch
  strandline bench --store file:/mnt/disk --seconds 5 --runs 1 --format json
  strandline bench --store memory: --start-commits 100000

Everything happens in a folder bench-<ulid> below the store, which is removed
afterwards. On a store that charges for requests this costs money: the last line
says how much.";

/// `bench`
#[derive(Debug, Args)]
#[command(after_help = BENCH_EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// Length of each measurement
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=600),
    )]
    pub(crate) seconds: u32,
    /// Runs; the figures are their medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) runs: u32,
    /// Size of a record's value
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = record_bytes)]
    pub(crate) record_bytes: usize,
    /// Partitions of the topic
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = partitions())]
    pub(crate) partitions: u32,
    /// Records a second while the time to an acknowledgement is measured
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
    )]
    pub(crate) rate: u32,
    /// Only this: write so many small commits, then measure how long a node takes to start on them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) start_commits: Option<u64>,
    /// Leave what was written in the store
    #[arg(long)]
    pub(crate) keep: bool,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  strandline doctor s3://bucket/prefix
  strandline doctor file:/mnt/share/log && echo safe

Writes, reads, lists and deletes one small object below the prefix. The exit
code is 0 if the store is safe, else 1.";

/// `doctor`
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// The store
    #[arg(env = "STRANDLINE_STORE", value_name = "URL", default_value = DEFAULT_STORE)]
    pub(crate) url: String,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  strandline inspect s3://bucket/prefix      what is there, by folder
  strandline inspect file:./strandline-data journal/00000000000000000001
  strandline inspect file:./strandline-data checkpoint/latest";

/// `inspect`
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub(crate) struct InspectArgs {
    /// The store
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// The object, by its key below the store's prefix; without one, what is there is counted
    pub(crate) key: Option<String>,
}

const SCRUB_EXAMPLES: &str = "\
Examples:
  strandline scrub s3://bucket/prefix
  strandline scrub s3://bucket/prefix --quick
  strandline scrub s3://bucket/prefix --format json > report.json
  strandline scrub s3://bucket/prefix --shard 00..3f     a quarter of the data
  strandline scrub s3://bucket/prefix --from 500000      the journal's end alone

Only reads: rights to get and to list are enough, and nodes may be at work. With
--from or --to only the journal is checked, with --shard only the data, with
both both. Ctrl-C ends it early and says with which options to go on.

The exit code is 0 if everything that was asked for is whole, 1 if something is
damaged, 2 if the command line makes no sense, 3 if nothing is known to be
damaged but not everything could be checked.";

/// `scrub`
#[derive(Debug, Args)]
#[command(after_help = SCRUB_EXAMPLES)]
pub(crate) struct ScrubArgs {
    /// The store
    #[arg(env = "STRANDLINE_STORE", value_name = "URL", default_value = DEFAULT_STORE)]
    pub(crate) url: String,
    /// Presence and sizes only: no record bytes of segments, no checkpoint but the newest
    #[arg(long)]
    pub(crate) quick: bool,
    /// First slot of the journal to check
    #[arg(long, value_name = "SLOT")]
    pub(crate) from: Option<u64>,
    /// Last slot of the journal to check
    #[arg(long, value_name = "SLOT")]
    pub(crate) to: Option<u64>,
    /// Shards of the data to check: the two hex digits in the keys of segments
    #[arg(long, value_name = "XX..YY", value_parser = shards)]
    pub(crate) shard: Option<Shards>,
    /// Requests side by side
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::SCRUB_REQUESTS as u32,
        value_parser = clap::value_parser!(u32).range(1..=1_024),
    )]
    pub(crate) concurrency: u32,
    /// Form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

const GC_EXAMPLES: &str = "\
Examples:
  strandline gc s3://bucket/prefix --dry-run
  strandline gc s3://bucket/prefix
  strandline gc s3://bucket/prefix --format json > report.json
  strandline gc s3://bucket/prefix --log-level debug     names every object that it deletes

Nodes may be at work, and any number of these commands too. It deletes commits,
manifests and objects that no node can come to need: what it finds too early to
judge stays, and goes another time. Nothing that was not written by Strandline
is touched. A dry run changes nothing (rights to get and to list are enough),
and goes by the clock of this machine instead of the store's.

The exit code is 0 if everything could be judged, 1 if not, or if it failed.";

/// `gc`
#[derive(Debug, Args)]
#[command(after_help = GC_EXAMPLES)]
pub(crate) struct GcArgs {
    /// The store
    #[arg(env = "STRANDLINE_STORE", value_name = "URL", default_value = DEFAULT_STORE)]
    pub(crate) url: String,
    /// Only say what would be deleted, and why
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}

/// First and last shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shards(pub(crate) u8, pub(crate) u8);

fn shards(text: &str) -> Result<Shards, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let shard = |text: &str| {
        let hex = text.len() == 2 && text.bytes().all(|c| c.is_ascii_hexdigit());
        hex.then(|| u8::from_str_radix(text, 16).ok()).flatten()
    };
    match (shard(first), shard(last)) {
        (Some(first), Some(last)) if first <= last => Ok(Shards(first, last)),
        _ => Err("write a range of two hex digits each, such as 00..7f, or one such as 3c".to_owned()),
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the first record that is there.
    Earliest,
    /// After the last one.
    Latest,
    /// At this offset of each partition.
    Offset(i64),
    /// At the first record of this time (milliseconds) or a later one.
    Time(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        match text {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            _ => match text.strip_prefix('@') {
                Some(moment) => moment_ms(moment).map(Start::Time),
                None => text.parse().ok().filter(|offset| *offset >= 0).map(Start::Offset).ok_or_else(|| {
                    "write earliest, latest, an offset such as 1000, or @ and a moment such as @2026-07-01T12:00:00Z".to_owned()
                }),
            },
        }
    }
}

fn log_level(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

fn inline_max(text: &str) -> Result<usize, String> {
    within(text, 0, limits::INLINE_MAX_BYTES_LIMIT)
}

fn segment_bytes(text: &str) -> Result<usize, String> {
    within(text, limits::SEGMENT_BYTES_MIN, limits::SEGMENT_BYTES_LIMIT)
}

fn record_bytes(text: &str) -> Result<usize, String> {
    within(text, 1, limits::MAX_MESSAGE_BYTES_DEFAULT / 2)
}

fn within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let bytes = units::bytes(text)?;
    if (least..=most).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!(
        "it must lie between {} and {}",
        units::show_bytes(least as u64),
        units::show_bytes(most as u64)
    ))
}

fn partitions() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(limits::MAX_PARTITIONS_PER_TOPIC))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as retention.ms=604800000".to_owned()),
    }
}

/// `\t` and the like as a shell passes them.
fn separator(text: &str) -> Result<String, String> {
    let text = text.replace("\\t", "\t").replace("\\0", "\0").replace("\\n", "\n");
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
