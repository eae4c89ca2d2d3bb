//! A body as it comes in: whole, as JSON, or line after line.
//!
//! Must not know records. Invariants: nothing is held that the node's budget for requests was not asked for, but for what
//! lies in one read of the socket; a body that stops coming ends the request.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use strandline_ingest::Admission;
use tokio::time::{Instant, timeout, timeout_at};

use super::door::Door;
use super::problem::{Kind, Problem};
use crate::limits::{FRAME_TIMEOUT, HTTP_BODY_BYTES, HTTP_LINE_BYTES, HTTP_WINDOW_BYTES, IDLE};
use crate::phase::Phase;

/// How long lines that are there wait for more to come, and how long the first of them waits at most.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSES: Duration = Duration::from_millis(200);

/// The whole body, and the right to hold it.
pub(super) async fn whole(door: &Door, body: Body) -> Result<(Bytes, Admission), Problem> {
    let too_large = || {
        let detail = format!("a body has {HTTP_BODY_BYTES} bytes at most; NDJSON may be as long as it likes");
        Problem::new(Kind::BodyTooLarge, detail)
    };
    let known = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if known.is_some_and(|bytes| bytes > HTTP_BODY_BYTES) {
        return Err(too_large());
    }
    let admission = door.ingest.admit(known.unwrap_or(HTTP_BODY_BYTES)).await.map_err(Problem::from)?;
    let mut chunks = body.into_data_stream();
    let mut all = BytesMut::with_capacity(known.unwrap_or(0));
    let read = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| Problem::body(&error))?;
            if all.len() + chunk.len() > HTTP_BODY_BYTES {
                return Err(too_large());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(())
    };
    timeout(FRAME_TIMEOUT, read).await.map_err(|_| slow())??;
    // Packed, or of unknown length, it was asked for as if it was large; what it becomes is about as large again.
    let admission = admission.shrink(2 * all.len());
    Ok((all.freeze(), admission))
}

/// The whole body as JSON of this shape.
pub(super) async fn json<T: DeserializeOwned>(
    door: &Door,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "the body is JSON: say Content-Type: application/json";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    let (bytes, _admission) = whole(door, body).await?;
    serde_json::from_slice(&bytes).map_err(|error| Problem::new(Kind::InvalidRequest, error.to_string()))
}

fn slow() -> Problem {
    Problem::new(Kind::Timeout, "the body did not come in time")
}

/// Some whole lines, and the right to hold them.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) lines: Bytes,
    pub(super) admission: Admission,
}

/// A body of lines.
#[derive(Debug)]
pub(super) struct Lines {
    chunks: BodyDataStream,
    /// What has come and was not given out.
    rest: BytesMut,
    ended: bool,
}

impl Lines {
    pub(super) fn new(body: Body) -> Lines {
        Lines { chunks: body.into_data_stream(), rest: BytesMut::new(), ended: false }
    }

    /// The next lines: a window full of them, or those that are there when no more come for a moment. The last one may lack
    /// its end. `None`: that was all.
    pub(super) async fn next(&mut self, door: &Door) -> Result<Option<Window>, Problem> {
        // Whoever has nothing to say must not hold a part of the budget.
        while self.rest.is_empty() {
            if self.ended {
                return Ok(None);
            }
            tokio::select! {
                biased;
                () = door.phases.reached(Phase::Stopping) => return Err(Problem::stopping()),
                pulled = timeout(IDLE, self.pull()) => pulled.map_err(|_| slow())??,
            }
        }
        let admission = door.ingest.admit(2 * HTTP_WINDOW_BYTES).await.map_err(Problem::from)?;
        let upto = self.gather().await?;
        Ok(Some(Window { lines: self.rest.split_to(upto).freeze(), admission: admission.shrink(2 * upto) }))
    }

    /// Reads on until there is enough. Where the last whole line ends.
    async fn gather(&mut self) -> Result<usize, Problem> {
        let begun = Instant::now();
        let mut looked = 0;
        let mut end = 0;
        loop {
            let fresh = self.rest.get(looked..).unwrap_or_default();
            if let Some(at) = fresh.iter().rposition(|byte| *byte == b'\n') {
                end = looked + at + 1;
            }
            looked = self.rest.len();
            if self.ended {
                return Ok(looked);
            }
            if end >= HTTP_WINDOW_BYTES || (end > 0 && looked - end > HTTP_WINDOW_BYTES) {
                return Ok(end);
            }
            if looked - end > HTTP_LINE_BYTES {
                let detail = format!("a line has {HTTP_LINE_BYTES} bytes at most");
                return Err(Problem::new(Kind::BodyTooLarge, detail));
            }
            let until = match end {
                0 => begun + FRAME_TIMEOUT,
                _ => (Instant::now() + PAUSE).min(begun + PAUSES),
            };
            match timeout_at(until, self.pull()).await {
                Ok(pulled) => pulled?,
                Err(_) if end > 0 => return Ok(end),
                Err(_) => return Err(slow()),
            }
        }
    }

    /// One more piece of the body. May be dropped and called again.
    async fn pull(&mut self) -> Result<(), Problem> {
        match self.chunks.next().await {
            Some(Ok(chunk)) => self.rest.extend_from_slice(&chunk),
            Some(Err(error)) => return Err(Problem::body(&error)),
            None => self.ended = true,
        }
        Ok(())
    }
}
