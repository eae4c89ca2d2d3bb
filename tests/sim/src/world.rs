//! What everything in a run shares: the machines, the bucket, the history, the time of day.
//!
//! Must not know what anybody does with it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use strandline_core::manifest::{Change, Commit, Expire};
use strandline_core::paths;
use strandline_core::rope::Rope;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::bucket::Bucket;
use crate::client::{Client, Gone};
use crate::compactor::Duty;
use crate::history::{Committed, Deleted, Ended, Fetched, History, Record, Seen, Sent};
use crate::machine::Machine;
use crate::plan::{Keyed, Plan};
use crate::trace::Trace;
use strandline_kafka::messages::{Request, Response};

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which, as in the list of invariants: `J4`, `K3`.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

/// The time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Clients are at work.
    Active,
    /// Clients rest.
    Rest,
    /// No more faults; clients finish what they have begun, and end.
    Ending,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) bucket: Bucket,
    pub(crate) machines: Vec<Arc<Machine>>,
    pub(crate) trace: Trace,
    pub(crate) phase: watch::Sender<Phase>,
    /// Producers that are not done.
    producing: AtomicUsize,
    /// Those of them that write what is copied.
    feeding: AtomicUsize,
    history: Mutex<History>,
    violations: Mutex<Vec<Violation>>,
    /// Of what topics keep.
    retention_dice: Mutex<Rng>,
    /// The last slot in which expiries were looked for.
    looked: AtomicU64,
}

impl World {
    pub(crate) fn new(
        plan: Plan,
        bucket: Bucket,
        machines: Vec<Arc<Machine>>,
        trace: Trace,
        retention_dice: Rng,
    ) -> World {
        let phase = watch::Sender::new(Phase::Active);
        let (producing, feeding, history, violations, looked) = Default::default();
        let retention_dice = Mutex::new(retention_dice);
        World {
            plan,
            bucket,
            machines,
            trace,
            phase,
            producing,
            feeding,
            history,
            violations,
            retention_dice,
            looked,
        }
    }

    /// How much compactors do from now on.
    pub(crate) fn compact(&self, duty: Duty) {
        self.machines.iter().for_each(|machine| machine.compacts(duty));
    }

    /// Dice for what a topic keeps.
    pub(crate) fn retention_dice(&self) -> MutexGuard<'_, Rng> {
        self.retention_dice.lock().unwrap()
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    pub(crate) fn violated(&self, invariant: &'static str, what: String) {
        self.trace.note("VIOLATION", format_args!("{invariant}: {what}"));
        self.violations.lock().unwrap().push(Violation { invariant, what });
    }

    pub(crate) fn is_broken(&self) -> bool {
        !self.violations.lock().unwrap().is_empty()
    }

