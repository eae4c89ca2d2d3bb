//! The journal: proposing changes, reading to the end, following. The one door to the manifest for the rest of a process.
//!
//! Must not know what the changes are for. One task owns the order of slots (`sequencer`); a [`Journal`] is a cheap
//! handle on it. An answer to a proposal is sent only after this node has folded it, and says what the fold decided.

mod sequencer;
mod retry;
mod cluster;
mod lease;
mod slots;
mod time;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use uuid::Uuid;

use super::checkpoint;
use super::commit::{Append, Change, Outcome, Producer, Void};
use super::state::Manifest;
use super::tail::Tail;
use crate::env::standstill::Standstill;
use crate::env::{self, Env, Era};
use crate::error::{Error, Result};
use crate::limits::{
    CACHE_BYTES_DEFAULT, CHECKPOINT_EVERY_COMMITS, FOLLOW_POLL, MAX_BATCHES_PER_COMMIT,
    MAX_CHANGES_PER_COMMIT, MAX_WAITING_PROPOSALS, PRODUCER_ID_BLOCK, STANDSTILL_LOOK, TAIL_PART,
};
use crate::metrics;
use crate::rope::Rope;
use crate::store::Store;
pub(crate) use cluster::read as read_cluster;
pub use lease::load_checkpoint;
pub(crate) use lease::{load_manifest, unknown_level};
use sequencer::{Command, Request, Sequencer};
use time::Pace;

/// What a process decides about its journal.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of the newest objects kept for readers of this process.
    pub tail_bytes: usize,
    /// Commits between two checkpoints while the manifest is small; a larger one is written less often.
    pub checkpoint_every: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options::of_cache(CACHE_BYTES_DEFAULT)
    }
}

impl Options {
    /// The tail's part of a node's cache.
    pub fn of_cache(all_bytes: usize) -> Options {
        Options { tail_bytes: all_bytes / TAIL_PART, checkpoint_every: CHECKPOINT_EVERY_COMMITS }
    }
}

/// A handle on the journal of this process. Cheap to clone; the journal closes when the last one is gone.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    cluster_id: String,
    // Held for synchronous work only, never across an await.
    manifest: RwLock<Manifest>,
    applied: watch::Sender<u64>,
    tail: Tail,
    checkpoint_every: u64,
    followers: AtomicUsize,
    follow: Notify,
    failed: RwLock<Option<Error>>,
    standstill: Standstill,
    pace: Pace,
    /// The producer ids that this node may still hand out, in this era: a machine that was restored has handed out some
    /// of them before.
    producer_ids: Mutex<(Era, std::ops::Range<i64>)>,
}

