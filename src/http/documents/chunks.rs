//! `GET /v1/documents/{id}/chunks`: a document as the database holds it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{DEFAULT_LIMIT, MAX_LIMIT, OneErrors, not_found};
use crate::app::App;
use crate::catalogue::Page;
use crate::http::json::{IdPath, Query};
use crate::http::problem::ApiError;
use crate::invalid::Invalid;
use crate::names::DocumentId;
use crate::neighbours::StoredChunk;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(chunks))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ChunksQuery {
    /// Most chunks in the answer, 1 to 1000 (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{1,9}$")]
    cursor: Option<String>,
}

/// List the chunks of a document
///
/// What a search finds of it, in order: the pieces of at most 64 tokens that its text was cut in. A document that is not ready has none, or
/// those of its earlier revision.
#[utoipa::path(
    get,
    path = "/v1/documents/{id}/chunks",
    operation_id = "list_chunks",
    tag = "Documents",
    params(("id" = inline(DocumentId), Path, description = "The document's id", example = "poseidonis"), ChunksQuery),
    responses(
        (status = 200, description = "A page of chunks", body = Page<StoredChunk>, example = json!({"data": [{
            "chunk_index": 0, "byte_start": 0, "byte_end": 42, "text": "Poseidonis is the capital of Atlantis. It ",
            "tokens": [47, 302, 2211, 318, 262, 3139, 286, 15, 220]}], "next_cursor": null})),
        OneErrors
    )
)]
async fn chunks(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    Query(query): Query<ChunksQuery>,
) -> Result<Json<Page<StoredChunk>>, ApiError> {
    let id = DocumentId::parse("id", &id)?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Invalid::new("limit", format!("must be 1 to {MAX_LIMIT}, is {limit}")).into());
    }
    let first: u32 = match &query.cursor {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| Invalid::new("cursor", "is not a `next_cursor` of a list"))?,
    };
    let mut chunks = app.parts.ingest.document_chunks(&id).await?.ok_or_else(|| not_found(&id))?;
    chunks.retain(|chunk| chunk.chunk_index >= first);
    let more = chunks.len() > limit as usize;
    chunks.truncate(limit as usize);
    let next_cursor = chunks.last().filter(|_| more).map(|last| (last.chunk_index + 1).to_string());
    Ok(Json(Page { data: chunks, next_cursor }))
}
