//! `/v1/collections`: databases side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::openapi::{RefOr, Response as ApiResponse};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json::{Json, NamePath, Query};
use super::openapi::{BODY_ERRORS, error_responses};
use super::problem::{ApiError, Code};
use crate::app::App;
use crate::catalogue::Page;
use crate::ingest::{Collection, CollectionDetails};
use crate::invalid::Invalid;
use crate::names::CollectionName;
use crate::neighbours::Effort;
use crate::object;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, update, delete)).routes(routes!(index))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Most collections in the answer, 1 to 1000 (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<CollectionName>, inline)]
    cursor: Option<String>,
}

/// A collection to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateRequest {
    /// 1 to 64 of `A-Z a-z 0-9 _ -`, beginning with a letter or digit.
    #[schema(value_type = CollectionName, example = "library")]
    pub(super) name: String,
}

/// How a collection is searched.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateRequest {
    #[serde(deserialize_with = "object::one")]
    pub(super) search: Effort,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct IndexQuery {
    /// true: an index that is there already is made anew (default false).
    rebuild: Option<bool>,
    /// true: answer when it is done (default false).
    wait: Option<bool>,
}

struct UpdateErrors;

impl IntoResponses for UpdateErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[
            BODY_ERRORS,
            &[Code::InvalidValue, Code::CollectionNotFound, Code::CollectionMadeAnew, Code::ShuttingDown],
        ])
    }
}

struct IndexErrors;

impl IntoResponses for IndexErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[
            Code::InvalidUtf8,
            Code::InvalidQuery,
            Code::InvalidValue,
            Code::CollectionNotFound,
            Code::CollectionMadeAnew,
            Code::ShuttingDown,
        ]])
    }
}

struct ListErrors;

impl IntoResponses for ListErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[Code::InvalidQuery, Code::InvalidValue, Code::CollectionMadeAnew, Code::ShuttingDown]])
    }
}

struct CreateErrors;

impl IntoResponses for CreateErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[
            BODY_ERRORS,
            &[Code::CollectionExists, Code::InvalidValue, Code::CollectionMadeAnew, Code::ShuttingDown],
        ])
    }
}

struct OneErrors;

impl IntoResponses for OneErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[
            Code::InvalidUtf8,
            Code::InvalidValue,
            Code::CollectionNotFound,
            Code::CollectionMadeAnew,
            Code::ShuttingDown,
        ]])
    }
}

/// What made the chunks does not matter to their removal.
struct DeleteErrors;

impl IntoResponses for DeleteErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[&[Code::InvalidUtf8, Code::InvalidValue, Code::CollectionNotFound, Code::ShuttingDown]])
    }
}

/// List collections
///
/// In the order of their names, each with its size and state. A collection is there from the moment that it is made or that a document is
/// submitted to it; `default` always is.
#[utoipa::path(
    get,
    path = "/v1/collections",
    operation_id = "list_collections",
    tag = "Collections",
    params(ListQuery),
    responses(
        (status = 200, description = "A page of collections", body = Page<Collection>, example = json!({"data": [{
            "name": "default", "created_at": "2026-10-01T12:00:00.000000Z", "documents": {"pending": 0, "ready": 32, "failed": 0},
            "chunks": 412, "deleted_chunks": 3, "fragments": 4, "bytes": 1_048_576, "version": 7,
            "kept_versions": {"count": 5, "oldest": 3, "newest": 7}, "index": null,
            "search": {"exact": null, "nprobes": null, "refine": null}, "dimension": 384,
            "embedder": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db-int16"}], "next_cursor": null})),
        ListErrors
    )
)]
async fn list(State(app): State<Arc<App>>, Query(query): Query<ListQuery>) -> Result<axum::Json<Page<Collection>>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Invalid::new("limit", format!("must be 1 to {MAX_LIMIT}, is {limit}")).into());
    }
    let after = query.cursor.map(|cursor| CollectionName::parse("cursor", &cursor)).transpose()?;
    Ok(axum::Json(app.parts.ingest.collections(limit, after.as_ref()).await?))
}

