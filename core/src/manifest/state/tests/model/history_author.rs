//! Swaps, index changes and expiries in random histories: compactors that read well and come late at times, and broken ones.
//!
//! Must not know what the fold makes of them. What a compactor writes holds just the batches that it read, wherever it puts
//! them; it lies only about what the fold can see.

use std::collections::BTreeMap;

use ulid::Ulid;
use uuid::Uuid;

use super::history::{Run, Written};
use super::{DAY_MS, Log, Model};
use crate::chunk::Format;
use crate::index::Branch;
use crate::manifest::commit::history::{
    Compacted, Expire, IndexChunks, ObjectName, Swap, SwapOutput, SwapRun,
};
use crate::manifest::{Change, Manifest};
use crate::testing::Dice;

#[derive(Default)]
pub(super) struct HistoryAuthor {
    views: BTreeMap<(Uuid, u32), View>,
    /// By topic: milliseconds and bytes.
    retentions: BTreeMap<Uuid, (i64, i64)>,
    written: Written,
}

/// A partition as it was read.
struct View {
    start: i64,
    stable: i64,
    end: i64,
    index: Option<Branch>,
    runs: Vec<Run>,
}

impl View {
    fn of(log: &Log, stable: i64) -> View {
        View { start: log.start, stable, end: log.end, index: log.index, runs: log.runs() }
    }
}

impl HistoryAuthor {
    pub(super) fn look(&mut self, manifest: &Manifest, model: &Model) {
        self.views.clear();
        for (topic, (_, logs)) in &model.topics {
            for (number, log) in (0..).zip(logs) {
                let view = View::of(log, model.transactions.stable(log));
                self.views.insert((*topic, number), view);
            }
        }
        let retention = |topic: &crate::manifest::Topic| (topic.retention().ms, topic.retention().bytes);
        self.retentions = manifest.topics().map(|topic| (topic.id, retention(topic))).collect();
    }

    /// What was written since somebody asked.
    pub(super) fn take_written(&mut self) -> Written {
        std::mem::take(&mut self.written)
    }

    pub(super) fn change(&mut self, dice: &mut Dice, now_ms: i64, place: (Uuid, u32)) -> Change {
        match dice.below(11) {
            0 | 1 => Change::Expire(self.expire(dice, place)),
            10 => Change::Compacted(self.compacted(dice, now_ms, place)),
            2..5 => Change::IndexChunks(self.index(dice, now_ms, place)),
            _ => {
                let id = name(dice, now_ms);
                let mut runs = vec![self.swap(dice, now_ms, id, place)];
                // Others may lie in the same object.
                if let Some(other) = self.views.keys().copied().find(|other| *other > place) {
                    runs.push(self.swap(dice, now_ms, id, other));
                }
                runs.truncate(dice.between(1, 3) as usize);
                Change::Swap(Swap { runs })
            }
        }
    }

    fn expire(&mut self, dice: &mut Dice, (topic, partition): (Uuid, u32)) -> Expire {
        let (ms, bytes) = self.retentions.get(&topic).copied().unwrap_or((-1, -1));
        let known = self.views.get(&(topic, partition));
        let (start, stable, end) = known.map_or((0, 0, 0), |view| (view.start, view.stable, view.end));
        let before = match dice.below(10) {
            0 => *dice.pick(&[-1, i64::MIN, i64::MAX]),
            1 => end,
            2 => stable + 1,
            3 => stable,
            _ => start + dice.below((stable - start + 1) as u64) as i64 / 2,
        };
        let (retention_ms, retention_bytes) = match dice.below(10) {
            0 => (*dice.pick(&[-1, 7 * DAY_MS, 1_000]), bytes),
            1 => (ms, *dice.pick(&[-1, 0, 1_000])),
            _ => (ms, bytes),
        };
        Expire { topic, partition, before, retention_ms, retention_bytes }
    }

    fn compacted(&mut self, dice: &mut Dice, now_ms: i64, (topic, partition): (Uuid, u32)) -> Compacted {
        let known = self.views.get(&(topic, partition));
        let (stable, end) = known.map_or((0, 0), |view| (view.stable, view.end));
        let upto = match dice.below(12) {
            0 => *dice.pick(&[-1, i64::MIN, i64::MAX]),
            1 => end,
            2 => stable + 1,
            3..6 => dice.below(stable as u64 + 1) as i64,
            _ => stable,
        };
        let tombstones_ms = *dice.pick(&[now_ms, i64::MAX, i64::MIN, 0]);
        let partition = if dice.per_mille(30) { 9 } else { partition };
        Compacted { topic, partition, upto, tombstones_ms }
    }