/// While one of these lives, somebody waits for records: the journal looks for other nodes' commits by itself.
#[derive(Debug)]
pub struct Following(Arc<Shared>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Journal {
    /// Opens the cluster under the store's prefix: probes the store on the first open, reads a checkpoint and the journal's
    /// end. Must be called inside a tokio runtime.
    pub async fn open(store: Store, options: Options) -> Result<Journal> {
        metrics::appear();
        let cluster_id = cluster::open(&store).await?;
        let loaded = lease::load(&store).await?;
        let standstill = Standstill::new(store.env().clone());
        let shared = Arc::new(Shared {
            producer_ids: Mutex::new((standstill.era(), 0..0)),
            standstill,
            store,
            cluster_id,
            applied: watch::Sender::new(loaded.manifest.applied),
            pace: Pace::new(loaded.manifest.now_ms),
            manifest: RwLock::new(loaded.manifest),
            tail: Tail::new(options.tail_bytes),
            checkpoint_every: options.checkpoint_every,
            followers: AtomicUsize::new(0),
            follow: Notify::new(),
            failed: RwLock::new(None),
        });
        let (requests, to_sequence) = mpsc::channel(MAX_WAITING_PROPOSALS);
        let (commands, to_obey) = mpsc::channel(MAX_WAITING_PROPOSALS);
        env::spawn(Sequencer::new(Arc::clone(&shared), loaded.lease, to_sequence, to_obey).run());
        env::spawn(look_at_the_clocks(Arc::downgrade(&shared)));
        let journal = Journal { shared, requests, commands };
        journal.catch_up().await?;
        Ok(journal)
    }

    /// A short, synchronous look at the folded manifest.
    pub fn view<R>(&self, look: impl FnOnce(&Manifest) -> R) -> R {
        self.shared.view(look)
    }

    /// The journal's time if something was committed now, milliseconds since 1970.
    pub fn stamp_ms(&self) -> i64 {
        self.shared.stamp_ms()
    }

    /// Changes whenever slots were folded; the value is the highest.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// The bytes of what was written or followed last.
    pub fn tail(&self) -> &Tail {
        &self.shared.tail
    }

    /// The store under the journal.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The clock and the dice.
    pub fn env(&self) -> &Env {
        self.shared.store.env()
    }

    /// The time since this process last stood still for long, or since it began. What was received in one era must not be
    /// proposed in the next: the log may have forgotten meanwhile that it got it from elsewhere.
    pub fn era(&self) -> Era {
        self.shared.standstill.era()
    }

    /// The same; `None` for a moment after a standstill, while what comes in may have waited in the kernel since before.
    pub fn settled_era(&self) -> Option<Era> {
        self.shared.standstill.settled_era()
    }

    /// The cluster's id, drawn when its prefix was first opened.
    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// Whether the journal still works; if not, why it stopped.
    pub fn health(&self) -> Result<()> {
        match &*self.shared.failed.read().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None if self.commands.is_closed() => Err(Error::Closed),
            None => Ok(()),
        }
    }

    /// Waits until the journal is closed or cannot go on; [`Journal::health`] says which.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }

    /// Reads the journal to its end: afterwards, everything acknowledged anywhere before this call is folded here.
    pub async fn catch_up(&self) -> Result<u64> {
        self.ask(|reply| Command::CatchUp(Duration::ZERO, reply)).await
    }

    /// The same for those who may be a moment behind: does nothing if the end was seen less than a poll's pause ago.
    pub async fn refresh(&self) -> Result<u64> {
        self.ask(|reply| Command::CatchUp(FOLLOW_POLL.0, reply)).await
    }

    /// Waits for commits of others as long as the answer lives.
    pub fn follow(&self) -> Following {
        self.shared.followers.fetch_add(1, Ordering::Relaxed);
        self.shared.follow.notify_one();
        Following(Arc::clone(&self.shared))
    }

    /// Proposes changes without record bytes; see [`Journal::propose_with`].
    pub async fn propose(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        self.propose_with(changes, Rope::default()).await?.await
    }

    /// Hands over changes with the bytes of their inline appends, and gives back the answer to come: one outcome a change.
    ///
    /// Proposals are sequenced in the order in which this function returns. The answer [`Error::Unknown`] means that the
    /// changes may still take effect.
    pub async fn propose_with(
        &self,
        changes: Vec<Change>,
        payload: Rope,
    ) -> Result<impl Future<Output = Result<Vec<Outcome>>> + Send + 'static + use<>> {
        self.propose_of(self.era(), changes, payload).await
    }

    /// The same for what was received in this era: once it is over, what was not put yet is given up.
    pub async fn propose_of(
        &self,
        era: Era,
        mut changes: Vec<Change>,
        payload: Rope,
    ) -> Result<impl Future<Output = Result<Vec<Outcome>>> + Send + 'static + use<>> {
        check(&changes, &payload)?;
        let raised = self.raise_level(&mut changes);
        let (reply, answer) = oneshot::channel();
        let request = Request { era, changes, payload, reply };
        self.requests.send(request).await.map_err(|_| self.stopped_by())?;
        Ok(async move {
            let answered = answer.await.unwrap_or_else(|_| Err(Error::Unknown("the node stopped".into())));
            answered.map(|mut outcomes| outcomes.split_off(usize::from(raised).min(outcomes.len())))
        })
    }

    /// Changes that older programs do not know come with the level whose rules they need: those programs stop with a
    /// clear message. Whether the level was put in front.
    fn raise_level(&self, changes: &mut Vec<Change>) -> bool {
        let needed = changes.iter().map(Change::level).max().unwrap_or(0);
        // A cluster begins at level 0, whose rules are those of level 1.
        let raise = needed > 1 && self.view(|manifest| manifest.feature_level) < needed;
        if raise {
            changes.insert(0, Change::FeatureLevel { level: needed });
        }
        raise
    }

    /// Creates a topic. The inner result is what the fold decided.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        configs: BTreeMap<String, String>,
    ) -> Result<Result<Uuid, Void>> {
        let id = self.env().uuid();
        let change = Change::CreateTopic { id, name: name.to_owned(), partitions, configs };
        Ok(held(self.propose(vec![change]).await?).map(|()| id))
    }

    /// Deletes a topic. The inner result is what the fold decided.
    pub async fn delete_topic(&self, id: Uuid) -> Result<Result<(), Void>> {
        Ok(held(self.propose(vec![Change::DeleteTopic { id }]).await?))
    }

    /// A producer id that nobody else has, from a block that this node took.
    pub async fn allocate_producer_id(&self) -> Result<i64> {
        let mut block = self.shared.producer_ids.lock().await;
        let (era, ids) = &mut *block;
        let now = self.era();
        if let Some(id) = ids.next().filter(|_| *era == now) {
            return Ok(id);
        }
        let outcomes = self.propose(vec![Change::AllocateProducerIds { count: PRODUCER_ID_BLOCK }]).await?;
        let Some(Outcome::ProducerIds(first)) = outcomes.first() else {
            return Err(Error::Unknown("no producer ids were handed out".into()));
        };
        (*era, *ids) = (now, *first..first.saturating_add(i64::from(PRODUCER_ID_BLOCK)));
        ids.next().ok_or(Error::Unknown("all producer ids are used up".into()))
    }

    /// Reads to the end and writes what is folded then as a checkpoint, whether or not one is due. Its slot.
    pub async fn write_checkpoint(&self) -> Result<u64> {
        self.catch_up().await?;
        let (slot, body) = self.view(|manifest| (manifest.applied, checkpoint::encode(manifest)));
        sequencer::put_checkpoint(self.store(), slot, body.into()).await?;
        Ok(slot)
    }

    /// Takes no more proposals and waits until those in flight are decided.
    pub async fn close(&self) {
        // Already closed is closed.
        let _ = self.ask(Command::Close).await;
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Result<u64>>) -> Command) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| self.stopped_by())?;
        answer.await.unwrap_or_else(|_| Err(self.stopped_by()))
    }

    /// Why nothing is taken any more.
    fn stopped_by(&self) -> Error {
        self.health().err().unwrap_or(Error::Closed)
    }
}

