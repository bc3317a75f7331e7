//! `POST /v1/documents/delete`: documents go by what they say of themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::{RefOr, Response as ApiResponse};
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::generate::FilterRequest;
use crate::http::json::Json;
use crate::http::openapi::{BODY_ERRORS, error_responses};
use crate::http::problem::{ApiError, Code};
use crate::http::retrieve::check_collection;
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::Filter;

pub const PATH: &str = "/v1/documents/delete";
/// Most ids in an answer.
const SHOWN: usize = 1000;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(delete_matching))
}

/// Which documents are to go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteRequest {
    /// Collection whose documents are meant (default `default`).
    #[serde(default)]
    #[schema(value_type = Option<CollectionName>, example = "default")]
    collection: Option<String>,
    /// The documents that fulfil it are deleted, whole.
    filter: FilterRequest,
    /// true: only say what would be deleted (default false).
    #[serde(default)]
    #[schema(example = false)]
    dry_run: bool,
}

#[derive(Serialize, ToSchema)]
struct DeleteResponse {
    /// Documents that were deleted; with `dry_run`, that would be.
    #[schema(example = 2)]
    deleted: usize,
    /// Their ids in order, the first 1000.
    document_ids: Vec<DocumentId>,
    /// Whether there are more than these.
    more: bool,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[
            BODY_ERRORS,
            &[Code::CollectionNotFound, Code::InvalidValue, Code::CollectionMadeAnew, Code::ShuttingDown],
        ])
    }
}

/// Delete documents by a filter
///
/// Deletes the documents of a collection that fulfil the filter, all of them or none. When this has answered, no search finds a chunk of
/// them; only one that asks for an earlier version with `as_of` does. The filter looks at the fields that `GET /v1/documents/{id}` shows, which are those of the newest revision, so documents that are
/// still pending and documents that have failed go as well.
#[utoipa::path(
    post,
    path = "/v1/documents/delete",
    operation_id = "delete_documents",
    tag = "Documents",
    request_body(content = DeleteRequest, examples(
        ("try" = (summary = "What would go", value = json!({
            "filter": {"field": "source", "op": "prefix", "value": "https://example.org/"}, "dry_run": true}))),
        ("delete" = (summary = "Old versions of two pages", value = json!({
            "collection": "default", "filter": {"and": [
                {"field": "document_id", "op": "in", "values": ["tea", "coffee"]}, {"field": "metadata.year", "op": "lt", "value": 2020}]}})))
    )),
    responses(
        (status = 200, description = "The documents are gone", body = DeleteResponse, example = json!({
            "deleted": 2, "document_ids": ["coffee", "tea"], "more": false})),
        Errors
    )
)]
async fn delete_matching(
    State(app): State<Arc<App>>,
    Json(request): Json<DeleteRequest>,
) -> Result<axum::Json<DeleteResponse>, ApiError> {
    let dry_run = request.dry_run;
    let (collection, filter) = request.validate()?;
    check_collection(&app, &collection, "collection").await?;
    let mut document_ids = match dry_run {
        true => app.parts.ingest.matching(&collection, &filter).await?,
        false => app.parts.ingest.delete_matching(&collection, &filter).await?,
    };
    let deleted = document_ids.len();
    document_ids.truncate(SHOWN);
    Ok(axum::Json(DeleteResponse { deleted, document_ids, more: deleted > SHOWN }))
}

impl DeleteRequest {
    /// The collection, and which of its documents.
    ///
    /// # Errors
    /// [`Invalid`] names the field and the rule that it breaks.
    pub(super) fn validate(self) -> Result<(CollectionName, Filter), Invalid> {
        let collection = match self.collection {
            Some(name) => CollectionName::parse("collection", &name)?,
            None => CollectionName::default(),
        };
        let filter = parse_filter(&self.filter.0, &collection)?;
        Ok((collection, filter))
    }
}

/// A filter that was left empty may be a mistake of the client, which should not cost it a collection.
fn parse_filter(json: &Value, collection: &CollectionName) -> Result<Filter, Invalid> {
    if json.is_null() || json.as_object().is_some_and(serde_json::Map::is_empty) {
        let message = format!("has no condition; to delete all documents of `{collection}`, delete the collection");
        return Err(Invalid::new("filter", message));
    }
    Filter::parse("filter", json)
}
