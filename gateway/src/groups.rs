//! Consumer groups: one coordinator task for each group that is active here.
//!
//! Must not know sockets or frames. Invariant: what is kept here is soft. Whatever must survive the node was decided in
//! the fold before anybody heard of it.

use std::sync::Arc;

use bytes::Bytes;
use strandline_kafka::error::ErrorCode;

use crate::nodes::Nodes;

/// A group that is active on this node, as it is now: more than its last completed generation in the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    /// Kafka's name: `PreparingRebalance`, `CompletingRebalance`, `Stable`, `Empty`.
    pub(crate) state: &'static str,
    /// `consumer`, `connect` and so on; empty: not known yet.
    pub(crate) protocol_type: String,
    /// What the members agreed on; empty: nothing yet.
    pub(crate) protocol: String,
    /// In the order of their ids.
    pub(crate) members: Vec<LiveMember>,
}

/// A member of a group that is active here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveMember {
    /// Its id.
    pub(crate) id: String,
    /// `group.instance.id`.
    pub(crate) instance_id: Option<String>,
    /// As the client calls itself.
    pub(crate) client_id: String,
    /// Where it connects from.
    pub(crate) client_host: String,
    /// Its subscription in the group's protocol; empty while the group is between two generations.
    pub(crate) metadata: Bytes,
    /// What the leader assigned to it; empty while the group is between two generations.
    pub(crate) assignment: Bytes,
}

/// The groups of this node.
#[derive(Debug)]
pub(crate) struct Groups {
    nodes: Arc<Nodes>,
}

impl Groups {
    /// None is active yet.
    pub(crate) fn new(nodes: Arc<Nodes>) -> Groups {
        Groups { nodes }
    }

    /// Whether a member may commit offsets now; counts as its heartbeat. The fold decides: this only says early what the
    /// client has to hear, and that the group is between two generations.
    ///
    /// # Errors
    /// What to answer in place of committing.
    pub(crate) async fn admit_commit(
        &self,
        group: &str,
        member: &str,
        generation: i32,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        let _ = (member, generation, instance_id);
        match self.nodes.is_coordinator(group) {
            true => Ok(()),
            false => Err(ErrorCode::NotCoordinator),
        }
    }

    /// The group as it is now; `None`: it is not active here, and the manifest says all.
    pub(crate) async fn describe(&self, group: &str) -> Option<Live> {
        let _ = group;
        None
    }

    /// The state alone, without asking the group's task.
    pub(crate) fn state(&self, group: &str) -> Option<&'static str> {
        let _ = group;
        None
    }
}
