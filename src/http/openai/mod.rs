//! The routes for OpenAI's clients: `/v1/completions`, `/v1/embeddings` and `/v1/models`.

mod answer;
mod completions;
mod embeddings;
mod errors;
mod logprobs;
mod models;
mod request;
mod stream;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

#[cfg(any(test, fuzzing))]
pub(super) use embeddings::EmbeddingRequest;
pub use errors::{FORM as ERRORS, OpenAiError, render};

#[cfg(any(test, fuzzing))]
pub(super) use request::TextCompletionRequest;

use super::problem::{ApiError, Code};
use crate::app::App;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(completions::router()).merge(embeddings::router()).merge(models::router())
}

/// As the router writes them.
pub const ROUTES: [&str; 4] = ["/v1/completions", "/v1/embeddings", "/v1/models", "/v1/models/{id}"];

/// Whether a route, as the router writes it, speaks OpenAI's language, errors included.
pub fn is_route(route: &str) -> bool {
    ROUTES.contains(&route)
}

/// # Errors
/// `given` is not `served`, the one that this route has.
fn check_model(given: &str, served: &str) -> Result<(), ApiError> {
    if given == served {
        return Ok(());
    }
    Err(model_not_found(given, &format!("; this route has `{served}`")))
}

/// `more` says what there is.
fn model_not_found(given: &str, more: &str) -> ApiError {
    // The name may be anything, of any length.
    let shown: String = given.chars().take(64).collect();
    let detail = format!("there is no model `{}`{more}", shown.escape_default());
    ApiError::new(Code::ModelNotFound, detail).with_field("model")
}
