//! The data part: every object that extents and indexes refer to, and what nothing refers to.
//!
//! Works shard by shard (256 of them: segments, chunks and nodes by the last byte of their names, slots by theirs), so that
//! the references of a few shards are held at a time, 48 bytes each, and never more than [`SCRUB_REFERENCES`] unless one
//! shard alone has more. A listing of a shard is compared with them as it comes. What is not there is looked at again from
//! a newer manifest before it is called missing: retention or compaction may have taken it.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, stream};

use super::chunks;
use super::context::Context;
use super::history::{self, History, Known, Wanted};
use super::objects::{self, RESTORE, Use};
use super::report::{DataPart, Finding, Findings, Kind, Orphans, Unknown};
use super::slots::SlotTable;
use super::survey::note;
use super::{Part, Progress};
use crate::error::{Error, Result};
use crate::limits::{SCRUB_FINDINGS, SCRUB_REFERENCES};
use crate::manifest::journal::load_manifest;
use crate::manifest::state::{apply, is_stale};
use crate::manifest::{Commit, Manifest, ObjectId, Topic};
use crate::paths;

/// What is held of a chunk takes as much room as so many references.
const CHUNK_REFERENCES: usize = 3;
/// Shards that are worked on side by side. In a small bucket each has a segment or none, and it is requests that count.
const SHARDS: usize = 64;

/// What the data part goes by.
pub(super) struct Data<'a> {
    pub(super) ctx: &'a Context<'a>,
    pub(super) manifest: &'a Manifest,
    pub(super) slots: &'a SlotTable,
    /// Slots that the journal part has checked already.
    pub(super) covered: &'a [RangeInclusive<u64>],
    topics: Vec<&'a Topic>,
    done: AtomicU64,
    total: u64,
    faults: AtomicU64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) part: DataPart,
    pub(super) orphans: Orphans,
    pub(super) unknown: Unknown,
    /// The first shard that was not finished.
    pub(super) stopped_at: Option<u8>,
}

/// Which extent refers to which object.
#[derive(Debug, Clone, Copy)]
struct Reference {
    object: ObjectId,
    topic: u32,
    partition: u32,
    extent: u32,
}

/// What one shard came to.
#[derive(Default)]
struct Shard {
    outcome: Outcome,
    findings: Findings,
    /// Not there, or not any more.
    suspects: Vec<(Suspect, Finding)>,
    finished: bool,
}

/// What led to something that was not found.
#[derive(Debug, Clone, Copy)]
enum Suspect {
    Extent(ObjectId),
    History(Wanted),
}

/// One object and the references to it, by their place among those of the shard.
struct Object {
    id: ObjectId,
    references: std::ops::Range<usize>,
    /// None: not there.
    size: Option<u64>,
}

fn shard_of(object: ObjectId) -> u8 {
    match object {
        ObjectId::Segment(id) | ObjectId::Merged(id) => history::shard_of(id),
        ObjectId::Chunk(chunk) => history::shard_of(chunk.id),
        ObjectId::Slot(slot) => slot as u8,
        // Never asked: there is nothing to look for.
        ObjectId::Marker(_) => 0,
    }
}

