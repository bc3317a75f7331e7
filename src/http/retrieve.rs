//! `POST /v1/retrieve`: what the model would see.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::admission::place;
use super::json::Json;
use super::openapi::{BODY_ERRORS, error_responses};
use super::problem::{ApiError, Code};
use crate::app::App;
use crate::generate::{Alignment, FilterRequest, Limits, NeighbourView, SearchRequest, TextNeighbours, ValidCompletion};
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{DatabaseError, Effort, SearchOptions};

/// Longest text whose neighbours may be looked at, in bytes: some hundred chunks.
const MAX_TEXT: usize = 64 << 10;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(retrieve))
}

/// A text whose neighbours are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetrieveRequest {
    /// Not empty, at most 65536 bytes.
    #[schema(example = "The Dune film was released in", min_length = 1, max_length = 65536)]
    text: String,
    /// Neighbours of each chunk, 0 to 16 (default: what the model was trained with).
    #[serde(default)]
    #[schema(example = 2, maximum = 16)]
    neighbours: Option<usize>,
    /// Collection to search (default `default`).
    #[serde(default)]
    #[schema(value_type = Option<CollectionName>, example = "default")]
    collection: Option<String>,
    /// Neighbours farther than this squared distance (0 to 4) are left out.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 4)]
    max_distance: Option<f64>,
    /// Only chunks of documents that fulfil it are neighbours.
    #[serde(default)]
    filter: Option<FilterRequest>,
    /// Ids of documents whose chunks are no neighbours; at most 1000.
    #[serde(default)]
    #[schema(value_type = Option<Vec<DocumentId>>, example = json!(["dune-novel.md"]), max_items = 1000)]
    exclude_documents: Option<Vec<String>>,
    /// Chunks with the same text are one neighbour, the first by distance, document id and chunk index (default true).
    #[serde(default)]
    #[schema(example = true)]
    distinct: Option<bool>,
    /// Version of the collection to search instead of the newest, as an earlier answer named it in `database_version`; one that is still
    /// kept. It holds what the collection held then, documents that were deleted or replaced since included.
    #[serde(default)]
    #[schema(value_type = Option<usize>, example = json!(null), maximum = 18_446_744_073_709_551_615_usize)]
    as_of: Option<u64>,
    /// true: all embeddings are searched, without an index (default: what the collection says, else false).
    #[serde(default)]
    #[schema(example = false)]
    exact: Option<bool>,
    /// Clusters of an index that are looked through, 1 to 4096 (default: what the collection says, else 40). More find more and take longer.
    #[serde(default)]
    #[schema(example = 40, minimum = 1, maximum = 4096)]
    nprobes: Option<usize>,
    /// Chunks found by an index whose exact distance is computed, for each neighbour, 1 to 256 (default: what the collection says, else 4).
    #[serde(default)]
    #[schema(example = 4, minimum = 1, maximum = 256)]
    refine: Option<u32>,
    /// Where the chunk grid lies (default `prompt_end`).
    #[serde(default)]
    alignment: Option<Alignment>,
}

#[derive(Serialize, ToSchema)]
pub struct RetrieveResponse {
    chunks: Vec<RetrievedChunk>,
    /// Version of the collection that was searched; 0 before its first change.
    #[schema(example = 7)]
    database_version: u64,
}

/// A chunk of the text with its neighbours, nearest first.
#[derive(Serialize, ToSchema)]
struct RetrievedChunk {
    chunk: u32,
    text: String,
    neighbours: Vec<NeighbourView>,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_responses(&[
            BODY_ERRORS,
            &[
                Code::CollectionNotFound,
                Code::InvalidValue,
                Code::VersionNotKept,
                Code::Overloaded,
                Code::RetrievalFailed,
                Code::CollectionMadeAnew,
                Code::ShuttingDown,
            ],
        ])
    }
}

