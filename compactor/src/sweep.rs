//! What nobody needs any more: the floor, slots, checkpoints, orphans.
//!
//! Must not know why something is not needed any more, nor when a sweep is due. Looks at the bucket with one pair of eyes,
//! whether it deletes ([`Sweep::run`]) or only says what would go ([`survey`], for which rights to read are enough).
//!
//! **The rule.** Let F be the manifest in the first checkpoint at or above the newest floor. A segment, a chunk or a node of an
//! index may go if F does not refer to it and its ULID is more than a day older than F's journal time
//! ([`is_stale`](strandline_core::manifest::state::is_stale)). What F refers to are the objects of its extents, the root of each
//! partition's index, and from there the leaves and chunks that end behind the partition's first offset.
//!
//! **Why nothing that somebody needs goes** (D2). Let G be any later state.
//! - Whatever an extent or an index of G names was named in F, or came in by a change behind F. Journal time never goes back, so
//!   that it was at or above F's when that change was folded; and the fold takes an append, an output of a swap or a root of
//!   an index only if it is *not* stale by the journal time then. So it is not stale by F's. This also covers what was
//!   proposed and is not folded yet. Every feature level keeps to it.
//! - Of what comes in by a new root the fold sees the root alone. Nodes that the old root led to were needed in F, or came in
//!   behind it. The others are new, and the compactor names none of them, nor a chunk that comes in through them alone, with
//!   an *earlier* time than the root that it proposes: they are as young as the root.
//! - The first offset of a partition never goes down: a leaf or a chunk that ends at or below it is not looked for again, also
//!   where a node still names it. A deleted topic does not come back, since its id is never drawn again.
//! - A slot is needed only by extents that came in with it, which F therefore knows if it lies below the floor.
//! - Checkpoints below the floor are of no use; they stay for [`FLOOR_LAG`] for those who are about to load one.
//! - A node whose manifest lies before F (by more than [`FLOOR_LAG`], since the floor moves only to checkpoints of that age)
//!   may still look for what is gone. It gets a 404 and looks again from a newer manifest; below the floor its lease makes
//!   it load anew.
//!
//! None of this ages: a sweep that was stopped for days after any step, and goes on, deletes what may still be deleted. So may
//! one that was killed be followed by another, and any number of them work side by side. A floor moves by put-if-absent.
//!
//! **Why everything goes in the end** (D3). Floors follow checkpoints, and journal time follows commits. Where no commits come,
//! a sweep that sees something wait for journal time commits a `Tick`, and where something was committed and no checkpoint is
//! there to follow, writes one. When nothing is left to collect it does neither.
//!
//! **Tables** are no part of the log, and may be made anew. A file of a table may go if it is more than a day old by the store's
//! stamps and the newest version of the table does not lead to it; nobody takes that long to write a version. Of a topic that F
//! does not know everything may go that is more than a day older than F. A chunk stays while a snapshot of its topic's table
//! refers to it: readers of that snapshot know of no floor.
//!
//! Slots go a day after the floor passed them, by the store's own stamps (DESIGN.md, "Deleting slots").
//!
//! Modules import only modules listed after them:
//!
//! - `folders`: each folder of the bucket, object by object
//! - `floors`: where the floor is, and where to it moves
//! - `needed`: what a manifest refers to
//! - `nodes`: what the index of a partition leads to
//! - `holders`: what the tables of topics hold
//! - `hands`: deletes, or only counts
//! - `report`: what came of it

mod folders;
mod floors;
mod needed;
mod nodes;
mod holders;
mod hands;
mod report;

use std::ops::ControlFlow;

use strandline_core::limits::FLOOR_LAG;
use strandline_core::manifest::{Change, Journal, Manifest};
use strandline_core::scrub::Count;
use strandline_core::store::Store;
use strandline_core::{Error, Result};
use tokio::time::Instant;

use crate::metrics;
use floors::{Checkpoints, Floors};
use hands::Hands;
use needed::Needed;
use report::Judged;
pub use report::{Floor, Kind, Part, Prepared, Report, Unjudged};

/// How far a sweep has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is looked at.
    pub kind: Kind,
    /// Objects of that kind that were looked at.
    pub seen: u64,
    /// Objects of all kinds that are gone, or would go.
    pub gone: Count,
}

/// Hears of the progress at every object; `Break` ends the sweep, whose report says so.
pub type Watch<'a> = dyn Fn(&Progress) -> ControlFlow<()> + Send + Sync + 'a;

/// Collects the garbage of a cluster.
#[derive(Debug, Clone)]
pub struct Sweep {
    journal: Journal,
}

impl Sweep {
    /// Of the cluster that this journal belongs to.
    pub fn new(journal: Journal) -> Sweep {
        Sweep { journal }
    }

    /// Moves the floor if it is due, deletes what may go, and prepares what waits for the next time.
    ///
    /// # Errors
    /// What the store said. What was deleted until then may be deleted; the next sweep goes on.
    pub async fn run(&self, watch: &Watch<'_>) -> Result<Report> {
        // A journal that stopped, or that follows rules that this program does not know, is not to be swept.
        self.journal.catch_up().await?;
        let store = self.journal.store();
        let now_ms = floors::stamp_now(store).await?;
        let mut pass = Pass::new(store, Some(self.journal.stamp_ms()), now_ms, watch);
        pass.run().await?;
        if !pass.hands.is_stopped() {
            self.prepare(&mut pass).await;
        }
        Ok(pass.report())
    }

