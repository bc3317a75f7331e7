//! The HTTP server: router, one file a resource, keys and limits, errors, OpenAPI.

mod access;
mod admission;
mod aside;
mod collections;
mod complete;
mod compress;
mod connections;
mod decompress;
mod docs;
mod documents;
mod errors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod idempotency;
mod json;
mod metrics;
mod observe;
mod openai;
mod openapi;
mod pace;
mod pages;
mod problem;
mod retrieve;
mod score;
mod server;
mod serving;
mod sse;
mod tasks;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use complete::CompletionResponse;
pub use problem::{ApiError, Code, Problem};
pub use retrieve::RetrieveResponse;
pub use serving::{Loading, Server, serve};

use access::Access;

use crate::app::{App, Lifecycle};
use crate::panics;
use crate::settings::Settings;

/// The whole API over `app`.
pub fn router(app: Arc<App>) -> Router {
    let (router, _) = routes().split_for_parts();
    let settings = &app.settings;
    let mut router = router
        .merge(docs::pages())
        .merge(pages::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(RequestDecompressionLayer::new())
        .layer(from_fn_with_state(settings.max_body_bytes.max(settings.max_upload_bytes), decompress::check))
        .layer(from_fn_with_state(settings.body_deadline(), pace::pace))
        .layer(from_fn_with_state(Arc::new(Access::new(Arc::clone(&app))), access::guard))
        .layer(CatchPanicLayer::custom(panicked));
    if !settings.cors_origins.is_empty() {
        router = router.layer(cors(settings));
    }
    let observed = from_fn_with_state(app.lifecycle.clone(), observe::observe);
    router.layer(from_fn(compress::compress)).layer(observed).with_state(app)
}

/// What answers until there is an `App`: that the process lives, and that it takes no work yet.
fn loading_router() -> Router {
    let observed = from_fn_with_state(Lifecycle::default(), observe::observe);
    let mut routes = server::live_router().route("/readyz", get(loading));
    for route in openai::ROUTES {
        // Known, so that the answer has their form.
        routes = routes.route(route, any(loading));
    }
    routes.fallback(loading).method_not_allowed_fallback(loading).layer(observed)
}

async fn loading() -> ApiError {
    ApiError::loading()
}

/// The API's description (OpenAPI 3.1).
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    access::describe(&mut document);
    document
}

fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::Base::openapi())
        .merge(complete::router())
        .merge(openai::router())
        .merge(score::router())
        .merge(retrieve::router())
        .merge(documents::router())
        .merge(collections::router())
        .merge(tasks::router())
        .merge(server::router())
        .merge(metrics::router())
        .merge(docs::router())
}

fn cors(settings: &Settings) -> CorsLayer {
    let origins = &settings.cors_origins;
    let origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(|origin| HeaderValue::from_str(origin).expect("settings allow visible ASCII only")))
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // Clients have their own, as those of OpenAI have `x-stainless-*`; none of them gives a right that its value does not.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([observe::REQUEST_ID, header::RETRY_AFTER, header::LOCATION, idempotency::REPLAYED])
}

async fn not_found(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::new(
        Code::MethodNotAllowed,
        format!("{method} is not a method of this route; the header Allow names those that are"),
    )
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    ApiError::server(Code::Internal, format_args!("a handler panicked: {}", panics::message(&*panic))).into_response()
}
