//! Where `tracing` events go: standard error, as text or as JSON.
//!
//! Must not know which events there are. Standard output belongs to the command.

use tracing_subscriber::EnvFilter;

use crate::args::LogArgs;
use crate::output::{self, Format};

/// Starts writing events. A node tells how it is; a short command speaks only through its output and its error.
pub(crate) fn start(args: &LogArgs, serving: bool) {
    let level = args.log_level.as_deref().unwrap_or(if serving { "info" } else { "off" });
    // The level was checked when the command line was read.
    let filter = EnvFilter::try_new(level).unwrap_or_default();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        Format::Text => builder.with_ansi(output::is_watched()).with_target(false).init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
}
