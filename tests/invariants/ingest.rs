//! Ingest: bytes before pointers, acknowledgements after the fold, memory and money within their bounds.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use strandline_core::manifest::{
    AddToTransaction, Change, CommitOffsets, EndTransaction, InitProducer, Manifest, OffsetCommit, Outcome,
    TransactionOf,
};
use strandline_core::record::RecordBuilder;
use strandline_ingest::{AppendError, Config};
use tokio::time::{Instant, sleep, timeout};

use crate::{Writer, batch};

const MIB: usize = 1 << 20;

/// While the segment is not written, no commit that names it is even attempted; and nobody hears of the append before both.
#[tokio::test(start_paused = true)]
async fn bytes_come_before_the_pointer_and_the_answer_after_both() {
    let writer = Writer::start(1, Config { inline_max_bytes: 0, ..Config::default() }).await;
    let commits = writer.store.count("put journal");
    writer.store.hold("put segment");
    let mut append = writer.append(0, batch(100)).await;
    assert!(timeout(Duration::from_secs(20), &mut append).await.is_err(), "acknowledged without its bytes");
    assert_eq!(writer.store.count("put journal"), commits, "the pointer was written before the bytes");
    writer.store.hold("put journal");
    assert!(timeout(Duration::from_secs(5), &mut append).await.is_err(), "acknowledged before the commit");
    assert_eq!(writer.store.keys("segment").await.len(), 1);
    writer.store.release();
    assert_eq!(append.await.unwrap().base_offset, 0);
}

/// A small flush costs one PUT, not two.
#[tokio::test(start_paused = true)]
async fn a_small_flush_is_one_request() {
    let writer = Writer::start(1, Config::default()).await;
    let before = writer.store.count("");
    writer.append(0, batch(1_000)).await.await.unwrap();
    assert_eq!((writer.store.count("") - before, writer.store.keys("segment").await.len()), (1, 0));
}

/// With the store stuck, a node takes in what it may hold and not a byte more; nothing is lost once the store is back.
#[tokio::test(start_paused = true)]
async fn a_stuck_store_stops_admission_and_loses_nothing() {
    let writer = Writer::start(1, Config { inflight_bytes: 4 * MIB, ..Config::default() }).await;
    writer.store.hold("put");
    let mut appends = Vec::new();
    while let Ok(append) = timeout(Duration::from_millis(100), writer.append(0, batch(500_000))).await {
        appends.push(append);
        assert!(appends.len() <= 8, "more was admitted than may be in flight");
    }
    assert_eq!(appends.len(), 4 * MIB / batch(500_000).len());
    writer.store.release();
    for (offset, append) in join_all(appends).await.into_iter().enumerate() {
        assert_eq!(append.unwrap().base_offset, offset as i64);
    }
    assert!(writer.append(0, batch(500_000)).now_or_never().is_some(), "the room was not given back");
}

/// PUTs of ten seconds of traffic that comes every `every`, `bytes` at a time, spread over `partitions`.
async fn puts_in_ten_seconds(partitions: u32, every: Duration, bytes: usize) -> usize {
    let config = Config { flush_interval: Duration::from_millis(100), ..Config::default() };
    let writer = Writer::start(partitions, config).await;
    sleep(Duration::from_secs(2)).await;
    let before = writer.store.count("put");
    let until = Instant::now() + Duration::from_secs(10);
    let mut appends = Vec::new();
    for i in 0.. {
        if Instant::now() >= until {
            break;
        }
        appends.push(writer.append(i % partitions, batch(bytes)).await);
        sleep(every).await;
    }
    for append in join_all(appends).await {
        append.unwrap();
    }
    writer.store.count("put") - before
}

/// With the default interval, traffic that fits one segment an interval costs at most ten PUTs a second, plus the burst.
#[tokio::test(start_paused = true)]
async fn steady_traffic_costs_ten_requests_a_second() {
    for (every_ms, bytes) in [(1, 1_000), (5, 100_000), (10, 700_000)] {
        let puts = puts_in_ten_seconds(12, Duration::from_millis(every_ms), bytes).await;
        assert!(puts <= 110, "{puts} PUTs in 10 s for {bytes} bytes every {every_ms} ms");
    }
}

/// The bill does not depend on the number of partitions.
#[tokio::test(start_paused = true)]
async fn partitions_cost_nothing() {
    let few = puts_in_ten_seconds(1, Duration::from_millis(2), 1_000).await;
    let many = puts_in_ten_seconds(1_000, Duration::from_millis(2), 1_000).await;
    assert!(many <= few + few / 10, "{few} PUTs for 1 partition, {many} for 1,000");
}

