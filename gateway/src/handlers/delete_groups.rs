//! DeleteGroups: groups without members, with all their offsets.
//!
//! Must not know how groups come to be. Invariant: whether a group is empty is decided in the fold; what is known here
//! only refuses earlier.

use strandline_core::manifest::{Change, Outcome};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::delete_groups::{GroupResult, Request, Response};

use crate::errors;
use crate::group_view::GroupView;
use crate::limits::GROUPS_PER_COMMIT;
use crate::metrics;
use crate::session::Session;
use crate::topics;

/// Deletes the groups, many in one commit.
pub(crate) async fn answer(session: &Session, request: Request) -> Response {
    let names = topics::once(request.groups_names.iter().map(String::as_str));
    let mut results = Vec::with_capacity(names.len());
    for names in names.chunks(GROUPS_PER_COMMIT) {
        let mut checked = Vec::with_capacity(names.len());
        for name in names {
            checked.push((*name, check(session, name).await));
        }
        let good = checked.iter().filter(|(_, checked)| checked.is_ok());
        let mut decided = propose(session, good.map(|(name, _)| *name)).await.into_iter();
        results.extend(checked.into_iter().map(|(name, checked)| {
            let code = match checked {
                Ok(()) => decided.next().unwrap_or(ErrorCode::CoordinatorNotAvailable),
                Err(code) => code,
            };
            GroupResult { group_id: name.to_owned(), error_code: metrics::failed(ApiKey::DeleteGroups, code) }
        }));
    }
    Response { results, ..Response::default() }
}

async fn check(session: &Session, name: &str) -> Result<(), ErrorCode> {
    if !session.nodes.coordinates(name).await {
        return Err(ErrorCode::NotCoordinator);
    }
    match GroupView::of(session, name).await {
        Some(group) if !group.members.is_empty() => Err(ErrorCode::NonEmptyGroup),
        // Of one that is not known here, the fold knows whether another node saw it.
        _ => Ok(()),
    }
}

/// A code for each group.
async fn propose<'a>(session: &Session, names: impl Iterator<Item = &'a str>) -> Vec<ErrorCode> {
    let changes: Vec<_> = names.map(|name| Change::DeleteGroup { group: name.to_owned() }).collect();
    let count = changes.len();
    if count == 0 {
        return Vec::new();
    }
    let code = |outcome: &Outcome| match outcome {
        Outcome::Void(void) => errors::group_void(void),
        _ => ErrorCode::None,
    };
    match session.ingest.propose(changes).await {
        Ok(outcomes) => outcomes.iter().map(code).collect(),
        Err(error) => vec![errors::group(&error); count],
    }
}