    fn index(&mut self, dice: &mut Dice, now_ms: i64, (topic, partition): (Uuid, u32)) -> IndexChunks {
        let known = self.views.get(&(topic, partition));
        let index = known.and_then(|view| view.index);
        let chunks = |view: &View| {
            let is_chunk = |run: &&Run| matches!(run.object, ObjectName::Chunk(..));
            view.runs.iter().take_while(is_chunk).cloned().collect::<Vec<_>>()
        };
        let mut taken = known.map(chunks).unwrap_or_default();
        let least = u64::from(index.is_none());
        let count = dice.between(least, 4) as usize;
        taken.truncate(count);
        let mut absorbs: Vec<_> = taken.iter().map(|run| run.object).collect();
        let start = known.map_or(0, |view| view.start);
        let first = index.map(|index| index.base_offset).or(taken.first().map(Run::base));
        let end = taken.last().map(|run| run.end).or(index.map(|index| index.end_offset));
        let base_offset = if dice.per_mille(800) { first.unwrap_or(start) } else { start };
        let (end_offset, bytes) = (end.unwrap_or(1), dice.below(1_000));
        let (id, chunks) = (name(dice, now_ms), dice.between(1, 9));
        let mut root = Branch { id, base_offset, end_offset, chunks, bytes, max_timestamp: now_ms };
        let mut replaces = index.map(|index| index.id);
        match dice.below(40) {
            0 => replaces = None,
            1 => replaces = Some(id),
            2 => root.base_offset = start + 1,
            3 => root.base_offset = -1,
            4 => root.end_offset += 1,
            5 => root.end_offset -= 1,
            6 => root.chunks = 0,
            7 => drop(absorbs.pop()),
            8 => absorbs.push(*dice.pick(&[ObjectName::Marker, ObjectName::Chunk(id, Format::Batches)])),
            9 => absorbs.reverse(),
            10 => {
                let next = known.and_then(|view| view.runs.get(absorbs.len()));
                absorbs.extend(next.map(|run| run.object));
                root.end_offset = next.map_or(root.end_offset, |run| run.end);
            }
            _ => {}
        }
        IndexChunks { topic, partition, replaces, absorbs, root }
    }

    /// `id`: what a merged segment is called.
    fn swap(&mut self, dice: &mut Dice, now_ms: i64, id: Ulid, (topic, partition): (Uuid, u32)) -> SwapRun {
        let mut swap = SwapRun { topic, partition, base_offset: 0, inputs: vec![], outputs: vec![] };
        let Some(view) = self.views.get(&(topic, partition)).filter(|view| !view.runs.is_empty()) else {
            swap.inputs.push(ObjectName::Slot(dice.below(9)));
            return swap;
        };
        let from = if dice.per_mille(500) { 0 } else { dice.below(view.runs.len() as u64) as usize };
        let mut runs: Vec<Run> =
            view.runs.iter().skip(from).take(dice.between(1, 5) as usize).cloned().collect();
        let chunks = dice.per_mille(600);
        if chunks && dice.per_mille(800) {
            // Not what is undecided, if there is something else.
            let decided = runs.iter().filter(|run| run.end <= view.stable).count();
            runs.truncate(decided.max(1));
        }
        swap.base_offset = runs[0].base();
        swap.inputs = runs.iter().map(|run| run.object).collect();
        let end = runs.last().map_or(0, |run| run.end);
        let mut batches: Vec<(i64, u32)> = runs.into_iter().flat_map(|run| run.batches).collect();
        while !batches.is_empty() {
            let rest = batches.split_off(dice.between(1, batches.len() as u64) as usize);
            let upto = rest.first().map_or(end, |(base, _)| *base);
            let object = match chunks {
                true => {
                    ObjectName::Chunk(name(dice, now_ms), *dice.pick(&[Format::Batches, Format::Parquet]))
                }
                false => ObjectName::Merged(id),
            };
            let output = self.write(dice, object, (topic, partition), (&batches, upto));
            swap.outputs.push(output);
            batches = rest;
        }
        lie(dice, &mut swap);
        swap
    }

    /// Puts batches side by side into an object. Some are not as long as they were. `upto`: the offset after the last one.
    fn write(
        &mut self,
        dice: &mut Dice,
        object: ObjectName,
        (topic, partition): (Uuid, u32),
        (batches, upto): (&[(i64, u32)], i64),
    ) -> SwapOutput {
        let at = dice.below(1_000);
        let (first, mut next) = (batches[0].0, at);
        for (base, bytes) in batches {
            let bytes = if dice.per_mille(200) { dice.between(1, 200) as u32 } else { *bytes };
            self.written.put(object, (topic, partition, *base), next, bytes);
            next += u64::from(bytes);
        }
        let (bytes, offsets) = ((next - at) as u32, (upto - first) as u32);
        SwapOutput { object, at, bytes, offsets, max_timestamp: 0 }
    }
}

/// Something that the fold must see.
fn lie(dice: &mut Dice, swap: &mut SwapRun) {
    let index = dice.below(swap.outputs.len() as u64) as usize;
    match dice.below(60) {
        0 => drop(swap.inputs.pop()),
        1 => drop(swap.inputs.remove(0)),
        2 => swap.inputs.clear(),
        3 => swap.inputs.push(ObjectName::Marker),
        4 => swap.inputs[0] = ObjectName::Slot(0),
        5 => swap.outputs[index].offsets += 1,
        6 => swap.outputs[index].offsets -= 1,
        7 => drop(swap.outputs.pop()),
        8 => swap.outputs.push(swap.outputs[index]),
        9 => swap.outputs[index].bytes = 0,
        10 => swap.outputs[index].at = u64::MAX,
        11 => swap.outputs[index].object = ObjectName::Slot(2),
        12 => swap.base_offset = *dice.pick(&[-1, i64::MIN, i64::MAX]),
        13 => swap.partition = 9,
        14 => swap.topic = Uuid::from_u128(8),
        _ => {}
    }
}

/// Of something written just now; or so long ago that it may be gone.
fn name(dice: &mut Dice, now_ms: i64) -> Ulid {
    let age_ms = if dice.per_mille(50) { dice.below(2 * DAY_MS as u64) as i64 } else { 0 };
    Ulid::from_parts((now_ms - age_ms) as u64, dice.u128())
}
