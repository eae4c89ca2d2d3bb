//! The compactor at work: looks at the manifest now and then, does what is worth it, job by job.
//!
//! Must not know how a job is done. Invariants: nothing depends on who does a job or how often: a change that no longer holds
//! is void, and what was written for it is garbage; while nothing happens to the log, no request is made, but for what is due.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use strandline_core::limits::MAX_CHANGES_PER_COMMIT;
use strandline_core::manifest::{Journal, Topic};
use strandline_core::{Error, Kind, Result};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clean::Clean;
use crate::gather::gather;
use crate::job::{Job, Run};
use crate::means::Means;
use crate::merge::merge;
use crate::metrics;
use crate::output::propose;
use crate::pace::Pace;
use crate::plan::{Policy, plan};
use crate::retention::Expiry;
use crate::sweep::Sweep;
use crate::table::Tables;
use crate::tree::Tree;

/// How often a pass plans anew, at most: what was merged may go into a chunk, and that into an index.
const MOST_ROUNDS: usize = 32;

/// What a process decides about its compactor.
#[derive(Debug, Clone)]
pub struct Config {
    /// When something is worth doing.
    pub policy: Policy,
    /// Bytes a second that are read and written, at most; none: as fast as it goes.
    pub bytes_per_second: Option<u64>,
    /// How often the manifest is looked at.
    pub look_every: Duration,
    /// How often the age and the bytes of partitions are looked at.
    pub expire_every: Duration,
    /// How often the garbage is collected, if there may be any.
    pub sweep_every: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            policy: Policy::default(),
            bytes_per_second: None,
            look_every: Duration::from_secs(10),
            expire_every: Duration::from_secs(300),
            sweep_every: Duration::from_secs(6 * 3_600),
        }
    }
}

/// What was done in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Merged segments.
    pub merges: u64,
    /// Chunks.
    pub chunks: u64,
    /// Changes of indexes.
    pub indexes: u64,
    /// Partitions that were compacted by key.
    pub cleaned: u64,
    /// Partitions of which something expired.
    pub expired: u64,
    /// Record bytes written anew.
    pub bytes: u64,
    /// Jobs that came to nothing because somebody else was first.
    pub void: u64,
}

impl Done {
    /// Whether anything came of the pass.
    pub fn is_nothing(&self) -> bool {
        self.merges + self.chunks + self.indexes + self.cleaned + self.expired == 0
    }
}

/// Whose turn it is to compact, as far as a process knows. A hint: two that believe it is theirs are both right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Another process does it.
    Theirs,
    /// This one, and nobody is at work on the log: only what this process knows of counts.
    Quiet,
    /// This one, and somebody may be at work: the journal is read to its end first.
    Busy,
}

/// How far a pass has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes written anew so far.
    pub bytes: u64,
    /// Bytes that are planned, these among them.
    pub planned: u64,
}

/// A compactor on the journal of this process.
#[derive(Debug)]
pub struct Compactor {
    journal: Journal,
    config: Config,
    pace: Pace,
    expiry: Expiry,
    tables: Tables,
    /// The last slot that was looked at.
    seen: u64,
    expired_at: Option<Instant>,
    sweeping: Sweeping,
}

/// When the garbage was collected last, and whether some is waiting for its time.
#[derive(Debug, Clone, Copy)]
struct Sweeping {
    next: Instant,
    seen: u64,
    waits: bool,
}

impl Compactor {
    /// Does nothing yet.
    pub fn new(journal: Journal, config: Config) -> Compactor {
        metrics::appear();
        let pace = Pace::new(config.bytes_per_second);
        // Soon, also for processes that do not live long.
        let next = Instant::now() + journal.env().jitter(config.sweep_every / 6);
        let sweeping = Sweeping { next, seen: 0, waits: false };
        let (expiry, tables) = Default::default();
        Compactor { journal, config, pace, expiry, tables, seen: 0, expired_at: None, sweeping }
    }

