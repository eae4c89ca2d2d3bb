//! DeleteTopics: by name, from v6 also by id.
//!
//! Must not know what becomes of the records. Invariant: a name is turned into an id once, so that a topic which is
//! deleted and made again in the meantime is not deleted twice.

use futures_util::{StreamExt, stream};
use strandline_kafka::api::ApiKey;
use strandline_kafka::error::ErrorCode;
use strandline_kafka::messages::delete_topics::{Request, Response, TopicResult};
use uuid::Uuid;

use crate::errors;
use crate::limits::SIDE_BY_SIDE;
use crate::metrics;
use crate::session::Session;
use crate::topics::{self, Wanted};

/// The first version that names topics by id.
const BY_ID: i16 = 6;

/// Deletes the topics, several at a time.
pub(crate) async fn answer(session: &Session, version: i16, request: Request) -> Response {
    let wanted: Vec<Wanted<'_>> = match version >= BY_ID {
        true => topics::once(request.topics.iter().map(|topic| match &topic.name {
            Some(name) => Wanted::Name(name),
            None => Wanted::new(true, "", topic.topic_id),
        })),
        false => topics::once(request.topic_names.iter().map(|name| Wanted::Name(name))),
    };
    let found = topics::resolve_latest(session, &wanted, |topic| (topic.id, topic.name.clone())).await;
    let results = found.into_iter().zip(wanted).map(|(found, wanted)| async move {
        let deleted = match &found {
            Ok((id, _)) => delete(session, *id, wanted.unknown()).await,
            Err(code) => Err((*code, None)),
        };
        result(wanted, found.ok(), deleted)
    });
    let results: Vec<_> = results.collect();
    let responses = stream::iter(results).buffered(SIDE_BY_SIDE).collect().await;
    Response { responses, ..Response::default() }
}

async fn delete(session: &Session, id: Uuid, unknown: ErrorCode) -> Result<(), (ErrorCode, Option<String>)> {
    match session.journal.delete_topic(id).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(void)) => match errors::void(&void) {
            ErrorCode::UnknownTopicOrPartition => Err((unknown, None)),
            code => Err((code, Some(void.to_string()))),
        },
        Err(error) => Err((errors::journal(&error), Some(errors::journal_text(&error)))),
    }
}

fn result(
    wanted: Wanted<'_>,
    found: Option<(Uuid, String)>,
    deleted: Result<(), (ErrorCode, Option<String>)>,
) -> TopicResult {
    let (topic_id, name) = match (found, wanted) {
        (Some((id, name)), _) => (id, Some(name)),
        (None, Wanted::Name(name)) => (Uuid::nil(), Some(name.to_owned())),
        (None, Wanted::Id(id)) => (id, None),
    };
    let (code, error_message) = deleted.err().unwrap_or((ErrorCode::None, None));
    TopicResult {
        name,
        topic_id: topic_id.into_bytes(),
        error_code: metrics::failed(ApiKey::DeleteTopics, code),
        error_message,
    }
}
