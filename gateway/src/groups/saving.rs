//! From a machine's wish to the fold's answer.
//!
//! Must not know the protocols. Invariant: a group counts as saved only if the fold said so, or if the manifest has it.

use strandline_core::manifest::{Change, Group, Journal, Outcome, UpdateGroup, Void};
use strandline_ingest::Ingest;
use strandline_kafka::error::ErrorCode;
use tokio::time::timeout;
use tracing::debug;

use crate::errors;
use crate::limits::CATCH_UP_TIMEOUT;

/// Saves a group. Gives its new version.
///
/// # Errors
/// What the members have to hear; the group is to be loaded anew.
pub(super) async fn save(journal: Journal, ingest: Ingest, update: UpdateGroup) -> Result<u64, ErrorCode> {
    let outcomes = match ingest.propose(vec![Change::UpdateGroup(update.clone())]).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            debug!(%error, group = update.group, "it is not known whether a group is saved");
            return look(&journal, &update).await.ok_or(ErrorCode::CoordinatorNotAvailable);
        }
    };
    match outcomes.first() {
        Some(Outcome::GroupVersion(version)) => Ok(*version),
        Some(Outcome::Void(Void::LimitReached)) => Err(ErrorCode::GroupMaxSizeReached),
        Some(Outcome::Void(Void::GroupChanged)) => Err(errors::void(&Void::GroupChanged)),
        Some(_) | None => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

/// The version of the group if it is as it was to become.
async fn look(journal: &Journal, update: &UpdateGroup) -> Option<u64> {
    timeout(CATCH_UP_TIMEOUT, journal.catch_up()).await.ok()?.ok()?;
    journal.view(|manifest| {
        let group = manifest.group(&update.group)?;
        is_saved(group, update).then_some(group.version)
    })
}

fn is_saved(group: &Group, update: &UpdateGroup) -> bool {
    group.version > update.seen_version
        && group.kind == update.kind
        && group.epoch == update.epoch
        && group.leader == update.leader
        && group.protocol == update.protocol
        && group.state == update.state
        && (!update.replace || group.members.len() == update.put.len())
        && !update.remove.iter().any(|id| group.members.contains_key(id))
        && update.put.iter().all(|member| group.members.get(&member.id) == Some(member))
}
