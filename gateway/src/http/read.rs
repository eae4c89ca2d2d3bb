//! `GET /v1/topics/{topic}/partitions/{partition}/records`: a page of records, and a single one.
//!
//! Must not know where records lie. Invariant: whoever follows `next_offset` (or the link) sees each record once, and none is
//! left out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arrow::ipc::writer::StreamWriter;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use strandline_archive::{Row, RowsBuilder, Unfold};
use strandline_reader::{Isolation, OffsetSpec};
use tokio::time::{Instant, timeout};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::door::Door;
use super::params::{IsolationParam, Nothing, Params, Place, Start, seconds, within};
use super::problem::{Kind, Problem, ProblemDetails};
use super::record::RecordJson;
use super::rows::{self, Found, Rows, Wanted};
use crate::budget::Share;
use crate::limits::{
    FETCH_RESPONSE_BYTES, HTTP_READ_BYTES, HTTP_READ_RECORDS, HTTP_READ_TIMEOUT, HTTP_RECORDS, HTTP_WAIT,
};

/// What is handed to the socket at once.
const PIECE_BYTES: usize = 256 * 1_024;

const NDJSON: &str = "application/x-ndjson";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadParams {
    /// Where to begin: `earliest`, `latest`, an offset, or `@` and a moment: `@2026-07-01T12:00:00Z`, or milliseconds.
    #[param(default = "earliest", nullable = false)]
    from: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 10000, default = 1000, nullable = false)]
    limit: Option<usize>,
    /// About how many bytes; one record comes in any case.
    #[param(minimum = 1, maximum = 16777216, default = 1048576, nullable = false)]
    max_bytes: Option<usize>,
    /// Seconds to wait until there is one.
    #[param(minimum = 0, maximum = 60, default = 0, nullable = false)]
    wait: Option<f64>,
    /// What of transactions is wanted.
    #[param(inline, default = "read-committed", nullable = false)]
    isolation: Option<IsolationParam>,
}

impl ReadParams {
    /// The query of the page that begins at this offset.
    fn next_query(&self, offset: i64) -> String {
        let mut query = format!("from={offset}");
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={value}"));
            }
        };
        add("limit", self.limit.map(|limit| limit.to_string()));
        add("max_bytes", self.max_bytes.map(|bytes| bytes.to_string()));
        add("wait", self.wait.map(|seconds| seconds.to_string()));
        add("isolation", self.isolation.map(|isolation| isolation.name().to_owned()));
        query
    }
}

/// Some records of a partition, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordPage<'a> {
    records: Vec<RecordJson<'a>>,
    /// Where the next page begins.
    next_offset: i64,
    /// The offset that the next record of the partition will get.
    high_watermark: i64,
    /// Up to here all transactions are decided.
    last_stable: i64,
    /// The first offset that is there.
    log_start: i64,
}

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Arrow,
    Bytes,
}

impl Form {
    /// The first of these that the client takes.
    fn of(headers: &HeaderMap, offered: &[(Form, &str)]) -> Result<Form, Problem> {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(&str, f32)> = accepted.flat_map(|list| list.split(',')).map(range).collect();
        let quality = |kind: &str| {
            let (group, _) = kind.split_once('/').unwrap_or((kind, ""));
            let of = |wanted: &str| ranges.iter().find(|(range, _)| range.eq_ignore_ascii_case(wanted));
            // What is named goes before what only a wildcard lets through (RFC 9110, section 12.5.1).
            let found = of(kind).or_else(|| of(&format!("{group}/*"))).or_else(|| of("*/*"));
            found.map_or(if ranges.is_empty() { 1.0 } else { 0.0 }, |(_, quality)| *quality)
        };
        let best = offered.iter().map(|(_, kind)| quality(kind)).fold(0.0, f32::max);
        let found = offered.iter().find(|(_, kind)| best > 0.0 && quality(kind) >= best);
        found.map(|(form, _)| *form).ok_or_else(|| {
            let kinds: Vec<&str> = offered.iter().map(|(_, kind)| *kind).collect();
            Problem::new(Kind::NotAcceptable, format!("there is {}", kinds.join(", ")))
        })
    }
}

/// A range of media types and how much it is wanted.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
    (kind, quality.unwrap_or(1.0))
}

