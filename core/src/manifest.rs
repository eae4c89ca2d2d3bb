//! The order of everything: commits in slots, folded into one value.
//!
//! Owns the journal and the manifest. Must not know Kafka's requests, nor how batches are gathered or served. The fold is
//! pure: the same slots give the same manifest on every node, for ever.
//!
//! - [`journal`]: proposing, reading to the end, loading; the only part with I/O
//! - [`checkpoint`]: the manifest as one object
//! - [`floor`]: a move of the floor as one object
//! - [`tail`]: the bytes of what was written or followed last
//! - [`state`]: the manifest and the fold
//! - [`commit`]: the content of one slot

pub mod journal;
pub mod checkpoint;
pub mod floor;
pub mod tail;
pub mod state;
pub mod commit;

pub use commit::group::{CommitOffsets, GroupKind, GroupMember, OffsetCommit, UpdateGroup};
pub use commit::history::{Compacted, Expire, IndexChunks, ObjectName, Swap, SwapOutput, SwapRun};
pub use commit::transaction::{
    AddToTransaction, EndTransaction, InitProducer, Joins, TransactionOf, TransactionOffsets,
};
pub use commit::{
    Append, BatchMeta, Change, Commit, CommitId, ConfigChange, ConfigOp, Identity, Outcome, Placed, Producer,
    Void,
};
pub use journal::Journal;
pub use state::{
    Aborted, ActiveProducer, AppendRules, CommittedOffset, Extent, Group, Manifest, Marker, ObjectId,
    Partition, Phase, Retention, Topic, Transaction,
};