    /// What waits for journal time, or for a checkpoint to which the floor may move, is not to wait for ever.
    async fn prepare(&self, pass: &mut Pass<'_>) {
        let floor = pass.floors.newest_slot();
        if pass.checkpoints.has_above(floor) {
            return;
        }
        let (tail, now_ms) = self.journal.view(|manifest| (manifest.applied, manifest.now_ms));
        let waits = pass.hands.waits_until_ms();
        let prepared = async {
            let ticks = waits.is_some_and(|until_ms| now_ms <= until_ms);
            if ticks {
                self.journal.propose(vec![Change::Tick]).await?;
            }
            // A slot is there above the floor's own: something has happened since.
            let checkpoint = match ticks || tail > floor {
                true => Some(self.journal.write_checkpoint().await?),
                false => None,
            };
            Ok::<_, Error>(Prepared { ticked: ticks, checkpoint })
        };
        match prepared.await {
            Ok(prepared) => pass.report.prepared = prepared,
            // What this sweep was for is done; the next one will see to it.
            Err(error) => tracing::warn!(%error, "cannot prepare the next sweep"),
        }
    }
}

/// Says what a sweep would delete now, and changes nothing. Goes by this machine's clock, not by the store's.
///
/// # Errors
/// What the store said.
pub async fn survey(store: &Store, watch: &Watch<'_>) -> Result<Report> {
    let mut pass = Pass::new(store, None, store.env().wall_ms(), watch);
    pass.run().await?;
    Ok(pass.report())
}

/// One look at everything.
struct Pass<'a> {
    store: &'a Store,
    deletes: bool,
    /// By the store's clock: a moment that is over.
    now_ms: i64,
    floors: Floors,
    checkpoints: Checkpoints,
    hands: Hands<'a>,
    report: Report,
    begun: Instant,
}

impl<'a> Pass<'a> {
    fn new(store: &'a Store, could_be_ms: Option<i64>, now_ms: i64, watch: &'a Watch<'a>) -> Pass<'a> {
        metrics::appear();
        let deletes = could_be_ms.is_some();
        let report = Report { dry_run: !deletes, ..Report::default() };
        let (floors, checkpoints) = Default::default();
        let hands = Hands::new(store, could_be_ms, watch);
        Pass { store, deletes, now_ms, floors, checkpoints, hands, report, begun: Instant::now() }
    }

    async fn run(&mut self) -> Result<()> {
        self.look().await?;
        self.report.floor.before = self.floors.newest_slot();
        let moved = self.move_floor().await?;
        let floor = self.floors.newest_slot();
        self.report.floor.after = floor;
        metrics::FLOOR.set(i64::try_from(floor).unwrap_or(i64::MAX));
        let manifest = match moved.filter(|manifest| manifest.applied == floor) {
            Some(manifest) => Some(manifest),
            None if self.floors.is_empty() => None,
            None => Some(self.checkpoints.first(self.store, floor).await?),
        };
        self.report.floor.judged_by = manifest.as_ref().map(|manifest| manifest.applied);
        self.old_checkpoints().await?;
        if let Some(manifest) = manifest {
            let needed = Needed::of(&manifest);
            self.slots(&needed).await?;
            self.segments(&needed).await?;
            self.nodes(&needed).await?;
            self.tables(&needed).await?;
            self.chunks(&needed).await?;
        }
        self.scratch().await?;
        self.hands.finish().await
    }

    /// Floors first: whatever they name, its checkpoint is there.
    async fn look(&mut self) -> Result<()> {
        let unknown = &mut self.report.unknown;
        *unknown = Count::default();
        self.floors = Floors::list(self.store, unknown).await?;
        self.checkpoints = Checkpoints::list(self.store, unknown).await?;
        Ok(())
    }

    /// Moves it if it is due, or pretends to. Gives the manifest there.
    async fn move_floor(&mut self) -> Result<Option<Manifest>> {
        if !self.floors.is_due(self.now_ms) {
            return Ok(None);
        }
        let Some(manifest) = self.checkpoints.to_follow(self.store, &self.floors, self.now_ms).await? else {
            return Ok(None);
        };
        match self.deletes {
            true => {
                self.floors.advance(self.store, manifest.applied).await?;
                // Whoever was first has decided.
                self.look().await?;
            }
            false => self.floors.pretend(manifest.applied, self.now_ms),
        }
        Ok(Some(manifest))
    }

    /// Those that the floor passed long enough ago for nobody to be about to load them.
    async fn old_checkpoints(&mut self) -> Result<()> {
        let newest = self.floors.newest_slot();
        let below = self.floors.passed(self.store, self.now_ms, FLOOR_LAG).await?;
        for (slot, found) in self.checkpoints.all() {
            let judged = match slot {
                _ if *slot < below => Judged::Gone,
                _ if *slot < newest => Judged::Young,
                _ => Judged::Needed,
            };
            self.hands.judge(Kind::Checkpoint, found, judged).await?;
            if self.hands.is_stopped() {
                break;
            }
        }
        Ok(())
    }

    fn report(mut self) -> Report {
        self.report.stopped = self.hands.is_stopped();
        self.report.seconds = self.begun.elapsed().as_secs_f64();
        self.hands.fill(&mut self.report);
        self.report
    }
}

#[cfg(test)]
mod tests;