/// Read records
///
/// A page of a partition, as JSON, as NDJSON, or as an Arrow IPC stream (`Accept`). The header `Link` leads to the next one.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/partitions/{partition}/records", tag = "Records", operation_id = "read",
    params(
        ("topic" = String, Path, description = "The topic"),
        ("partition" = u32, Path, description = "The partition, from 0 on"),
        ReadParams,
    ),
    responses(
        (status = 200, description = "Records, perhaps none", content(
            (RecordPage = "application/json"), (String = "application/x-ndjson"), (Vec<u8> = "application/vnd.apache.arrow.stream"),
        ), headers(
            ("Strandline-Next-Offset" = i64, description = "Where the next page begins"),
            ("Strandline-High-Watermark" = i64, description = "The offset that the next record will get"),
            ("Link" = String, description = "The next page"),
        )),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read(
    State(door): State<Door>,
    Place((topic, partition)): Place<(String, u32)>,
    Params(params): Params<ReadParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::of(&headers, &[(Form::Json, JSON), (Form::Lines, NDJSON), (Form::Arrow, ARROW)])?;
    let limit = within("limit", params.limit, HTTP_READ_RECORDS, 1..=HTTP_RECORDS)?;
    let max_bytes = within("max_bytes", params.max_bytes, HTTP_READ_BYTES, 1..=FETCH_RESPONSE_BYTES)?;
    let wait = seconds("wait", params.wait, HTTP_WAIT)?;
    let isolation = Isolation::from(params.isolation.unwrap_or_default());
    let start = params.from.as_deref().map_or(Ok(Start::Spec(OffsetSpec::Earliest)), Start::read)?;
    let id = door.topic(&topic, |_, topic| topic.id).await?;
    let offset = start_at(&door, (id, partition), start, isolation).await?;
    let wanted = Wanted { topic: id, partition, offset, max_bytes, limit };
    let (rows, share) = some(&door, wanted, i64::MAX, isolation, wait).await?;
    let next = rows.next_offset;
    let (high_watermark, internal) = (rows.high_watermark, |error| Problem::internal(&error));
    let mut response = match form {
        Form::Arrow => answer(ARROW, arrow_stream(&door, id, partition, rows.found)?, share),
        Form::Lines => answer(NDJSON, lines(&topic, partition, &rows), share),
        Form::Json | Form::Bytes => {
            answer(JSON, serde_json::to_vec(&page(&topic, partition, &rows)).map_err(internal)?, share)
        }
    };
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), params.next_query(next));
    for (name, value) in [
        (HeaderName::from_static("strandline-next-offset"), next.to_string()),
        (HeaderName::from_static("strandline-high-watermark"), high_watermark.to_string()),
        (header::LINK, link),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// Read one record
///
/// As JSON, or its value alone, byte for byte, with `Accept: application/octet-stream`.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/partitions/{partition}/records/{offset}", tag = "Records", operation_id = "read_one",
    params(
        ("topic" = String, Path, description = "The topic"),
        ("partition" = u32, Path, description = "The partition, from 0 on"),
        ("offset" = i64, Path, minimum = 0, description = "The offset"),
    ),
    responses(
        (status = 200, description = "The record", content((RecordJson = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = 204, description = "The record has no value"),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn read_one(
    State(door): State<Door>,
    Params(Nothing {}): Params<Nothing>,
    Place((topic, partition, offset)): Place<(String, u32, i64)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::of(&headers, &[(Form::Json, JSON), (Form::Bytes, BYTES)])?;
    let id = door.topic(&topic, |_, topic| topic.id).await?;
    let wanted = Wanted { topic: id, partition, offset, max_bytes: 1, limit: 1 };
    let (rows, share) =
        some(&door, wanted, offset.saturating_add(1), Isolation::ReadCommitted, Duration::ZERO).await?;
    let found = rows.found.into_iter().find(|found| found.offset == offset).ok_or_else(|| {
        let detail = format!(
            "there is no record at offset {offset}: it is not written, not decided, or was compacted away"
        );
        Problem::new(Kind::UnknownRecord, detail)
    })?;
    if form == Form::Bytes {
        return Ok(match found.record.value {
            Some(value) => answer(BYTES, value, share),
            None => StatusCode::NO_CONTENT.into_response(),
        });
    }
    let record = RecordJson::new(&topic, partition, offset, &found.record);
    let json = serde_json::to_vec(&record).map_err(|error| Problem::internal(&error))?;
    Ok(answer(JSON, json, share))
}

/// An answer that gives back its share of the node's memory only when its client has taken nearly all of it.
fn answer(kind: &'static str, bytes: impl Into<Bytes>, share: Option<Share>) -> Response {
    let bytes: Bytes = bytes.into();
    let length = bytes.len();
    let pieces = stream::unfold((bytes, share), async |(mut left, share)| {
        let piece = left.split_to(left.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (left, share)))
    });
    let length = [(header::CONTENT_LENGTH, length)].map(|(name, length)| (name, length.to_string()));
    ([(header::CONTENT_TYPE, kind)], length, Body::from_stream(pieces.fuse())).into_response()
}

/// The offset at which reading begins.
pub(super) async fn start_at(
    door: &Door,
    (topic, partition): (Uuid, u32),
    start: Start,
    isolation: Isolation,
) -> Result<i64, Problem> {
    let spec = match start {
        Start::Offset(offset) => return Ok(offset),
        Start::Spec(spec) => spec,
    };
    let look = async {
        let found = door.reader.offset_at(topic, partition, spec, isolation).await?;
        if found.offset >= 0 {
            return Ok(found.offset);
        }
        // No record is so young: those that are to come are.
        Ok(door.reader.offset_at(topic, partition, OffsetSpec::Latest, isolation).await?.offset)
    };
    timeout(HTTP_READ_TIMEOUT, look).await.unwrap_or_else(|_| Err(Problem::unanswered()))
}

/// Pulls until there is a record, or nothing more to come. There is nothing only after the journal was read to its end: what
/// another node has acknowledged is there.
/// Nobody wants what lies at `stop` or behind it.
async fn some(
    door: &Door,
    wanted: Wanted,
    stop: i64,
    isolation: Isolation,
    wait: Duration,
) -> Result<(Rows, Option<Share>), Problem> {
    let pulled = timeout(wait + HTTP_READ_TIMEOUT, pull_some(door, wanted, stop, isolation, wait)).await;
    pulled.unwrap_or_else(|_| Err(Problem::unanswered()))
}

async fn pull_some(
    door: &Door,
    mut wanted: Wanted,
    stop: i64,
    isolation: Isolation,
    wait: Duration,
) -> Result<(Rows, Option<Share>), Problem> {
    let until = Instant::now() + wait;
    let mut caught_up = false;
    loop {
        // Only who has seen the end waits there.
        let left = if caught_up { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
        let pulled = rows::pull(door, &[wanted], isolation, left).await;
        let (mut rows, share) = pulled.ok_or_else(Problem::stopping)?;
        let rows = rows.pop().ok_or_else(|| Problem::new(Kind::Internal, "the reader gave no answer"))??;
        let end = match isolation {
            Isolation::ReadCommitted => rows.last_stable,
            Isolation::ReadUncommitted => rows.high_watermark,
        };
        // What was read may have been the ends of transactions, or what compaction left empty.
        let more = rows.next_offset > wanted.offset && rows.next_offset < end.min(stop);
        if !rows.found.is_empty() || (!more && caught_up && Instant::now() >= until) {
            return Ok((rows, share));
        }
        if !more && !caught_up {
            door.catch_up().await?;
            caught_up = true;
        }
        wanted.offset = rows.next_offset;
    }
}

fn page<'a>(topic: &'a str, partition: u32, rows: &'a Rows) -> RecordPage<'a> {
    let Rows { next_offset, high_watermark, last_stable, log_start, .. } = *rows;
    RecordPage {
        records: shown(topic, partition, rows).collect(),
        next_offset,
        high_watermark,
        last_stable,
        log_start,
    }
}

fn shown<'a>(topic: &'a str, partition: u32, rows: &'a Rows) -> impl Iterator<Item = RecordJson<'a>> {
    rows.found.iter().map(move |found| RecordJson::new(topic, partition, found.offset, &found.record))
}

fn lines(topic: &str, partition: u32, rows: &Rows) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in shown(topic, partition, rows) {
        // Into memory, and of strings and numbers: nothing can fail.
        if serde_json::to_writer(&mut lines, &record).is_ok() {
            lines.push(b'\n');
        }
    }
    lines
}

/// The same columns as an export has.
fn arrow_stream(door: &Door, topic: Uuid, partition: u32, found: Vec<Found>) -> Result<Vec<u8>, Problem> {
    let configs = door.journal.view(|manifest| manifest.topic(&topic).map(|topic| topic.configs.clone()));
    let unfold =
        Unfold::of_configs(&configs.unwrap_or_default()).map_err(|error| Problem::internal(&error))?;
    let mut builder = RowsBuilder::new(partition, unfold.map(Arc::new));
    for Found { offset, append_time, record } in found {
        let (key, value, headers) = (record.key, record.value, record.headers);
        builder.push(&Row { offset, timestamp: record.timestamp, append_time, key, value, headers });
    }
    let rows = builder.finish().map_err(|error| Problem::internal(&error))?;
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
        if rows.num_rows() > 0 {
            writer.write(&rows)?;
        }
        writer.into_inner()
    };
    write().map_err(|error| Problem::internal(&error))
}
