//! What `init` is told.
//!
//! Must not know what a bucket's settings are.

use clap::Args;

const INIT_EXAMPLES: &str = "\
Examples:
  strandline init s3://bucket/prefix
  strandline init s3://bucket/prefix --dry-run
  strandline init s3://bucket/prefix --collector-role arn:aws:iam::111122223333:role/collector

Credentials, region and endpoint come from the usual variables (AWS_REGION,
AWS_ENDPOINT_URL and so on). What others have set is left as it is, and what is
as it should be is not touched: it may be run again at any time. In a bucket
that was there before, only what is about this prefix is set.";

/// `init`
#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
pub(crate) struct InitArgs {
    /// The store: s3://bucket/prefix
    #[arg(env = "STRANDLINE_STORE", value_name = "URL")]
    pub(crate) url: String,
    /// Who alone may delete what is in the log: whoever compacts and collects garbage; may be repeated
    #[arg(long = "collector-role", value_name = "ARN")]
    pub(crate) collector_roles: Vec<String>,
    /// Set what holds for all of a bucket, too, although it was there before: encryption, no public access, TLS alone
    #[arg(long)]
    pub(crate) whole_bucket: bool,
    /// Only say what would be made
    #[arg(long)]
    pub(crate) dry_run: bool,
}
