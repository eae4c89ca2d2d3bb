//! `strandline produce`: lines of a file or of standard input become records, straight in a store.
//!
//! Owns the way from lines to acknowledgements. Three stages, each with a bounded queue before it: a thread reads blocks,
//! a thread cuts them into batches ([`batcher`]), one task a partition appends them in order ([`lane`]). Must not know
//! Kafka's protocol. Each record is there once when the command ends well: batches carry a producer id and sequence
//! numbers, and are sent again until their outcome is known.

mod lane;
mod batcher;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use strandline_core::limits;
use strandline_core::manifest::{Journal, Void, journal};
use strandline_ingest::Ingest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::args::ProduceArgs;
use crate::connect;
use crate::output;
use crate::progress::Progress;
use crate::requests::Requests;
use crate::units::{show_bytes, show_counted, show_dollars};
use batcher::{Batch, Batcher};
use lane::{Lane, Tally};

/// What is read at once, and how many such blocks may wait.
const BLOCK_BYTES: usize = 256 * 1_024;
const BLOCKS_WAITING: usize = 8;
/// Batches that may wait before and behind the one place where they are handed to their partition.
const BATCHES_WAITING: usize = 4;

/// Where records go.
#[derive(Debug, Clone)]
struct Target {
    name: String,
    id: Uuid,
    partitions: u32,
    max_message_bytes: usize,
}

pub(crate) async fn run(args: ProduceArgs) -> Result<()> {
    let (input, size) = open_input(args.file.as_deref())?;
    let before = Requests::now();
    let options = journal::Options { tail_bytes: 0, ..journal::Options::default() };
    let journal = connect::open(connect::store(&args.store.url)?, options).await?;
    let target = find_or_create(&journal, &args).await?;
    if let Some(partition) = args.partition.filter(|partition| *partition >= target.partitions) {
        let has = show_counted(u64::from(target.partitions), "partition");
        bail!("{} has no partition {partition}: it has {has}, counted from 0", target.name);
    }
    let tally = Arc::new(Tally::new(Progress::bytes(size, true)));
    let produced = produce(&args, input, &journal, &target, &tally).await;
    journal.close().await;
    tally.progress.clear();
    if let Err(error) = produced {
        let records = show_counted(tally.records(), "record");
        bail!("{}; {records} ({}) were appended before", output::sentence(&error), show_bytes(tally.bytes()));
    }
    output::note(&summary(&target, &tally, before.since()));
    Ok(())
}

fn open_input(file: Option<&Path>) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    match file.filter(|file| *file != Path::new("-")) {
        None => Ok((Box::new(io::stdin()), None)),
        Some(path) => {
            let fail = || format!("cannot read {}", path.display());
            let file = File::open(path).with_context(fail)?;
            let meta = file.metadata().with_context(fail)?;
            if meta.is_dir() {
                bail!("cannot read {}: it is a folder", path.display());
            }
            Ok((Box::new(file), meta.is_file().then_some(meta.len())))
        }
    }
}

async fn find_or_create(journal: &Journal, args: &ProduceArgs) -> Result<Target> {
    let name = &args.topic;
    if find(journal, name).is_none() {
        if args.no_create {
            bail!("there is no topic {name} in {}; create it, or leave out --no-create", journal.store());
        }
        match journal.create_topic(name, args.partitions, Default::default()).await? {
            // Somebody else made it at the same time: it is there, which is all that matters.
            Ok(_) | Err(Void::TopicExists) => {}
            Err(void) => bail!("cannot create the topic {name}: {void}"),
        }
    }
    find(journal, name).with_context(|| format!("the topic {name} was deleted while it was looked at"))
}

fn find(journal: &Journal, name: &str) -> Option<Target> {
    journal.view(|manifest| {
        let topic = manifest.topic_named(name)?;
        let configured = topic.configs.get("max.message.bytes").and_then(|max| max.parse().ok());
        Some(Target {
            name: name.to_owned(),
            id: topic.id,
            partitions: topic.partitions.len() as u32,
            max_message_bytes: configured.unwrap_or(limits::MAX_MESSAGE_BYTES_DEFAULT),
        })
    })
}

/// Reads everything, appends everything, and comes back when everything is acknowledged.
async fn produce(
    args: &ProduceArgs,
    input: Box<dyn Read + Send>,
    journal: &Journal,
    target: &Target,
    tally: &Arc<Tally>,
) -> Result<()> {
    let producer_id = journal.allocate_producer_id().await.context("cannot get a producer id")?;
    let ingest = Ingest::start(journal.clone(), connect::ingest_config(journal.store()));
    let (blocks, to_cut) = sync_channel(BLOCKS_WAITING);
    let (cut, batches) = mpsc::channel(BATCHES_WAITING);
    std::thread::Builder::new().name("input".to_owned()).spawn(move || read_blocks(input, &blocks))?;
    let batcher = Batcher::new(args, target, producer_id, journal.env().clone(), cut);
    let cutting = tokio::task::spawn_blocking(move || batcher.run(&to_cut));
    let appended = append_all(batches, &ingest, target, tally).await;
    ingest.close().await;
    // An append that failed closes the batcher's queue, and that is then all the batcher has to say.
    appended?;
    cutting.await.context("cutting the input into records failed")?
}

/// Runs on a thread of its own, which may wait for input for ever.
fn read_blocks(mut input: Box<dyn Read + Send>, blocks: &SyncSender<io::Result<Bytes>>) {
    loop {
        let mut block = vec![0; BLOCK_BYTES];
        let read = match input.read(&mut block) {
            Ok(0) => return,
            Ok(read) => {
                block.truncate(read);
                Ok(Bytes::from(block))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if blocks.send(read).is_err() || failed {
            return;
        }
    }
}

/// Hands each batch to the lane of its partition; the first lane that fails ends it all.
async fn append_all(
    mut batches: mpsc::Receiver<Batch>,
    ingest: &Ingest,
    target: &Target,
    tally: &Arc<Tally>,
) -> Result<()> {
    let mut lanes = JoinSet::new();
    let mut doors: BTreeMap<u32, mpsc::Sender<Batch>> = BTreeMap::new();
    while let Some(batch) = batches.recv().await {
        let door = doors.entry(batch.partition).or_insert_with(|| {
            let (door, inside) = mpsc::channel(BATCHES_WAITING);
            let lane = Lane::new(ingest.clone(), target, batch.partition, Arc::clone(tally));
            lanes.spawn(lane.run(inside));
            door
        });
        if door.send(batch).await.is_err() {
            break;
        }
    }
    drop((doors, batches));
    while let Some(ended) = lanes.join_next().await {
        ended.context("appending failed")??;
    }
    Ok(())
}

fn summary(target: &Target, tally: &Tally, requests: Requests) -> String {
    let (records, bytes) = (tally.records(), tally.bytes());
    let seconds = tally.progress.seconds();
    format!(
        "{} ({}) appended to {} in {seconds:.2} s, {}/s: {}, {}, {}",
        show_counted(records, "record"),
        show_bytes(bytes),
        target.name,
        show_bytes((bytes as f64 / seconds.max(1e-6)) as u64),
        show_counted(requests.puts, "PUT"),
        show_counted(requests.gets, "GET"),
        show_dollars(requests.dollars),
    )
}