    pub(crate) fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.violations.lock().unwrap())
    }

    /// Waits while clients rest. Says whether the run is ending.
    pub(crate) async fn at_work(&self) -> bool {
        let mut phase = self.phase.subscribe();
        match phase.wait_for(|phase| *phase != Phase::Rest).await {
            Ok(phase) => *phase == Phase::Ending,
            Err(_) => true,
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        *self.phase.borrow() == Phase::Ending
    }

    /// A connection to any node that listens.
    pub(crate) async fn connect(&self, dice: &mut Rng) -> Client {
        loop {
            let machine = &self.machines[dice.usize(0..self.machines.len())];
            if let Some(stream) = machine.connect() {
                return Client::new(&machine.name, stream);
            }
            sleep(Duration::from_millis(dice.u64(20..300))).await;
            self.at_work().await;
        }
    }

    /// One request to any node, which may come to nothing.
    pub(crate) async fn ask(&self, dice: &mut Rng, version: i16, request: Request) -> Result<Response, Gone> {
        let mut client = self.connect(dice).await;
        let patience = Duration::from_millis(dice.u64(2_000..40_000));
        let answer = timeout(patience, client.call(version, request)).await.unwrap_or(Err(Gone));
        if answer.is_err() {
            // A node that has just woken hangs up at once.
            sleep(Duration::from_millis(dice.u64(20..300))).await;
        }
        answer
    }

    /// Notes a batch that is about to be sent.
    pub(crate) fn begin(&self, sent: Sent) -> usize {
        let mut history = self.history();
        history.sent.push(sent);
        history.sent.len() - 1
    }

    pub(crate) fn attempt(&self, sent: usize, connection: u64) {
        let entry = &mut self.history().sent[sent];
        entry.attempts += 1;
        entry.connection = connection;
    }

    /// Notes how it ended, if nothing better is known.
    pub(crate) fn end(&self, sent: usize, ended: Ended) {
        let now_ms = self.trace.now_ms();
        self.trace.note("client", format_args!("batch {sent} {ended:?}"));
        let mut history = self.history();
        let entry = &mut history.sent[sent];
        if entry.ended.is_none_or(|(_, before)| before == Ended::Unknown) {
            entry.ended = Some((now_ms, ended));
        }
    }

    /// How a topic is written to, if it is compacted by key.
    pub(crate) fn keyed(&self, topic: Uuid) -> Option<Keyed> {
        let history = self.history();
        history.topic(topic).and_then(|topic| self.plan.keyed(&topic.name))
    }

    /// Whether somebody has begun to delete the topic.
    pub(crate) fn may_be_deleted(&self, topic: Uuid) -> bool {
        self.history().topic(topic).is_some_and(|topic| topic.delete_begun)
    }

    /// A producer at work: nobody has read everything before it is done.
    pub(crate) fn producing<F: Future<Output = ()>>(
        self: &Arc<Self>,
        work: F,
    ) -> impl Future<Output = ()> + use<F> {
        self.producing.fetch_add(1, Ordering::Relaxed);
        let world = Arc::clone(self);
        async move {
            work.await;
            world.producing.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A producer of what is copied.
    pub(crate) fn feeding<F: Future<Output = ()>>(
        self: &Arc<Self>,
        work: F,
    ) -> impl Future<Output = ()> + use<F> {
        self.feeding.fetch_add(1, Ordering::Relaxed);
        let world = Arc::clone(self);
        self.producing(async move {
            work.await;
            world.feeding.fetch_sub(1, Ordering::Relaxed);
        })
    }

    pub(crate) fn all_is_fed(&self) -> bool {
        self.feeding.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn all_is_produced(&self) -> bool {
        self.producing.load(Ordering::Relaxed) == 0
    }

    /// Notes an offset that is about to be committed.
    pub(crate) fn committing(&self, commit: Committed) -> usize {
        let mut history = self.history();
        history.committed.push(commit);
        history.committed.len() - 1
    }

    pub(crate) fn commit_ended(&self, commit: usize, code: i16) {
        let now_ms = self.trace.now_ms();
        self.trace.note("client", format_args!("commit {commit} ended with {code}"));
        self.history().committed[commit].ended = Some((now_ms, code));
    }

    pub(crate) fn fetched(&self, fetched: Fetched) {
        self.trace.note("client", format_args!("{fetched:?}"));
        self.history().fetched.push(fetched);
    }

    /// A member of a group got these records.
    pub(crate) fn received(&self, group: &str, topic: Uuid, partition: u32, records: &[(i64, Record)]) {
        let mut history = self.history();
        let of = history.received.entry((group.to_owned(), topic, partition)).or_default();
        of.extend(records.iter().map(|(offset, _)| *offset));
        let seen = records.iter().map(|(offset, record)| {
            let (offset, record) = (*offset, *record);
            Seen { consumer: usize::MAX, topic, partition, offset, record }
        });
        history.seen.extend(seen);
    }

    /// The group has read and committed everything that there will be.
    pub(crate) fn is_read(&self, group: &str) -> bool {
        self.history().read.contains_key(group)
    }

    /// The first offset of a partition: at least what was acknowledged by now, at most what was asked for.
    pub(crate) fn log_start(&self, topic: Uuid, partition: u32) -> (i64, i64) {
        self.look_for_expiries();
        let now_ms = self.trace.now_ms();
        self.history().log_start(topic, partition, now_ms, now_ms)
    }
    /// What a compactor says that it has expired may be gone, whether or not the fold agrees: that is for the checkers.
    pub(crate) fn look_for_expiries(&self) {
        loop {
            let slot = self.looked.load(Ordering::Relaxed) + 1;
            let (Some(object), Some(begun_ms)) = (self.bucket.slot(slot), self.bucket.filled_ms(slot)) else {
                return;
            };
            self.looked.store(slot, Ordering::Relaxed);
            let Ok((commit, _)) = Commit::decode(&paths::slot(slot), &Rope::from(object)) else { continue };
            let expiries = commit.changes.iter().filter_map(|change| match change {
                Change::Expire(Expire { topic, partition, before, .. }) => {
                    let (topic, partition, before) = (*topic, *partition, *before);
                    Some(Deleted { topic, partition, before, begun_ms, ended_ms: None })
                }
                _ => None,
            });
            self.history().deleted.extend(expiries);
        }
    }
}