/// Make a collection
///
/// An empty one. It need not be made before documents are submitted to it, since they make it too.
#[utoipa::path(
    post,
    path = "/v1/collections",
    operation_id = "create_collection",
    tag = "Collections",
    request_body(content = CreateRequest, examples(
        ("library" = (summary = "An empty collection", value = json!({"name": "library"})))
    )),
    responses(
        (status = 201, description = "The collection is there", body = CollectionDetails,
            headers(("location" = String, description = "The collection")),
            example = json!({
                "name": "library", "created_at": "2026-10-01T12:00:00.000000Z", "documents": {"pending": 0, "ready": 0, "failed": 0},
                "chunks": 0, "deleted_chunks": 0, "fragments": 0, "bytes": 1500, "version": 1,
                "kept_versions": {"count": 1, "oldest": 1, "newest": 1}, "index": null,
                "search": {"exact": null, "nprobes": null, "refine": null}, "dimension": 384,
                "embedder": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db-int16", "tokens": 0, "text_bytes": 0,
                "tokenizer": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "neighbour_length": 64,
                "continuation_length": 64, "versions": [{"version": 1, "created_at": "2026-10-01T12:00:00.000000Z"}]})),
        CreateErrors
    )
)]
async fn create(State(app): State<Arc<App>>, Json(request): Json<CreateRequest>) -> Result<Response, ApiError> {
    let name = CollectionName::parse("name", &request.name)?;
    if !app.parts.ingest.create_collection(&name).await? {
        let detail = format!("there is a collection `{name}` already");
        return Err(ApiError::new(Code::CollectionExists, detail).with_field("name"));
    }
    let details = app.parts.ingest.collection(&name).await?.ok_or_else(|| not_found(&name))?;
    let location = format!("/v1/collections/{name}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(details)).into_response())
}

/// Show a collection
///
/// What the list says of it, with what it was made with and the versions that `as_of` can name in a search.
#[utoipa::path(
    get,
    path = "/v1/collections/{name}",
    operation_id = "show_collection",
    tag = "Collections",
    params(("name" = inline(CollectionName), Path, description = "The collection's name", example = "library")),
    responses(
        (status = 200, description = "The collection", body = CollectionDetails, example = json!({
            "name": "library", "created_at": "2026-10-01T12:00:00.000000Z", "documents": {"pending": 0, "ready": 32, "failed": 0},
            "chunks": 412, "deleted_chunks": 3, "fragments": 4, "bytes": 1_048_576, "version": 7,
            "kept_versions": {"count": 2, "oldest": 6, "newest": 7}, "index": null,
            "search": {"exact": null, "nprobes": null, "refine": null}, "dimension": 384,
            "embedder": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db-int16", "tokens": 25_480, "text_bytes": 101_920,
            "tokenizer": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "neighbour_length": 64,
            "continuation_length": 64, "versions": [
                {"version": 7, "created_at": "2026-10-01T12:30:00.000000Z"}, {"version": 6, "created_at": "2026-10-01T12:10:00.000000Z"}]})),
        OneErrors
    )
)]
async fn show(State(app): State<Arc<App>>, NamePath(name): NamePath) -> Result<axum::Json<CollectionDetails>, ApiError> {
    let name = CollectionName::parse("name", &name)?;
    Ok(axum::Json(app.parts.ingest.collection(&name).await?.ok_or_else(|| not_found(&name))?))
}

/// Delete a collection
///
/// With all of its documents and all of its versions. When this has answered, no search finds a chunk of it. Documents of it that still
/// waited are withdrawn, and a task that is left with no document is canceled. `default` is emptied, since it is always there.
#[utoipa::path(
    delete,
    path = "/v1/collections/{name}",
    operation_id = "delete_collection",
    tag = "Collections",
    params(("name" = inline(CollectionName), Path, description = "The collection's name", example = "library")),
    responses((status = 204, description = "The collection is gone"), DeleteErrors)
)]
async fn delete(State(app): State<Arc<App>>, NamePath(name): NamePath) -> Result<StatusCode, ApiError> {
    let name = CollectionName::parse("name", &name)?;
    if app.parts.ingest.delete_collection(&name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(&name)) }
}

/// Set how a collection is searched
///
/// For searches that do not say so themselves. What is left out, or null, is the default again.
#[utoipa::path(
    patch,
    path = "/v1/collections/{name}",
    operation_id = "update_collection",
    tag = "Collections",
    params(("name" = inline(CollectionName), Path, description = "The collection's name", example = "library")),
    request_body(content = UpdateRequest, examples(
        ("thorough" = (summary = "More clusters of the index", value = json!({"search": {"nprobes": 80}}))),
        ("exact" = (summary = "No index", value = json!({"search": {"exact": true}})))
    )),
    responses(
        (status = 200, description = "The collection", body = CollectionDetails, example = json!({
            "name": "library", "created_at": "2026-10-01T12:00:00.000000Z", "documents": {"pending": 0, "ready": 32, "failed": 0},
            "chunks": 412, "deleted_chunks": 3, "fragments": 4, "bytes": 1_048_576, "version": 7,
            "kept_versions": {"count": 2, "oldest": 6, "newest": 7}, "index": null,
            "search": {"exact": null, "nprobes": 80, "refine": null}, "dimension": 384,
            "embedder": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db-int16", "tokens": 25_480, "text_bytes": 101_920,
            "tokenizer": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "neighbour_length": 64,
            "continuation_length": 64, "versions": [
                {"version": 7, "created_at": "2026-10-01T12:30:00.000000Z"}, {"version": 6, "created_at": "2026-10-01T12:10:00.000000Z"}]})),
        UpdateErrors
    )
)]
async fn update(
    State(app): State<Arc<App>>,
    NamePath(name): NamePath,
    Json(request): Json<UpdateRequest>,
) -> Result<axum::Json<CollectionDetails>, ApiError> {
    let name = CollectionName::parse("name", &name)?;
    let effort = request.search.validate("search.")?;
    if !app.parts.ingest.set_effort(&name, effort).await? {
        return Err(not_found(&name));
    }
    Ok(axum::Json(app.parts.ingest.collection(&name).await?.ok_or_else(|| not_found(&name))?))
}

