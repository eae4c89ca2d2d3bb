//! Deliberate breaks of a promise, one at a time, so that the simulation can show that it would notice.
//!
//! Exists only with the feature `simulation`, which no program that is shipped turns on; without it every question is
//! answered `false` when it is compiled. Must not know who asks.

/// One broken rule. Each stands where the rule is kept, as `if mutation::is(Mutation::...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// A won slot is acknowledged before the slots ahead of it are folded.
    AckBeforeFold,
    /// "Already exists" is taken for success.
    ExistsIsSuccess,
    /// "Already exists" is taken for a loss, and the changes are proposed anew under another commit id.
    ExistsIsLoss,
    /// The result of a PUT is used after the lease is over.
    NoLeaseForWriter,
    /// The result of a GET is used after the lease is over.
    NoLeaseForReader,
    /// A checkpoint is loaded without reading the floor.
    NoFloorOnLoad,
    /// An unknown outcome removes the segments of its commit.
    UnknownCleansUp,
    /// A time-out is reported as a refusal.
    TimeoutIsRefusal,
    /// A commit is proposed before the segments that it names are written.
    PointerBeforeBytes,
    /// Four batches of a producer are remembered, not five.
    FourBatchWindow,
    /// The changes of a commit are folded in another order on every node.
    HashOrderInFold,
    /// The fold takes the time from the folding node.
    LocalClockInFold,
    /// A batch that was appended before is appended again.
    DuplicateAppended,
    /// What the fold refuses in an overtaken commit is final.
    OvertakenIsFinal,
    /// A proposal that lost its slot goes to the end of the queue.
    LoserLosesItsPlace,
    /// A checkpoint says that it is one slot further than it is.
    CheckpointTooFar,
    /// A node that is behind says that an offset is out of range.
    OutOfRangeFromStale,
    /// A node that is behind says that a topic does not exist.
    UnknownTopicFromStale,
    /// The end of a partition is told without reading the journal to its end.
    StaleListOffsets,
    /// Batches are passed on without looking at their CRC.
    CrcNotChecked,
    /// Batches are passed on with the offsets that the producer wrote.
    OffsetsNotStamped,
    /// A slot that was damaged on its way here stops the node. Found by the simulation.
    DamagedSlotIsFinal,
    /// Inline records that were damaged on their way here are kept in the tail. Found by the simulation.
    DamagedRecordsKept,
    /// A block that was damaged on its way here stays in the cache. Found by the simulation.
    DamagedBlockKept,
    /// After a batch that could not be taken in, those behind it are. Found by the simulation.
    GapOverlooked,
    /// Sequence number 0 is taken for a producer's first, though it may follow 2^31 - 1. Found by the simulation.
    ZeroIsABeginning,
    /// A slot is taken for our own by its commit id alone. Found by the model.
    CloneTakenForOwn,
    /// A node that slept goes on with what it held before. Found by the simulation.
    StandstillOverlooked,
    /// Changes without records ride in a flush while those of an earlier one are not decided.
    RidersOvertake,
    /// Offsets are committed whatever generation the member is of.
    StaleGenerationCommits,
    /// A group changes although another node changed it in the meantime.
    GroupVersionIgnored,
    /// A generation's assignments are given out before they are folded.
    AssignedBeforeFold,
    /// Committed offsets are told without reading the journal to its end.
    StaleOffsetFetch,
    /// A coordinator goes on from what it remembers of a group, without looking whether another one changed it.
    CoordinatorNeverReloads,
    /// Records before an offset are deleted, and the partition's first offset stays.
    LogStartForgotten,
    /// What open transactions wrote counts as decided.
    UndecidedIsStable,
    /// That a transaction was aborted is not remembered with its records.
    AbortForgotten,
    /// A batch joins a transaction that is not open.
    AnyBatchJoins,
    /// A change of a transaction takes effect in a later one.
    LateChangeTaken,
    /// Offsets that a transaction was given take back those that it was given later.
    LateOffsetsTaken,
    /// A producer whose epoch is over goes on.
    ZombieNotFenced,
    /// A producer begins, and what one of the same name left open stays open.
    InitKeepsOpen,
    /// A transaction is aborted for the time that it takes, before that is over.
    AbortedTooEarly,
    /// Offsets of a transaction that is aborted are committed.
    AbortCommitsOffsets,
    /// Offsets of a transaction are committed before it is decided.
    OffsetsNotHeldBack,
    /// Offsets are told although an open transaction may commit others.
    UnstableOffsetsTold,
    /// Extents are replaced although they are not those that were read.
    SwapsUnchecked,
    /// Chunks take in what is not decided.
    SwapsUndecided,
    /// An index is replaced although it is not the one that was read.
    IndexUnchecked,
    /// Compaction by key looks beyond what is decided.
    CompactsUndecided,
    /// A record of an aborted transaction counts as the last of its key.
    AbortedCompacts,
    /// Tombstones go before their time.
    TombstonesTooEarly,
    /// Records expire by a retention that their topic does not have any more.
    RetentionUnchecked,
    /// Extents are replaced by objects that are so old that they may be deleted.
    StaleOutputsTaken,
    /// A merge leaves out the ends of transactions: something else has their offsets.
    MarkersLost,
    /// Chunks do not tell which transactions were aborted.
    AbortedNotIndexed,
    /// Records expire by the clock of the node that looks.
    ExpiresByOwnClock,
    /// What was damaged on its way to the compactor is written anew as it came.
    DamagedMerged,
    /// Extents are replaced before what takes their place is written.
    MergedTooEarly,
}

#[cfg(feature = "simulation")]
mod switch {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
        static COIN: Cell<bool> = const { Cell::new(false) };
    }

    /// Breaks one rule on this thread, or none.
    pub fn set(mutation: Option<Mutation>) {
        COIN.set(false);
        ACTIVE.set(mutation);
    }

    /// Whether this rule is broken on this thread.
    pub fn is(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }

    /// Heads and tails in turn: what differs between two nodes that should agree.
    pub fn coin() -> bool {
        COIN.replace(!COIN.get())
    }
}

#[cfg(feature = "simulation")]
pub use switch::{coin, is, set};

/// No rule is ever broken.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub const fn is(_: Mutation) -> bool {
    false
}

/// Never thrown.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub const fn coin() -> bool {
    false
}