    /// Works until the journal is closed; `turn` is asked at each look.
    pub async fn run(mut self, turn: impl Fn() -> Turn) {
        // As in Kafka, nobody loses records in the moment in which a process starts: there is time to set another retention.
        self.expired_at = Some(Instant::now());
        loop {
            tokio::select! {
                biased;
                () = self.journal.stopped() => return,
                () = tokio::time::sleep(self.pause()) => {}
            }
            let turn = turn();
            match self.pass(turn, |_| {}).await {
                Ok(done) if done.is_nothing() => {}
                Ok(done) => tracing::debug!(?done, "compacted"),
                Err(error) if error.kind() == Kind::Closed => return,
                Err(error) => tracing::warn!(%error, "compaction failed, it is tried again"),
            }
            if turn != Turn::Theirs {
                self.sweep().await;
            }
        }
    }

    /// Collects the garbage, if it is time and there may be any.
    async fn sweep(&mut self) {
        let applied = self.journal.view(|manifest| manifest.applied);
        let Sweeping { next, seen, waits } = self.sweeping;
        if Instant::now() < next || (applied == seen && !waits) {
            return;
        }
        let swept = Sweep::new(self.journal.clone()).run(&|_| ControlFlow::Continue(())).await;
        let waits = match swept {
            Ok(report) => {
                tracing::debug!(?report, "swept");
                report.waits()
            }
            Err(error) => {
                tracing::warn!(%error, "the garbage could not be collected, it is tried again");
                true
            }
        };
        // What the sweep itself committed is no reason for another one.
        let seen = self.journal.view(|manifest| manifest.applied);
        self.sweeping = Sweeping { next: Instant::now() + self.config.sweep_every, seen, waits };
    }

    /// Several nodes that began together do not look at the same moment.
    fn pause(&self) -> Duration {
        let every = self.config.look_every;
        every / 2 + self.journal.env().jitter(every)
    }

    /// Does what is worth it of what is there now, and what is worth it after that. One job that fails does not keep the others.
    /// The tables over what is there follow, whatever came of it.
    pub async fn pass(&mut self, turn: Turn, watch: impl Fn(Progress)) -> Result<Done> {
        let done = self.jobs(turn, watch).await;
        if turn != Turn::Theirs {
            self.tables.publish_all(&self.journal).await;
        }
        done
    }

