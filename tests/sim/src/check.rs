//! What the histories and the bucket must have in common: the verdict on a run.
//!
//! The truth is the first content of every slot, folded anew by production code and, beside it, by an oracle of plain maps
//! that shares nothing with it. Must not know how the run went.
//!
//! - [`clients`]: the clients' histories against the truth
//! - [`groups`]: what groups were told against what the journal holds
//! - [`transactions`]: whole or not at all, each input once, nothing open for ever
//! - [`bucket`]: the bucket as it lies there: chain, checkpoints, agreement
//! - `data`: the records as they lie there, wherever they were moved
//! - [`truth`]: the slots, folded; every record by its offset
//! - `keys`: what compaction by key may take away
//! - `log`: one record, and the time of the journal
//! - [`commits`]: every state of every committed offset, and who owned what, in the order of the journal
//! - [`oracle`]: the fold, written a second time

pub(crate) mod clients;
pub(crate) mod groups;
pub(crate) mod transactions;
pub(crate) mod bucket;
mod data;
pub(crate) mod truth;
mod keys;
mod log;
mod commits;
mod oracle;
