//! `GET /v1/models`: the model and the embedder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{errors, model_not_found};
use crate::app::App;
use crate::http::json::IdPath;
use crate::http::problem::{ApiError, Code};

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
}

#[derive(Serialize, ToSchema)]
struct ModelList {
    #[schema(value_type = String, example = "list")]
    object: &'static str,
    data: [ModelObject; 2],
}

#[derive(Serialize, ToSchema)]
struct ModelObject {
    /// What requests call it.
    #[schema(example = "retro-nano")]
    id: String,
    #[schema(value_type = String, example = "model")]
    object: &'static str,
    /// When its folder was written, in seconds since 1970; 0 where the file system does not say.
    #[schema(example = 1_790_000_000)]
    created: u64,
    #[schema(value_type = String, example = "retro-server")]
    owned_by: &'static str,
}

struct ListErrors;

impl IntoResponses for ListErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors::responses(&[&[Code::ShuttingDown]])
    }
}

struct OneErrors;

impl IntoResponses for OneErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors::responses(&[&[Code::InvalidUtf8, Code::ModelNotFound, Code::ShuttingDown]])
    }
}

/// List models
///
/// The model, which `POST /v1/completions` takes, and the embedder, which `POST /v1/embeddings` takes.
#[utoipa::path(
    get,
    path = "/v1/models",
    operation_id = "list_models",
    tag = "OpenAI",
    responses(
        (status = 200, description = "The two", body = ModelList, example = json!({"object": "list", "data": [
            {"id": "retro-nano", "object": "model", "created": 1_790_000_000, "owned_by": "retro-server"},
            {"id": "all-MiniLM-L6-v2", "object": "model", "created": 1_790_000_000, "owned_by": "retro-server"}]})),
        ListErrors
    )
)]
async fn list(State(app): State<Arc<App>>) -> Json<ModelList> {
    Json(ModelList { object: "list", data: models(&app).await })
}

/// Show a model
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    operation_id = "show_model",
    tag = "OpenAI",
    params(("id" = String, Path, description = "The model's name", example = "retro-nano")),
    responses(
        (status = 200, description = "The model", body = ModelObject, example = json!({
            "id": "retro-nano", "object": "model", "created": 1_790_000_000, "owned_by": "retro-server"})),
        OneErrors
    )
)]
async fn show(State(app): State<Arc<App>>, IdPath(id): IdPath) -> Result<Json<ModelObject>, ApiError> {
    let found = models(&app).await.into_iter().find(|model| model.id == id);
    found.map(Json).ok_or_else(|| model_not_found(&id, "; GET /v1/models names those that there are"))
}

async fn models(app: &App) -> [ModelObject; 2] {
    let (model, embedder) = (app.parts.model.manifest(), &app.parts.embedder);
    [
        object(&model.name, &app.settings.model.join("retro.json")).await,
        object(embedder.name(), &app.settings.embedder.join("embedder.json")).await,
    ]
}

async fn object(name: &str, file: &Path) -> ModelObject {
    let modified = tokio::fs::metadata(file).await.and_then(|metadata| metadata.modified());
    let created = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
    ModelObject { id: name.to_owned(), object: "model", created, owned_by: "retro-server" }
}
