//! Every route, and the document that describes them (OpenAPI 3.1).
//!
//! Must not know what handlers do. Invariant: the document is made of the handlers that answer, so that it cannot lie about
//! which there are.

use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Router, middleware};
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::door::Door;
use super::problem::{Kind, Problem};
use super::{append, follow, groups, guard, health, page, read, topics, unpack, unread};

/// What the document says beside the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Strandline",
        description = "A log that lives in object storage, over HTTP. Records that are written here are read by Kafka clients, and the other way round.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "Records", description = "Append, read, follow"),
        (name = "Topics", description = "What there is, and how it is kept"),
        (name = "Groups", description = "Who has read how far"),
    ),
)]
struct Document;

/// All of it.
pub(super) fn router(door: Door) -> Router {
    let (api, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(topics::list, topics::create))
        .routes(routes!(topics::describe, topics::alter, topics::delete))
        .routes(routes!(topics::offsets))
        .routes(routes!(append::append))
        .routes(routes!(read::read))
        .routes(routes!(read::read_one))
        .routes(routes!(follow::follow))
        .routes(routes!(groups::list))
        .routes(routes!(groups::describe, groups::delete))
        .routes(routes!(groups::commit))
        .split_for_parts();
    let page = page::render(&document);
    let document = document.to_json().unwrap_or_default();
    let api = api
        .layer(middleware::from_fn(unpack::unpack))
        .route_layer(middleware::from_fn_with_state(door.clone(), guard::guard))
        .layer(middleware::from_fn(unread::read_on))
        .layer(CompressionLayer::new());
    Router::new()
        .merge(api)
        .route("/", get(async move || Html(page.clone())))
        .route(
            "/openapi.json",
            get(async move || ([(header::CONTENT_TYPE, "application/json")], document.clone())),
        )
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        .with_state(door)
}

async fn nothing() -> impl IntoResponse {
    Problem::new(Kind::NotFound, "there is nothing at this path; /openapi.json says what there is")
}

async fn other_method() -> impl IntoResponse {
    Problem::new(Kind::MethodNotAllowed, "this path takes other methods; the header Allow says which")
}