impl Shared {
    fn view<R>(&self, look: impl FnOnce(&Manifest) -> R) -> R {
        look(&self.manifest.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<R>(&self, change: impl FnOnce(&mut Manifest) -> R) -> R {
        let mut manifest = self.manifest.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut manifest);
        self.pace.folded(manifest.now_ms);
        changed
    }

    fn stamp_ms(&self) -> i64 {
        self.pace.stamp_ms(self.store.env().wall_ms())
    }
}

/// Often enough to tell a standstill from a quiet hour.
async fn look_at_the_clocks(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        shared.standstill.era();
        drop(shared);
        tokio::time::sleep(STANDSTILL_LOOK).await;
    }
}

/// A commit that no other node could read would stop them all: it is refused before it is written.
fn check(changes: &[Change], payload: &Rope) -> Result<()> {
    let appends = || {
        changes.iter().filter_map(|change| match change {
            Change::Append(append) => Some(append),
            _ => None,
        })
    };
    if changes.len() > MAX_CHANGES_PER_COMMIT {
        return Err(invalid(format!(
            "{} changes in one commit, at most {MAX_CHANGES_PER_COMMIT}",
            changes.len()
        )));
    }
    let batches: usize = appends().map(|append| append.batches.len()).sum();
    if batches > MAX_BATCHES_PER_COMMIT {
        return Err(invalid(format!("{batches} batches in one commit, at most {MAX_BATCHES_PER_COMMIT}")));
    }
    let inline_end = |append: &Append| append.at.checked_add(append.bytes());
    let held = |append: &Append| inline_end(append).is_some_and(|end| end <= payload.len() as u64);
    if appends().any(|append| append.segment.is_none() && !held(append)) {
        return Err(invalid("an append names bytes that its proposal does not bring along".to_owned()));
    }
    let negative = |producer: Producer| producer.id < 0 || producer.epoch < 0 || producer.sequence < 0;
    if appends().flat_map(|append| &append.batches).filter_map(|batch| batch.producer).any(negative) {
        return Err(invalid("a batch has a negative producer id, epoch or sequence number".to_owned()));
    }
    Ok(())
}

fn invalid(why: String) -> Error {
    Error::Invalid(why.into())
}

fn held(outcomes: Vec<Outcome>) -> Result<(), Void> {
    match outcomes.first() {
        Some(Outcome::Void(void)) => Err(*void),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
