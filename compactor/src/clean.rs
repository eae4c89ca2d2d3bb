//! Of each key the last record stays: compaction by key (`cleanup.policy=compact`), as Kafka's log cleaner does it.
//!
//! Must not know when it is worth it. Invariants: a record goes only because a later one with its key is decided, committed
//! and there, because its transaction was aborted, or because it is a tombstone whose time is over; nothing at or beyond the
//! last stable offset is looked at; parts are written anew from the first on, each with one swap, and a tombstone gets its
//! time only when all parts before its own are done: until then an earlier record of its key may be left.

use bytes::Bytes;
use strandline_core::chunk::AbortedSpan;
use strandline_core::index::Entry;
use strandline_core::manifest::{Change, Compacted, Extent, ObjectId, Retention};
use strandline_core::mutation::{self, Mutation};
use strandline_core::record::{self, BatchHeader, Record};
use strandline_core::{Error, Result};
use uuid::Uuid;

use crate::aborts::Aborts;
use crate::gather::{self, Form, Laid, lay, overlaps, span};
use crate::input::{Batch, Input};
use crate::job::Run;
use crate::keys::Keys;
use crate::means::Means;
use crate::output::{self, propose};
use crate::plan::Policy;
use crate::tree::Tree;
use crate::written::Written;

/// One compaction of one partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clean<'a> {
    pub(crate) means: Means<'a>,
    pub(crate) topic: Uuid,
    pub(crate) partition: u32,
}

/// What is there, from the first offset to the end of what may be compacted.
struct Scope {
    /// Chunks that are found through the index; then what the manifest itself names.
    indexed: Vec<Entry>,
    direct: Vec<Extent>,
    aborted: Vec<AbortedSpan>,
    log_start: i64,
    /// Up to here everything was compacted before.
    compacted: i64,
    tombstones_ms: i64,
    retention: Retention,
    /// The earlier and the later of journal time and this node's clock: what is due is due by both.
    now_ms: i64,
    latest_ms: i64,
}

/// Which records stay.
struct Rules {
    keys: Keys,
    aborted: Aborts,
    /// Below it, no aborted transaction is told of any more.
    compacted: i64,
    /// The keys of all records below this one are known.
    upto: i64,
    now_ms: i64,
    /// The time that tombstones get now.
    horizon_ms: i64,
}

/// What becomes of one batch.
enum Kept {
    Whole,
    Nothing,
    /// These records; and the time at which its tombstones may go.
    Part(Vec<Record>, Option<i64>),
}

/// A part of the log that is written anew at once.
struct Part {
    indexed: bool,
    extents: Vec<Extent>,
    /// Aborted transactions have offsets in it: whoever reads it is told of them, until it is written anew.
    aborted: bool,
}

