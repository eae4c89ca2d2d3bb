//! Nodes that slept while the journal was trimmed: the floor, the lease, and loading.

use super::*;
use crate::error::{Error, Kind};
use crate::manifest::journal::slots::{self, Filled};
use crate::testing::{Gate, PutFault};

const HOUR_S: u64 = 3_600;
const HOUR_MS: i64 = 3_600_000;

/// Two nodes; partition 0 holds a batch of writer 1 at offset 0.
struct Pair {
    bucket: Bucket,
    sleeper: Machine,
    asleep: Journal,
    awake: Journal,
    topic: Uuid,
}

async fn pair() -> Pair {
    let bucket = Bucket::new();
    let sleeper = Machine::new(&bucket, 1);
    let asleep = open(&sleeper).await.unwrap();
    let topic = asleep.create_topic("t", 1, BTreeMap::new()).await.unwrap().unwrap();
    append_one(&asleep, topic, one(1, 0)).await.unwrap();
    let awake = open(&Machine::new(&bucket, 2)).await.unwrap();
    Pair { bucket, sleeper, asleep, awake, topic }
}

fn one(writer: i64, sequence: i32) -> Token {
    Token { writer, sequence, offsets: 1 }
}

impl Pair {
    /// Thirty hours go by: ten batches of writer 2, the journal is trimmed, three more batches.
    async fn world_goes_on(&self) {
        for sequence in 0..10 {
            append_one(&self.awake, self.topic, one(2, sequence)).await.unwrap();
        }
        sleep_s(30 * HOUR_S).await;
        // A process that starts: by now the others' commit ids are forgotten.
        let started = open(&Machine::new(&self.bucket, 3)).await.unwrap();
        started.propose(vec![Change::Tick]).await.unwrap();
        trim(&self.bucket, &started, 0).await;
        self.awake.catch_up().await.unwrap();
        for sequence in 10..13 {
            append_one(&self.awake, self.topic, one(2, sequence)).await.unwrap();
        }
    }

    /// Both nodes, and one that starts now, agree. Gives the high watermark.
    async fn agreed_end(&self) -> i64 {
        let fresh = open(&Machine::new(&self.bucket, 4)).await.unwrap();
        self.awake.catch_up().await.unwrap();
        let expected = fresh.view(checkpoint::encode);
        assert_eq!(self.awake.view(checkpoint::encode), expected);
        assert_eq!(self.asleep.view(checkpoint::encode), expected);
        fresh.view(|manifest| manifest.partition(&self.topic, 0).unwrap().high_watermark)
    }
}

/// The hazard that put-if-absent has: the slot was written by others, folded, and deleted; then a sleeper "wins" it.
#[tokio::test(start_paused = true)]
async fn a_slot_won_below_the_floor_is_not_acknowledged() {
    let pair = pair().await;
    pair.world_goes_on().await;
    let appends = Appends::default().add(pair.topic, 0, true, &[one(1, 1)]);
    let placed = appends.add(pair.topic, 0, false, &[one(-1, 0)]).propose(&pair.asleep).await.unwrap();
    assert!(body(&pair.bucket, &paths::slot(3)).await.is_some(), "the dead slot was indeed won");
    let offsets: Vec<_> = placed.into_iter().flatten().map(|placed| placed.unwrap().base_offset).collect();
    assert_eq!(offsets, [14, 15], "the offsets of the one true order, not of a fork");
    assert_eq!(pair.agreed_end().await, 16);
}

/// The same with a proposal from before the sleep: after a day nobody remembers whether it was folded, so it is not
/// proposed again.
#[tokio::test(start_paused = true)]
async fn a_proposal_that_slept_for_a_day_is_unknown() {
    let pair = pair().await;
    pair.sleeper.faults.set_gate(Gate::Held);
    let appends = Appends::default().add(pair.topic, 0, false, &[one(-1, 0)]);
    let answer = appends.hand_over(&pair.asleep).await.unwrap();
    pair.world_goes_on().await;
    pair.sleeper.faults.set_gate(Gate::Open);
    assert_eq!(answer.await.unwrap_err().kind(), Kind::Unknown);
    assert!(body(&pair.bucket, &paths::slot(3)).await.is_some(), "the dead slot was indeed won");
    pair.asleep.catch_up().await.unwrap();
    assert_eq!(pair.agreed_end().await, 14);
}

