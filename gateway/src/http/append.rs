//! `POST /v1/topics/{topic}/records`: JSON, lines of JSON, or one value as it is.
//!
//! Must not know how batches are made. Invariants: of a body that is taken as a whole nothing is written unless all of it can
//! be read; of lines, those before the first bad one are.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::body::{self, Lines};
use super::door::Door;
use super::params::{Params, Place};
use super::problem::{Kind, Problem, ProblemDetails};
use super::record::{Incoming, NewRecord};
use super::writer::{Appended, Defaults, Once, Target, Writer};
use crate::limits::{HTTP_BATCHES_IN_FLIGHT, HTTP_RECORDS};

/// The header that makes a request be written once (IETF draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const KEY_BYTES: usize = 255;

/// For all records that do not say it themselves.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AppendParams {
    /// The partition.
    #[param(minimum = 0, nullable = false)]
    partition: Option<u32>,
    /// The key of a record whose body is its value as it is.
    #[param(nullable = false)]
    key: Option<String>,
    /// Milliseconds since 1970.
    #[param(minimum = 0, nullable = false)]
    timestamp: Option<i64>,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Json,
    Lines,
    Value,
}

impl Shape {
    fn of(headers: &HeaderMap) -> Result<Shape, Problem> {
        let refused = |detail: &str| Err(Problem::new(Kind::UnsupportedMediaType, detail));
        let Some(kind) = headers.get(header::CONTENT_TYPE) else {
            return refused(
                "say what the body is: Content-Type: application/json, application/x-ndjson, or any other kind for one value as it is",
            );
        };
        let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/json" => Ok(Shape::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Shape::Lines),
            // curl's own choice, which nobody means.
            "application/x-www-form-urlencoded" | "multipart/form-data" => {
                refused("a form is no record; with curl say -H 'Content-Type: application/json'")
            }
            kind if !kind.contains('/') => refused("this is no Content-Type"),
            _ => Ok(Shape::Value),
        }
    }
}

