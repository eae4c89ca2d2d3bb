//! Strandline as a library: a program that appends and reads with no server and no socket.
//!
//! ```text
//! cargo run --release --example embedded -p strandline                      # a folder that is removed afterwards
//! cargo run --release --example embedded -p strandline -- s3://bucket/log   # credentials from AWS_* variables
//! ```
//!
//! It opens a log, makes a topic, appends a few batches, reads them back, and then reads them once more the way another
//! process would: with nothing in memory. Kafka clients that connect to `strandline serve` on the same store see the same
//! records.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use strandline_core::env::Env;
use strandline_core::manifest::{Journal, Void, journal};
use strandline_core::record::{BatchHeader, RecordBuilder, records};
use strandline_core::rope::Rope;
use strandline_core::store::Store;
use strandline_ingest::{self as ingest, Ingest};
use strandline_reader::{self as reader, FetchLimits, FetchPartition, Isolation, Reader};
use uuid::Uuid;

const TOPIC: &str = "temperatures";
const PARTITION: u32 = 0;

#[tokio::main]
async fn main() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let url = std::env::args().nth(1).unwrap_or_else(|| format!("file://{}", scratch.path().display()));

    // A store is a prefix in a bucket. Opening it asks nothing; opening the journal makes the cluster if there is none.
    let store = Store::open(&url, Env::system())?;
    let journal = Journal::open(store.clone(), journal::Options::default()).await?;
    println!("log {} in {store}", journal.cluster_id());
    let topic = find_or_create(&journal).await?;

    let first = append(&journal, topic).await?;
    let here = read(&journal, topic, first).await?;
    println!("read back in this process:\n  {}", here.join("\n  "));

    // Closing waits for what is in flight. Nothing is lost without it: what was acknowledged is in the store.
    journal.close().await;

    let elsewhere = Journal::open(store, journal::Options::default()).await?;
    let there = read(&elsewhere, topic, first).await?;
    elsewhere.close().await;
    ensure!(here == there, "a second process would read something else");
    println!("a second opening of the same store reads the same {} records", there.len());
    Ok(())
}

async fn find_or_create(journal: &Journal) -> Result<Uuid> {
    if let Some(id) = journal.view(|manifest| manifest.topic_named(TOPIC).map(|topic| topic.id)) {
        return Ok(id);
    }
    // The outer result is about the store, the inner one is what the log decided: another process may have been first.
    match journal.create_topic(TOPIC, 1, Default::default()).await? {
        Ok(id) => Ok(id),
        Err(Void::TopicExists) => bail!("another process made {TOPIC} at this moment: run me again"),
        Err(void) => bail!("cannot make the topic: {void}"),
    }
}

/// Appends three batches of two records and gives the offset of the first record.
async fn append(journal: &Journal, topic: Uuid) -> Result<i64> {
    let ingest = Ingest::start(journal.clone(), ingest::Config::default());
    let mut under_way = Vec::new();
    for batch in 0..3 {
        let mut builder = RecordBuilder::default();
        for record in 0..2 {
            let value = format!("{}.{record} degrees", 20 + batch);
            builder.push(journal.env().wall_ms(), Some(b"kitchen"), Some(value.as_bytes()));
        }
        let batch = builder.finish();
        // Waiting for room keeps memory bounded. Appending itself does not wait: the order of calls is the order of records.
        let admission = ingest.admit(batch.len()).await?;
        under_way.push(ingest.append(topic, PARTITION, batch, admission));
    }
    let mut first = None;
    for append in under_way {
        // Durable from here on, and visible to every reader of the store.
        let appended = append.await?;
        println!("appended at offset {}", appended.base_offset);
        first.get_or_insert(appended.base_offset);
    }
    ingest.close().await;
    first.context("nothing was appended")
}

/// Reads from `offset` to the end, as text.
async fn read(journal: &Journal, topic: Uuid, mut offset: i64) -> Result<Vec<String>> {
    let reader = Reader::start(journal.clone(), reader::Config::default());
    let limits = FetchLimits {
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_wait: Duration::from_secs(5),
        isolation: Isolation::ReadUncommitted,
    };
    let mut found = Vec::new();
    loop {
        let wanted = FetchPartition { topic, partition: PARTITION, offset, max_bytes: 1 << 20 };
        let fetched =
            reader.fetch(&[wanted], limits).await.pop().context("one answer for one partition")??;
        // Batches come as Kafka clients get them, in pieces that were never copied together.
        let rope = Rope::new(fetched.batches);
        let mut at = 0;
        while at < rope.len() {
            let header = BatchHeader::at(&rope, at)?;
            let batch = rope.slice(at..at + header.bytes).context("batches are whole")?.to_bytes();
            for record in records(&batch)? {
                let at = header.base_offset + i64::from(record.offset_delta);
                if at >= offset {
                    found.push(format!(
                        "{at}: {}",
                        String::from_utf8_lossy(&record.value.unwrap_or_default())
                    ));
                }
            }
            at += header.bytes;
        }
        offset = fetched.next_offset;
        if offset >= fetched.high_watermark {
            return Ok(found);
        }
    }
}
