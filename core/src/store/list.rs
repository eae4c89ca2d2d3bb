//! What is there: listings, whole or one object after the other.
//!
//! Must not know what the objects mean. A listing that is shown object by object holds no more than a page.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use object_store::path::Path;

use super::{Failure, Listed, Request, Store};
use crate::error::Result;
use crate::limits::{LIST_PAGE, STORE_ATTEMPTS, STORE_REQUEST, STORE_RETRY};

impl Store {
    /// Everything whose key starts with `folder/`, at most `most` of it, in the store's order.
    pub async fn list(&self, folder: &str, most: usize) -> Result<Vec<Listed>> {
        self.retrying("list", folder, || self.read_list(folder, most)).await
    }

    /// Shows everything whose key starts with `folder/` to `each`, one object after the other, until it has seen enough.
    ///
    /// Holds no more than a page. After a failure it goes on behind the last key, as long as the store lists in order.
    pub async fn list_each(
        &self,
        folder: &str,
        mut each: impl FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut shown = Shown::default();
        let mut longest = STORE_RETRY.0;
        let mut tried = 1;
        loop {
            let before = shown.count;
            let failure = match self.read_pages(folder, &mut shown, &mut each).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            // Pages that came are progress: a long listing may fail here and there.
            if shown.count > before {
                (tried, longest) = (1, STORE_RETRY.0);
            }
            if !failure.may_pass() || !shown.in_order || tried >= STORE_ATTEMPTS {
                return Err(failure.into_error());
            }
            tokio::time::sleep(longest / 2 + self.0.env.jitter(longest / 2)).await;
            longest = (longest * 2).min(STORE_RETRY.1);
            tried += 1;
        }
    }

    /// What lies directly in `folder`: the names of the folders in it, and its own objects.
    pub async fn list_level(&self, folder: &str) -> Result<(Vec<String>, Vec<Listed>)> {
        let list = || async {
            let begun = self.begin(Request::List, folder);
            let result = self.0.objects.list_with_delimiter(Some(&self.path(folder))).await;
            self.done(begun, result, "list", folder)
        };
        let level = self.retrying("list", folder, list).await?;
        let name = |path: Path| path.filename().map(str::to_owned);
        let folders = level.common_prefixes.into_iter().filter_map(name).collect();
        Ok((folders, level.objects.iter().map(|meta| self.listed(meta)).collect()))
    }

    async fn read_list(&self, folder: &str, most: usize) -> Result<Vec<Listed>, Failure> {
        let begun = self.begin(Request::List, folder);
        let prefix = self.path(folder);
        let mut listing = self.0.objects.list(Some(&prefix));
        let mut found = Vec::new();
        let result = async {
            while found.len() < most {
                let Some(meta) = listing.try_next().await? else { break };
                found.push(self.listed(&meta));
            }
            Ok(())
        };
        let result = result.await;
        self.done(begun, result, "list", folder).map(|()| found)
    }

    /// One attempt of a listing, from behind what was shown on.
    async fn read_pages(
        &self,
        folder: &str,
        shown: &mut Shown,
        each: &mut impl FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let begun = self.begin(Request::List, folder);
        let prefix = self.path(folder);
        let mut listing = match &shown.last {
            None => self.0.objects.list(Some(&prefix)),
            Some(last) => self.0.objects.list_with_offset(Some(&prefix), last),
        };
        let result = async {
            loop {
                let next = tokio::time::timeout(STORE_REQUEST * 2, listing.try_next()).await;
                let next = next.map_err(|elapsed| object_store::Error::Generic {
                    store: "timeout",
                    source: elapsed.into(),
                })?;
                let Some(meta) = next? else { return Ok(()) };
                let listed = self.listed(&meta);
                shown.add(meta.location);
                if shown.count.is_multiple_of(LIST_PAGE) {
                    // A page costs what a request costs.
                    self.begin(Request::List, folder);
                }
                if each(listed).is_break() {
                    return Ok(());
                }
            }
        };
        let result = result.await;
        self.done(begun, result, "list", folder)
    }

    fn listed(&self, meta: &object_store::ObjectMeta) -> Listed {
        let prefix = self.0.prefix.as_ref();
        let cut = prefix.len() + usize::from(!prefix.is_empty());
        let key = meta.location.as_ref().get(cut..).unwrap_or_default().to_owned();
        let stamp_ms = meta.last_modified.timestamp_millis();
        Listed { key, size: meta.size, stamp_ms, tag: meta.e_tag.clone() }
    }
}

/// How far a listing has come.
#[derive(Debug)]
struct Shown {
    last: Option<Path>,
    count: u64,
    in_order: bool,
}

impl Default for Shown {
    fn default() -> Shown {
        Shown { last: None, count: 0, in_order: true }
    }
}

impl Shown {
    fn add(&mut self, key: Path) {
        self.in_order &= self.last.as_ref().is_none_or(|last| *last < key);
        self.last = Some(key);
        self.count += 1;
    }
}
