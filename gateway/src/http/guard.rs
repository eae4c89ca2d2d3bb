//! What every request of the API must pass before a handler sees it.
//!
//! Must not know handlers. Invariants: the number of requests that are worked on is bounded; a page of another site cannot
//! have a browser write here; after the node began to stop nothing new begins.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::door::Door;
use super::problem::{Kind, Problem};
use crate::metrics;
use crate::phase::Phase;

/// Lets a request through, or says why not; and counts it.
pub(super) async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let permit = door.requests.try_acquire();
    let refused = match &permit {
        _ if door.phases.now() >= Phase::Stopping => Some(Problem::stopping()),
        Err(_) => Some(Door::too_busy("requests")),
        Ok(_) => refusal(request.method(), request.headers()),
    };
    let response = match refused {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    metrics::HTTP_REQUESTS.with_label_values(&[method, path.as_str(), response.status().as_str()]).inc();
    response
}

fn refusal(method: &Method, headers: &HeaderMap) -> Option<Problem> {
    // Browsers send it; whoever does not is none, and needs no protection from pages (Fetch Metadata, W3C).
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if !method.is_safe() && matches!(site, Some(b"cross-site" | b"same-site")) {
        let detail = "a page of another site asked for this; let it ask its own server";
        return Some(Problem::new(Kind::CrossSite, detail));
    }
    None
}
