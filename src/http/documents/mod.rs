//! `/v1/documents`: what the database knows.

mod chunks;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod remove;
mod submit;
mod take_in;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Response as ApiResponse};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json::{IdPath, Query};
use super::openapi::error_responses;
use super::problem::{ApiError, Code};
use crate::app::App;
use crate::catalogue::{Cursor, Document, Page};
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

pub fn router() -> OpenApiRouter<Arc<App>> {
    let router = OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, delete));
    // A document may be called `delete`, and the route of that name would hide it.
    let hidden = get(show).put(submit::replace).delete(delete);
    router.merge(submit::router()).merge(remove::router()).merge(chunks::router()).route(remove::PATH, hidden)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Documents of this collection only.
    #[param(value_type = Option<CollectionName>, inline)]
    collection: Option<String>,
    /// Most documents in the answer, 1 to 1000 (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^([0-9a-f]{2})+$")]
    cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShowQuery {
    /// Add the document's text.
    #[serde(default)]
    text: bool,
}

#[derive(Serialize, ToSchema)]
struct DocumentView {
    #[serde(flatten)]
    document: Document,
    /// The whole text, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
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
        error_responses(&[&[
            Code::InvalidQuery,
            Code::InvalidUtf8,
            Code::InvalidValue,
            Code::DocumentNotFound,
            Code::CollectionMadeAnew,
            Code::ShuttingDown,
        ]])
    }
}

/// What made the chunks does not matter to their removal.
struct DeleteErrors;

impl IntoResponses for DeleteErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[Code::InvalidUtf8, Code::InvalidValue, Code::DocumentNotFound, Code::ShuttingDown]])
    }
}

/// List documents
///
/// In the order of their creation.
#[utoipa::path(
    get,
    path = "/v1/documents",
    operation_id = "list_documents",
    tag = "Documents",
    params(ListQuery),
    responses(
        (status = 200, description = "A page of documents", body = Page<Document>, example = json!({"data": [{
            "id": "poseidonis", "collection": "default", "title": "Poseidonis", "source": "https://example.org/atlantis",
            "metadata": {"year": 2026}, "status": "ready", "error": null, "chunks": 1, "tokens": 19, "bytes": 82,
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "revision": 1,
            "task_id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867",
            "created_at": "2026-10-01T12:00:00.000000Z", "updated_at": "2026-10-01T12:00:00.300000Z"}], "next_cursor": null})),
        ListErrors
    )
)]
async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> Result<Json<Page<Document>>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Invalid::new("limit", format!("must be 1 to {MAX_LIMIT}, is {limit}")).into());
    }
    let collection = query.collection.map(|name| CollectionName::parse("collection", &name)).transpose()?;
    let cursor = query.cursor.map(|cursor| Cursor::parse("cursor", &cursor)).transpose()?;
    Ok(Json(app.parts.ingest.documents(collection.as_ref(), limit, cursor.as_ref()).await?))
}

/// Show a document
#[utoipa::path(
    get,
    path = "/v1/documents/{id}",
    operation_id = "show_document",
    tag = "Documents",
    params(("id" = inline(DocumentId), Path, description = "The document's id", example = "poseidonis"), ShowQuery),
    responses(
        (status = 200, description = "The document", body = DocumentView, example = json!({
            "id": "poseidonis", "collection": "default", "title": "Poseidonis", "source": "https://example.org/atlantis",
            "metadata": {"year": 2026}, "status": "ready", "error": null, "chunks": 1, "tokens": 19, "bytes": 82,
            "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "revision": 1,
            "task_id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867",
            "created_at": "2026-10-01T12:00:00.000000Z", "updated_at": "2026-10-01T12:00:00.300000Z",
            "text": "Poseidonis is the capital of Atlantis. It lies on the eastern shore of the island."})),
        OneErrors
    )
)]
async fn show(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    Query(query): Query<ShowQuery>,
) -> Result<Json<DocumentView>, ApiError> {
    let id = DocumentId::parse("id", &id)?;
    let document = app.parts.ingest.document(&id).await?.ok_or_else(|| not_found(&id))?;
    let text = if query.text { Some(app.parts.ingest.document_text(&id).await?.ok_or_else(|| not_found(&id))?) } else { None };
    Ok(Json(DocumentView { document, text }))
}

/// Delete a document
///
/// When this has answered, no search finds a chunk of it; only one that asks for an earlier version with `as_of` does.
#[utoipa::path(
    delete,
    path = "/v1/documents/{id}",
    operation_id = "delete_document",
    tag = "Documents",
    params(("id" = inline(DocumentId), Path, description = "The document's id", example = "poseidonis")),
    responses((status = 204, description = "The document is gone"), DeleteErrors)
)]
async fn delete(State(app): State<Arc<App>>, IdPath(id): IdPath) -> Result<StatusCode, ApiError> {
    let id = DocumentId::parse("id", &id)?;
    if app.parts.ingest.delete(&id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(&id)) }
}

fn not_found(id: &DocumentId) -> ApiError {
    ApiError::new(Code::DocumentNotFound, format!("there is no document `{id}`")).with_field("id")
}
