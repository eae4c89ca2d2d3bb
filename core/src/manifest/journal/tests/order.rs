//! Single cases: lost slots, proposing again, starting up, following, closing.

use super::*;
use crate::error::{Error, Kind};
use crate::limits::{CHECKPOINT_EVERY_COMMITS, COMMIT_WINDOW};
use crate::manifest::journal::retry::out_of_order;

async fn with_topic() -> (Bucket, Machine, Journal, Uuid) {
    let bucket = Bucket::new();
    let machine = Machine::new(&bucket, 1);
    let journal = open(&machine).await.unwrap();
    let topic = journal.create_topic("t", 1, BTreeMap::new()).await.unwrap().unwrap();
    (bucket, machine, journal, topic)
}

fn one(writer: i64, sequence: i32) -> Token {
    Token { writer, sequence, offsets: 1 }
}

/// Somebody else is always a moment quicker than the commits that hold `wanted`, `times` times.
fn steal(machine: &Machine, wanted: Token, mut times: u64) {
    machine.faults.set_rival(Box::new(move |key, body| {
        let wanted = wanted.bytes();
        if times == 0 || !key.starts_with("journal/") || !body.windows(wanted.len()).any(|at| at == wanted) {
            return None;
        }
        times -= 1;
        let commit = foreign_commit(1_000 - times, 0, vec![Change::Tick]);
        Some(commit.encode([]).to_bytes().into())
    }));
}