/// Show a text's neighbours
///
/// Cuts the text into chunks of 64 tokens as a completion does, and returns for each the nearest chunks of the database with their
/// distances: what the model would read, without running it.
#[utoipa::path(
    post,
    path = "/v1/retrieve",
    tag = "Retrieval",
    request_body(content = RetrieveRequest, examples(
        ("defaults" = (summary = "As a completion would search", value = json!({"text": "The Dune film was released in"}))),
        ("more" = (summary = "More neighbours, near ones only", value = json!({"text": "Bees make honey", "neighbours": 5, "max_distance": 1.2}))),
        ("filter" = (summary = "Some documents only, and not this one", value = json!({
            "text": "The Dune film was released in", "exclude_documents": ["dune-novel.md"],
            "filter": {"field": "title", "op": "prefix", "value": "Dune"}}))),
        ("filter on metadata" = (summary = "By what documents say of themselves", value = json!({
            "text": "The Dune film was released in",
            "filter": {"and": [
                {"or": [{"field": "lang", "op": "eq", "value": "en"}, {"field": "lang", "op": "exists", "value": false}]},
                {"not": {"field": "metadata.year", "op": "range", "gte": 1900, "lt": 2000}}]}})))
    )),
    responses(
        (status = 200, description = "The neighbours, chunk by chunk", body = RetrieveResponse, example = json!({
            "chunks": [{"chunk": 0, "text": "The Dune film was released in", "neighbours": [{
                "document_id": "dune-2021-film.md", "chunk_index": 3, "distance": 0.21, "neighbour": "Dune was released in",
                "continuation": " cinemas in 2021.", "title": "Dune", "source": "samples/dune-2021-film.md", "metadata": {}}]}],
            "database_version": 7})),
        Errors
    )
)]
async fn retrieve(
    State(app): State<Arc<App>>,
    Json(request): Json<RetrieveRequest>,
) -> Result<axum::Json<RetrieveResponse>, ApiError> {
    let (text, alignment, options) = request.validate(&app.generator.limits())?;
    let _place = place(&app.places.lookups)?;
    check_search(&app, &options, "").await?;
    let found = app.parts.retriever.retrieve_text(&text, alignment, &options).await?;
    Ok(axum::Json(found.into()))
}

impl RetrieveRequest {
    /// The text, where its chunks lie, and the search for each.
    ///
    /// # Errors
    /// [`Invalid`] names the field and its limit.
    pub(super) fn validate(self, limits: &Limits) -> Result<(String, Alignment, SearchOptions), Invalid> {
        if self.text.is_empty() {
            return Err(Invalid::new("text", "must not be empty"));
        }
        if self.text.len() > MAX_TEXT {
            return Err(Invalid::new("text", format!("must have at most {MAX_TEXT} bytes, has {}", self.text.len())));
        }
        let search = SearchRequest {
            neighbours: self.neighbours,
            collection: self.collection,
            max_distance: self.max_distance,
            filter: self.filter,
            exclude_documents: self.exclude_documents,
            distinct: self.distinct,
            as_of: self.as_of,
            effort: Effort { exact: self.exact, nprobes: self.nprobes, refine: self.refine },
        };
        Ok((self.text, self.alignment.unwrap_or_default(), search.validate("", limits)?))
    }
}

impl From<TextNeighbours> for RetrieveResponse {
    fn from(found: TextNeighbours) -> Self {
        let chunks = found.chunks.into_iter().map(|chunk| RetrievedChunk {
            chunk: chunk.chunk,
            text: chunk.text,
            neighbours: chunk.neighbours,
        });
        Self { chunks: chunks.collect(), database_version: found.version }
    }
}

/// `prefix` stands before the names of the fields in errors.
///
/// # Errors
/// The collection does not exist, has lost its table, or does not keep the version that is to be searched.
pub async fn check_search(app: &App, options: &SearchOptions, prefix: &str) -> Result<(), ApiError> {
    if !app.parts.ingest.can_search(&options.collection).await? {
        return Err(no_collection(&options.collection, &format!("{prefix}collection")));
    }
    app.parts.database.check_version(options).await.map_err(|error| match error {
        DatabaseError::VersionNotKept { .. } => ApiError::from(error).with_field(format!("{prefix}as_of")),
        error => error.into(),
    })
}

/// As [`check_search`] for a completion.
///
/// # Errors
/// As [`check_search`]; that the stores cannot be read is none where the completion goes on without them.
pub async fn check_completion(app: &App, completion: &ValidCompletion) -> Result<(), ApiError> {
    let Some(options) = completion.search() else { return Ok(()) };
    match check_search(app, options, "retrieval.").await {
        // The look-up will fail as well, and say so, or find nothing in a collection that is gone.
        Err(error) if completion.goes_on_without_neighbours() && error.code.status().is_server_error() => Ok(()),
        checked => checked,
    }
}

/// # Errors
/// The collection does not exist.
pub async fn check_collection(app: &App, collection: &CollectionName, field: &str) -> Result<(), ApiError> {
    if app.parts.ingest.has_collection(collection).await? {
        return Ok(());
    }
    Err(no_collection(collection, field))
}

fn no_collection(collection: &CollectionName, field: &str) -> ApiError {
    ApiError::new(Code::CollectionNotFound, format!("there is no collection `{collection}`")).with_field(field)
}
