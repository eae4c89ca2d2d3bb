//! The log on the store: acknowledgements, produce, follow and cold reads, in this process.
//!
//! Must not know the store's raw figures. Every append is waited for; throughput counts only what was acknowledged, and
//! the time until the last acknowledgement.

use std::time::Duration;
use tokio::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use strandline_core::limits::{CACHE_BYTES_DEFAULT, KIB, MIB};
use strandline_core::manifest::{Journal, journal};
use strandline_core::record::RecordBuilder;
use strandline_core::store::Store;
use strandline_ingest::{Config, Ingest};
use strandline_reader::batches::{self, Batch};
use strandline_reader::{self as reader, FetchLimits, FetchPartition, Isolation, Reader};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::raw::{self, noise};
use super::report::{Figures, mib_per_second};
use crate::connect;
use crate::requests::Requests;

/// One batch of a producer at full speed.
const BATCH_BYTES: usize = 512 * KIB;
/// What one measurement writes at most: it may be paid for, and in memory it stays.
const PRODUCE_BYTES: usize = 1_024 * MIB;
const TAIL_BYTES: usize = 256 * MIB;
/// What one fetch asks for.
const FETCH_PARTITION_BYTES: usize = 4 * MIB;
const FETCH_BYTES: usize = 48 * MIB;
const GIB: f64 = (1_024 * MIB) as f64;

/// A topic in a journal.
pub(super) struct Bench {
    pub(super) journal: Journal,
    pub(super) topic: Uuid,
    pub(super) partitions: u32,
    pub(super) record_bytes: usize,
}

impl Bench {
    /// Single records at a low rate, flushed at once; between two of them a PUT past the log, to compare with.
    pub(super) async fn acks(&self, rate: u32, span: Duration, figures: &mut Figures) -> Result<()> {
        let ingest = Ingest::start(
            self.journal.clone(),
            Config { flush_interval: Duration::ZERO, ..Config::default() },
        );
        let batch = self.batch(1);
        let until = Instant::now() + span;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / (2 * rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut appends, mut puts) = (FuturesUnordered::new(), FuturesUnordered::new());
        let (mut append_seconds, mut put_seconds) = (Vec::new(), Vec::new());
        let mut count = 0;
        while Instant::now() < until {
            tokio::select! {
                biased;
                Some(ended) = appends.next() => append_seconds.push(ended?),
                Some(ended) = puts.next() => put_seconds.push(ended?),
                _ = ticks.tick() => {
                    count += 1;
                    match count % 2 {
                        0 => appends.push(self.acked(&ingest, count / 2 % self.partitions, batch.clone())),
                        _ => puts.push(raw::paced(self.journal.store(), count)),
                    }
                }
            }
        }
        while let Some(ended) = appends.next().await {
            append_seconds.push(ended?);
        }
        ingest.close().await;
        figures.latencies("ack", append_seconds);
        figures.latencies("raw_put_paced", put_seconds);
        Ok(())
    }

    /// Full batches to all partitions in turn, as fast as they are taken.
    pub(super) async fn produce(&self, span: Duration, figures: &mut Figures) -> Result<()> {
        let before = Requests::now();
        let begun = Instant::now();
        let (bytes, records) = self.write(span, PRODUCE_BYTES).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let requests = before.since();
        figures.set("produce_mib_s", mib_per_second(bytes, seconds));
        figures.set("produce_records_s", records as f64 / seconds);
        figures.set("produce_puts_per_gib", requests.puts as f64 / bytes as f64 * GIB);
        figures.set("produce_dollars_per_gib", requests.dollars / bytes as f64 * GIB);
        Ok(())
    }

    /// One reader follows while everything is written at full speed.
    pub(super) async fn tail(&self, span: Duration, figures: &mut Figures) -> Result<()> {
        let reader = Reader::start(self.journal.clone(), reader::Config::of_cache(CACHE_BYTES_DEFAULT));
        let ends = ends(&self.journal, self.topic);
        let mut positions: Vec<Place> =
            (0..).zip(ends).map(|(partition, offset)| Place { partition, offset, end: i64::MAX }).collect();
        let begun = Instant::now();
        let follow = async {
            let mut read = 0;
            // Half a second without anything new after the writer has ended: everything is there.
            let mut idle = 0;
            let mut last = begun;
            while idle < 2 {
                let more = fetch(&reader, self.topic, &mut positions, Duration::from_millis(250)).await?;
                read += more;
                idle = if more == 0 && read > 0 { idle + 1 } else { 0 };
                last = if more > 0 { Instant::now() } else { last };
                if begun.elapsed() > span * 4 + Duration::from_secs(60) {
                    break;
                }
            }
            anyhow::Ok((read, last.duration_since(begun).as_secs_f64()))
        };
        let (written, followed) = tokio::join!(self.write(span, TAIL_BYTES), follow);
        written?;
        let (read, seconds) = followed?;
        figures.set("consume_tail_mib_s", mib_per_second(read, seconds));
        Ok(())
    }