/// The first of several commits in flight loses its slot again and again; the order of the producer holds all the same,
/// and the commit is not mistaken for one that was folded long ago.
#[tokio::test(start_paused = true)]
async fn a_proposal_that_keeps_losing_keeps_its_place() {
    let (bucket, machine, journal, topic) = with_topic().await;
    steal(&machine, one(1, 0), 20);
    let mut answers = vec![];
    // An idempotent producer that begins with the unlucky commit, and many others behind it.
    for sequence in 0..5 {
        answers.push(
            Appends::default().add(topic, 0, true, &[one(1, sequence)]).hand_over(&journal).await.unwrap(),
        );
    }
    for other in 0..4 * COMMIT_WINDOW as i64 {
        answers.push(
            Appends::default().add(topic, 0, true, &[one(100 + other, 0)]).hand_over(&journal).await.unwrap(),
        );
    }
    for answer in answers {
        let placed = placed(answer.await.unwrap()).remove(0);
        assert!(placed.is_ok(), "{placed:?}");
    }
    let log = read_log(&bucket, &journal.view(Manifest::clone), topic, 0).await;
    let order: Vec<_> = log.values().filter(|token| token.writer == 1).map(|token| token.sequence).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

fn placed(outcomes: Vec<Outcome>) -> Vec<Result<Placed, Void>> {
    outcomes.into_iter().flat_map(super::placed).collect()
}

/// Answers come back to the batch that they belong to, over two rounds, inline and in segments.
#[test]
fn what_is_proposed_again_comes_back_to_its_place() {
    let (refused, at) =
        (Err(Void::OutOfOrderSequence), |base_offset| Ok(Placed { base_offset, log_start: 0 }));
    let (topic, segment) = (Uuid::from_u128(1), Some(Ulid::from_parts(1, 1)));
    let tokens: Vec<_> = (0..5).map(|sequence| one(7, sequence)).collect();
    let appends = Appends::default().add(topic, 0, true, &tokens[..3]).add(topic, 1, true, &tokens[3..]);
    let mut changes = appends.changes;
    let in_segment =
        Append { topic, partition: 2, segment, at: 96, crc: 9, batches: vec![tokens[0].meta(true); 2] };
    changes.extend([Change::Tick, Change::Append(in_segment)]);
    let payload = Rope::new(appends.payload);
    let outcomes = vec![
        Outcome::Appended(vec![at(10), refused, refused]),
        Outcome::Appended(vec![refused, at(40)]),
        Outcome::Applied,
        Outcome::Appended(vec![at(50), refused]),
    ];
    let first = out_of_order(&changes, &payload, outcomes).unwrap();
    let again = first.changes.iter().map(|change| match change {
        Change::Append(append) => (append.partition, append.segment, append.at, append.batches.len()),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        again.collect::<Vec<_>>(),
        [(0, None, 0, 1), (0, None, 16, 1), (1, None, 32, 1), (2, segment, 112, 1)]
    );
    assert_eq!(
        first.payload.to_bytes(),
        Rope::new(tokens[1..4].iter().map(|token| token.bytes())).to_bytes()
    );
    for (change, token) in first.changes.iter().zip(&tokens[1..4]) {
        assert!(matches!(change, Change::Append(append) if append.crc == crc32c::crc32c(&token.bytes())));
    }
    let one_of = |placed| Outcome::Appended(vec![placed]);
    let outcomes = vec![one_of(at(11)), one_of(refused), one_of(refused), Outcome::Void(Void::Stale)];
    let second = out_of_order(&first.changes, &first.payload, outcomes).unwrap();
    assert_eq!(
        second.payload.to_bytes(),
        Rope::new(tokens[2..4].iter().map(|token| token.bytes())).to_bytes()
    );
    let last = vec![one_of(at(12)), one_of(Err(Void::UnknownTopic))];
    let last = out_of_order(&second.changes, &second.payload, last).unwrap_err();
    let expected = vec![
        Outcome::Appended(vec![at(10), at(11), at(12)]),
        Outcome::Appended(vec![Err(Void::UnknownTopic), at(40)]),
        Outcome::Applied,
        Outcome::Appended(vec![at(50), Err(Void::Stale)]),
    ];
    assert_eq!(first.partial.complete(second.partial.complete(last)), expected);
}

/// A new node reads the newest checkpoint and what came after it, no more.
#[tokio::test(start_paused = true)]
async fn starting_reads_one_checkpoint_and_the_rest() {
    let (bucket, _, journal, topic) = with_topic().await;
    let commits = 2 * CHECKPOINT_EVERY_COMMITS + 60;
    for sequence in 0..commits as i32 {
        append_one(&journal, topic, one(1, sequence)).await.unwrap();
    }
    let fresh = Machine::new(&bucket, 2);
    let opened = open(&fresh).await.unwrap();
    assert_eq!(opened.view(checkpoint::encode), journal.view(checkpoint::encode));
    assert_eq!(checkpoint::encode(&cold_fold(&bucket).await), journal.view(checkpoint::encode));
    let asked = fresh.faults.take_log();
    let count = |what: &str| asked.iter().filter(|asked| asked.starts_with(what)).count() as u64;
    assert_eq!((count("get checkpoint/0"), count("list checkpoint")), (1, 0));
    let behind = commits + 1 - 2 * CHECKPOINT_EVERY_COMMITS;
    assert!((behind..behind + 33).contains(&count("get journal/")), "{}", count("get journal/"));
}

/// A commit that others could not read would stop them all; the one who asks for it is told instead.
#[tokio::test(start_paused = true)]
async fn a_poisonous_proposal_is_refused() {
    let (bucket, _, journal, topic) = with_topic().await;
    let mut too_short = Appends::default().add(topic, 0, true, &[one(1, 0)]);
    too_short.payload.clear();
    let batch = |producer| BatchMeta { producer: Some(producer), ..one(1, 0).meta(true) };
    let with = |producer| {
        let mut appends = Appends::default().add(topic, 0, true, &[one(1, 0)]);
        if let Some(Change::Append(append)) = appends.changes.first_mut() {
            append.batches = vec![batch(producer)];
        }
        appends
    };
    let many = Appends { changes: vec![Change::Tick; 20_001], payload: vec![] };
    let negative = [
        Producer { id: -1, epoch: 0, sequence: 0 },
        Producer { id: 1, epoch: -1, sequence: 0 },
        Producer { id: 1, epoch: 0, sequence: -1 },
    ];
    for appends in negative.map(with).into_iter().chain([too_short, many]) {
        assert_eq!(appends.propose(&journal).await.unwrap_err().kind(), Kind::Invalid);
    }
    append_one(&journal, topic, one(1, 0)).await.unwrap();
    assert_eq!(
        cold_fold(&bucket).await,
        open(&Machine::new(&bucket, 2)).await.unwrap().view(Manifest::clone)
    );
}

/// A node with a waiting reader hears of others' commits by itself; one without asks for nothing.
#[tokio::test(start_paused = true)]
async fn only_a_node_with_waiting_readers_polls() {
    let (bucket, _, journal, topic) = with_topic().await;
    let idle = Machine::new(&bucket, 2);
    let other = open(&idle).await.unwrap();
    idle.faults.take_log();
    let following = other.follow();
    let mut applied = other.subscribe();
    for sequence in 0..3 {
        append_one(&journal, topic, one(1, sequence)).await.unwrap();
        let seen = applied.wait_for(|applied| *applied == 2 + sequence as u64);
        tokio::time::timeout(Duration::from_secs(6), seen).await.unwrap().unwrap();
    }
    sleep_s(600).await;
    let asked = idle.faults.take_log().len();
    assert!((100..200).contains(&asked), "backs off to one request in five seconds: {asked}");
    drop(following);
    sleep_s(10).await;
    idle.faults.take_log();
    sleep_s(7_200).await;
    assert!(idle.faults.take_log().is_empty(), "an idle node asks the store for nothing");
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_in_flight() {
    let (_, _, journal, topic) = with_topic().await;
    let answer = Appends::default().add(topic, 0, true, &[one(1, 0)]).hand_over(&journal).await.unwrap();
    journal.close().await;
    assert!(super::placed(answer.await.unwrap().remove(0))[0].is_ok());
    assert!(matches!(journal.catch_up().await, Err(Error::Closed)));
    assert!(matches!(journal.health(), Err(Error::Closed)));
    assert!(matches!(journal.propose(vec![Change::Tick]).await, Err(Error::Closed)));
}

/// Blocks of producer ids never overlap, whoever takes them.
#[tokio::test(start_paused = true)]
async fn producer_ids_are_handed_out_once() {
    let (bucket, _, journal, _) = with_topic().await;
    let other = open(&Machine::new(&bucket, 2)).await.unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..1_500 {
        assert!(ids.insert(journal.allocate_producer_id().await.unwrap()));
        assert!(ids.insert(other.allocate_producer_id().await.unwrap()));
    }
}

/// One clock that ran a day ahead stops no time-out: what is folded from journal time comes to its end in twice the time, and
/// the clocks can catch up.
#[tokio::test(start_paused = true)]
async fn journal_time_goes_on_behind_a_clock_that_was_ahead() {
    const DAY_MS: i64 = 86_400_000;
    let bucket = Bucket::new();
    let machines = [1, 2].map(|seed| Machine::new(&bucket, seed));
    machines[0].clock.move_wall(DAY_MS);
    let (ahead, right) = (open(&machines[0]).await.unwrap(), open(&machines[1]).await.unwrap());
    let tick = async |journal: &Journal| {
        journal.propose(vec![Change::Tick]).await.unwrap();
        journal.view(|manifest| manifest.now_ms)
    };
    tick(&right).await;
    let before = tick(&ahead).await;
    ahead.close().await;
    right.catch_up().await.unwrap();
    for minutes in 1..=3 {
        sleep_s(60).await;
        let now = tick(&right).await;
        assert!((now - before - minutes * 30_000).abs() < 1_000, "{minutes}: {}", now - before);
    }
    // Also if something is folded all the time while the next commits are on their way.
    let (before, begun) = (tick(&right).await, tokio::time::Instant::now());
    let mut ticks = tokio::task::JoinSet::new();
    for _ in 0..5_000 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let right = right.clone();
        ticks.spawn(async move { right.propose(vec![Change::Tick]).await.map(drop) });
    }
    assert!(ticks.join_all().await.iter().all(Result::is_ok));
    let (now, passed) = (tick(&right).await, begun.elapsed().as_millis() as i64);
    assert!((now - before - passed / 2).abs() < 200, "{} of {passed}", now - before);
    sleep_s(3 * 86_400).await;
    let now = tick(&right).await;
    assert!((now - machines[1].store.env().wall_ms()).abs() < 1_000, "they have caught up");
}