impl Clean<'_> {
    /// Compacts the partition up to where it may. How many bytes were written; `None`: somebody else was at work on it.
    pub(crate) async fn clean(self) -> Result<Option<u64>> {
        let Some(scope) = self.look().await? else { return Ok(None) };
        let extents = scope.extents()?;
        let rules = self.rules(&scope, &extents).await?;
        let mut written_bytes = 0;
        let mut tombstones_ms = i64::MAX;
        for part in parts(self.means.policy, &scope.aborted, extents) {
            let due_ms = match self.unchanged(&part, &rules).await? {
                Some(due_ms) => due_ms,
                None => {
                    let Some((bytes, due_ms)) = self.rewrite(&part, &rules).await? else { return Ok(None) };
                    written_bytes += bytes;
                    due_ms
                }
            };
            tombstones_ms = tombstones_ms.min(due_ms);
        }
        let upto = rules.upto.max(scope.compacted);
        if written_bytes == 0 && (upto, tombstones_ms) == (scope.compacted, scope.tombstones_ms) {
            return Ok(None);
        }
        let compacted = Compacted { topic: self.topic, partition: self.partition, upto, tombstones_ms };
        let held = propose(self.means.journal, vec![Change::Compacted(compacted)]).await?;
        Ok((held > 0).then_some(written_bytes))
    }

    async fn look(self) -> Result<Option<Scope>> {
        let wall_ms = self.means.journal.env().wall_ms();
        let found = self.means.journal.view(|manifest| {
            let retention = manifest.topic(&self.topic)?.retention();
            let partition = manifest.partition(&self.topic, self.partition)?;
            let now_ms = manifest.now_ms.min(wall_ms);
            let stable = match mutation::is(Mutation::CompactsUndecided) {
                true => partition.high_watermark,
                false => partition.last_stable_offset(),
            };
            let young_ms = now_ms.saturating_sub(retention.min_lag_ms);
            let old = |extent: &&Extent| {
                extent.end_offset() <= stable
                    && (retention.min_lag_ms == 0 || extent.max_timestamp <= young_ms)
            };
            let direct: Vec<_> = partition.extents.iter().take_while(old).copied().collect();
            let aborted = partition.aborted_in(partition.log_start, stable);
            let scope = Scope {
                indexed: Vec::new(),
                direct,
                aborted: aborted.iter().map(span).collect(),
                log_start: partition.log_start,
                compacted: partition.compacted,
                tombstones_ms: partition.tombstones_ms,
                retention,
                now_ms,
                latest_ms: manifest.now_ms.max(wall_ms),
            };
            Some((scope, partition.index))
        });
        let Some((mut scope, root)) = found else { return Ok(None) };
        if let Some(root) = root {
            scope.indexed = self.tree().entries(&root, scope.log_start).await?;
            scope.aborted.extend(scope.indexed.iter().flat_map(|entry| entry.aborted.iter().copied()));
        }
        Ok(Some(scope))
    }

    fn tree(&self) -> Tree<'_> {
        let leaf_chunks = self.means.policy.leaf_chunks;
        Tree { journal: self.means.journal, topic: self.topic, partition: self.partition, leaf_chunks }
    }

    /// Reads what was not compacted before, as far as there is room for its keys.
    async fn rules(self, scope: &Scope, extents: &[(bool, Extent)]) -> Result<Rules> {
        let mut rules = Rules {
            keys: Keys::new(self.means.policy.clean_keys),
            aborted: Aborts::new(&scope.aborted),
            compacted: scope.compacted,
            upto: scope.compacted.max(scope.log_start),
            now_ms: scope.now_ms,
            horizon_ms: scope.latest_ms.saturating_add(scope.retention.tombstones_ms),
        };
        let from = rules.upto;
        let dirty = extents.iter().map(|(_, extent)| *extent);
        let dirty: Vec<_> = dirty.filter(|extent| extent.end_offset() > from).collect();
        let Some(end_offset) = dirty.last().map(Extent::end_offset) else { return Ok(rules) };
        let mut input = Input::new(self.means, dirty);
        while let Some(batch) = input.next().await? {
            // A whole batch in any case, or else it would never get any further.
            if rules.keys.is_full() {
                rules.upto = batch.base_offset;
                return Ok(rules);
            }
            rules.learn(&batch, from);
        }
        rules.upto = end_offset;
        Ok(rules)
    }

    /// When the first tombstone of the part may go; `None`, as soon as anything of it goes, or gets its time.
    async fn unchanged(self, part: &Part, rules: &Rules) -> Result<Option<i64>> {
        if part.aborted {
            return Ok(None);
        }
        let mut input = Input::new(self.means, part.extents.clone());
        let mut due_ms = i64::MAX;
        while let Some(batch) = input.next().await? {
            match rules.keep(&batch)? {
                kept @ Kept::Whole => due_ms = due_ms.min(kept.due_ms(&batch)),
                Kept::Nothing | Kept::Part(..) => return Ok(None),
            }
        }
        Ok(Some(due_ms))
    }

    /// Writes what stays of a part, and puts it in its place: its bytes, and when its first tombstone may go. `None`: it is not
    /// there any more.
    async fn rewrite(self, part: &Part, rules: &Rules) -> Result<Option<(u64, i64)>> {
        let run = Run { topic: self.topic, partition: self.partition, extents: part.extents.clone() };
        let mut due_ms = i64::MAX;
        let filter = |batch: &Batch| {
            let kept = rules.keep(batch)?;
            due_ms = due_ms.min(kept.due_ms(batch));
            match kept {
                // Stood at the end of what was compacted before.
                Kept::Whole if batch.header.records == 0 => Ok(None),
                Kept::Whole => lay(batch).map(Some),
                Kept::Nothing => Ok(None),
                Kept::Part(records, horizon_ms) => {
                    let header = BatchHeader { base_offset: batch.base_offset, ..batch.header };
                    rebuilt(&header, &records, horizon_ms).map(Some)
                }
            }
        };
        let journal = self.means.journal;
        let id = output::name_by(journal, output::now_ms(journal), &run.extents, &rules.words());
        // Nothing of an aborted transaction is left in it.
        let form = Form { id, aborted: Vec::new() };
        let written = gather::write(self.means, &run, form, filter).await?;
        let change = match part.indexed {
            false => written.swap(&run)?,
            true => match self.replace(&part.extents, &written).await? {
                Some(change) => change,
                None => return Ok(None),
            },
        };
        let held = propose(journal, vec![change]).await?;
        Ok((held > 0).then_some((written.footer.bytes, due_ms)))
    }

    async fn replace(self, extents: &[Extent], written: &Written) -> Result<Option<Change>> {
        let root = self.means.journal.view(|manifest| manifest.partition(&self.topic, self.partition)?.index);
        let Some(root) = root else { return Ok(None) };
        let entry = Entry::new(written.chunk, &written.footer);
        self.tree().replace(&root, extents, entry).await
    }
}

