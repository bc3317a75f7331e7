//! `/v1/tasks`: how the ingestion goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use futures::StreamExt;
use serde::Deserialize;
use utoipa::openapi::{RefOr, Response as ApiResponse};
use utoipa::{IntoParams, IntoResponses};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json::{IdPath, Query};
use super::observe::RequestId;
use super::openapi::error_responses;
use super::problem::{ApiError, Code, Problem};
use super::sse::{self, StreamEvents};
use crate::app::App;
use crate::catalogue::{Cursor, Page, Task, TaskStatus};
use crate::invalid::Invalid;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

pub fn router() -> OpenApiRouter<Arc<App>> {
    let mut router =
        OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(events)).routes(routes!(cancel));
    let events = StreamEvents::default().with::<Task>("task").with::<Problem>("error");
    events.describe(router.get_openapi_mut(), |api| api.paths.paths.get_mut("/v1/tasks/{id}/events")?.get.as_mut());
    router
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Tasks with this status only.
    status: Option<TaskStatus>,
    /// Most tasks in the answer, 1 to 1000 (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

struct ListErrors;

impl IntoResponses for ListErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[Code::InvalidQuery, Code::InvalidValue, Code::ShuttingDown]])
    }
}

struct OneErrors;

impl IntoResponses for OneErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[Code::InvalidUtf8, Code::TaskNotFound, Code::ShuttingDown]])
    }
}

struct CancelErrors;

impl IntoResponses for CancelErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[Code::InvalidUtf8, Code::TaskNotFound, Code::TaskEnded, Code::ShuttingDown]])
    }
}

/// List tasks
///
/// The newest first. A task is one accepted request for ingestion.
#[utoipa::path(
    get,
    path = "/v1/tasks",
    operation_id = "list_tasks",
    tag = "Tasks",
    params(ListQuery),
    responses(
        (status = 200, description = "A page of tasks", body = Page<Task>, example = json!({"data": [{
            "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "running", "documents": {"total": 32, "ready": 12, "failed": 0},
            "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": "2026-10-01T12:00:00.100000Z",
            "finished_at": null}], "next_cursor": null})),
        ListErrors
    )
)]
async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> Result<Json<Page<Task>>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Invalid::new("limit", format!("must be 1 to {MAX_LIMIT}, is {limit}")).into());
    }
    let cursor = query.cursor.map(|cursor| Cursor::parse("cursor", &cursor)).transpose()?;
    Ok(Json(app.parts.ingest.tasks(query.status, limit, cursor.as_ref()).await?))
}

/// Show a task
///
/// A task is one accepted request for ingestion. It has ended when its status is `succeeded`, `failed` or `canceled`.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}",
    operation_id = "show_task",
    tag = "Tasks",
    params(("id" = String, Path, description = "The task's id", example = "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867")),
    responses(
        (status = 200, description = "The task", body = Task, example = json!({
            "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "running", "documents": {"total": 32, "ready": 12, "failed": 0},
            "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": "2026-10-01T12:00:00.100000Z", "finished_at": null})),
        OneErrors
    )
)]
async fn show(State(app): State<Arc<App>>, IdPath(id): IdPath) -> Result<Json<Task>, ApiError> {
    found(&app, &id).await.map(Json)
}

const EVENTS_EXAMPLE: &str = r#"event: task
data: {"id":"0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867","status":"running","documents":{"total":32,"ready":12,"failed":0},
data: "error":null,"created_at":"2026-10-01T12:00:00.000000Z","started_at":"2026-10-01T12:00:00.100000Z","finished_at":null}

"#;

/// Watch a task
///
/// Server-sent events: `task`, the task as it is now and whenever it has changed. The stream ends with the task, or with `error` (a problem,
/// as for other errors).
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}/events",
    operation_id = "watch_task",
    tag = "Tasks",
    params(("id" = String, Path, description = "The task's id", example = "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867")),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream", example = json!(EVENTS_EXAMPLE)),
        OneErrors
    )
)]
async fn events(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    IdPath(id): IdPath,
) -> Result<Response, ApiError> {
    let task = found(&app, &id).await?;
    let changes = app.parts.ingest.watch(task).map(|task| task.map_err(ApiError::from));
    Ok(sse::respond(changes.boxed(), app.lifecycle.cut(), request_id, |task| (sse::event("task", &task), task.status.is_final())))
}

/// Cancel a task
///
/// Its documents that are not ready yet are not taken in: those that are new are gone, and one that replaces an earlier revision fails, whose
/// chunks are found as before. Documents that were ready stay. Canceling twice is no error; a task that has ended otherwise is refused.
#[utoipa::path(
    post,
    path = "/v1/tasks/{id}/cancel",
    operation_id = "cancel_task",
    tag = "Tasks",
    params(("id" = String, Path, description = "The task's id", example = "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867")),
    responses(
        (status = 200, description = "The task is canceled", body = Task, example = json!({
            "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "canceled", "documents": {"total": 32, "ready": 12, "failed": 0},
            "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": "2026-10-01T12:00:00.100000Z",
            "finished_at": "2026-10-01T12:00:01.000000Z"})),
        CancelErrors
    )
)]
async fn cancel(State(app): State<Arc<App>>, IdPath(id): IdPath) -> Result<Json<Task>, ApiError> {
    let task = found(&app, &id).await?;
    let task = app.parts.ingest.cancel(task.id).await?.ok_or_else(|| not_found(&id))?;
    if task.status != TaskStatus::Canceled {
        return Err(ApiError::new(Code::TaskEnded, format!("task `{}` has {}", task.id, task.status)).with_field("id"));
    }
    Ok(Json(task))
}

async fn found(app: &App, id: &str) -> Result<Task, ApiError> {
    let task = match id.parse() {
        Ok(id) => app.parts.ingest.task(id).await?,
        Err(_) => None,
    };
    task.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    // The id may be anything, of any length.
    let shown: String = id.chars().take(64).collect();
    ApiError::new(Code::TaskNotFound, format!("there is no task `{}`", shown.escape_default())).with_field("id")
}