    /// Writes until the time is over or there is enough; bytes and records that were acknowledged.
    async fn write(&self, span: Duration, most: usize) -> Result<(usize, usize)> {
        let records = (BATCH_BYTES / self.record_bytes).max(1);
        let batch = self.batch(records);
        let ingest = Ingest::start(self.journal.clone(), connect::ingest_config(self.journal.store()));
        let until = Instant::now() + span;
        let mut under_way = FuturesUnordered::new();
        let (mut batches, mut partition) = (0, 0);
        while batches * batch.len() < most && Instant::now() < until {
            tokio::select! {
                biased;
                Some(ended) = under_way.next() => drop(ended?),
                admission = ingest.admit(batch.len()) => {
                    partition = (partition + 1) % self.partitions;
                    under_way.push(ingest.append(self.topic, partition, batch.clone(), admission?));
                    batches += 1;
                }
            }
        }
        while let Some(ended) = under_way.next().await {
            ended?;
        }
        ingest.close().await;
        Ok((batches * batch.len(), batches * records))
    }

    async fn acked(&self, ingest: &Ingest, partition: u32, batch: Bytes) -> Result<f64> {
        let begun = Instant::now();
        let admission = ingest.admit(batch.len()).await?;
        ingest.append(self.topic, partition, batch, admission).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    fn batch(&self, records: usize) -> Bytes {
        let mut builder = RecordBuilder::default();
        let now = self.journal.env().wall_ms();
        for number in 0..records {
            builder.push(now, None, Some(&noise(self.record_bytes, number as u64)));
        }
        builder.finish()
    }
}

/// Names of figures: MiB, GETs and dollars for each GiB.
pub(super) const COLD: [&str; 3] = ["consume_cold_mib_s", "consume_gets_per_gib", "consume_dollars_per_gib"];
/// The same for what was compacted.
pub(super) const REPLAY: [&str; 3] = ["replay_mib_s", "replay_gets_per_gib", "replay_dollars_per_gib"];

/// Everything that is there, by a node that knows nothing yet.
pub(super) async fn consume_cold(
    store: &Store,
    topic: Uuid,
    partitions: u32,
    span: Duration,
    [name, gets, dollars]: [&'static str; 3],
    figures: &mut Figures,
) -> Result<()> {
    let before = Requests::now();
    let opening = Instant::now();
    let journal = Journal::open(store.clone(), journal::Options::default()).await?;
    figures.set("open_ms", opening.elapsed().as_secs_f64() * 1_000.0);
    let reader = Reader::start(journal.clone(), reader::Config::default());
    let ends = ends(&journal, topic);
    let mut places: Vec<Place> =
        (0..partitions).zip(ends).map(|(partition, end)| Place { partition, offset: 0, end }).collect();
    let begun = Instant::now();
    let mut bytes = 0;
    while begun.elapsed() < span {
        places.retain(|place| place.offset < place.end);
        if places.is_empty() {
            break;
        }
        bytes += fetch(&reader, topic, &mut places, Duration::from_secs(10)).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let requests = before.since();
    journal.close().await;
    figures.set(name, mib_per_second(bytes, seconds));
    figures.set(gets, requests.gets as f64 / bytes.max(1) as f64 * GIB);
    figures.set(dollars, requests.dollars / bytes.max(1) as f64 * GIB);
    Ok(())
}

/// How far one partition was read.
struct Place {
    partition: u32,
    offset: i64,
    end: i64,
}

fn ends(journal: &Journal, topic: Uuid) -> Vec<i64> {
    journal.view(|manifest| {
        let partitions = manifest.topic(&topic).map(|topic| topic.partitions.iter()).into_iter().flatten();
        partitions.map(|partition| partition.high_watermark).collect()
    })
}

/// One fetch over all places, which move on; bytes of it.
async fn fetch(reader: &Reader, topic: Uuid, places: &mut [Place], max_wait: Duration) -> Result<usize> {
    let wanted: Vec<_> = places
        .iter()
        .map(|place| FetchPartition {
            topic,
            partition: place.partition,
            offset: place.offset,
            max_bytes: FETCH_PARTITION_BYTES,
        })
        .collect();
    let answers = reader
        .fetch(
            &wanted,
            FetchLimits {
                min_bytes: 1,
                max_bytes: FETCH_BYTES,
                max_wait,
                isolation: Isolation::ReadUncommitted,
            },
        )
        .await;
    let mut bytes = 0;
    let mut served = 0;
    for (place, answer) in places.iter_mut().zip(answers) {
        let fetched = answer?;
        let batches = batches::split(&fetched).context("the log gave back something that is no batch")?;
        place.offset = batches.last().map_or(place.offset, Batch::end_offset).max(fetched.next_offset);
        served += usize::from(!batches.is_empty());
        bytes += fetched.bytes;
    }
    // Whoever got nothing comes first the next time.
    places.rotate_left(served % places.len().max(1));
    Ok(bytes)
}
