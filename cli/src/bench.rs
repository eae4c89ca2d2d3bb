//! `strandline bench`: what a store can do, and what the log makes of it.
//!
//! Owns the order of the measurements and the scratch folder, which is removed however they end. Each run has a folder of
//! its own below it. Must not know how the log works: everything is measured through the doors that a user has. Figures
//! of the log stand beside the raw ones of the same run, since stores differ and change from minute to minute.

mod transactions;
mod history;
mod log;
mod start;
mod raw;
mod report;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream;
use std::time::Duration;
use strandline_core::env::Env;
use strandline_core::limits;
use strandline_core::manifest::{Journal, journal};
use strandline_core::store::Store;

use crate::args::BenchArgs;
use crate::connect;
use crate::interrupt::interrupted;
use crate::output;
use crate::progress::Progress;
use crate::requests::Requests;
use report::Figures;

/// Deletions under way at once, and objects listed at once.
const DELETES: usize = 32;
const LISTED: usize = 10_000;
/// What a run is made of, for the progress bar.
const STEPS_PER_RUN: u64 = 12;

pub(crate) async fn run(args: BenchArgs) -> Result<()> {
    let env = Env::system();
    let id = env.ulid(env.wall_ms());
    let scratch = below(&args.store.url, &format!("bench-{id}"));
    connect::has_cluster(&connect::store(&args.store.url)?).await?;
    let whole = connect::store(&scratch)?;
    let before = Requests::now();
    let measured = tokio::select! {
        measured = measure(&args, &scratch, &whole) => measured,
        () = interrupted() => Err(anyhow::anyhow!("stopped by Ctrl-C; the figures would not mean anything")),
    };
    let spent = before.since();
    if args.keep {
        output::note(&format!("what was written is kept in {scratch}"));
    } else {
        clean(&scratch, &whole)
            .await
            .with_context(|| format!("cannot remove what was written; delete {scratch} by hand"))?;
    }
    report::say(&measured?, &args, &whole, spent)
}

/// The URL of a folder below another one.
fn below(url: &str, folder: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.ends_with(':') {
        true => format!("{url}{folder}"),
        false => format!("{url}/{folder}"),
    }
}

async fn measure(args: &BenchArgs, scratch: &str, whole: &Store) -> Result<Vec<Figures>> {
    let mut runs = Vec::new();
    if let Some(commits) = args.start_commits {
        runs.push(start::run(args, whole, commits).await?);
        return Ok(runs);
    }
    let progress = Progress::steps(u64::from(args.runs) * STEPS_PER_RUN);
    for number in 1..=args.runs {
        let url = below(scratch, &format!("run-{number}"));
        // In memory, each opening is a store of its own: then the runs share nothing either.
        let store = connect::store(&url)?;
        runs.push(measure_once(args, &store, &progress).await?);
        // The next run should not have to share the space.
        if !args.keep {
            clean(&url, &store).await?;
        }
    }
    progress.clear();
    Ok(runs)
}

async fn measure_once(args: &BenchArgs, store: &Store, progress: &Progress) -> Result<Figures> {
    let span = Duration::from_secs(u64::from(args.seconds));
    let mut figures = Figures::default();
    let step = |what: &'static str| {
        progress.add(1);
        progress.message(|| what.to_owned());
    };
    raw::measure(store, span, &mut figures, &step).await.context("measuring the store itself failed")?;

    let options = journal::Options::of_cache(limits::CACHE_BYTES_DEFAULT);
    let journal = Journal::open(store.clone(), options).await?;
    let topic = match journal.create_topic("bench", args.partitions, Default::default()).await? {
        Ok(topic) => topic,
        Err(void) => bail!("cannot create a topic: {void}"),
    };
    let bench = log::Bench {
        journal: journal.clone(),
        topic,
        partitions: args.partitions,
        record_bytes: args.record_bytes,
    };
    step("time to an acknowledgement");
    bench.acks(args.rate, span, &mut figures).await.context("measuring acknowledgements failed")?;
    step("ending transactions");
    transactions::ends(&bench, span, &mut figures).await.context("measuring transactions failed")?;
    step("producing");
    bench.produce(span, &mut figures).await.context("producing failed")?;
    step("following");
    bench.tail(span, &mut figures).await.context("following failed")?;
    journal.close().await;
    step("consuming, caches cold");
    log::consume_cold(store, topic, args.partitions, span, log::COLD, &mut figures)
        .await
        .context("consuming failed")?;
    step("compacting");
    history::compact(store, &mut figures).await.context("compacting failed")?;
    step("replaying what was compacted");
    log::consume_cold(store, topic, args.partitions, span, log::REPLAY, &mut figures)
        .await
        .context("replaying failed")?;
    figures.relate();
    Ok(figures)
}

/// Removes everything below `url`, which this command made.
async fn clean(url: &str, store: &Store) -> Result<()> {
    loop {
        let found = store.list("", LISTED).await?;
        if found.is_empty() {
            break;
        }
        let mut deletes = stream::iter(found)
            .map(|object| async move { store.delete(&object.key).await })
            .buffer_unordered(DELETES);
        while let Some(deleted) = deletes.next().await {
            deleted?;
        }
    }
    match connect::folder(url).filter(|folder| folder.exists()) {
        // Only folders are left in it.
        Some(folder) => {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn folders_go_below_any_url() {
        assert_eq!(below("memory:", "x"), "memory:x");
        assert_eq!(below("s3://bucket", "x"), "s3://bucket/x");
        assert_eq!(below("file:./dir/", "x"), "file:./dir/x");
    }
}
