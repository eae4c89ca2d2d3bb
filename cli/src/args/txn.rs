//! What may be typed after `strandline txn`.
//!
//! Must not know what becomes of it.

use clap::{Args, Subcommand, ValueEnum};

use super::StoreArg;
use crate::output::Format;

const TXN_EXAMPLES: &str = "\
Examples:
  strandline txn list --store s3://bucket/prefix
  strandline txn list --state ongoing
  strandline txn describe payments-1
  strandline txn abort payments-1 --yes";

/// `txn`
#[derive(Debug, Args)]
#[command(after_help = TXN_EXAMPLES)]
pub(crate) struct TxnArgs {
    #[command(flatten)]
    pub(crate) store: StoreArg,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: TxnCommand,
}

/// `txn ...`
#[derive(Debug, Subcommand)]
pub(crate) enum TxnCommand {
    /// List all transactional ids
    List {
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        state: Option<TxnState>,
    },
    /// Show where a transaction stands and what takes part in it
    Describe {
        /// The transactional id
        id: String,
    },
    /// Abort the open transaction of a producer, which is fenced: it has to start again
    Abort {
        /// The transactional id
        id: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TxnState {
    /// There was none yet
    Empty,
    /// One is open
    Ongoing,
    /// The last one was committed
    Committed,
    /// The last one was aborted
    Aborted,
}
