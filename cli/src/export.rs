//! `strandline export`: a range of a topic as columns, in a file or on standard output, straight from a store.
//!
//! Owns the way from the command line to a finished file. Must not know formats (`sink` does) or how records are read. One task
//! reads and a thread writes, so that neither waits for the other for longer than it must. What is not whole never looks so.

mod sink;

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use strandline_core::env::Env;
use strandline_core::manifest::Journal;
use strandline_reader::replay::{Bound, Part, Replay, ReplayOptions};
use strandline_reader::{Config, Isolation, Reader};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::args::{ExportArgs, IsolationLevel, Point};
use crate::connect;
use crate::interrupt::interrupted;
use crate::output::{self, Coded};
use crate::progress::Progress;
use crate::units::{show_bytes, show_counted};
use sink::{Job, Sink, Written};

/// Memory for blocks of the store: what is read ahead of one partition, and the beginnings of the next ones.
const CACHE_BYTES: usize = 48 * 1_024 * 1_024;
/// Record batches that may wait to be written.
const PARTS_WAITING: usize = 1;
/// After Ctrl-C, a write to somebody who does not read is not waited for any longer than this.
const LAST_WRITE: Duration = Duration::from_secs(3);
/// The command line makes no sense here.
const USAGE: u8 = 2;
/// Ended by Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;

pub(crate) async fn run(args: ExportArgs) -> Result<()> {
    refuse_terminal(&args)?;
    let nothing = || anyhow!("there is no topic {} in {}", args.topic, connect::shown(&args.store.url));
    let journal = connect::open_existing(&args.store.url).await?.ok_or_else(nothing)?;
    let topic = journal.view(|m| m.topic_named(&args.topic).map(|topic| topic.id)).ok_or_else(nothing)?;
    let mut replay = begin(&args, journal, topic).await.with_context(|| cannot(&args))?;
    let total = replay.ranges().iter().map(|range| covered(&range.offsets)).sum();
    let progress = Progress::records(Some(total), !args.quiet);

    let sink = Sink::new(&args, replay.schema())?;
    let (jobs, to_do) = mpsc::channel(PARTS_WAITING);
    let bar = progress.clone();
    let mut writing = tokio::task::spawn_blocking(move || sink.run(to_do, |part| show(&bar, part)));
    let exported = async {
        let read = read(&mut replay, jobs).await.with_context(|| cannot(&args));
        let written = (&mut writing).await.context("writing failed")?;
        // What could not be read is why not all was written.
        read?;
        written
            .with_context(|| format!("cannot write {}", args.output.display()))?
            .context("writing ended early")
    };
    let exported = tokio::select! {
        exported = exported => exported,
        () = interrupted() => {
            // What is not whole is taken away.
            let _ = tokio::time::timeout(LAST_WRITE, &mut writing).await;
            let said = format!("stopped by Ctrl-C: {} was not exported", args.topic);
            Err(Coded { code: INTERRUPTED, said }.into())
        }
    };
    progress.clear();
    tell(&args, &exported?, progress.seconds());
    Ok(())
}

/// Bytes would only disturb whoever sits there.
fn refuse_terminal(args: &ExportArgs) -> Result<()> {
    if args.output.as_os_str() == "-" && std::io::stdout().is_terminal() {
        let said = format!(
            "these are bytes for a program, not for a terminal: name a file, such as `-o {}.parquet`, or send them on \
             with `|` or `>`; `strandline consume {}` prints records",
            args.topic, args.topic
        );
        return Err(Coded { code: USAGE, said }.into());
    }
    Ok(())
}

fn cannot(args: &ExportArgs) -> String {
    format!("cannot export {}", args.topic)
}

async fn begin(args: &ExportArgs, journal: Journal, topic: Uuid) -> Result<Replay> {
    let now_ms = Env::system().wall_ms();
    let bound = |point: Point| match point {
        Point::Earliest => Bound::Earliest,
        Point::Latest => Bound::Latest,
        Point::Offset(offset) => Bound::Offset(offset),
        Point::Time(ms) => Bound::Timestamp(ms),
        Point::Age(age) => Bound::Timestamp(now_ms.saturating_sub_unsigned(age.as_millis() as u64)),
    };
    let options = ReplayOptions {
        topic,
        partitions: args.partitions.as_ref().map(|wanted| wanted.0.clone()).unwrap_or_default(),
        from: bound(args.from),
        to: bound(args.to),
        isolation: match args.isolation {
            IsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
            IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        },
        columns: args.columns.as_ref().map(|wanted| wanted.0.clone()).unwrap_or_default(),
        batch_rows: args.batch_rows as usize,
    };
    let reader = Reader::start(journal, Config::of_cache(CACHE_BYTES));
    let replay = reader.replay(&options).await?;
    let begins = || replay.ranges().iter().map(|range| range.offsets.start);
    if let Point::Offset(from) = args.from
        && begins().all(|begin| begin < from)
    {
        let end = begins().max().unwrap_or(0);
        bail!("there is no offset {from} yet: what can be read ends at {end}");
    }
    Ok(replay)
}

/// Passes on all that is read, and says when that was all.
async fn read(replay: &mut Replay, jobs: mpsc::Sender<Job>) -> Result<()> {
    while let Some(part) = replay.next().await {
        if jobs.send(Job::Write(part?)).await.is_err() {
            return Ok(());
        }
    }
    // If nobody is there any more, it says why itself.
    let _ = jobs.send(Job::Finish).await;
    Ok(())
}

fn show(progress: &Progress, part: &Part) {
    progress.add(covered(&part.offsets));
    progress.message(|| format!("partition {}", part.partition));
}

fn covered(offsets: &std::ops::Range<i64>) -> u64 {
    u64::try_from(offsets.end - offsets.start).unwrap_or(0)
}

/// One line for whoever watches.
fn tell(args: &ExportArgs, written: &Written, seconds: f64) {
    if output::is_watched() && !args.quiet {
        let (records, bytes) = (show_counted(written.records, "record"), show_bytes(written.bytes));
        output::note(&format!("{records} of {}, {bytes} in {seconds:.2} s", args.topic));
    }
}
