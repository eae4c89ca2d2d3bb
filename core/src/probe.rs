//! Is this store safe to keep a log in? The start-up probe, also behind `strandline doctor`.
//!
//! Must not know the journal. A store that fails is refused with a sentence that says why: several servers that speak
//! S3 take `If-None-Match: *` and ignore it, or check and write in two steps.

use futures_util::future::join_all;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::limits::PROBE_RACERS;
use crate::paths;
use crate::rope::Rope;
use crate::store::Store;

/// One thing that was tried.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What must hold, in plain words.
    pub rule: &'static str,
    /// Whether it held; if not, what happened instead.
    pub outcome: std::result::Result<(), String>,
}

/// Tries everything that the log relies on, in a scratch folder that it cleans up, and reports each finding.
///
/// An error means that the store could not be asked, not that it failed.
pub async fn probe(store: &Store, env: &Env) -> Result<Vec<Finding>> {
    let id = env.ulid(env.wall_ms());
    let raced = paths::probe(id, "race");
    let winners = race(store, &raced).await?;
    let held = store.get(&raced).await.map_err(|e| without_bucket(store, e))?.to_bytes();
    let again = store.create(&raced, &Rope::from(bytes::Bytes::from_static(b"late"))).await?;
    let kept = store.get(&raced).await?.to_bytes();
    let listed = store.list(&format!("probe/{id}"), 10).await?.iter().any(|found| found.key == raced);
    let unread = store.get(&paths::probe(id, "absent")).await;
    store.delete(&raced).await?;

    let check = |rule, holds: bool, instead: String| Finding {
        rule,
        outcome: if holds { Ok(()) } else { Err(instead) },
    };
    Ok(vec![
        check(
            "of many writers that race to create one key, only one wins",
            winners.len() <= 1,
            format!(
                "{} of {PROBE_RACERS} writers were told that they had won: If-None-Match is ignored or not atomic",
                winners.len()
            ),
        ),
        check(
            "an object can be read at once by whoever was told that it was written",
            // No winner at all: the winner's answer was lost on the way, and its retry met its own object.
            winners.first().is_none_or(|winner| held == winner.to_string()),
            "what was read is not what the winner wrote".to_owned(),
        ),
        check(
            "creating a key that exists is refused, and changes nothing",
            !again && kept == held,
            "a second conditional write was accepted: If-None-Match is ignored".to_owned(),
        ),
        check(
            "a listing shows what was written before it",
            listed,
            "the object was missing from the listing".to_owned(),
        ),
        check(
            "reading a key that does not exist says so",
            matches!(unread, Err(Error::NotFound(_))),
            format!("the answer was {unread:?}"),
        ),
    ])
}

/// Probes and turns the first finding that failed into an error.
pub async fn refuse_unsafe(store: &Store, env: &Env) -> Result<()> {
    for Finding { rule, outcome } in probe(store, env).await? {
        if let Err(instead) = outcome {
            let why = format!(
                "{store} is not safe to keep a log in: it must hold that {rule}, but {instead}. Use a store with atomic conditional writes"
            );
            return Err(Error::Unsupported(why.into()));
        }
    }
    Ok(())
}

async fn race(store: &Store, key: &str) -> Result<Vec<usize>> {
    let racers = (0..PROBE_RACERS).map(|racer| async move {
        let body = Rope::from(bytes::Bytes::from(racer.to_string()));
        store.create(key, &body).await.map(|won| won.then_some(racer))
    });
    let results: Vec<_> = join_all(racers).await;
    let mut winners = Vec::new();
    for result in results {
        winners.extend(result.map_err(|e| without_bucket(store, e))?);
    }
    Ok(winners)
}

/// Stores answer 404 to a write only when the bucket itself is missing.
fn without_bucket(store: &Store, error: Error) -> Error {
    match error {
        Error::NotFound(_) => Error::Invalid(
            format!("the bucket of {store} does not exist: create it first, Strandline does not").into(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests;
