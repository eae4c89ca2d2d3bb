//! What all connections of the node share.
//!
//! Must not know requests or sockets. Invariant: but for what the coordinator of a group holds, nothing here is state of
//! a client; another node could answer the next request of any connection.

use std::sync::Arc;

use strandline_core::Error;
use strandline_core::manifest::Journal;
use strandline_ingest::Ingest;
use strandline_reader::Reader;
use tokio::time::timeout;

use crate::budget::FetchBudget;
use crate::groups::Groups;
use crate::limits::{CATCH_UP_TIMEOUT, REFRESH_TIMEOUT};
use crate::node::Node;
use crate::nodes::Nodes;
use crate::phase::Phases;

/// The parts of the node that answer requests.
pub(crate) struct Services {
    /// Who we are.
    pub(crate) node: Node,
    /// Who else is there, and who looks after what.
    pub(crate) nodes: Arc<Nodes>,
    /// The consumer groups that this node looks after.
    pub(crate) groups: Groups,
    /// The order of everything, and the folded manifest.
    pub(crate) journal: Journal,
    /// The way in.
    pub(crate) ingest: Ingest,
    /// The way out.
    pub(crate) reader: Reader,
    /// What Fetch answers may hold.
    pub(crate) fetch_budget: FetchBudget,
    /// Where the node stands in its life.
    pub(crate) phases: Phases,
}

impl Services {
    /// Looks for what other nodes did, unless that was done a moment ago. A store that does not answer soon leaves what was
    /// known.
    pub(crate) async fn refresh(&self) {
        let _ = timeout(REFRESH_TIMEOUT, self.journal.refresh()).await;
    }

    /// Reads the journal to its end, so that whatever other nodes acknowledged before this call is known here.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        match timeout(CATCH_UP_TIMEOUT, self.journal.catch_up()).await {
            Ok(caught_up) => caught_up.map(|_| ()),
            Err(_) => Err(Error::Unknown("the journal could not be read to its end in time".into())),
        }
    }
}
