//! The one task that owns the order: which proposal goes into which slot, what is folded when, who hears of it.
//!
//! Must not know records. Slots are folded without gaps, in order; an answer goes out only after the fold of its own
//! commit. Results of slots count only inside the lease. Proposals keep their place: whatever was handed in first is put
//! first, also after a lost slot.

mod fold;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use ulid::Ulid;

use super::Shared;
use super::lease::{Lease, Verified};
use super::retry::Partial;
use super::slots::{self, Filled, Found, Run};
use crate::env::{Era, Moment};
use crate::error::{Error, Result};
use crate::limits::{CATCH_UP_SLOTS, COMMIT_WINDOW, FOLLOW_POLL, PIPELINE_SLOTS, SLOT_RETRY};
use crate::manifest::commit::{Change, Commit, CommitId, Outcome};
use crate::metrics;
use crate::mutation::{self, Mutation};
use crate::rope::Rope;
pub(super) use fold::put_checkpoint;

type Reply<T> = oneshot::Sender<Result<T>>;

/// Changes that a handle wants to have sequenced.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) era: Era,
    pub(super) changes: Vec<Change>,
    pub(super) payload: Rope,
    pub(super) reply: Reply<Vec<Outcome>>,
}

/// What the handles ask of the task beside that; heard also while proposals have to wait.
#[derive(Debug)]
pub(super) enum Command {
    /// Read to the end, unless somebody looked less than this ago.
    CatchUp(Duration, Reply<u64>),
    /// Take nothing more, finish what is there.
    Close(Reply<u64>),
}

/// Changes on their way to a slot.
#[derive(Debug)]
struct Proposal {
    /// Its place among this node's proposals; kept when it has to be put again.
    order: u64,
    era: Era,
    changes: Vec<Change>,
    payload: Rope,
    /// The commit, once it was put for the first time: its bytes never change.
    commit: Option<(Commit, Rope)>,
    partials: Vec<Partial>,
    reply: Reply<Vec<Outcome>>,
    begun: Instant,
}

/// A slot above the folded ones.
#[derive(Debug)]
enum Slot {
    /// Being put by us.
    Open(Proposal),
    /// Ours since an attempt that began then.
    Won(Proposal, Moment),
    /// Somebody else's.
    Theirs(Found),
}

/// What came back from the store about slots; used only inside the lease.
#[derive(Debug)]
enum Answer {
    Put(u64, Moment, Filled),
    Read(Run),
}

pub(super) struct Sequencer {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    commands: mpsc::Receiver<Command>,
    incarnation: Ulid,
    next_counter: u64,
    next_order: u64,
    /// Not yet put, or to be put again, by their place.
    waiting: BTreeMap<u64, Proposal>,
    /// Slots above the folded ones of which something is known.
    slots: BTreeMap<u64, Slot>,
    puts: FuturesUnordered<BoxFuture<'static, Answer>>,
    read: Option<BoxFuture<'static, Result<Run>>>,
    read_width: usize,
    /// Waiting for a read that begins after they came.
    to_catch_up: Vec<Reply<u64>>,
    /// Waiting for the read under way.
    catching_up: Vec<Reply<u64>>,
    /// The end was seen; waiting until everything up to this slot is folded.
    caught_up: Vec<(u64, Reply<u64>)>,
    lease: Lease,
    /// Answers that came after the lease was over, and the look at the floor that decides on them.
    unverified: Vec<Answer>,
    verifying: Option<BoxFuture<'static, Result<Verified>>>,
    lost_in_a_row: u32,
    not_before: Instant,
    /// When the end of the journal was last seen, or looked for in vain: the pace of looking counts from here.
    polled_at: Instant,
    poll_pause: Duration,
    checkpointed: u64,
    closing: Option<Reply<u64>>,
}

impl Sequencer {
    pub(super) fn new(
        shared: Arc<Shared>,
        lease: Lease,
        requests: mpsc::Receiver<Request>,
        commands: mpsc::Receiver<Command>,
    ) -> Sequencer {
        let env = shared.store.env();
        let now = Instant::now();
        Sequencer {
            incarnation: env.ulid(env.wall_ms()),
            next_counter: 1,
            next_order: 0,
            waiting: BTreeMap::new(),
            slots: BTreeMap::new(),
            puts: FuturesUnordered::new(),
            read: None,
            read_width: 1,
            to_catch_up: Vec::new(),
            catching_up: Vec::new(),
            caught_up: Vec::new(),
            lease,
            unverified: Vec::new(),
            verifying: None,
            lost_in_a_row: 0,
            not_before: now,
            polled_at: now,
            poll_pause: FOLLOW_POLL.0,
            checkpointed: shared.view(|manifest| manifest.applied),
            closing: None,
            requests,
            commands,
            shared,
        }
    }

