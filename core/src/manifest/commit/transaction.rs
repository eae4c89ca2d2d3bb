//! What is to change of a transaction (KIP-98, KIP-890).
//!
//! Must not know what became of earlier ones. Whether a change holds is decided in the fold: by the producer's id and epoch,
//! and by the number of the transaction that its proposer meant, so that a change that comes late takes no effect in the
//! next one (KAFKA-17754).

use uuid::Uuid;

use super::group::CommitOffsets;

/// How a batch belongs to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Joins {
    /// It does not.
    #[default]
    Nothing,
    /// To the one that its partition was added to.
    Added,
    /// It adds its partition itself (KIP-890, part 2).
    Adds,
}

/// Whose transaction, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionOf {
    /// The producer's name.
    pub transactional_id: String,
    /// Must be the current one.
    pub producer_id: i64,
    /// Must be the current one.
    pub epoch: i16,
    /// Transactions of this name are counted; a change that begins one names the next number.
    pub number: u64,
}

/// A producer begins: whatever it or one of the same name before it left open is aborted, and its epoch is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitProducer {
    /// The producer's name.
    pub transactional_id: String,
    /// How long its transactions may take, milliseconds.
    pub timeout_ms: i32,
    /// Who it was so far, producer id and epoch (KIP-360): refused if somebody else is, by now.
    pub known: Option<(i64, i16)>,
    /// Of one that does not say that: how often the name had begun when its request came. If somebody has begun since, it may
    /// have been the same client, which gave up on this request: it must not fence its own successor.
    pub begun: u64,
}

/// Partitions and groups are going to take part. Begins the transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddToTransaction {
    /// Which transaction.
    pub of: TransactionOf,
    /// Topic and partition.
    pub partitions: Vec<(Uuid, u32)>,
    /// Groups whose offsets it will commit.
    pub groups: Vec<String>,
}

/// Offsets that are committed if the transaction is.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionOffsets {
    /// Which transaction.
    pub of: TransactionOf,
    /// It adds the group itself (KIP-890, part 2).
    pub adds: bool,
    /// How often the transaction had been given offsets when the request came: what comes late takes no later ones back.
    pub step: u64,
    /// What is to be committed.
    pub commit: CommitOffsets,
}

/// A transaction is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndTransaction {
    /// Which transaction.
    pub of: TransactionOf,
    /// Committed, not aborted.
    pub commit: bool,
    /// The producer goes on under the next epoch (KIP-890, part 2).
    pub bump: bool,
    /// Only if it has taken longer than it may, by journal time.
    pub if_due: bool,
}