/// A thousand consumers that commit their offsets every 5 s, Kafka's default, cost what one producer costs: the flush
/// interval decides, and no commit waits longer than two of them.
#[tokio::test(start_paused = true)]
async fn offset_commits_of_a_thousand_consumers_cost_no_more_than_the_flush_interval() {
    let config = Config { flush_interval: Duration::from_millis(100), ..Config::default() };
    let writer = Writer::start(1, config).await;
    sleep(Duration::from_secs(2)).await;
    let before = writer.store.count("put");
    let consumer = |number: u64| {
        let (ingest, topic) = (writer.ingest.clone(), writer.topic);
        async move {
            sleep(Duration::from_millis(number * 5)).await;
            for offset in 0..12 {
                let of =
                    OffsetCommit { topic, partition: 0, offset, leader_epoch: -1, metadata: String::new() };
                let (group, member) = (format!("group-{number}"), String::new());
                let commit = CommitOffsets { group, member, epoch: -1, instance_id: None, offsets: vec![of] };
                let begun = Instant::now();
                let outcomes = ingest.propose(vec![Change::CommitOffsets(commit)]).await.unwrap();
                assert_eq!(outcomes, [Outcome::Applied]);
                assert!(begun.elapsed() <= Duration::from_millis(200), "{:?}", begun.elapsed());
                sleep(Duration::from_secs(5)).await;
            }
        }
    };
    join_all((0..1_000).map(consumer)).await;
    let puts = writer.store.count("put") - before;
    assert!(puts <= 660, "{puts} PUTs for 12,000 commits in a minute");
    let committed = |number: u64| {
        writer.journal.view(|manifest| {
            let group = manifest.group(&format!("group-{number}")).unwrap();
            group.offsets[&(writer.topic, 0)].offset
        })
    };
    assert!((0..1_000).all(|number| committed(number) == 11));
}

/// PUTs from the beginning of a transaction over so many partitions to its end, its producer and its segments included.
async fn puts_of_a_transaction(partitions: u32) -> usize {
    let writer = Writer::start(partitions, Config::default()).await;
    sleep(Duration::from_secs(2)).await;
    let before = writer.store.count("put");
    let decide = async |change| writer.ingest.propose(vec![change]).await.unwrap().remove(0);
    let id = || "t".to_owned();
    let begin = InitProducer { transactional_id: id(), timeout_ms: 60_000, known: None, begun: 0 };
    let Outcome::Producer(producer) = decide(Change::InitProducer(begin)).await else { unreachable!() };
    let of = || TransactionOf {
        transactional_id: id(),
        producer_id: producer.id,
        epoch: producer.epoch,
        number: 1,
    };
    let all = (0..partitions).map(|partition| (writer.topic, partition)).collect();
    let add = AddToTransaction { of: of(), partitions: all, groups: Vec::new() };
    assert_eq!(decide(Change::AddToTransaction(add)).await, Outcome::Applied);
    let mut builder = RecordBuilder::default();
    builder.push(1, None, Some(b"a"));
    let batch = builder.finish_in_transaction(producer.id, producer.epoch, 0);
    // As one request brings them.
    let admission = writer.ingest.admit(batch.len() * partitions as usize).await.unwrap();
    let append = |at| writer.ingest.append(writer.topic, at, batch.clone(), admission.clone());
    for append in (0..partitions).map(append).collect::<Vec<_>>() {
        append.await.unwrap();
    }
    let end = EndTransaction { of: of(), commit: true, bump: true, if_due: false };
    assert!(matches!(decide(Change::EndTransaction(end)).await, Outcome::Producer(_)));
    let stable = |manifest: &Manifest| {
        (0..partitions).all(|at| manifest.partition(&writer.topic, at).unwrap().last_stable_offset() == 2)
    };
    assert!(writer.journal.view(stable));
    writer.store.count("put") - before
}

/// It begins, is written and ends with one commit each, however many partitions take part.
#[tokio::test(start_paused = true)]
async fn a_transaction_over_a_thousand_partitions_costs_what_one_over_a_single_one_does() {
    let (one, thousand) = (puts_of_a_transaction(1).await, puts_of_a_transaction(1_000).await);
    assert_eq!((one, thousand), (4, 4));
}

/// An idle node makes no request at all.
#[tokio::test(start_paused = true)]
async fn an_idle_node_asks_for_nothing() {
    let writer =
        Writer::start(12, Config { flush_interval: Duration::from_millis(100), ..Config::default() }).await;
    writer.append(0, batch(1_000)).await.await.unwrap();
    let before = writer.store.count("");
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(writer.store.count(""), before);
}

/// What cannot be right is refused at once, with a reason, and takes no offset.
#[tokio::test(start_paused = true)]
async fn bad_batches_are_refused_and_take_no_offset() {
    let writer = Writer::start(1, Config::default()).await;
    let good = batch(100);
    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        bytes.into()
    };
    assert!(matches!(writer.append(0, flipped(80)).await.await, Err(AppendError::Corrupt(_))));
    assert!(matches!(writer.append(0, flipped(16)).await.await, Err(AppendError::UnsupportedMagic(_))));
    assert!(matches!(writer.append(0, good.slice(..70)).await.await, Err(AppendError::Corrupt(_))));
    assert!(matches!(writer.append(0, batch(2 * MIB)).await.await, Err(AppendError::TooLarge { .. })));
    assert_eq!(writer.append(7, good.clone()).await.await, Err(AppendError::UnknownPartition));
    assert_eq!(writer.append(0, good).await.await.unwrap().base_offset, 0);
}

/// Closing flushes and answers what is there, and takes nothing more.
#[tokio::test(start_paused = true)]
async fn closing_answers_what_is_there() {
    let writer =
        Writer::start(1, Config { flush_interval: Duration::from_secs(60), ..Config::default() }).await;
    let mut appends = Vec::new();
    for _ in 0..20 {
        appends.push(writer.append(0, batch(100)).await);
    }
    timeout(Duration::from_secs(5), writer.ingest.close()).await.expect("closing waits for the pace");
    for append in appends {
        append.await.unwrap();
    }
    assert!(writer.ingest.admit(1).await.is_err());
    writer.journal.close().await;
}
