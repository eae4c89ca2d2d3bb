//! `strandline gc`: deletes what nobody needs any more, and says what that was and why; or only says it.
//!
//! Must not know how anything is judged. Ctrl-C ends it at the next object with a report of what was done; a second one at
//! once, which does no harm either.

mod text;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use strandline_compactor::sweep::{self, Report, Sweep};
use strandline_core::manifest::{Journal, journal};
use strandline_core::store::Store;

use crate::args::GcArgs;
use crate::connect;
use crate::interrupt::interrupted_twice;
use crate::output::{self, Format};
use crate::progress::Progress;
use crate::units::{show_bytes, show_counted};

pub(crate) async fn run(args: GcArgs) -> Result<()> {
    if let Some(folder) = connect::missing_folder(&args.url) {
        bail!("there is no folder {}", folder.display());
    }
    let store = connect::store(&args.url)?;
    if !connect::has_cluster(&store).await? {
        bail!("there is no cluster in {store}");
    }
    let report = match args.dry_run {
        true => watched(&store, None).await?,
        false => {
            let options = journal::Options { tail_bytes: 0, ..journal::Options::default() };
            let journal = connect::open(store.clone(), options).await?;
            let report = watched(&store, Some(&journal)).await;
            journal.close().await;
            report?
        }
    };
    match args.format {
        Format::Text => output::say(&text::report(&report))?,
        Format::Json => output::say_json(&report)?,
    }
    if report.stopped {
        bail!("stopped by Ctrl-C before everything was looked at");
    }
    if !report.unjudged.is_empty() {
        bail!("not everything could be judged, see the report; strandline scrub says more");
    }
    Ok(())
}

async fn watched(store: &Store, journal: Option<&Journal>) -> Result<Report> {
    let stop = AtomicBool::new(false);
    let bar = Progress::objects();
    let watch = |progress: &sweep::Progress| {
        bar.stand_at(progress.seen);
        bar.message(|| {
            let (objects, bytes) =
                (show_counted(progress.gone.objects, "object"), show_bytes(progress.gone.bytes));
            format!("among the {}s; {objects} to go, {bytes}", progress.kind.name())
        });
        match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let swept = async {
        match journal {
            Some(journal) => Sweep::new(journal.clone()).run(&watch).await,
            None => sweep::survey(store, &watch).await,
        }
    };
    let swept = tokio::select! {
        swept = swept => swept,
        () = interrupted_twice(&stop) => return Err(anyhow!("stopped by Ctrl-C")),
    };
    bar.clear();
    swept.with_context(|| format!("cannot collect the garbage of {store}"))
}
