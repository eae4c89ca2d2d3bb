//! One member of a classic group.
//!
//! Must not know the group.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Ticket;

/// A member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    /// `group.instance.id`: it is a static member.
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    /// Best first.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// When its session ends; does not count while it waits for an answer of ours.
    pub(super) deadline: Instant,
    /// Its JoinGroup waits. Set through the roll, which counts.
    pub(super) joining: Option<Ticket>,
    /// Its SyncGroup waits.
    pub(super) syncing: Option<Ticket>,
    /// It has asked for the assignment of the current generation.
    pub(super) synced: bool,
    /// The client knows the id: it can come again after its connection broke.
    pub(super) named: bool,
}

impl Member {
    /// What it says of itself in this protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Whether it waits for an answer of ours: it lives.
    pub(super) fn waits(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(super) fn bytes(&self) -> usize {
        let texts = self.id.len() + self.client_id.len() + self.client_host.len();
        let protocols: usize = self.protocols.iter().map(|(name, data)| name.len() + data.len() + 64).sum();
        texts + self.instance_id.as_ref().map_or(0, String::len) + protocols + self.assignment.len() + 256
    }
}