/// Index a collection
///
/// Makes an index, or adds to it what came since. A collection whose embeddings do not fit the memory for them (the setting `vectors_mb`)
/// gets one by itself, in the background; a smaller one is searched in memory, whether it has one or not.
#[utoipa::path(
    post,
    path = "/v1/collections/{name}/index",
    operation_id = "index_collection",
    tag = "Collections",
    params(("name" = inline(CollectionName), Path, description = "The collection's name", example = "library"), IndexQuery),
    responses(
        (status = 200, description = "It is done", body = CollectionDetails, example = json!({
            "name": "library", "created_at": "2026-10-01T12:00:00.000000Z", "documents": {"pending": 0, "ready": 32, "failed": 0},
            "chunks": 412, "deleted_chunks": 3, "fragments": 4, "bytes": 1_048_576, "version": 7,
            "kept_versions": {"count": 2, "oldest": 6, "newest": 7}, "index": {"indexed": 412, "unindexed": 0, "parts": 1},
            "search": {"exact": null, "nprobes": null, "refine": null}, "dimension": 384,
            "embedder": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db-int16", "tokens": 25_480, "text_bytes": 101_920,
            "tokenizer": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "neighbour_length": 64,
            "continuation_length": 64, "versions": [
                {"version": 7, "created_at": "2026-10-01T12:30:00.000000Z"}, {"version": 6, "created_at": "2026-10-01T12:10:00.000000Z"}]})),
        (status = 202, description = "It has begun; `index` of the collection shows when it is done", body = CollectionDetails,
            example = json!({
            "name": "library", "created_at": "2026-10-01T12:00:00.000000Z", "documents": {"pending": 0, "ready": 32, "failed": 0},
            "chunks": 412, "deleted_chunks": 3, "fragments": 4, "bytes": 1_048_576, "version": 7,
            "kept_versions": {"count": 2, "oldest": 6, "newest": 7}, "index": null,
            "search": {"exact": null, "nprobes": null, "refine": null}, "dimension": 384,
            "embedder": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db-int16", "tokens": 25_480, "text_bytes": 101_920,
            "tokenizer": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "neighbour_length": 64,
            "continuation_length": 64, "versions": [
                {"version": 7, "created_at": "2026-10-01T12:30:00.000000Z"}, {"version": 6, "created_at": "2026-10-01T12:10:00.000000Z"}]})),
        IndexErrors
    )
)]
async fn index(
    State(app): State<Arc<App>>,
    NamePath(name): NamePath,
    Query(query): Query<IndexQuery>,
) -> Result<(StatusCode, axum::Json<CollectionDetails>), ApiError> {
    let name = CollectionName::parse("name", &name)?;
    let details = async || match app.parts.ingest.collection(&name).await? {
        Some(details) => Ok(axum::Json(details)),
        None => Err(not_found(&name)),
    };
    let rebuild = query.rebuild.unwrap_or(false);
    if query.wait.unwrap_or(false) {
        if !app.parts.ingest.index_collection(&name, rebuild).await? {
            return Err(not_found(&name));
        }
        return Ok((StatusCode::OK, details().await?));
    }
    let begun = details().await?;
    let (ingest, name) = (app.parts.ingest.clone(), name.clone());
    tokio::spawn(async move {
        if let Err(error) = ingest.index_collection(&name, rebuild).await {
            tracing::error!(collection = %name, %error, "the collection cannot be indexed");
        }
    });
    Ok((StatusCode::ACCEPTED, begun))
}

fn not_found(name: &CollectionName) -> ApiError {
    ApiError::new(Code::CollectionNotFound, format!("there is no collection `{name}`")).with_field("name")
}
