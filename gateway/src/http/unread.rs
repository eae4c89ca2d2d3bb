//! What is left of a request's body when a refusal is ready.
//!
//! Must not know why it was refused. A client that sends does not look for an answer, and a connection that is closed under it
//! takes the answer along: so a refused body is read on for a while, as it comes, before anything unpacks it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;

use crate::limits::{HTTP_DRAIN_BODY, HTTP_DRAIN_BYTES};

/// Answers, and reads what the handler left of the body if it said no.
pub(super) async fn read_on(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = Shared(Arc::new(Mutex::new(body)));
    let left = body.clone();
    let response = next.run(Request::from_parts(head, Body::new(body))).await;
    if !response.status().is_success() {
        let mut bytes = 0;
        let mut left = Body::new(left).into_data_stream();
        let drain = async {
            while let Some(Ok(chunk)) = left.next().await
                && bytes < HTTP_DRAIN_BYTES
            {
                bytes += chunk.len();
            }
        };
        // Whoever sends for longer than this loses the answer.
        let _ = timeout(HTTP_DRAIN_BODY, drain).await;
    }
    response
}

/// A body that the handler reads, and whoever comes after it.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Body>>);

impl hyper::body::Body for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