/// A 404 on a deleted slot is not the end of the journal.
#[tokio::test(start_paused = true)]
async fn a_reader_that_slept_catches_up_to_the_true_end() {
    let pair = pair().await;
    pair.world_goes_on().await;
    assert_eq!(pair.asleep.catch_up().await.unwrap(), 16);
    assert_eq!(pair.agreed_end().await, 14);
}

/// After a day nobody knows whether a commit was folded: proposing it again might double it.
#[tokio::test(start_paused = true)]
async fn a_commit_that_may_have_been_folded_and_forgotten_is_unknown() {
    let pair = pair().await;
    // Applied, but the answer and all later ones are lost until the node wakes up.
    pair.sleeper.faults.set_script([PutFault::AnswerLost, PutFault::Hang]);
    let plain = Appends::default().add(pair.topic, 0, false, &[one(-1, 0)]);
    let answer = plain.hand_over(&pair.asleep).await.unwrap();
    sleep_s(1).await;
    pair.sleeper.faults.set_gate(Gate::Held);
    sleep_s(1).await;
    pair.world_goes_on().await;
    pair.sleeper.faults.set_gate(Gate::Open);
    assert_eq!(answer.await.unwrap_err().kind(), Kind::Unknown);
    pair.asleep.catch_up().await.unwrap();
    assert_eq!(pair.agreed_end().await, 15, "it is there once");
}

/// Meeting one's own write proves only that the slot was empty when the first attempt began.
#[tokio::test(start_paused = true)]
async fn finding_ones_own_commit_does_not_renew_the_lease() {
    let machine = Machine::new(&Bucket::new(), 1);
    machine.faults.set_script([PutFault::AnswerLost, PutFault::Hang]);
    let commit = foreign_commit(1, 0, vec![Change::Tick]);
    let (store, object) = (machine.store.clone(), commit.encode([]));
    let filling = tokio::spawn(async move { slots::fill(&store, 1, &object).await });
    sleep_s(1).await;
    machine.faults.set_gate(Gate::Held);
    sleep_s(HOUR_S).await;
    machine.faults.set_gate(Gate::Open);
    let (begun, filled) = filling.await.unwrap();
    assert!(matches!(filled, Filled::Ours));
    assert!(!machine.store.env().within(begun, Duration::from_secs(HOUR_S)));
}

/// Which events end the lease: only then is the floor read, and it is read before the result is used.
#[tokio::test(start_paused = true)]
async fn the_lease_ends_with_time_and_with_clocks_that_jump() {
    let Pair { sleeper, asleep, .. } = pair().await;
    let floor_reads = async || {
        sleeper.faults.take_log();
        asleep.catch_up().await.unwrap();
        sleeper.faults.take_log().iter().filter(|asked| asked.starts_with("get floor/")).count()
    };
    assert_eq!(floor_reads().await, 0);
    for _ in 0..10 {
        sleep_s(HOUR_S - 60).await;
        assert_eq!(floor_reads().await, 0, "each look at the end renews the lease");
    }
    for _ in 0..10 {
        sleep_s(HOUR_S - 60).await;
        sleeper.faults.take_log();
        asleep.propose(vec![Change::Tick]).await.unwrap();
        let asked = sleeper.faults.take_log();
        assert!(asked.iter().all(|asked| asked.starts_with("put journal/")), "so does a slot won: {asked:?}");
    }
    sleep_s(HOUR_S + 60).await;
    assert_eq!(floor_reads().await, 1, "time");
    type Jump = fn(&crate::testing::TestClock);
    let jumps: [(&str, Jump); 4] = [
        ("wall clock back", |clock| clock.move_wall(-30_000)),
        ("wall clock ahead", |clock| clock.move_wall(2 * HOUR_MS)),
        ("suspended: only the boot clock went on", |clock| clock.move_boot(2 * HOUR_MS)),
        ("restored from a snapshot: the boot clock went back", |clock| clock.move_boot(-30_000)),
    ];
    for (what, jump) in jumps {
        assert_eq!(floor_reads().await, 0, "before: {what}");
        jump(&sleeper.clock);
        assert_eq!(floor_reads().await, 1, "{what}");
    }
}

