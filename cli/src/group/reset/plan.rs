//! Which partitions a reset is about, and where each one is to go on.
//!
//! Pure: must not know the store. Invariant: a new offset is one that the partition has, or its next one.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail};
use strandline_core::manifest::{self, Manifest, Topic};
use uuid::Uuid;

use crate::args::{Target, TopicPartitions};

/// A partition, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    /// The topic's name.
    pub(super) topic: String,
    /// The topic.
    pub(super) id: Uuid,
    /// Its number.
    pub(super) number: u32,
    /// The first offset.
    pub(super) start: i64,
    /// The next one.
    pub(super) end: i64,
    /// Where the group stands.
    pub(super) committed: Option<i64>,
}

/// A partition, and where the group is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    /// As it is now.
    pub(super) partition: Partition,
    /// The new offset.
    pub(super) to: i64,
}

/// A line of a file: topic, partition, offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line(String, u32, i64);

/// The partitions that are meant; no scope: those for which the group has committed offsets. Each one once.
pub(super) fn partitions(
    manifest: &Manifest,
    group: &str,
    scope: Option<&[TopicPartitions]>,
) -> Result<Vec<Partition>> {
    let mut found = BTreeSet::new();
    match scope {
        None => {
            let committed = manifest.group(group).map(|group| group.offsets.keys()).into_iter().flatten();
            let named =
                committed.filter_map(|(id, number)| Some((manifest.topic(id)?.name.as_str(), *number)));
            found.extend(named);
            if found.is_empty() {
                bail!("{group} has no committed offsets: name topics with --topic");
            }
        }
        Some(scope) => {
            for TopicPartitions { topic, partitions } in scope {
                let known =
                    manifest.topic_named(topic).ok_or_else(|| anyhow!("there is no topic {topic}"))?;
                let all = 0..u32::try_from(known.partitions.len()).unwrap_or(u32::MAX);
                match partitions.is_empty() {
                    true => found.extend(all.map(|number| (topic.as_str(), number))),
                    false => found.extend(partitions.iter().map(|number| (topic.as_str(), *number))),
                }
            }
        }
    }
    found.into_iter().map(|(topic, number)| partition(manifest, group, topic, number)).collect()
}

fn partition(manifest: &Manifest, group: &str, topic: &str, number: u32) -> Result<Partition> {
    let known: &Topic = manifest.topic_named(topic).ok_or_else(|| anyhow!("there is no topic {topic}"))?;
    let beyond =
        || format!("{topic} has no partition {number}: it has {}, counted from 0", known.partitions.len());
    let bounds: &manifest::Partition = known.partitions.get(number as usize).with_context(beyond)?;
    let offsets = manifest.group(group).map(|group| &group.offsets);
    let committed = offsets.and_then(|offsets| offsets.get(&(known.id, number)));
    Ok(Partition {
        topic: topic.to_owned(),
        id: known.id,
        number,
        start: bounds.log_start,
        end: bounds.high_watermark,
        committed: committed.map(|committed| committed.offset),
    })
}

/// To an offset, or to the nearest one that the partition has.
pub(super) fn to(partition: Partition, offset: i64) -> Move {
    let to = offset.clamp(partition.start, partition.end);
    Move { partition, to }
}

/// To where the target says, if that is in the manifest.
pub(super) fn go(partition: Partition, target: &Target) -> Result<Move> {
    let offset = match target {
        Target::Earliest => partition.start,
        Target::Latest => partition.end,
        Target::Offset(offset) => *offset,
        Target::Shift(by) => {
            let Partition { topic, number, .. } = &partition;
            let none = || {
                format!(
                    "the group has committed nothing in partition {number} of {topic}, so that there is nothing to shift; \
                     say --to-earliest, --to-latest or --to-offset for it"
                )
            };
            partition.committed.with_context(none)?.saturating_add(*by)
        }
        Target::Time(_) | Target::Age(_) | Target::File(_) => bail!("this is looked up elsewhere"),
    };
    Ok(to(partition, offset))
}

/// Lines `topic,partition,offset`; empty ones are passed over.
pub(super) fn from_csv(text: &str) -> Result<Vec<Line>> {
    let line = |(at, line): (usize, &str)| {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let read = || match fields.as_slice() {
            [topic, partition, offset] if !topic.is_empty() => {
                Some(Line((*topic).to_owned(), partition.parse().ok()?, offset.parse().ok()?))
            }
            _ => None,
        };
        read().with_context(|| format!("line {} is not topic,partition,offset", at + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

/// The reverse.
pub(super) fn to_csv(moves: &[Move]) -> String {
    moves.iter().map(|of| format!("{},{},{}\n", of.partition.topic, of.partition.number, of.to)).collect()
}

/// To where a file says. A partition that is named twice is a mistake.
pub(super) fn from_lines(manifest: &Manifest, group: &str, lines: &[Line]) -> Result<Vec<Move>> {
    let mut seen = BTreeSet::new();
    let mut moves = Vec::with_capacity(lines.len());
    for Line(topic, number, offset) in lines {
        if !seen.insert((topic, *number)) {
            bail!("partition {number} of {topic} is named twice");
        }
        moves.push(to(partition(manifest, group, topic, *number)?, *offset));
    }
    Ok(moves)
}

#[cfg(test)]
mod tests;
