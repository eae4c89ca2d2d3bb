//! `strandline consume`: the records of a topic on standard output, straight from a store.
//!
//! Owns the way from positions to printed records. A task fetches rounds, one answer a partition; a thread decodes and
//! prints them (`print`), so that decompression and a slow reader never hold up the next fetch. Must not know Kafka's
//! protocol. Order: that of each partition; without `--follow` everything up to the end at the start, and nothing twice.

mod print;

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use strandline_core::manifest::{Journal, Partition};
use strandline_reader::batches::{self, Batch};
use strandline_reader::{
    Config, FetchLimits, FetchPartition, Fetched, Isolation, OffsetSpec, ReadError, Reader,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::args::{ConsumeArgs, IsolationLevel, Start};
use crate::connect;
use crate::progress::Progress;
use crate::units::show_count;
use print::Printer;

/// Bytes of one partition and of all in one round.
const PARTITION_BYTES: usize = 2 * 1_024 * 1_024;
const ROUND_BYTES: usize = 24 * 1_024 * 1_024;
/// Rounds that may wait to be printed.
const ROUNDS_WAITING: usize = 1;
/// How long one look for new records lasts.
const FOLLOW_WAIT: Duration = Duration::from_secs(5);
/// A store that does not answer is asked again, so often and after such a pause.
const RETRIES: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// Memory for blocks of the store: what one round needs and the next one.
const CACHE_BYTES: usize = 64 * 1_024 * 1_024;

/// How far one partition was read.
#[derive(Debug, Clone, Copy)]
struct Position {
    partition: u32,
    /// The next offset.
    offset: i64,
    /// Where to stop; `None`: never.
    end: Option<i64>,
}

/// A run of batches of one partition, of which the records in `offsets` are wanted.
#[derive(Debug)]
struct Piece {
    partition: u32,
    offsets: std::ops::Range<i64>,
    batches: Vec<Batch>,
}

pub(crate) async fn run(args: ConsumeArgs) -> Result<()> {
    let nothing = || anyhow!("there is no topic {} in {}", args.topic, connect::shown(&args.store.url));
    let journal = connect::open_existing(&args.store.url).await?.ok_or_else(nothing)?;
    let topic = journal.view(|m| m.topic_named(&args.topic).map(|topic| topic.id)).ok_or_else(nothing)?;
    let reader = Reader::start(journal.clone(), Config::of_cache(CACHE_BYTES));
    let positions = positions(&args, &journal, &reader, topic).await?;
    let watched = !std::io::stdout().is_terminal();
    let total = total(&args, &positions);
    let progress = Progress::records(total, watched);

    let (rounds, to_print) = mpsc::channel(ROUNDS_WAITING);
    let fetching = tokio::spawn(fetch_rounds(reader, (topic, isolation(&args)), positions, rounds));
    let printer = Printer::new(&args, progress.clone());
    let printed = tokio::task::spawn_blocking(move || printer.run(to_print)).await;
    progress.clear();
    let printed = printed.context("printing failed")??;
    if printed.complete {
        // The printer has seen enough; a fetch under way would only be thrown away.
        fetching.abort();
    } else {
        fetching.await.context("reading failed")?.with_context(|| format!("cannot read {}", args.topic))?;
    }
    if watched && crate::output::is_watched() {
        let (records, seconds) = (printed.records, progress.seconds());
        crate::output::note(&format!("{} records of {} in {seconds:.2} s", show_count(records), args.topic));
    }
    Ok(())
}

/// Records that will be printed; `None`: nobody knows.
fn total(args: &ConsumeArgs, positions: &[Position]) -> Option<u64> {
    let there = |p: &Position| p.end.map(|end| u64::try_from(end - p.offset).unwrap_or(0));
    let there: Option<u64> = positions.iter().map(there).sum();
    match (there, args.max_records) {
        (Some(there), Some(most)) => Some(there.min(most)),
        (there, most) => there.or(most),
    }
}

fn isolation(args: &ConsumeArgs) -> Isolation {
    match args.isolation {
        IsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
        IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
    }
}

/// Where each partition starts and ends.
async fn positions(
    args: &ConsumeArgs,
    journal: &Journal,
    reader: &Reader,
    topic: Uuid,
) -> Result<Vec<Position>> {
    let bounds: Vec<(u32, i64, i64)> = journal.view(|manifest| {
        let partitions = manifest.topic(&topic).map(|topic| topic.partitions.iter()).into_iter().flatten();
        let end = |p: &Partition| match isolation(args) {
            Isolation::ReadUncommitted => p.high_watermark,
            Isolation::ReadCommitted => p.last_stable_offset(),
        };
        (0..).zip(partitions).map(|(number, p)| (number, p.log_start, end(p))).collect()
    });
    let wanted: Vec<_> =
        bounds.iter().filter(|(number, ..)| args.partition.is_none_or(|p| p == *number)).collect();
    if wanted.is_empty() {
        bail!(
            "{} has no partition {}: it has {}, counted from 0",
            args.topic,
            args.partition.unwrap_or(0),
            bounds.len()
        );
    }
    if let Start::Offset(offset) = args.offset
        && wanted.iter().all(|(_, _, end)| offset > *end)
    {
        let end = wanted.iter().map(|(_, _, end)| *end).max().unwrap_or(0);
        bail!("there is no offset {offset} in {} yet: the next record gets {end}", args.topic);
    }
    let mut found = Vec::new();
    for (partition, start, end) in wanted.into_iter().copied() {
        let offset = match args.offset {
            Start::Earliest => start,
            Start::Latest => end,
            Start::Offset(offset) => offset.clamp(start, end),
            Start::Time(ms) => {
                let at = reader.offset_at(topic, partition, OffsetSpec::Timestamp(ms), isolation(args)).await;
                let at = at.with_context(|| format!("cannot look up a time in partition {partition}"))?;
                if at.offset < 0 { end } else { at.offset }
            }
        };
        found.push(Position { partition, offset, end: (!args.follow).then_some(end) });
    }
    Ok(found)
}

/// Fetches until every partition is read to its end, or until nobody takes what was fetched.
async fn fetch_rounds(
    reader: Reader,
    (topic, isolation): (Uuid, Isolation),
    mut positions: Vec<Position>,
    rounds: mpsc::Sender<Vec<Piece>>,
) -> Result<()> {
    let mut failures = 0;
    loop {
        positions.retain(|position| position.end.is_none_or(|end| position.offset < end));
        if positions.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = positions.iter().map(|position| position.request(topic)).collect();
        let limits = FetchLimits { min_bytes: 1, max_bytes: ROUND_BYTES, max_wait: FOLLOW_WAIT, isolation };
        let answers = tokio::select! {
            answers = reader.fetch(&wanted, limits) => answers,
            () = rounds.closed() => return Ok(()),
        };
        let mut round = Vec::new();
        let mut failed = None;
        for (position, answer) in positions.iter_mut().zip(answers) {
            match answer {
                Ok(fetched) => round.extend(position.advance(&fetched)?),
                Err(error @ ReadError::Unavailable(_)) => failed = Some(anyhow!(error)),
                Err(error) => return Err(anyhow!(error).context(format!("partition {}", position.partition))),
            }
        }
        failures = if round.is_empty() && failed.is_some() { failures + 1 } else { 0 };
        match failed {
            Some(error) if failures > RETRIES => return Err(error),
            Some(_) if failures > 0 => tokio::time::sleep(RETRY_PAUSE).await,
            _ => {}
        }
        // Whoever came last in this round comes first in the next: all take turns.
        let turn = round.len() % positions.len();
        positions.rotate_left(turn);
        if !round.is_empty() && rounds.send(round).await.is_err() {
            return Ok(());
        }
    }
}

impl Position {
    fn request(&self, topic: Uuid) -> FetchPartition {
        FetchPartition { topic, partition: self.partition, offset: self.offset, max_bytes: PARTITION_BYTES }
    }

    /// Takes what was fetched: nothing below the position, nothing from the end on.
    fn advance(&mut self, fetched: &Fetched) -> Result<Option<Piece>> {
        let damaged = || format!("partition {} is damaged near offset {}", self.partition, self.offset);
        let batches = batches::split(fetched).with_context(damaged)?;
        let Some(reached) = batches.last().map(Batch::end_offset) else {
            // Compaction may have left nothing up to there.
            self.offset = self.offset.max(fetched.next_offset);
            return Ok(None);
        };
        if reached <= self.offset {
            bail!("partition {} does not go on after offset {}", self.partition, self.offset);
        }
        let upto = self.end.map_or(reached, |end| reached.min(end));
        let batches = batches::without_aborted(batches, &fetched.aborted);
        let piece = Piece { partition: self.partition, offsets: self.offset..upto, batches };
        self.offset = reached.max(fetched.next_offset);
        Ok(Some(piece))
    }
}
