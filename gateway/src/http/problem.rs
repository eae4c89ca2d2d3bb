//! What a client hears when something does not work: problem details (RFC 9457).
//!
//! Must not know handlers. Invariants: what may have taken effect, or may work later, is said to be so (503, with
//! `Retry-After`), and never looks like a refusal; what the store said stays in the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use strandline_core::Error;
use strandline_core::manifest::Void;
use strandline_ingest::AppendError;
use strandline_reader::ReadError;
use tracing::{debug, warn};
use utoipa::ToSchema;

use crate::errors;

/// The media type of problems.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// What comes before the name of a problem in its type.
const TYPE: &str = "urn:strandline:problem:";

/// The kinds of problems: their names never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    InvalidRequest,
    CrossSite,
    NotFound,
    UnknownTopic,
    UnknownPartition,
    UnknownRecord,
    UnknownGroup,
    MethodNotAllowed,
    NotAcceptable,
    Timeout,
    TopicExists,
    GroupNotEmpty,
    Conflict,
    BodyTooLarge,
    RecordTooLarge,
    UnsupportedMediaType,
    OffsetOutOfRange,
    InvalidRecord,
    InvalidTopic,
    InvalidConfig,
    IdempotencyKeyReused,
    LimitReached,
    Internal,
    Unavailable,
    TooBusy,
}

impl Kind {
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Kind::InvalidRequest => ("invalid-request", S::BAD_REQUEST, "The request makes no sense"),
            Kind::CrossSite => ("cross-site", S::FORBIDDEN, "Another site's page may not do this"),
            Kind::NotFound => ("not-found", S::NOT_FOUND, "There is nothing here"),
            Kind::UnknownTopic => ("unknown-topic", S::NOT_FOUND, "The topic does not exist"),
            Kind::UnknownPartition => ("unknown-partition", S::NOT_FOUND, "The partition does not exist"),
            Kind::UnknownRecord => ("unknown-record", S::NOT_FOUND, "There is no such record"),
            Kind::UnknownGroup => ("unknown-group", S::NOT_FOUND, "The group does not exist"),
            Kind::MethodNotAllowed => {
                ("method-not-allowed", S::METHOD_NOT_ALLOWED, "Another method is needed")
            }
            Kind::NotAcceptable => ("not-acceptable", S::NOT_ACCEPTABLE, "There is no such form of it"),
            Kind::Timeout => ("timeout", S::REQUEST_TIMEOUT, "The request came too slowly"),
            Kind::TopicExists => ("topic-exists", S::CONFLICT, "The topic exists"),
            Kind::GroupNotEmpty => ("group-not-empty", S::CONFLICT, "The group has members"),
            Kind::Conflict => ("conflict", S::CONFLICT, "Somebody else changed it"),
            Kind::BodyTooLarge => ("body-too-large", S::PAYLOAD_TOO_LARGE, "The body is too large"),
            Kind::RecordTooLarge => ("record-too-large", S::PAYLOAD_TOO_LARGE, "A record is too large"),
            Kind::UnsupportedMediaType => {
                ("unsupported-media-type", S::UNSUPPORTED_MEDIA_TYPE, "The body is of another kind")
            }
            Kind::OffsetOutOfRange => {
                ("offset-out-of-range", S::RANGE_NOT_SATISFIABLE, "The offset is out of range")
            }
            Kind::InvalidRecord => ("invalid-record", S::UNPROCESSABLE_ENTITY, "A record cannot be taken"),
            Kind::InvalidTopic => ("invalid-topic", S::UNPROCESSABLE_ENTITY, "The topic cannot be so"),
            Kind::InvalidConfig => ("invalid-config", S::UNPROCESSABLE_ENTITY, "The configs cannot be so"),
            Kind::IdempotencyKeyReused => (
                "idempotency-key-reused",
                S::UNPROCESSABLE_ENTITY,
                "The idempotency key is that of another request",
            ),
            Kind::LimitReached => {
                ("limit-reached", S::TOO_MANY_REQUESTS, "A limit of the cluster is reached")
            }
            Kind::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "Something is wrong here"),
            Kind::Unavailable => ("unavailable", S::SERVICE_UNAVAILABLE, "Not now, or not known: try again"),
            Kind::TooBusy => ("too-busy", S::SERVICE_UNAVAILABLE, "Too much is going on: try again"),
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    more: Map<String, Value>,
}

/// Problem details for an HTTP API (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemDetails<'a> {
    /// The kind of problem: `urn:strandline:problem:` and a name that never changes.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: &'a str,
    /// The status code.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: &'a str,
    /// Further members, by kind: `log_start`, `high_watermark`, `line`, `record`, `appended`.
    #[serde(flatten)]
    #[schema(ignore)]
    more: &'a Map<String, Value>,
}

