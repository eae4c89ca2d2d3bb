//! What is to change of a consumer group.
//!
//! Must not know the group protocols: what members subscribe to and what they are assigned are opaque bytes here. Whether
//! a change holds is decided in the fold, by the group's version and its members' epochs.

use bytes::Bytes;
use uuid::Uuid;

/// How a group agrees on who reads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum GroupKind {
    /// No members: offsets are committed by hand.
    #[default]
    Simple,
    /// JoinGroup and SyncGroup.
    Classic,
    /// KIP-848.
    Consumer,
}

/// The members of a group change. Holds only if the group is still as its proposer saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateGroup {
    /// Its name.
    pub group: String,
    /// The version that the proposer saw; 0: there is no such group.
    pub seen_version: u64,
    /// From here on.
    pub kind: GroupKind,
    /// `consumer`, `connect` and so on.
    pub protocol_type: String,
    /// What the members agreed on; empty: nothing yet.
    pub protocol: String,
    /// The generation of a classic group, the epoch of the other kind.
    pub epoch: i32,
    /// The leader's member id; empty: none.
    pub leader: String,
    /// What else the coordinator must find again.
    pub state: Bytes,
    /// Members that are not named are gone.
    pub replace: bool,
    /// New members, and those that changed.
    pub put: Vec<GroupMember>,
    /// Ids of members that are gone.
    pub remove: Vec<String>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupMember {
    /// Drawn by the coordinator, or by the client (KIP-848 version 1).
    pub id: String,
    /// The generation of a classic group, the member's own epoch in the other kind: what its commits must carry.
    pub epoch: i32,
    /// `group.instance.id` (KIP-345).
    pub instance_id: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Silence after which it is gone, milliseconds.
    pub session_timeout_ms: i32,
    /// Time that it takes to rejoin or to give up partitions, milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Opaque.
    pub subscription: Bytes,
    /// Opaque.
    pub assignment: Bytes,
}

impl GroupMember {
    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        let texts = self.id.len() + self.client_id.len() + self.client_host.len();
        let instance = self.instance_id.as_ref().map_or(0, String::len);
        texts + instance + self.subscription.len() + self.assignment.len() + 24
    }
}

/// A group commits offsets.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitOffsets {
    /// Its name.
    pub group: String,
    /// Of the committing member; empty: it is none, and holds only while the group has no members.
    pub member: String,
    /// The generation or the member's epoch; negative: not a member.
    pub epoch: i32,
    /// Must be the member's, if it has one.
    pub instance_id: Option<String>,
    /// For each partition.
    pub offsets: Vec<OffsetCommit>,
}

/// The offset of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The topic; nothing is kept for one that is gone.
    pub topic: Uuid,
    /// The partition.
    pub partition: u32,
    /// The next record to read.
    pub offset: i64,
    /// As the client sent it; -1: none.
    pub leader_epoch: i32,
    /// Whatever the client wants to find again.
    pub metadata: String,
}