    /// Runs until it is closed and everything is decided, or until the journal cannot go on.
    pub(super) async fn run(mut self) {
        let mut open = true;
        while open || !self.is_idle() {
            if let Err(error) = self.step(&mut open).await {
                return self.fail(error);
            }
        }
        if let Some(reply) = self.closing.take() {
            // Nobody may be listening any more.
            let _ = reply.send(Ok(self.applied()));
        }
    }

    async fn step(&mut self, open: &mut bool) -> Result<()> {
        self.put_waiting();
        self.start_read();
        let polls = self.read_is_idle() && self.shared.followers.load(Ordering::Relaxed) > 0;
        let takes = *open && self.waiting.len() < PIPELINE_SLOTS * 4;
        let shared = Arc::clone(&self.shared);
        let held_back = !self.waiting.is_empty() && self.not_before > Instant::now();
        tokio::select! {
            biased;
            Some(answer) = self.puts.next() => self.use_answer(answer)?,
            read = finish(&mut self.read) => {
                self.read = None;
                match read {
                    Ok(run) => self.use_answer(Answer::Read(run))?,
                    Err(error) => self.read_failed(&error),
                }
            }
            verified = finish(&mut self.verifying) => {
                self.verifying = None;
                self.use_verified(verified).await?;
            }
            Some(command) = self.commands.recv() => self.take(command),
            request = self.requests.recv(), if takes => match request {
                Some(request) => self.propose(request),
                None => *open = false,
            },
            () = tokio::time::sleep_until(self.not_before), if held_back => {}
            () = tokio::time::sleep_until(self.polled_at + self.poll_pause), if polls => self.poll(),
            () = shared.follow.notified() => self.follow(),
        }
        Ok(())
    }