impl Scope {
    /// All of it in order; whether it is found through the index.
    fn extents(&self) -> Result<Vec<(bool, Extent)>> {
        let too_large = |_| Error::Invalid("a chunk is larger than an extent can be".into());
        let indexed = self.indexed.iter().map(|entry| {
            Ok(Extent {
                base_offset: entry.chunk.base_offset,
                offsets: u32::try_from(entry.end_offset - entry.chunk.base_offset).map_err(too_large)?,
                object: ObjectId::Chunk(entry.chunk),
                at: entry.at,
                bytes: u32::try_from(entry.bytes).map_err(too_large)?,
                max_timestamp: entry.max_timestamp,
            })
        });
        let indexed = indexed.map(|extent| extent.map(|extent| (true, extent)));
        indexed.chain(self.direct.iter().map(|extent| Ok((false, *extent)))).collect()
    }
}

/// What is written anew together: as much as a chunk aims at and an extent can be, not across the end of the index.
fn parts(policy: &Policy, aborted: &[AbortedSpan], extents: Vec<(bool, Extent)>) -> Vec<Part> {
    let mut parts = Vec::new();
    for run in extents.chunk_by(|(one, _), (other, _)| one == other) {
        let indexed = run.first().is_some_and(|(indexed, _)| *indexed);
        let mut rest: Vec<_> = run.iter().map(|(_, extent)| *extent).collect();
        while let (Some(first), count) = (rest.first(), policy.cut(&rest, policy.chunk_bytes).max(1)) {
            let from = first.base_offset;
            let behind = rest.split_off(count);
            let upto = rest.last().map_or(from, Extent::end_offset);
            let aborted = aborted.iter().any(|span| overlaps(span, from, upto));
            parts.push(Part { indexed, extents: rest, aborted });
            rest = behind;
        }
    }
    parts
}

fn rebuilt(header: &BatchHeader, records: &[Record], horizon_ms: Option<i64>) -> Result<Laid> {
    let bytes = record::rebuild(header, records, horizon_ms);
    let bytes = bytes.map_err(|bad| Error::Invalid(format!("a batch cannot be compacted: {bad}").into()))?;
    let header = BatchHeader::at(&bytes.clone().into(), 0);
    let header =
        header.map_err(|bad| Error::Invalid(format!("a batch cannot be compacted: {bad}").into()))?;
    Ok((header, vec![bytes]))
}

impl Kept {
    /// When the first tombstone in what stays may go; the end of time: there is none that knows.
    fn due_ms(&self, batch: &Batch) -> i64 {
        let horizon_ms = match self {
            Kept::Whole => batch.header.delete_horizon_ms(),
            Kept::Nothing => None,
            Kept::Part(_, horizon_ms) => *horizon_ms,
        };
        horizon_ms.unwrap_or(i64::MAX)
    }
}

impl Rules {
    /// What decides, together with what is there, which records stay and what they look like.
    fn words(&self) -> [u64; 4] {
        [self.compacted, self.upto, self.now_ms, self.horizon_ms].map(i64::cast_unsigned)
    }

    /// Notes the keys of a batch from offset `from` on.
    fn learn(&mut self, batch: &Batch, from: i64) {
        if batch.header.control() || self.is_aborted(batch) {
            return;
        }
        for record in batch.records().unwrap_or_default() {
            let offset = batch.base_offset + i64::from(record.offset_delta);
            if let Some(key) = record.key.filter(|_| offset >= from) {
                self.keys.note(&key, offset);
            }
        }
    }

    fn is_aborted(&self, batch: &Batch) -> bool {
        self.aborted.has(batch) && !mutation::is(Mutation::AbortedCompacts)
    }

    fn keep(&self, batch: &Batch) -> Result<Kept> {
        let header = &batch.header;
        if header.control() {
            // Its marker goes only after nobody is told of an aborted transaction that it ends.
            let told = batch.base_offset >= self.compacted;
            return Ok(if told { Kept::Whole } else { Kept::Nothing });
        }
        if header.records == 0 {
            return Ok(Kept::Whole);
        }
        if self.is_aborted(batch) {
            return Ok(Kept::Nothing);
        }
        let over = header.delete_horizon_ms().is_some_and(|at| at <= self.now_ms);
        let over = over || mutation::is(Mutation::TombstonesTooEarly);
        let (mut kept, mut tombstones) = (Vec::new(), false);
        // What cannot be read has no keys that anybody could look for.
        let Some(records) = batch.records() else { return Ok(Kept::Whole) };
        for record in records {
            let offset = batch.base_offset + i64::from(record.offset_delta);
            let later = |key: &Bytes| self.keys.has_later(key, offset);
            let superseded = record.key.as_ref().is_some_and(later);
            let tombstone = record.value.is_none() && record.key.is_some();
            if superseded || (tombstone && over && offset < self.compacted) {
                continue;
            }
            tombstones |= tombstone && offset < self.upto;
            kept.push(record);
        }
        let horizon_ms = header.delete_horizon_ms().filter(|_| tombstones && !over);
        let horizon_ms = horizon_ms.or(tombstones.then_some(self.horizon_ms));
        if kept.is_empty() {
            return Ok(Kept::Nothing);
        }
        let same = kept.len() == header.records as usize && horizon_ms == header.delete_horizon_ms();
        Ok(if same { Kept::Whole } else { Kept::Part(kept, horizon_ms) })
    }
}

#[cfg(test)]
mod tests;
