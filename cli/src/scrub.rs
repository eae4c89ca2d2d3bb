//! `strandline scrub`: is everything in a bucket there and whole? Says so in words or in JSON, and with its exit code.
//!
//! Must not know how anything is checked. Only reads. Ctrl-C ends it at the next object with a report of what was done; a
//! second one at once.

mod text;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use strandline_core::Error;
use strandline_core::scrub::{self, Options, Part, ReadFooter, Report, Verdict};
use strandline_core::store::Store;

use crate::args::{ScrubArgs, Shards};
use crate::connect;
use crate::interrupt::interrupted_twice;
use crate::output::{self, Coded, Format};
use crate::progress::Progress;
use crate::units::show_counted;

/// Something is damaged.
const DAMAGED: u8 = 1;
/// The command line makes no sense on this bucket.
const USAGE: u8 = 2;
/// Not everything could be checked.
const INCOMPLETE: u8 = 3;

pub(crate) async fn run(args: ScrubArgs) -> Result<()> {
    let report = check(&args).await.map_err(|error| match error.is::<Coded>() {
        true => error,
        false => error.context(Coded { code: INCOMPLETE, said: "nothing could be checked".to_owned() }),
    })?;
    match args.format {
        Format::Text => output::say(&text::report(&report, &connect::shown(&args.url)))?,
        Format::Json => output::say_json(&report)?,
    }
    let faults = report.faults.len() as u64 + report.more_faults;
    let (code, said) = match report.verdict {
        Verdict::Clean => return Ok(()),
        Verdict::Damaged => (DAMAGED, format!("{}, see the report", show_counted(faults, "fault"))),
        Verdict::Incomplete => (INCOMPLETE, "not everything could be checked, see the report".to_owned()),
    };
    Err(Coded { code, said }.into())
}

async fn check(args: &ScrubArgs) -> Result<Report> {
    let options = options(args)?;
    if let Some(folder) = connect::missing_folder(&args.url) {
        bail!("there is no folder {}", folder.display());
    }
    let store = connect::store(&args.url)?;
    // The first request, which fails soon and says what to look at. A bucket that has lost this object is still checked.
    connect::has_cluster(&store).await?;
    watched(&store, &options).await
}

fn options(args: &ScrubArgs) -> Result<Options> {
    let slots = match (args.from, args.to) {
        (None, None) => None,
        (from, to) => Some(from.unwrap_or(0)..=to.unwrap_or(u64::MAX)),
    };
    if slots.as_ref().is_some_and(|slots| slots.is_empty()) {
        return Err(Coded { code: USAGE, said: "--from lies behind --to".to_owned() }.into());
    }
    let shards = args.shard.map(|Shards(first, last)| first..=last);
    let (concurrency, quick) = (args.concurrency as usize, args.quick);
    let parquet_footer: ReadFooter = |chunk, tail_at, tail| {
        strandline_archive::read_footer(chunk, tail_at, tail).map(|(footer, _)| footer)
    };
    Ok(Options { concurrency, quick, slots, shards, parquet_footer })
}

async fn watched(store: &Store, options: &Options) -> Result<Report> {
    let stop = AtomicBool::new(false);
    let bars = Mutex::new(None);
    let watch = |progress: &scrub::Progress| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        show(&mut bars, progress);
        match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let scrubbed = tokio::select! {
        scrubbed = scrub::scrub(store, options, &watch) => scrubbed,
        () = interrupted_twice(&stop) => return Err(anyhow!("stopped by Ctrl-C")),
    };
    if let Some((_, bar)) = &*bars.lock().unwrap_or_else(PoisonError::into_inner) {
        bar.clear();
    }
    scrubbed
        .map_err(|error| match error {
            Error::NotFound(_) => anyhow!("there is no cluster in {store}"),
            error => anyhow::Error::new(error),
        })
        .with_context(|| format!("cannot scrub {store}"))
}

/// One bar for each part, one after the other.
fn show(bars: &mut Option<(Part, Progress)>, progress: &scrub::Progress) {
    if bars.as_ref().is_none_or(|(part, _)| *part != progress.part) {
        if let Some((_, before)) = bars.take() {
            before.clear();
        }
        let bar = match progress.part {
            Part::Journal => Progress::slots(progress.total),
            Part::Data => Progress::bytes(Some(progress.total), true),
        };
        *bars = Some((progress.part, bar));
    }
    if let Some((_, bar)) = bars {
        bar.reach(progress.done, progress.total);
        bar.message(|| show_counted(progress.faults, "fault"));
    }
}
