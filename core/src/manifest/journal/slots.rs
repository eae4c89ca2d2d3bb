//! One slot at a time: putting a commit until the slot is known to be filled, and reading slots in order.
//!
//! "Already exists" is a question, not an answer: what lies there says whose the slot is. A 404 after an
//! unclear PUT is not final: the same bytes are put at the same slot again. This loop is the only retry there is.
//! Must not know the manifest or the lease.

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use crate::env::Moment;
use crate::error::{Error, Result};
use crate::limits::{SLOT_ATTEMPT, SLOT_RETRY, STORE_ATTEMPTS};
use crate::manifest::commit::Commit;
use crate::mutation::{self, Mutation};
use crate::paths;
use crate::rope::Rope;
use crate::store::{NotCreated, Store};

/// Whose a slot is.
#[derive(Debug)]
pub(super) enum Filled {
    /// Our commit is in it.
    Ours,
    /// Another one is.
    Theirs(Found),
}

/// A slot's content, read and looked at.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) object: Rope,
    /// The commit and where its payload begins; an error if what lies there cannot be folded.
    pub(super) commit: Result<(Commit, u64)>,
}

/// Slots read in order.
#[derive(Debug)]
pub(super) struct Run {
    /// The slots from `from` on, without a gap.
    pub(super) found: Vec<Found>,
    pub(super) from: u64,
    /// When the read began that found the slot after them empty; `None`: there may be more.
    pub(super) ended: Option<Moment>,
}

/// Puts `object` at `slot` until the slot is known to be filled. Gives a moment after which the slot was still empty.
///
/// Never gives up: whoever waits decides how long.
pub(super) async fn fill(store: &Store, slot: u64, object: &Rope) -> (Moment, Filled) {
    let key = paths::slot(slot);
    let mut pause = SLOT_RETRY.0;
    let first_begun = store.env().moment();
    loop {
        let begun = store.env().moment();
        match store.create_once(&key, object, SLOT_ATTEMPT).await {
            Ok(()) => return (begun, Filled::Ours),
            Err(NotCreated::Exists) if mutation::is(Mutation::ExistsIsSuccess) => {
                return (begun, Filled::Ours);
            }
            Err(NotCreated::Exists) => match get(store, &key).await {
                // An earlier attempt wrote it, and only then was the slot empty: the tail may be far beyond it by now.
                // All of it, not just the id: a clone of this process has the same id for something else.
                Ok(there) if is_ours(&there, object) => {
                    return (first_begun, Filled::Ours);
                }
                Ok(there) => return (begun, Filled::Theirs(there)),
                // Deleted meanwhile, or a 409 about a write that never landed: put again.
                Err(Error::NotFound(_)) => {}
                Err(error) => tracing::warn!(slot, %error, "cannot see whose the slot is, trying again"),
            },
            Err(NotCreated::Unclear(error)) => {
                tracing::warn!(slot, %error, "unclear whether the slot was written, trying again")
            }
        }
        tokio::time::sleep(pause / 2 + store.env().jitter(pause / 2)).await;
        pause = (pause * 2).min(SLOT_RETRY.1);
    }
}

/// All of it must be ours, not just the id: a clone of this process has the same id for something else.
fn is_ours(there: &Found, object: &Rope) -> bool {
    let same_id = || match (&there.commit, Commit::decode("", object)) {
        (Ok((there, _)), Ok((ours, _))) => there.id == ours.id,
        _ => false,
    };
    let ours = there.object == *object || mutation::is(Mutation::CloneTakenForOwn) && same_id();
    ours && !mutation::is(Mutation::ExistsIsLoss)
}

/// Reads `width` slots from `from` on side by side, up to the first empty one.
pub(super) async fn read(store: &Store, from: u64, width: usize) -> Result<Run> {
    let mut reads: FuturesOrdered<_> = (from..).take(width).map(|slot| read_one(store, slot)).collect();
    let mut found = Vec::new();
    while let Some(read) = reads.next().await {
        match read? {
            (_, Some(object)) => found.push(object),
            (begun, None) => return Ok(Run { found, from, ended: Some(begun) }),
        }
    }
    Ok(Run { found, from, ended: None })
}

async fn read_one(store: &Store, slot: u64) -> Result<(Moment, Option<Found>)> {
    let key = paths::slot(slot);
    let mut pause = SLOT_RETRY.0;
    let mut tried = 1;
    loop {
        let begun = store.env().moment();
        match get(store, &key).await {
            Ok(found) => return Ok((begun, Some(found))),
            Err(Error::NotFound(_)) => return Ok((begun, None)),
            Err(error @ Error::Denied { .. }) => return Err(error),
            Err(error) if tried >= STORE_ATTEMPTS => return Err(error),
            Err(error) => tracing::debug!(slot, %error, "cannot read the slot, trying again"),
        }
        tokio::time::sleep(pause / 2 + store.env().jitter(pause / 2)).await;
        pause = (pause * 2).min(SLOT_RETRY.1);
        tried += 1;
    }
}

/// One attempt, each read of it at most [`SLOT_ATTEMPT`].
async fn get(store: &Store, key: &str) -> Result<Found> {
    let read = || store.get_once(key, SLOT_ATTEMPT);
    if mutation::is(Mutation::DamagedSlotIsFinal) {
        let object = read().await?;
        return Ok(Found { commit: decode(key, &object), object });
    }
    let (object, commit) = store.get_whole(key, read, |object| decode(key, object)).await?;
    Ok(Found { object, commit })
}

fn decode(key: &str, object: &Rope) -> Result<(Commit, u64)> {
    let (commit, payload_at) = Commit::decode(key, object)?;
    if !mutation::is(Mutation::DamagedRecordsKept) {
        commit.check_inline(key, object, payload_at)?;
    }
    Ok((commit, payload_at))
}