/// Append records
///
/// JSON is one record or a list of them; NDJSON is one record a line, as many as you like, and is written as it comes; any
/// other kind of body is the value of one record. The answer says that all records are in the store. The order of records
/// of a partition is that of the request.
///
/// A request with an `Idempotency-Key` may be sent again, to any node: it is written once, and the answer is the same. Keys
/// are remembered for a day, and by each partition as long as not 10,000 others have written there since.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/records", tag = "Records", operation_id = "append",
    params(
        ("topic" = String, Path, description = "The topic; it must be there"),
        AppendParams,
        ("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255, description = "A name of this request, of your choice"),
    ),
    request_body(content(
        (Vec<NewRecord> = "application/json"),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "All records are in the store", body = Appended),
        (status = "default", description = "What is wrong", body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn append(
    State(door): State<Door>,
    Place(topic): Place<String>,
    Params(params): Params<AppendParams>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Appended>, Problem> {
    let (shape, key, target) = prepare(&door, &topic, &params, &headers).await?;
    let defaults = Defaults { partition: params.partition, timestamp: params.timestamp };
    let topic = target.id;
    let mut writer = Writer::new(&door, target, defaults, shape != Shape::Lines);
    let written = match (shape, &key) {
        (Shape::Lines, None) => stream(&door, &mut writer, body).await,
        _ => {
            let (whole, admission) = body::whole(&door, body).await?;
            if let Some(key) = key {
                let query = uri.query().unwrap_or_default();
                writer.once(Once::new(topic, &key, &[&[shape as u8], query.as_bytes(), b"\0", &whole]));
            }
            take_whole(&mut writer, shape, params.key.as_deref(), &whole)?;
            writer.send(&admission)
        }
    };
    let settled = writer.finish().await;
    // What is not known goes before what was refused.
    match settled.and(written) {
        Ok(()) => Ok(Json(writer.answer())),
        Err(problem) => Err(problem.with("appended", writer.acknowledged())),
    }
}

/// What can be said before the body is read.
async fn prepare(
    door: &Door,
    topic: &str,
    params: &AppendParams,
    headers: &HeaderMap,
) -> Result<(Shape, Option<Bytes>, Target), Problem> {
    let shape = Shape::of(headers)?;
    let key = idempotency_key(headers)?;
    if params.key.is_some() && shape != Shape::Value {
        let detail = "key is for a body that is one value; records of JSON have keys of their own";
        return Err(Problem::new(Kind::InvalidRequest, detail));
    }
    if params.timestamp.is_some_and(|at| at < 0) {
        return Err(Problem::new(
            Kind::InvalidRequest,
            "timestamp is in milliseconds since 1970, not negative",
        ));
    }
    if key.is_some() {
        // To be written where it was the last time, it must be shared out over as many partitions.
        door.catch_up().await?;
    }
    Ok((shape, key, target(door, topic, params.partition).await?))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Bytes>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match key.len() {
        1..=KEY_BYTES => Ok(Some(Bytes::copy_from_slice(key.as_bytes()))),
        _ => {
            let detail = format!("an Idempotency-Key has 1 to {KEY_BYTES} bytes");
            Err(Problem::new(Kind::InvalidRequest, detail))
        }
    }
}

/// Where the records go. A partition that is not known here costs one read of the journal's end.
async fn target(door: &Door, name: &str, partition: Option<u32>) -> Result<Target, Problem> {
    let look = || {
        door.topic(name, |_, topic| Target {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partitions.len() as u32,
            rules: topic.rules(),
        })
    };
    let lacks = |found: &Target| partition.filter(|partition| *partition >= found.partitions);
    let mut found = look().await?;
    if lacks(&found).is_some() {
        door.catch_up().await?;
        found = look().await?;
    }
    match lacks(&found) {
        Some(partition) => Err(Problem::unknown_partition(partition, found.partitions as usize)),
        None => Ok(found),
    }
}

fn take_whole(writer: &mut Writer, shape: Shape, key: Option<&str>, body: &[u8]) -> Result<(), Problem> {
    match shape {
        Shape::Json => {
            for (number, record) in json_records(body)?.into_iter().enumerate() {
                let place = |problem: Problem| problem.with("record", number);
                let record = Incoming::read(record.get().as_bytes()).map_err(|why| place(invalid(why)))?;
                writer.take(&record).map_err(place)?;
            }
            Ok(())
        }
        Shape::Lines => take_lines(writer, body, &mut 0),
        Shape::Value => {
            let key = key.map(|key| key.as_bytes().into());
            writer.take(&Incoming { key, value: Some(body.into()), ..Incoming::default() })
        }
    }
}

/// One record or a list of them.
fn json_records(body: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let read = match is_list {
        true => serde_json::from_slice(body),
        false => serde_json::from_slice(body).map(|record| vec![record]),
    };
    let records: Vec<_> = read.map_err(|error| invalid(error.to_string()))?;
    if records.len() > HTTP_RECORDS {
        let detail = format!("a list has {HTTP_RECORDS} records at most; NDJSON may be as long as it likes");
        return Err(Problem::new(Kind::BodyTooLarge, detail));
    }
    Ok(records)
}

fn invalid(why: String) -> Problem {
    Problem::new(Kind::InvalidRecord, why)
}

/// Takes records line by line; empty lines are none. `number`: lines before these.
fn take_lines(writer: &mut Writer, lines: &[u8], number: &mut u64) -> Result<(), Problem> {
    for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
        *number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let place = |problem: Problem| problem.with("line", *number);
        let record = Incoming::read(line).map_err(|why| place(invalid(why)))?;
        writer.take(&record).map_err(place)?;
    }
    Ok(())
}

/// Writes lines as they come.
async fn stream(door: &Door, writer: &mut Writer, body: Body) -> Result<(), Problem> {
    let mut lines = Lines::new(body);
    let mut number = 0;
    while let Some(window) = lines.next(door).await? {
        let taken = take_lines(writer, &window.lines, &mut number);
        writer.send(&window.admission)?;
        taken?;
        writer.settle(HTTP_BATCHES_IN_FLIGHT).await?;
    }
    Ok(())
}
