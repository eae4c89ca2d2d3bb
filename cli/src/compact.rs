//! `strandline compact`: merging and expiring without a node, once or for as long as it runs.
//!
//! Must not know how anything is compacted. It may be stopped at any moment: what it was at is garbage then, and nothing else.

use anyhow::{Context, Result, bail};
use strandline_compactor::plan::Policy;
use strandline_compactor::{Compactor, Config, Done, Turn};

use crate::args::{CompactArgs, Rate};
use crate::connect;
use crate::interrupt::interrupted;
use crate::output;
use crate::progress::Progress;
use crate::units::{show_bytes, show_counted};

pub(crate) async fn run(args: CompactArgs) -> Result<()> {
    if args.rate == Rate::Off {
        bail!("with --rate off there is nothing to do");
    }
    let Some(journal) = connect::open_existing(&args.url).await? else {
        bail!("there is no cluster in {}", connect::shown(&args.url));
    };
    let policy = if args.all { Policy::everything() } else { Policy::default() };
    let policy = policy.within(args.memory);
    let config = Config { policy, bytes_per_second: args.rate.bytes_per_second(), ..Config::default() };
    let compactor = Compactor::new(journal.clone(), config);
    let stopped = interrupted();
    if args.once {
        let done = tokio::select! {
            done = once(compactor) => done?,
            () = stopped => bail!("stopped by Ctrl-C; what was done so far stays done"),
        };
        journal.close().await;
        return output::say(&summary(&done));
    }
    output::note(&format!("strandline compacts {}; Ctrl-C ends it", connect::shown(&args.url)));
    tokio::select! {
        () = compactor.run(|| Turn::Busy) => {}
        () = stopped => {}
    }
    let health = journal.health();
    journal.close().await;
    health.context("the journal stopped")
}

async fn once(mut compactor: Compactor) -> Result<Done> {
    let bar = Progress::bytes(Some(0), true);
    let done = compactor.pass(Turn::Busy, |progress| bar.reach(progress.bytes, progress.planned)).await;
    bar.clear();
    Ok(done?)
}

fn summary(done: &Done) -> String {
    if done.is_nothing() {
        return "nothing is due".to_owned();
    }
    let Done { merges, chunks, indexes, cleaned, expired, bytes, .. } = *done;
    let mut said = vec![format!("{} written anew", show_bytes(bytes))];
    let parts = [
        (merges, "merged segment", ""),
        (chunks, "chunk", ""),
        (indexes, "index change", ""),
        (cleaned, "partition", " compacted by key"),
        (expired, "partition", " with expired records"),
    ];
    let told = parts.iter().filter(|(count, ..)| *count > 0);
    said.extend(told.map(|(count, what, how)| format!("{}{how}", show_counted(*count, what))));
    said.join(", ")
}