impl<'a> Data<'a> {
    pub(super) fn new(
        ctx: &'a Context<'a>,
        manifest: &'a Manifest,
        slots: &'a SlotTable,
        covered: &'a [RangeInclusive<u64>],
    ) -> Data<'a> {
        let topics = manifest.topics().collect();
        let (done, faults) = Default::default();
        Data { ctx, manifest, slots, covered, topics, done, total: 0, faults }
    }

    /// Checks these shards. `listed` are those of which a listing showed that there is something.
    pub(super) async fn run(
        mut self,
        shards: RangeInclusive<u8>,
        listed: &BTreeSet<u8>,
        findings: &mut Findings,
    ) -> Outcome {
        let (mut counts, mut total) = ([0_usize; 256], 0);
        for (reference, bytes) in self.references() {
            let shard = shard_of(reference.object);
            if let Some(count) = counts.get_mut(usize::from(shard)).filter(|_| shards.contains(&shard)) {
                *count += 1;
                total += bytes;
            }
        }
        self.total = total + self.count_chunks(&shards, &mut counts);
        let mut outcome = Outcome::default();
        let mut suspects = Vec::new();
        for group in groups(shards, &counts) {
            let references = self.collect(&group);
            let mut history = History::collect(self.ctx, self.manifest, &group).await;
            outcome.join_history(&mut history, findings, &mut suspects);
            let mut work = stream::iter(group.clone())
                .map(|shard| {
                    let is_listed = listed.contains(&shard);
                    self.shard(shard, of_shard(&references, shard), history.of_shard(shard), is_listed)
                })
                .buffered(SHARDS);
            let mut shard = *group.start();
            while let Some(found) = work.next().await {
                if !found.finished && outcome.stopped_at.is_none() {
                    outcome.stopped_at = Some(shard);
                }
                outcome.join(found, findings, &mut suspects);
                shard = shard.saturating_add(1);
            }
            if outcome.stopped_at.is_some() {
                break;
            }
        }
        self.confirm(suspects, &mut outcome.part, findings).await;
        outcome
    }

    /// Counts what is about to be known of chunks in these shards, as if all had the same share. Gives its bytes.
    fn count_chunks(&self, shards: &RangeInclusive<u8>, counts: &mut [usize; 256]) -> u64 {
        let (mut chunks, mut bytes) = (0_u64, 0_u64);
        for partition in self.topics.iter().flat_map(|topic| &topic.partitions) {
            let of_extents = partition.extents.iter().filter(|one| matches!(one.object, ObjectId::Chunk(_)));
            let of_extents = of_extents.map(|extent| (1, u64::from(extent.bytes)));
            let of_index = partition.index.map(|index| (index.chunks, index.bytes));
            for (more, more_bytes) in of_extents.chain(of_index) {
                chunks = chunks.saturating_add(more);
                bytes = bytes.saturating_add(more_bytes);
            }
        }
        let each = usize::try_from(chunks.div_ceil(256)).unwrap_or(usize::MAX);
        for shard in shards.clone() {
            if let Some(count) = counts.get_mut(usize::from(shard)) {
                *count = count.saturating_add(each.saturating_mul(CHUNK_REFERENCES));
            }
        }
        bytes / 256 * shards.clone().count() as u64
    }

    /// Every extent whose object is to be looked at here, and its bytes.
    fn references(&self) -> impl Iterator<Item = (Reference, u64)> {
        let covered = |object| match object {
            ObjectId::Slot(slot) => self.covered.iter().any(|range| range.contains(&slot)),
            ObjectId::Segment(_) | ObjectId::Merged(_) => false,
            ObjectId::Marker(_) | ObjectId::Chunk(_) => true,
        };
        (0..).zip(&self.topics).flat_map(move |(topic, found)| {
            (0..).zip(&found.partitions).flat_map(move |(partition, found)| {
                let extents = (0..).zip(&found.extents).filter(move |(_, extent)| !covered(extent.object));
                extents.map(move |(index, extent)| {
                    let object = extent.object;
                    (Reference { object, topic, partition, extent: index }, u64::from(extent.bytes))
                })
            })
        })
    }

    /// By shard, object and place.
    fn collect(&self, shards: &RangeInclusive<u8>) -> Vec<Reference> {
        let references = self.references().map(|(reference, _)| reference);
        let mut found: Vec<_> =
            references.filter(|reference| shards.contains(&shard_of(reference.object))).collect();
        found.sort_unstable_by_key(|reference| {
            let at = self.use_of(reference).map_or(0, |one| one.extent.at);
            (shard_of(reference.object), reference.object, at)
        });
        found
    }

    fn use_of(&self, reference: &Reference) -> Option<Use<'a>> {
        let topic = *self.topics.get(reference.topic as usize)?;
        let partition = topic.partitions.get(reference.partition as usize)?;
        let extent = partition.extents.get(reference.extent as usize)?;
        Some(Use { topic: topic.id, name: &topic.name, partition: reference.partition, extent })
    }

    async fn shard(&self, number: u8, references: &[Reference], chunks: &[Known], is_listed: bool) -> Shard {
        let mut shard = Shard::default();
        if self.ctx.is_stopped() {
            return shard;
        }
        let mut objects = objects_of(references, self.slots);
        if is_listed && let Err(error) = self.list(number, &mut objects, &mut shard).await {
            // Nothing is known of what is there.
            shard.outcome = Outcome::default();
            self.ctx.failed(&mut shard.findings, &paths::shard(number), &error);
            shard.finished = !self.ctx.is_stopped();
            return shard;
        }
        let mut checks = stream::iter(&objects)
            .map(|object| async move {
                let uses = references.get(object.references.clone()).unwrap_or_default();
                let uses: Vec<_> = uses.iter().filter_map(|reference| self.use_of(reference)).collect();
                let checked = match self.ctx.is_stopped() {
                    true => None,
                    false => Some(self.object(object, &uses).await),
                };
                (object, uses, checked)
            })
            .buffered(self.ctx.width);
        shard.finished = true;
        while let Some((object, uses, checked)) = checks.next().await {
            let Some(checked) = checked else {
                shard.finished = false;
                continue;
            };
            self.count(&mut shard.outcome.part, object, &uses);
            self.take(&mut shard, object, &uses, checked);
            self.tell();
        }
        drop(checks);
        self.chunks(&mut shard, chunks).await;
        shard
    }

    fn tell(&self) {
        let (done, faults) = (self.done.load(Ordering::Relaxed), self.faults.load(Ordering::Relaxed));
        let total = self.total.max(done);
        self.ctx.tell(&Progress { part: Part::Data, done, total, faults });
    }

    async fn chunks(&self, shard: &mut Shard, chunks: &[Known]) {
        let mut checks = stream::iter(chunks)
            .map(|known| async move {
                match self.ctx.is_stopped() {
                    true => (known, None),
                    false => (known, Some(self.chunk(known).await)),
                }
            })
            .buffered(self.ctx.width);
        while let Some((known, checked)) = checks.next().await {
            let Some(checked) = checked else {
                shard.finished = false;
                continue;
            };
            shard.outcome.part.chunks += 1;
            shard.outcome.part.extent_bytes += known.bytes;
            self.done.fetch_add(known.bytes, Ordering::Relaxed);
            match checked {
                Err(Error::NotFound(_)) => {
                    let what = "it is not there, though an extent or the index of its partition names it";
                    let finding = Finding::new(Kind::ChunkMissing, "D1", known.chunk.key(), what, RESTORE);
                    let finding = finding.records(known.records(self.manifest));
                    shard.suspect(Suspect::History(Wanted::Chunk(known.chunk)), finding);
                }
                checked => self.found(shard, &known.chunk.key(), checked),
            }
            self.tell();
        }
    }

    async fn chunk(&self, known: &Known) -> Result<Vec<Finding>> {
        let size = known.size.ok_or_else(|| Error::NotFound(known.chunk.key()))?;
        let records = known.records(self.manifest);
        match self.ctx.quick {
            true => Ok(chunks::check_size(known, size, records).into_iter().collect()),
            false => chunks::check(self.ctx, known, size, records).await,
        }
    }

    /// Lists a shard, and says which of the objects are there and which segments nobody refers to.
    async fn list(&self, number: u8, objects: &mut [Object], shard: &mut Shard) -> Result<()> {
        let Outcome { orphans, unknown, .. } = &mut shard.outcome;
        let folder = paths::shard(number);
        let _entered = self.ctx.enter(0).await;
        let listed = self.ctx.list(&folder, |found| {
            let Some(id) = paths::segment_id(&found.key) else {
                note(unknown, found);
                return ControlFlow::Continue(());
            };
            let place = |wanted| objects.binary_search_by_key(&wanted, |object| object.id);
            match place(ObjectId::Segment(id)).or_else(|_| place(ObjectId::Merged(id))) {
                Ok(at) => {
                    if let Some(object) = objects.get_mut(at) {
                        object.size = Some(found.size);
                    }
                }
                // As the fold judges: from then on no commit can refer to it.
                Err(_) if is_stale(id, self.manifest.now_ms) => orphans.collectable.add(found.size),
                Err(_) => orphans.young.add(found.size),
            }
            ControlFlow::Continue(())
        });
        listed.await
    }

    async fn object(&self, object: &Object, uses: &[Use<'_>]) -> Result<Vec<Finding>> {
        let size = object.size.ok_or_else(|| Error::NotFound(object.id.key()))?;
        match self.ctx.quick {
            true => Ok(objects::check_size(object.id, size, uses).into_iter().collect()),
            false => objects::check(self.ctx, object.id, size, uses).await,
        }
    }

    fn count(&self, part: &mut DataPart, object: &Object, uses: &[Use<'_>]) {
        match object.id {
            ObjectId::Segment(_) | ObjectId::Merged(_) | ObjectId::Chunk(_) => part.segments += 1,
            ObjectId::Slot(_) | ObjectId::Marker(_) => part.slots += 1,
        }
        let bytes = uses.iter().map(|one| u64::from(one.extent.bytes)).sum();
        part.extents += uses.len() as u64;
        part.extent_bytes += bytes;
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, shard: &mut Shard, object: &Object, uses: &[Use<'_>], checked: Result<Vec<Finding>>) {
        let key = object.id.key();
        match checked {
            Err(Error::NotFound(_)) => {
                let kind = match object.id {
                    ObjectId::Segment(_) | ObjectId::Merged(_) | ObjectId::Chunk(_) => Kind::SegmentMissing,
                    ObjectId::Slot(_) | ObjectId::Marker(_) => Kind::SlotMissing,
                };
                let what = format!("it is not there, though {} runs of offsets lie in it", uses.len());
                let finding = Finding::new(kind, "D1", key, what, RESTORE);
                let finding = finding.records(uses.first().map(Use::records));
                shard.suspect(Suspect::Extent(object.id), finding);
            }
            checked => self.found(shard, &key, checked),
        }
    }

    fn found(&self, shard: &mut Shard, key: &str, checked: Result<Vec<Finding>>) {
        match checked {
            Ok(found) => {
                self.faults.fetch_add(found.len() as u64, Ordering::Relaxed);
                found.into_iter().for_each(|finding| shard.findings.fault(finding));
            }
            Err(error) => self.ctx.failed(&mut shard.findings, key, &error),
        }
    }

    /// What is still referred to by a newer manifest, and still not there, is missing.
    async fn confirm(&self, suspects: Vec<(Suspect, Finding)>, part: &mut DataPart, findings: &mut Findings) {
        if suspects.is_empty() {
            return;
        }
        let newer = newest_manifest(self.ctx).await.ok();
        let newer = newer.filter(|newer| newer.applied >= self.manifest.applied);
        let newer = newer.as_ref().unwrap_or(self.manifest);
        let ids: BTreeSet<_> = suspects.iter().filter_map(|(suspect, _)| suspect.extent()).collect();
        let still: BTreeSet<_> = extents_of(newer).filter(|object| ids.contains(object)).collect();
        for (suspect, finding) in suspects {
            let (key, wanted) = match suspect {
                Suspect::Extent(id) => (id.key(), Ok(still.contains(&id))),
                Suspect::History(wanted) => (wanted.key(), history::is_wanted(self.ctx, newer, wanted).await),
            };
            match wanted {
                Ok(true) => {}
                Ok(false) => {
                    part.moved += 1;
                    if matches!(suspect, Suspect::History(Wanted::Node(..))) {
                        findings.not_checked(format!("chunks below {key}, which was replaced meanwhile"));
                    }
                    continue;
                }
                // The node that leads to it is a finding of its own.
                Err(Error::NotFound(_) | Error::Corrupt { .. }) => {}
                Err(error) => {
                    self.ctx.failed(findings, &key, &error);
                    continue;
                }
            }
            match self.ctx.read_range(&key, 0..1).await {
                Err(Error::NotFound(_)) => findings.fault(finding),
                Err(error) => self.ctx.failed(findings, &key, &error),
                Ok(_) => {
                    let why = Error::Unknown("it came to be while it was looked for".into());
                    self.ctx.failed(findings, &key, &why);
                }
            }
        }
    }
}

impl Suspect {
    fn extent(&self) -> Option<ObjectId> {
        match self {
            Suspect::Extent(id) => Some(*id),
            Suspect::History(_) => None,
        }
    }
}

impl Shard {
    fn suspect(&mut self, suspect: Suspect, finding: Finding) {
        match self.suspects.len() < SCRUB_FINDINGS {
            true => self.suspects.push((suspect, finding)),
            false => self.findings.fault(finding),
        }
    }
}

impl Outcome {
    fn join(&mut self, shard: Shard, findings: &mut Findings, suspects: &mut Vec<(Suspect, Finding)>) {
        let Outcome { part, orphans, unknown, .. } = shard.outcome;
        self.part.segments += part.segments;
        self.part.slots += part.slots;
        self.part.extents += part.extents;
        self.part.chunks += part.chunks;
        self.part.extent_bytes += part.extent_bytes;
        self.join_leftovers(orphans, unknown);
        findings.join(shard.findings);
        join_suspects(shard.suspects, findings, suspects);
    }

    fn join_leftovers(&mut self, orphans: Orphans, unknown: Unknown) {
        self.orphans.young.join(orphans.young);
        self.orphans.collectable.join(orphans.collectable);
        self.unknown.count.join(unknown.count);
        let room = SCRUB_FINDINGS.saturating_sub(self.unknown.first.len());
        self.unknown.first.extend(unknown.first.into_iter().take(room));
    }

    /// What was seen on the way to the chunks.
    fn join_history(
        &mut self,
        history: &mut History,
        findings: &mut Findings,
        suspects: &mut Vec<(Suspect, Finding)>,
    ) {
        self.part.index_nodes += history.nodes_read;
        self.join_leftovers(history.orphans, std::mem::take(&mut history.unknown));
        findings.join(std::mem::take(&mut history.findings));
        let found = std::mem::take(&mut history.suspects).into_iter();
        join_suspects(found.map(|(wanted, finding)| (Suspect::History(wanted), finding)), findings, suspects);
    }
}

fn join_suspects(
    found: impl IntoIterator<Item = (Suspect, Finding)>,
    findings: &mut Findings,
    suspects: &mut Vec<(Suspect, Finding)>,
) {
    for (suspect, finding) in found {
        match suspects.len() < SCRUB_FINDINGS {
            true => suspects.push((suspect, finding)),
            false => findings.fault(finding),
        }
    }
}

/// Shards side by side, as many as their references may be held together; one at least.
fn groups(shards: RangeInclusive<u8>, counts: &[usize; 256]) -> Vec<RangeInclusive<u8>> {
    let mut groups: Vec<RangeInclusive<u8>> = Vec::new();
    let mut held = 0;
    for shard in shards {
        let count = counts.get(usize::from(shard)).copied().unwrap_or(0);
        match groups.last_mut().filter(|_| held + count <= SCRUB_REFERENCES) {
            Some(group) => {
                *group = *group.start()..=shard;
                held += count;
            }
            None => {
                groups.push(shard..=shard);
                held = count;
            }
        }
    }
    groups
}

fn of_shard(references: &[Reference], shard: u8) -> &[Reference] {
    let from = references.partition_point(|reference| shard_of(reference.object) < shard);
    let upto = references.partition_point(|reference| shard_of(reference.object) <= shard);
    references.get(from..upto).unwrap_or_default()
}

/// The distinct objects of a shard, in order.
fn objects_of(references: &[Reference], slots: &SlotTable) -> Vec<Object> {
    let mut at = 0;
    let object = |chunk: &[Reference]| {
        let id = chunk.first()?.object;
        let size = match id {
            ObjectId::Slot(slot) => slots.size(slot),
            ObjectId::Segment(_) | ObjectId::Merged(_) | ObjectId::Chunk(_) | ObjectId::Marker(_) => None,
        };
        let references = at..at + chunk.len();
        at += chunk.len();
        Some(Object { id, references, size })
    };
    references.chunk_by(|one, other| one.object == other.object).filter_map(object).collect()
}

fn extents_of(manifest: &Manifest) -> impl Iterator<Item = ObjectId> {
    let partitions = manifest.topics().flat_map(|topic| &topic.partitions);
    partitions.flat_map(|partition| &partition.extents).map(|extent| extent.object)
}

/// The manifest at the journal's end as it is now.
async fn newest_manifest(ctx: &Context<'_>) -> Result<Manifest> {
    let mut manifest = load_manifest(ctx.store).await?;
    loop {
        let slot = manifest.applied + 1;
        let key = paths::slot(slot);
        match ctx.read(&key).await {
            Ok(object) => {
                let (commit, payload_at) = Commit::decode(&key, &object)?;
                apply(&mut manifest, slot, &commit, payload_at);
            }
            Err(Error::NotFound(_)) => return Ok(manifest),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Together they hold all shards once, and no more references than may be held.
    #[test]
    fn shards_are_grouped_by_what_may_be_held() {
        let mut counts = [0; 256];
        assert_eq!(groups(0..=255, &counts), [0..=255]);
        counts[3] = SCRUB_REFERENCES + 5;
        counts[4] = SCRUB_REFERENCES;
        counts[200] = 1;
        assert_eq!(groups(0..=255, &counts), [0..=2, 3..=3, 4..=199, 200..=255]);
        assert_eq!(groups(4..=5, &counts), [4..=5]);
    }
}