    async fn jobs(&mut self, turn: Turn, watch: impl Fn(Progress)) -> Result<Done> {
        let mut done = Done::default();
        match turn {
            Turn::Theirs => return Ok(done),
            Turn::Quiet => {}
            Turn::Busy => drop(self.journal.catch_up().await?),
        }
        self.expire(&mut done).await?;
        if self.journal.view(|manifest| manifest.applied) == self.seen {
            return Ok(done);
        }
        let ends = Ends::of(&self.journal);
        for _ in 0..MOST_ROUNDS {
            let wall_ms = self.journal.env().wall_ms();
            let policy = &self.config.policy;
            let (applied, mut jobs) = self
                .journal
                .view(|manifest| (manifest.applied, plan(manifest, policy, manifest.now_ms.min(wall_ms))));
            if jobs.is_empty() {
                self.seen = applied;
                return Ok(done);
            }
            jobs.retain_mut(|job| ends.bound(job));
            if jobs.is_empty() {
                break;
            }
            let before = done;
            let planned = done.bytes + jobs.iter().map(Job::bytes).sum::<u64>();
            let mut failed = None;
            for job in &jobs {
                watch(Progress { bytes: done.bytes, planned });
                match self.work(job, &mut done).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == Kind::Closed => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, "a job of the compactor failed");
                        failed = Some(error);
                    }
                }
            }
            match failed {
                Some(error) => return Err(error),
                // Somebody else does the same: leave it to them for now.
                None if done == before || done.void > before.void => break,
                None => {}
            }
        }
        // Something is left, and perhaps nobody will ever commit again: the next pass goes on, unless this one came to nothing.
        if done.is_nothing() && Ends::of(&self.journal) == ends {
            self.seen = self.journal.view(|manifest| manifest.applied);
        }
        Ok(done)
    }

    async fn expire(&mut self, done: &mut Done) -> Result<()> {
        if self.expired_at.is_some_and(|at| at.elapsed() < self.config.expire_every) {
            return Ok(());
        }
        let changes = self.expiry.due(&self.journal).await?;
        self.expired_at = Some(Instant::now());
        let expired = changes.len() as u64;
        for changes in changes.chunks(MAX_CHANGES_PER_COMMIT / 2) {
            propose(&self.journal, changes.to_vec()).await?;
        }
        done.expired += expired;
        Ok(())
    }

    async fn work(&self, job: &Job, done: &mut Done) -> Result<()> {
        let decided = match self.attempt(job).await {
            // What was to be read is gone: a newer manifest says where it is.
            Err(Error::NotFound(_)) => Ok(None),
            decided => decided,
        };
        let result = match &decided {
            Ok(None) => "void",
            Ok(Some(_)) => "done",
            Err(_) => "failed",
        };
        metrics::JOBS.with_label_values(&[job.kind(), result]).inc();
        let Some(bytes) = decided? else {
            done.void += 1;
            return Ok(());
        };
        metrics::WRITTEN_BYTES.with_label_values(&[job.kind()]).inc_by(bytes);
        done.bytes += bytes;
        *match job {
            Job::Index(..) => &mut done.indexes,
            Job::Clean(..) => &mut done.cleaned,
            Job::Chunk(_) => &mut done.chunks,
            Job::Merge(_) => &mut done.merges,
        } += 1;
        Ok(())
    }

    /// Record bytes that were written anew; `None`: somebody else was first.
    async fn attempt(&self, job: &Job) -> Result<Option<u64>> {
        let Compactor { journal, pace, config: Config { policy, .. }, .. } = self;
        let means = Means { journal, pace, policy };
        let change = match job {
            Job::Index(topic, partition, count) => {
                let leaf_chunks = policy.leaf_chunks;
                let tree = Tree { journal, topic: *topic, partition: *partition, leaf_chunks };
                match tree.absorb(*count).await? {
                    Some(change) => change,
                    None => return Ok(None),
                }
            }
            Job::Clean(topic, partition) => {
                let clean = Clean { means, topic: *topic, partition: *partition };
                return clean.clean().await;
            }
            Job::Chunk(run) => gather(means, run).await?,
            Job::Merge(runs) => merge(means, runs).await?,
        };
        let held = propose(journal, vec![change]).await?;
        Ok((held > 0).then(|| job.bytes()))
    }
}

/// Where the partitions ended when a pass began: what comes in meanwhile is for the next one, or a pass would never end.
#[derive(Debug, PartialEq, Eq)]
struct Ends(BTreeMap<(Uuid, u32), i64>);

impl Ends {
    fn of(journal: &Journal) -> Ends {
        let ends = journal.view(|manifest| {
            let of = |topic: &Topic| {
                let id = topic.id;
                let ends = topic.partitions.iter().map(|partition| partition.high_watermark);
                (0..).zip(ends).map(move |(number, end)| ((id, number), end)).collect::<Vec<_>>()
            };
            manifest.topics().flat_map(of).collect()
        });
        Ends(ends)
    }

    /// Leaves out of a job what came later; `false`: nothing is left.
    fn bound(&self, job: &mut Job) -> bool {
        let keep = |run: &mut Run| {
            let end = self.0.get(&(run.topic, run.partition)).copied().unwrap_or(0);
            run.extents.retain(|extent| extent.end_offset() <= end);
            !run.extents.is_empty()
        };
        match job {
            Job::Index(..) | Job::Clean(..) => true,
            Job::Chunk(run) => keep(run),
            Job::Merge(runs) => {
                runs.retain_mut(keep);
                !runs.is_empty()
            }
        }
    }
}
