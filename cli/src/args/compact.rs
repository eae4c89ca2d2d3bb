//! `strandline compact`, and how fast compaction may be.
//!
//! Must not know what is compacted.

use std::str::FromStr;

use clap::Args;
use strandline_compactor::plan::MEMORY_BYTES_MIN;

use super::DEFAULT_STORE;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  strandline compact s3://bucket/prefix                 until it is stopped
  strandline compact s3://bucket/prefix --once          what is due now, from a schedule
  strandline compact s3://bucket/prefix --once --all    everything, however little it is
  strandline compact s3://bucket/prefix --rate 50MiB --memory 64MiB

Nodes compact by themselves, one of them for all, unless they were started with
--compact off. Any number of compactors may run at once beside any number of
nodes: what two of them do at the same time counts once. Stopping one at any
moment loses nothing.";

/// `compact`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompactArgs {
    /// The store
    #[arg(env = "STRANDLINE_STORE", value_name = "URL", default_value = DEFAULT_STORE)]
    pub(crate) url: String,
    /// Do what is due now, then end
    #[arg(long)]
    pub(crate) once: bool,
    /// Do not wait until there is enough to be worth it: everything that is decided goes into chunks now
    #[arg(long, requires = "once")]
    pub(crate) all: bool,
    /// Bytes a second to read and write, at most
    #[arg(long, value_name = "RATE", default_value = "unlimited")]
    pub(crate) rate: Rate,
    /// Memory for what is being written anew; less of it makes smaller merges. Parquet files take some 64 MiB more
    #[arg(long, value_name = "BYTES", default_value = "192MiB", value_parser = compact_memory)]
    pub(crate) memory: u64,
}

pub(super) fn compact_memory(text: &str) -> Result<u64, String> {
    let bytes = units::bytes(text)? as u64;
    if bytes < MEMORY_BYTES_MIN {
        return Err(format!("compaction needs at least {}", units::show_bytes(MEMORY_BYTES_MIN)));
    }
    Ok(bytes)
}

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    /// Nothing is done at all.
    Off,
    /// As fast as it goes.
    Unlimited,
    /// At most so many.
    Bytes(u64),
}

impl Rate {
    /// `None`: as fast as it goes.
    pub(crate) fn bytes_per_second(self) -> Option<u64> {
        match self {
            Rate::Off | Rate::Unlimited => None,
            Rate::Bytes(rate) => Some(rate),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        match text {
            "off" => Ok(Rate::Off),
            "unlimited" => Ok(Rate::Unlimited),
            _ => match units::bytes(text.strip_suffix("/s").unwrap_or(text)) {
                Ok(0) => Err("write `off` for nothing at all".to_owned()),
                Ok(rate) => Ok(Rate::Bytes(rate as u64)),
                Err(why) => Err(format!("{why}, `unlimited` or `off`")),
            },
        }
    }
}