    fn propose(&mut self, Request { era, changes, payload, reply }: Request) {
        let order = self.next_order;
        self.next_order += 1;
        metrics::WAITING.inc();
        let begun = Instant::now();
        let (commit, partials) = (None, Vec::new());
        let proposal = Proposal { order, era, changes, payload, commit, partials, reply, begun };
        self.waiting.insert(order, proposal);
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::CatchUp(age, reply) if self.polled_at.elapsed() < age => {
                // Nobody may be listening any more.
                let _ = reply.send(Ok(self.applied()));
            }
            Command::CatchUp(_, reply) => self.to_catch_up.push(reply),
            Command::Close(reply) => {
                // What was handed in before is still sequenced.
                self.requests.close();
                self.closing = Some(reply);
            }
        }
    }

    fn applied(&self) -> u64 {
        *self.shared.applied.borrow()
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.unverified.is_empty() && self.open() == 0
    }

    /// Slots that are ours and not folded yet.
    fn open(&self) -> usize {
        self.slots.values().filter(|slot| slot.proposal().is_some()).count()
    }

    /// Puts what waits into the next free slots, as many as may be in flight.
    fn put_waiting(&mut self) {
        if self.not_before > Instant::now() {
            return;
        }
        while self.open() < PIPELINE_SLOTS {
            let Some(mut proposal) = self.next_waiting() else { return };
            if proposal.era != self.shared.standstill.era() {
                proposal.give_up("this node stood still while it was on its way");
                continue;
            }
            let slot =
                self.slots.last_key_value().map_or(self.applied(), |(slot, _)| *slot).max(self.applied()) + 1;
            let object = self.encode(&mut proposal);
            self.slots.insert(slot, Slot::Open(proposal));
            let store = self.shared.store.clone();
            let put = async move {
                let (begun, filled) = slots::fill(&store, slot, &object).await;
                Answer::Put(slot, begun, filled)
            };
            self.puts.push(put.boxed());
        }
    }

    /// What is put next: the first that waits. While the oldest commit in flight is about to fall out of the fold's memory
    /// of commit ids, only those that have an id already: a commit that falls out counts as folded before.
    fn next_waiting(&mut self) -> Option<Proposal> {
        let in_flight = self.slots.values().filter_map(Slot::proposal).chain(self.waiting.values());
        let oldest = in_flight.filter_map(Proposal::counter).min().unwrap_or(self.next_counter);
        let all_may = self.next_counter - oldest < COMMIT_WINDOW;
        let mut may = self.waiting.iter().filter(|(_, proposal)| all_may || proposal.commit.is_some());
        let order = may.next().map(|(order, _)| *order)?;
        self.waiting.remove(&order)
    }

    /// The bytes of a proposal: made when it is first put, the same ever after.
    fn encode(&mut self, proposal: &mut Proposal) -> Rope {
        if let Some((_, object)) = &proposal.commit {
            return object.clone();
        }
        let counter = self.next_counter;
        self.next_counter += 1;
        let id = CommitId { incarnation: self.incarnation, counter };
        // Only what comes before it in order can overtake it or be overtaken by it; for the first of all, the fold's
        // verdict is final.
        let ahead = self.slots.values().filter_map(Slot::proposal).filter(|open| open.order < proposal.order);
        let oldest_open = ahead.filter_map(Proposal::counter).min().unwrap_or(counter);
        let timestamp_ms = self.shared.stamp_ms();
        let commit = Commit { id, oldest_open, timestamp_ms, changes: std::mem::take(&mut proposal.changes) };
        let object = commit.encode(proposal.payload.pieces().iter().cloned());
        proposal.commit = Some((commit, object.clone()));
        object
    }

    fn use_answer(&mut self, answer: Answer) -> Result<()> {
        // The clocks are looked at only now, after the result is there.
        let trusted = match answer {
            Answer::Put(..) => mutation::is(Mutation::NoLeaseForWriter),
            Answer::Read(_) => mutation::is(Mutation::NoLeaseForReader),
        };
        if trusted || self.unverified.is_empty() && self.lease.holds(self.shared.store.env()) {
            return self.use_fresh(answer);
        }
        self.unverified.push(answer);
        self.verify();
        Ok(())
    }

    fn verify(&mut self) {
        if self.verifying.is_none() {
            let verify = self.lease.verify(self.shared.store.clone(), self.applied());
            self.verifying = Some(verify.boxed());
        }
    }

    async fn use_verified(&mut self, verified: Result<Verified>) -> Result<()> {
        match verified {
            Ok(Verified::Renewed(lease)) => self.lease = lease,
            Ok(Verified::Reloaded(loaded)) => self.reload(*loaded)?,
            Err(error @ (Error::Unavailable { .. } | Error::Denied { .. } | Error::Unknown(_))) => {
                tracing::warn!(%error, "cannot read the floor, trying again");
                tokio::time::sleep(SLOT_RETRY.1).await;
                self.verify();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for answer in std::mem::take(&mut self.unverified) {
            self.use_answer(answer)?;
        }
        Ok(())
    }

    fn use_fresh(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Put(slot, begun, filled) => self.use_put(slot, begun, filled),
            Answer::Read(run) => self.use_run(run),
        }
        self.fold_ready()
    }

    fn use_put(&mut self, slot: u64, begun: Moment, filled: Filled) {
        let Some(Slot::Open(mut proposal)) = self.slots.remove(&slot) else { return };
        if slot <= self.applied() {
            // Won or lost below a manifest that was loaded meanwhile: the slot says nothing any more.
            return self.put_again_unless_seen(proposal);
        }
        match filled {
            Filled::Ours => {
                self.lost_in_a_row = 0;
                if mutation::is(Mutation::AckBeforeFold) {
                    self.answer_early(slot, &mut proposal);
                }
                self.slots.insert(slot, Slot::Won(proposal, begun));
            }
            Filled::Theirs(found) => {
                metrics::CONFLICTS.inc();
                self.slots.insert(slot, Slot::Theirs(found));
                if mutation::is(Mutation::LoserLosesItsPlace) {
                    (proposal.order, self.next_order) = (self.next_order, self.next_order + 1);
                }
                if mutation::is(Mutation::ExistsIsLoss)
                    && let Some((commit, _)) = proposal.commit.take()
                {
                    proposal.changes = commit.changes;
                }
                self.waiting.insert(proposal.order, proposal);
                self.back_off();
            }
        }
    }

    /// After a lost slot: look ahead for the true end, and leave the others some room.
    fn back_off(&mut self) {
        self.lost_in_a_row = (self.lost_in_a_row + 1).min(6);
        let longest = SLOT_RETRY.0 * (1 << self.lost_in_a_row) / 4;
        self.not_before = Instant::now() + self.shared.store.env().jitter(longest);
        self.read_ahead();
    }

    /// Starts a read if somebody waits for one.
    fn start_read(&mut self) {
        if self.read_is_idle() && !self.to_catch_up.is_empty() {
            self.catching_up.append(&mut self.to_catch_up);
            self.read_width = 1;
            self.read_ahead();
        }
    }

    fn read_is_idle(&self) -> bool {
        self.read.is_none() && self.catching_up.is_empty() && self.verifying.is_none()
    }

    fn read_ahead(&mut self) {
        if self.read.is_some() {
            return;
        }
        let theirs = |slot: &u64| matches!(self.slots.get(slot), Some(Slot::Theirs(_) | Slot::Won(..)));
        let from = (self.applied() + 1..).find(|slot| !theirs(slot)).unwrap_or(u64::MAX);
        let (store, width) = (self.shared.store.clone(), self.read_width);
        self.read = Some(async move { slots::read(&store, from, width).await }.boxed());
    }

    fn use_run(&mut self, run: Run) {
        let end = run.from + run.found.len() as u64;
        let news = !run.found.is_empty();
        for (slot, found) in (run.from..).zip(run.found) {
            // A slot that we are putting ourselves is decided by its own answer.
            if slot > self.applied() {
                self.slots.entry(slot).or_insert(Slot::Theirs(found));
            }
        }
        if news {
            self.poll_pause = FOLLOW_POLL.0;
        }
        match run.ended {
            Some(begun) => {
                if end == self.applied() + 1 {
                    self.lease.renew(begun);
                }
                self.read_width = 1;
                self.caught_up.extend(self.catching_up.drain(..).map(|reply| (end - 1, reply)));
                self.polled_at = Instant::now();
            }
            None => {
                self.read_width = (self.read_width * 2).min(CATCH_UP_SLOTS);
                let (store, width) = (self.shared.store.clone(), self.read_width);
                self.read = Some(async move { slots::read(&store, end, width).await }.boxed());
            }
        }
    }

    fn read_failed(&mut self, error: &Error) {
        tracing::warn!(%error, "cannot read the journal");
        for reply in self.catching_up.drain(..) {
            // Nobody may be listening any more.
            let _ = reply.send(Err(error.clone()));
        }
        (self.polled_at, self.poll_pause) = (Instant::now(), FOLLOW_POLL.1);
    }

    /// Looks for commits of others; the less there is, the more rarely.
    fn poll(&mut self) {
        self.poll_pause = (self.poll_pause * 2).min(FOLLOW_POLL.1);
        self.read_ahead();
    }

    /// Somebody began to wait. Those who wait again and again keep the pace; after a pause in which nobody did, it is anew.
    fn follow(&mut self) {
        if self.polled_at.elapsed() > self.poll_pause {
            self.poll_pause = FOLLOW_POLL.0;
        }
    }

    /// The journal cannot go on: everybody hears why, and nothing is served from it any more.
    fn fail(mut self, error: Error) {
        tracing::error!(%error, "the journal stopped");
        *self.shared.failed.write().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            self.propose(request);
        }
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.take(command);
        }
        let open = std::mem::take(&mut self.slots).into_values().filter_map(Slot::into_proposal);
        for proposal in open.chain(std::mem::take(&mut self.waiting).into_values()) {
            proposal.give_up(&error.to_string());
        }
        let caught_up = self.caught_up.into_iter().map(|(_, reply)| reply);
        for reply in caught_up.chain(self.catching_up).chain(self.to_catch_up).chain(self.closing) {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

impl Proposal {
    /// Of its commit, if it has one already.
    fn counter(&self) -> Option<u64> {
        self.commit.as_ref().map(|(commit, _)| commit.id.counter)
    }

    /// Nobody knows what becomes of it, or has become.
    fn give_up(self, why: &str) {
        metrics::WAITING.dec();
        // Nobody may be listening any more.
        let _ = self.reply.send(Err(Error::Unknown(why.to_owned().into())));
    }
}

impl Slot {
    fn proposal(&self) -> Option<&Proposal> {
        match self {
            Slot::Open(proposal) | Slot::Won(proposal, _) => Some(proposal),
            Slot::Theirs(_) => None,
        }
    }

    fn into_proposal(self) -> Option<Proposal> {
        match self {
            Slot::Open(proposal) | Slot::Won(proposal, _) => Some(proposal),
            Slot::Theirs(_) => None,
        }
    }
}

/// Waits for a future that may not be there; then for ever.
async fn finish<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
