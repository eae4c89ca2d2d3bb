//! What compaction by key may take away: records with a later one of their key, aborted ones, tombstones whose time is over.
//!
//! Must not know what is there. Everything else stays, so that whoever reads has the latest value of every key.

use std::collections::BTreeMap;

use super::log::{Entry, Of, Times};

const DAY_MS: i64 = 86_400_000;

/// One partition that is compacted by key.
#[derive(Debug)]
pub(super) struct ByKey<'a> {
    log: &'a [Entry],
    /// Of each offset, whether what it belongs to is committed; `None`: it is not decided.
    fates: Vec<Option<bool>>,
    /// The offsets of committed records, by key.
    offsets: BTreeMap<u8, Vec<i64>>,
    tombstones_ms: i64,
    times: &'a Times,
}

impl<'a> ByKey<'a> {
    /// Of this log of a topic with these configs; `None`: it is not compacted by key.
    pub(super) fn of(
        configs: &BTreeMap<String, String>,
        log: &'a [Entry],
        times: &'a Times,
    ) -> Option<ByKey<'a>> {
        let policy = configs.get("cleanup.policy")?;
        if !policy.split(',').any(|one| one == "compact") {
            return None;
        }
        let tombstones_ms = configs.get("delete.retention.ms").and_then(|value| value.parse().ok());
        let fates = fates(log);
        let mut offsets: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
        for ((offset, entry), fate) in (0..).zip(log).zip(&fates) {
            if let (Some(key), Some(true)) = (entry.key, fate) {
                offsets.entry(key.number).or_default().push(offset);
            }
        }
        let tombstones_ms = tombstones_ms.unwrap_or(DAY_MS);
        Some(ByKey { log, fates, offsets, tombstones_ms, times })
    }

    /// Whether the record at an offset may be gone where the last stable offset is `stable`, and the journal's time `now_ms`.
    pub(super) fn may_go(&self, offset: i64, stable: i64, now_ms: i64) -> bool {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let (Some(entry), Some(fate)) = (self.log.get(at), self.fates.get(at)) else { return false };
        let (Some(key), true) = (entry.key, offset < stable) else { return false };
        let of_key = self.offsets.get(&key.number).map_or(&[][..], Vec::as_slice);
        let next = of_key.get(of_key.partition_point(|one| *one <= offset));
        match fate {
            None => false,
            Some(false) => true,
            Some(true) => {
                let over = || now_ms - self.times.of(entry.slot) >= self.tombstones_ms;
                next.is_some_and(|next| *next < stable) || (key.tombstone && over())
            }
        }
    }
}

fn fates(log: &[Entry]) -> Vec<Option<bool>> {
    let mut fates = vec![Some(true); log.len()];
    let mut open: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (offset, entry) in log.iter().enumerate() {
        match entry.of {
            Of::Nobody => {}
            Of::Transaction(producer) => {
                fates[offset] = None;
                open.entry(producer).or_default().push(offset);
            }
            Of::Marker(producer, commit) => {
                for one in open.remove(&producer).unwrap_or_default() {
                    fates[one] = Some(commit);
                }
            }
        }
    }
    fates
}
