//! `strandline table`.
//!
//! Must not know what a table is.

use clap::Args;

use super::StoreArg;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  strandline table orders
  strandline table orders --store s3://bucket/prefix --format json

Topics with the config strandline.archive.format=parquet keep their history as
Parquet files, over which compaction lays an Iceberg table, in the same bucket
and without a catalog. It shows what compaction has taken in, not the newest
records.";

/// `table`
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TableArgs {
    /// The topic
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
}