/// A floor that cannot be read holds everything back, and nothing is lost by it.
#[tokio::test(start_paused = true)]
async fn no_result_is_used_before_the_floor_is_read() {
    let Pair { sleeper, asleep, topic, .. } = pair().await;
    sleep_s(2 * HOUR_S).await;
    sleeper.faults.set_rates(crate::testing::Rates { get_refused: 1_000, ..Default::default() });
    let answer = Appends::default().add(topic, 0, true, &[one(1, 1)]).hand_over(&asleep).await.unwrap();
    tokio::pin!(answer);
    let waited = tokio::time::timeout(Duration::from_secs(600), &mut answer).await;
    assert!(waited.is_err(), "the slot is won, but not acknowledged");
    sleeper.faults.set_rates(Default::default());
    let outcomes = answer.await.unwrap();
    assert_eq!(placed(outcomes[0].clone())[0].unwrap().base_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn starting_does_not_trust_the_hint() {
    let pair = pair().await;
    let old = pair.awake.view(Manifest::clone);
    write(&pair.bucket, &paths::checkpoint(old.applied), checkpoint::encode(&old)).await;
    pair.world_goes_on().await;
    let expected = pair.awake.view(checkpoint::encode);
    write(&pair.bucket, &paths::checkpoint(1), "not a checkpoint").await;
    let hints =
        [old.applied.to_string(), "1".into(), "4711".into(), "latest".into(), "9".repeat(40), String::new()];
    for hint in hints {
        write(&pair.bucket, paths::LATEST, hint.clone()).await;
        let fresh = open(&Machine::new(&pair.bucket, 5)).await.unwrap();
        assert_eq!(fresh.view(checkpoint::encode), expected, "with the hint {hint:?}");
    }
    pair.bucket.delete(&Path::from(paths::LATEST)).await.unwrap();
    assert_eq!(open(&Machine::new(&pair.bucket, 6)).await.unwrap().view(checkpoint::encode), expected);
}

/// Without a usable checkpoint above the floor there is nothing to start from; and it is said which.
#[tokio::test(start_paused = true)]
async fn a_bucket_without_its_checkpoint_is_damaged() {
    let pair = pair().await;
    pair.world_goes_on().await;
    for (key, _) in crate::testing::contents(&pair.bucket, "checkpoint").await {
        pair.bucket.delete(&Path::from(key)).await.unwrap();
    }
    let error = open(&Machine::new(&pair.bucket, 5)).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt { key, .. } if key == paths::CHECKPOINTS), "{error}");
}

/// The floor moves past everything that was listed, while it is looked through.
#[tokio::test(start_paused = true)]
async fn a_floor_that_moves_while_a_node_starts_is_met() {
    let pair = pair().await;
    let old = pair.awake.view(Manifest::clone);
    write(&pair.bucket, &paths::checkpoint(old.applied), checkpoint::encode(&old)).await;
    let starting = Machine::new(&pair.bucket, 5);
    // The listing is instant, the reads that follow wait here.
    let starts = tokio::spawn({
        let starting = starting.clone();
        async move { open(&starting).await.map(|journal| journal.view(checkpoint::encode)) }
    });
    while !starting.faults.take_log().iter().any(|asked| asked.starts_with("list checkpoint")) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    starting.faults.set_gate(Gate::Held);
    append_one(&pair.awake, pair.topic, one(2, 0)).await.unwrap();
    trim(&pair.bucket, &pair.awake, 0).await;
    starting.faults.set_gate(Gate::Open);
    assert_eq!(starts.await.unwrap().unwrap(), pair.awake.view(checkpoint::encode));
}
