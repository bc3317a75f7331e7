//! `/v1/tasks`: how the ingestion goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json::IdPath;
use super::openapi::error_responses;
use super::problem::{ApiError, Code};
use crate::app::App;
use crate::catalogue::Task;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(task))
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_responses(&[&[Code::InvalidUtf8, Code::TaskNotFound, Code::ShuttingDown]])
    }
}

/// Show a task
///
/// A task is one accepted request for ingestion. It has ended when its status is `succeeded`, `failed` or `canceled`.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}",
    tag = "Tasks",
    params(("id" = String, Path, description = "The task's id", example = "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867")),
    responses(
        (status = 200, description = "The task", body = Task, example = json!({
            "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "running", "documents": {"total": 32, "ready": 12, "failed": 0},
            "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": "2026-10-01T12:00:00.100000Z", "finished_at": null})),
        Errors
    )
)]
async fn task(State(app): State<Arc<App>>, IdPath(id): IdPath) -> Result<Json<Task>, ApiError> {
    let task = match id.parse() {
        Ok(id) => app.parts.catalogue.task(id).await?,
        Err(_) => None,
    };
    // The id may be anything, of any length.
    let shown: String = id.chars().take(64).collect();
    task.map(Json).ok_or_else(|| {
        ApiError::new(Code::TaskNotFound, format!("there is no task `{}`", shown.escape_default())).with_field("id")
    })
}
