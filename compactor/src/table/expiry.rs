//! Which snapshots of a table go.
//!
//! Must not know files. The current snapshot always stays. Every other one stays for [`SNAPSHOT_STAYS_MS`] of journal time *after
//! it was followed by another*, so that whoever has begun to read it may end; and at most [`SNAPSHOTS`] stay.

use iceberg::spec::TableMetadata;

/// How long a snapshot is there after it was the current one, milliseconds.
pub(super) const SNAPSHOT_STAYS_MS: i64 = 12 * 3_600_000;
/// Snapshots of one table, the current one among them.
pub(super) const SNAPSHOTS: usize = if cfg!(test) { 8 } else { 100 };

/// The ids of the snapshots that go at this journal time if `more` are to come, and when the next one goes after that.
pub(super) fn due(metadata: &TableMetadata, now_ms: i64, more: usize) -> (Vec<i64>, Option<i64>) {
    let mut all: Vec<_> = metadata.snapshots().collect();
    all.sort_unstable_by_key(|snapshot| snapshot.sequence_number());
    let current = metadata.current_snapshot_id();
    let surplus = (all.len() + more).saturating_sub(SNAPSHOTS);
    let (mut gone, mut next) = (Vec::new(), None::<i64>);
    let followers = all.iter().skip(1).map(|snapshot| snapshot.timestamp_ms()).chain([now_ms]);
    for ((number, snapshot), followed_ms) in all.iter().enumerate().zip(followers) {
        let goes_ms = followed_ms.saturating_add(SNAPSHOT_STAYS_MS);
        if Some(snapshot.snapshot_id()) == current {
            continue;
        }
        if number < surplus || goes_ms < now_ms {
            gone.push(snapshot.snapshot_id());
        } else {
            next = Some(next.map_or(goes_ms, |next| next.min(goes_ms)));
        }
    }
    (gone, next)
}
