//! Deletes what was judged, or only counts it.
//!
//! Must not judge. Invariants: at most [`SWEEP_DELETES`] deletes are under way; what counts as gone is gone, once
//! [`Hands::finish`] has said so.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use strandline_core::limits::{DAY, SWEEP_DELETES, SWEEP_UNJUDGED};
use strandline_core::manifest::state::is_stale;
use strandline_core::scrub::Count;
use strandline_core::store::{Listed, Store};
use strandline_core::{Error, Result};
use ulid::Ulid;

use super::report::{Judged, Kind, Part, Report, Unjudged};
use super::{Progress, Watch};
use crate::metrics;

pub(super) struct Hands<'a> {
    store: &'a Store,
    watch: &'a Watch<'a>,
    under_way: FuturesUnordered<BoxFuture<'a, Result<()>>>,
    parts: BTreeMap<Kind, Part>,
    gone: Count,
    unknown: Count,
    unjudged: BTreeMap<String, String>,
    more_unjudged: u64,
    /// The journal time that a commit of now would bring, milliseconds; none: nobody commits.
    could_be_ms: Option<i64>,
    /// Beyond this journal time everything may go that could go by then.
    waits_until_ms: Option<i64>,
    stopped: bool,
}

impl<'a> Hands<'a> {
    /// Deletes if it is told what journal time could be, which is known to whoever may commit; else counts.
    pub(super) fn new(store: &'a Store, could_be_ms: Option<i64>, watch: &'a Watch<'a>) -> Hands<'a> {
        Hands {
            store,
            could_be_ms,
            watch,
            under_way: FuturesUnordered::new(),
            parts: BTreeMap::new(),
            gone: Count::default(),
            unknown: Count::default(),
            unjudged: BTreeMap::new(),
            more_unjudged: 0,
            waits_until_ms: None,
            stopped: false,
        }
    }

    /// Does what was decided about an object.
    pub(super) async fn judge(&mut self, kind: Kind, found: &Listed, judged: Judged) -> Result<()> {
        let part = self.parts.entry(kind).or_default();
        let seen = part.gone.objects + part.young.objects + part.needed.objects + 1;
        match judged {
            Judged::Gone => {
                part.gone.add(found.size);
                self.gone.add(found.size);
            }
            Judged::Young => part.young.add(found.size),
            Judged::Needed => part.needed.add(found.size),
        }
        if judged == Judged::Gone && self.could_be_ms.is_some() {
            self.delete(kind, found).await?;
        }
        self.stopped |= (self.watch)(&Progress { kind, seen, gone: self.gone }).is_break();
        Ok(())
    }

    async fn delete(&mut self, kind: Kind, found: &Listed) -> Result<()> {
        if self.under_way.len() >= SWEEP_DELETES
            && let Some(deleted) = self.under_way.next().await
        {
            deleted?;
        }
        let (store, key, size) = (self.store, found.key.clone(), found.size);
        let delete = async move {
            store.delete(&key).await?;
            tracing::debug!(key, why = kind.why(), "deleted");
            metrics::SWEPT.with_label_values(&[kind.name()]).inc();
            metrics::SWEPT_BYTES.with_label_values(&[kind.name()]).inc_by(size);
            Ok(())
        };
        self.under_way.push(delete.boxed());
        Ok(())
    }

    /// Nobody needs it, and nothing but time keeps it.
    pub(super) fn wait_for(&mut self, id: Ulid) {
        if self.could_be_ms.is_some_and(|now_ms| is_stale(id, now_ms)) {
            let written_ms = i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX);
            let until_ms = written_ms.saturating_add(DAY.as_millis() as i64);
            self.waits_until_ms = self.waits_until_ms.max(Some(until_ms));
        }
    }

    /// The journal time beyond which more may go; none: nothing waits for that alone.
    pub(super) fn waits_until_ms(&self) -> Option<i64> {
        self.waits_until_ms
    }

    /// An object that is none of ours.
    pub(super) fn leave(&mut self, found: &Listed) {
        self.unknown.add(found.size);
    }

    /// An index that cannot be read. Passes on what is not about the node itself.
    pub(super) fn unjudged(&mut self, key: &str, error: Error) -> Result<()> {
        match error {
            Error::Corrupt { .. } | Error::NotFound(_) => {}
            other => return Err(other),
        }
        tracing::warn!(key, %error, "what belongs to this index cannot be told: all of it stays");
        if self.unjudged.contains_key(key) || self.unjudged.len() < SWEEP_UNJUDGED {
            self.unjudged.insert(key.to_owned(), error.to_string());
        } else {
            self.more_unjudged += 1;
        }
        Ok(())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Waits until everything is deleted.
    pub(super) async fn finish(&mut self) -> Result<()> {
        while let Some(deleted) = self.under_way.next().await {
            deleted?;
        }
        Ok(())
    }

    pub(super) fn fill(self, report: &mut Report) {
        for (kind, part) in self.parts {
            *report.part_mut(kind) = part;
        }
        report.unknown.join(self.unknown);
        report.unjudged = self.unjudged.into_iter().map(|(key, why)| Unjudged { key, why }).collect();
        report.more_unjudged = self.more_unjudged;
    }
}