impl Problem {
    /// Of a kind, with what is wrong this time.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), more: Map::new() }
    }

    /// With one more member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Whether it is of this kind.
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    /// No topic of this name, also after reading the journal to its end.
    pub(super) fn unknown_topic(name: &str) -> Problem {
        let shown: String = name.chars().take(255).collect();
        Problem::new(Kind::UnknownTopic, format!("there is no topic {shown}; POST /v1/topics makes one"))
    }

    /// The topic has fewer partitions.
    pub(super) fn unknown_partition(partition: u32, partitions: usize) -> Problem {
        let detail = format!("there is no partition {partition}: the topic has {partitions}, counted from 0");
        Problem::new(Kind::UnknownPartition, detail)
    }

    /// The node does not take or does not finish requests any more.
    pub(super) fn stopping() -> Problem {
        Problem::new(Kind::Unavailable, "the node is shutting down; try again at another")
    }

    /// Something that cannot be, here.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Problem {
        Problem::new(Kind::Internal, format!("the answer cannot be made: {error}"))
    }

    /// The store is silent.
    pub(super) fn unanswered() -> Problem {
        Problem::new(Kind::Unavailable, "the object store does not answer; try again")
    }

    /// A change that the fold refused.
    pub(super) fn void(void: &Void) -> Problem {
        let kind = match void {
            Void::TopicExists => Kind::TopicExists,
            Void::UnknownTopic => Kind::UnknownTopic,
            Void::UnknownPartition => Kind::UnknownPartition,
            Void::InvalidTopicName | Void::InvalidPartitions => Kind::InvalidTopic,
            Void::LimitReached => Kind::LimitReached,
            Void::UnknownGroup => Kind::UnknownGroup,
            // Whoever commits without being a member may do so only while there are none.
            Void::GroupNotEmpty | Void::UnknownMember => Kind::GroupNotEmpty,
            // Nothing was written and the same request may hold the next time.
            Void::Stale | Void::SeenBefore => Kind::Unavailable,
            _ => Kind::Conflict,
        };
        Problem::new(kind, void.to_string())
    }

    /// A body that ended before its end, or was not what it said.
    pub(super) fn body(error: &axum::Error) -> Problem {
        Problem::new(Kind::InvalidRequest, format!("the body cannot be read: {error}"))
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Problem {
        use strandline_core::Kind as K;
        let kind = match error.kind() {
            K::Unavailable | K::Unknown | K::Closed => Kind::Unavailable,
            K::Denied | K::NotFound | K::Corrupt | K::Unsupported => Kind::Internal,
            K::Invalid => Kind::InvalidRequest,
        };
        Problem::new(kind, errors::journal_text(error))
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Problem {
        let kind = match &error {
            AppendError::UnknownTopic => Kind::UnknownTopic,
            AppendError::UnknownPartition => Kind::UnknownPartition,
            AppendError::TooLarge { .. } => Kind::RecordTooLarge,
            AppendError::Keyless(_) | AppendError::InvalidTimestamp(_) | AppendError::Invalid(_) => {
                Kind::InvalidRecord
            }
            // Only what has an idempotency key has sequence numbers here.
            AppendError::OutOfOrderSequence | AppendError::DuplicateSequence => {
                let detail = "another request came with this idempotency key before";
                return Problem::new(Kind::IdempotencyKeyReused, detail);
            }
            AppendError::Unavailable(_) | AppendError::Closed => Kind::Unavailable,
            other => {
                warn!(error = %other, "a batch that was made here was refused");
                Kind::Internal
            }
        };
        Problem::new(kind, errors::append_text(&error).replace("the batch is", "the records are"))
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::UnknownTopic => Problem::new(Kind::UnknownTopic, error.to_string()),
            ReadError::UnknownPartition => Problem::new(Kind::UnknownPartition, error.to_string()),
            ReadError::OutOfRange { log_start, high_watermark } => {
                Problem::new(Kind::OffsetOutOfRange, error.to_string())
                    .with("log_start", log_start)
                    .with("high_watermark", high_watermark)
            }
            ReadError::Corrupt(why) => {
                warn!(why, "records cannot be read");
                Problem::new(Kind::Internal, "the records are damaged in the store; the node's log says more")
            }
            ReadError::Unavailable(why) => {
                debug!(why, "records cannot be read now");
                Problem::unanswered()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (name, status, title) = self.kind.parts();
        let details = ProblemDetails {
            kind: format!("{TYPE}{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            more: &self.more,
        };
        // Strings and numbers: there is nothing that could not be written.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
