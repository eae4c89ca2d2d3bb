//! What is there: listings, whole or one object after the other.
//!
//! Must not know what the objects mean. A listing that is shown object by object holds no more than a page.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio::time::Instant;

use super::{Failure, Listed, Request, Store};
use crate::error::Result;
use crate::limits::{LIST_PAGE, STORE_ATTEMPTS, STORE_REQUEST, STORE_RETRY};

impl Store {
    /// Everything whose key starts with `folder/`, at most `most` of it, in the store's order.
    pub async fn list(&self, folder: &str, most: usize) -> Result<Vec<Listed>> {
        self.retrying("list", folder, || self.read_list(folder, most)).await
    }

    /// Everything whose key starts with `folder/`, to be taken one object after the other.
    pub fn listing(&self, folder: &str) -> Listing {
        Listing {
            store: self.clone(),
            folder: folder.to_owned(),
            pages: Pages::Unasked,
            shown: Shown::default(),
            tried: 1,
            longest: STORE_RETRY.0,
        }
    }

    /// Shows everything whose key starts with `folder/` to `each`, one object after the other, until it has seen enough.
    pub async fn list_each(
        &self,
        folder: &str,
        mut each: impl FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut listing = self.listing(folder);
        while let Some(found) = listing.next().await? {
            if each(found).is_break() {
                return Ok(());
            }
        }
        Ok(())
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

    fn listed(&self, meta: &ObjectMeta) -> Listed {
        let prefix = self.0.prefix.as_ref();
        let cut = prefix.len() + usize::from(!prefix.is_empty());
        let key = meta.location.as_ref().get(cut..).unwrap_or_default().to_owned();
        let stamp_ms = meta.last_modified.timestamp_millis();
        Listed { key, size: meta.size, stamp_ms, tag: meta.e_tag.clone() }
    }
}

/// A listing under way. Holds no more than a page. After a failure it goes on behind the last key, as long as the store lists
/// in order.
pub struct Listing {
    store: Store,
    folder: String,
    pages: Pages,
    shown: Shown,
    tried: u32,
    longest: Duration,
}

/// The answer of the store, as far as there is one.
enum Pages {
    Unasked,
    Open(BoxStream<'static, object_store::Result<ObjectMeta>>, (Request, Instant)),
    Ended,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("folder", &self.folder).field("shown", &self.shown).finish()
    }
}

impl Listing {
    /// The next object; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Listed>> {
        loop {
            let failure = match self.attempt().await {
                Ok(next) => {
                    // Pages that come are progress: a long listing may fail here and there.
                    (self.tried, self.longest) = (1, STORE_RETRY.0);
                    return Ok(next);
                }
                Err(failure) => failure,
            };
            self.pages = Pages::Unasked;
            if !failure.may_pass() || !self.shown.in_order || self.tried >= STORE_ATTEMPTS {
                return Err(failure.into_error());
            }
            tokio::time::sleep(self.longest / 2 + self.store.0.env.jitter(self.longest / 2)).await;
            self.longest = (self.longest * 2).min(STORE_RETRY.1);
            self.tried += 1;
        }
    }

    async fn attempt(&mut self) -> Result<Option<Listed>, Failure> {
        if matches!(self.pages, Pages::Unasked) {
            self.pages = self.ask();
        }
        let Pages::Open(pages, begun) = &mut self.pages else { return Ok(None) };
        let begun = *begun;
        let next = match tokio::time::timeout(STORE_REQUEST * 2, pages.try_next()).await {
            Ok(next) => next,
            Err(elapsed) => Err(object_store::Error::Generic { store: "timeout", source: elapsed.into() }),
        };
        let Some(meta) = next.or_else(|error| self.store.done(begun, Err(error), "list", &self.folder))?
        else {
            self.pages = Pages::Ended;
            return self.store.done(begun, Ok(None), "list", &self.folder);
        };
        let listed = self.store.listed(&meta);
        self.shown.add(meta.location);
        if self.shown.count.is_multiple_of(LIST_PAGE) {
            // A page costs what a request costs.
            self.store.begin(Request::List, &self.folder);
        }
        Ok(Some(listed))
    }

    /// Asks for what lies behind what was shown.
    fn ask(&self) -> Pages {
        let begun = self.store.begin(Request::List, &self.folder);
        let prefix = self.store.path(&self.folder);
        let objects = &self.store.0.objects;
        let pages = match &self.shown.last {
            None => objects.list(Some(&prefix)),
            Some(last) => objects.list_with_offset(Some(&prefix), last),
        };
        Pages::Open(pages, begun)
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
