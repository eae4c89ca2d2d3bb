//! What all HTTP requests share: the way in, the way out, the manifest.
//!
//! Must not know requests, nor Kafka's connections: a process without them (a function) has the same door. Invariant: a
//! topic is called unknown only after the journal was read to its end.

use std::sync::Arc;

use strandline_core::Error;
use strandline_core::manifest::{Change, Journal, Manifest, Outcome, Topic};
use strandline_ingest::Ingest;
use strandline_reader::Reader;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::problem::{Kind, Problem};
use crate::budget::FetchBudget;
use crate::limits::{CATCH_UP_TIMEOUT, HTTP_FOLLOWERS, HTTP_REQUESTS};
use crate::phase::Phases;

/// A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(super) journal: Journal,
    pub(super) ingest: Ingest,
    pub(super) reader: Reader,
    pub(super) fetch_budget: FetchBudget,
    pub(super) phases: Phases,
    /// Requests that may be worked on now.
    pub(super) requests: Arc<Semaphore>,
    /// Streams of events that may be open.
    pub(super) followers: Arc<Semaphore>,
}

impl Door {
    /// Onto these parts of a node.
    pub(crate) fn new(
        journal: Journal,
        ingest: Ingest,
        reader: Reader,
        fetch_budget: FetchBudget,
        phases: Phases,
    ) -> Door {
        let requests = Arc::new(Semaphore::new(HTTP_REQUESTS));
        let followers = Arc::new(Semaphore::new(HTTP_FOLLOWERS));
        Door { journal, ingest, reader, fetch_budget, phases, requests, followers }
    }

    /// Waits until no request is worked on.
    pub(crate) async fn idle(&self) {
        // Never closed; if it were, there would be nothing to wait for.
        let _ = self.requests.acquire_many(HTTP_REQUESTS as u32).await;
    }

    /// Reads the journal to its end, so that whatever other nodes acknowledged before this call is known here.
    pub(super) async fn catch_up(&self) -> Result<(), Problem> {
        let late = || Error::Unknown("the journal could not be read to its end in time".into());
        let caught_up = timeout(CATCH_UP_TIMEOUT, self.journal.catch_up()).await;
        caught_up.unwrap_or_else(|_| Err(late())).map(drop).map_err(|error| Problem::from(&error))
    }

    /// What `pick` takes from the topic of this name.
    pub(super) async fn topic<T>(
        &self,
        name: &str,
        pick: impl Fn(&Manifest, &Topic) -> T,
    ) -> Result<T, Problem> {
        let look = |manifest: &Manifest| manifest.topic_named(name).map(|topic| pick(manifest, topic));
        if let Some(found) = self.journal.view(look) {
            return Ok(found);
        }
        self.catch_up().await?;
        self.journal.view(look).ok_or_else(|| Problem::unknown_topic(name))
    }

    /// Waits for the outcome of a change, but not for ever.
    pub(super) async fn decided<T>(
        &self,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Problem> {
        let late = || Error::Unknown("the change is not decided yet".into());
        let decided = timeout(CATCH_UP_TIMEOUT, change).await.unwrap_or_else(|_| Err(late()));
        decided.map_err(|error| Problem::from(&error))
    }

    /// Has changes made, all in one commit; fails with the first that the fold refuses.
    pub(super) async fn change(&self, changes: Vec<Change>) -> Result<(), Problem> {
        let outcomes = self.decided(self.journal.propose(changes)).await?;
        let refused = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Void(void) => Some(Problem::void(void)),
            _ => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// A problem for whoever is one too many.
    pub(super) fn too_busy(what: &str) -> Problem {
        Problem::new(Kind::TooBusy, format!("there are too many {what} at this node already"))
    }
}
