//! `/v1/documents`: what the database knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{OneOfBuilder, Ref, RefOr, Response as ApiResponse, Schema};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json::{IdPath, Query, is_json, media_type, parse, read};
use super::openapi::{BODY_ERRORS, error_responses};
use super::problem::{ApiError, Code};
use crate::app::App;
use crate::catalogue::{Cursor, Document, Page};
use crate::ingest::{DocumentInput, IngestLimits, NewDocument, Submission};
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};

const NDJSON: &str = "application/x-ndjson";
const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(submit, list)).routes(routes!(show, delete))
}

/// One document, or several under `documents`: told apart before they are read, so that errors can name the field.
struct DocumentsBody;

impl PartialSchema for DocumentsBody {
    fn schema() -> RefOr<Schema> {
        let forms = OneOfBuilder::new().item(Ref::from_schema_name("DocumentInput")).item(Ref::from_schema_name("ManyDocuments"));
        forms.description(Some("One document, or several under `documents`.")).into()
    }
}

impl ToSchema for DocumentsBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("DocumentInput".to_owned(), DocumentInput::schema()));
        schemas.push(("ManyDocuments".to_owned(), ManyDocuments::schema()));
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ManyDocuments {
    /// With ids of their own; all are taken in, or none.
    documents: Vec<DocumentInput>,
}

/// Tells the two forms apart.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Probe {
    documents: Option<IgnoredAny>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SubmitQuery {
    /// Answer with 200 when all documents are searchable, or have failed, instead of with 202 at once.
    #[serde(default)]
    wait: bool,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Documents of this collection only.
    collection: Option<String>,
    /// Most documents in the answer, 1 to 1000 (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
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

struct SubmitErrors;

impl IntoResponses for SubmitErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[BODY_ERRORS, &[Code::InvalidQuery, Code::InvalidValue, Code::DocumentTooLarge, Code::ShuttingDown]])
    }
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

const LINES_EXAMPLE: &str = r#"{"id": "tea", "text": "Tea is a drink made from leaves."}
{"id": "coffee", "text": "Coffee is a drink made from beans."}
"#;

/// Add documents
///
/// Takes in one document, several under `documents`, or several as NDJSON (a document in each line, content type
/// `application/x-ndjson`). All documents of a request are taken in, or none: where one is wrong, the answer names it. A document whose
/// id is known is replaced.
///
/// 202 is a promise: from then on a crash loses nothing and doubles nothing. The documents become searchable in the background; the task
/// tells when.
#[utoipa::path(
    post,
    path = "/v1/documents",
    tag = "Documents",
    params(SubmitQuery),
    request_body(content(
        (DocumentsBody = "application/json", examples(
            ("one" = (summary = "One document", value = json!({
                "id": "poseidonis", "title": "Poseidonis", "text": "Poseidonis is the capital of Atlantis. It lies on the eastern shore of the island.",
                "source": "https://example.org/atlantis", "metadata": {"year": 2026}}))),
            ("several" = (summary = "Several documents, ids made up by the server", value = json!({
                "documents": [{"text": "Tea is a drink made from the leaves of Camellia sinensis."}, {"text": "Coffee is a drink made from roasted beans."}]})))
        )),
        (String = "application/x-ndjson", example = json!(LINES_EXAMPLE))
    )),
    responses(
        (status = 202, description = "The documents are taken in", body = Submission,
            headers(("location" = String, description = "The task")),
            example = json!({"task": {
                "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "queued", "documents": {"total": 1, "ready": 0, "failed": 0},
                "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": null, "finished_at": null},
                "document_ids": ["poseidonis"]})),
        (status = 200, description = "With `wait=true`: the documents are searchable, or have failed", body = Submission,
            example = json!({"task": {
                "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "succeeded", "documents": {"total": 1, "ready": 1, "failed": 0},
                "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": "2026-10-01T12:00:00.100000Z",
                "finished_at": "2026-10-01T12:00:00.300000Z"}, "document_ids": ["poseidonis"]})),
        SubmitErrors
    )
)]
async fn submit(State(app): State<Arc<App>>, Query(query): Query<SubmitQuery>, request: Request) -> Result<Response, ApiError> {
    let as_lines = match media_type(request.headers()) {
        Some(kind) if kind == NDJSON => true,
        _ if is_json(request.headers()) => false,
        _ => return Err(ApiError::new(Code::UnsupportedMediaType, format!("send content-type: application/json or {NDJSON}"))),
    };
    let body = read(request, &app).await?;
    let (limits, max_documents) = (IngestLimits::from(&app.settings), app.settings.max_documents);
    // Megabytes are parsed and hashed here.
    let documents = tokio::task::spawn_blocking(move || documents(&body, as_lines, &limits, max_documents))
        .await
        .map_err(|e| ApiError::server(Code::Internal, e))??;
    let mut submission = app.parts.ingest.submit(documents).await?;
    let mut status = StatusCode::ACCEPTED;
    if query.wait {
        let cut = app.lifecycle.cut();
        let ended = tokio::select! {
            // The documents are safe, so the answer is what it would have been without `wait`.
            () = cut.cancelled() => None,
            ended = app.parts.ingest.wait(submission.task.id) => ended?,
        };
        if let Some(task) = ended {
            (submission.task, status) = (task, StatusCode::OK);
        }
    }
    let location = format!("/v1/tasks/{}", submission.task.id);
    Ok((status, [(header::LOCATION, location)], Json(submission)).into_response())
}

/// List documents
///
/// In the order of their creation.
#[utoipa::path(
    get,
    path = "/v1/documents",
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
    tag = "Documents",
    params(("id" = String, Path, description = "The document's id", example = "poseidonis"), ShowQuery),
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
/// When this has answered, no search finds a chunk of it.
#[utoipa::path(
    delete,
    path = "/v1/documents/{id}",
    tag = "Documents",
    params(("id" = String, Path, description = "The document's id", example = "poseidonis")),
    responses((status = 204, description = "The document is gone"), OneErrors)
)]
async fn delete(State(app): State<Arc<App>>, IdPath(id): IdPath) -> Result<StatusCode, ApiError> {
    let id = DocumentId::parse("id", &id)?;
    if app.parts.ingest.delete(&id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_found(&id)) }
}

fn not_found(id: &DocumentId) -> ApiError {
    ApiError::new(Code::DocumentNotFound, format!("there is no document `{id}`")).with_field("id")
}

/// The documents of a body, all of them good.
fn documents(body: &Bytes, as_lines: bool, limits: &IngestLimits, most: usize) -> Result<Vec<NewDocument>, ApiError> {
    let documents = if as_lines {
        from_lines(body, limits, most)?
    } else if parse::<Probe>(body)?.documents.is_some() {
        let many: ManyDocuments = parse(body)?;
        check_number(many.documents.len(), most)?;
        NewDocument::validate_all(many.documents, limits, |place| format!("documents[{place}]"))?
    } else {
        vec![NewDocument::validate("", parse(body)?, limits)?]
    };
    Ok(documents)
}

fn from_lines(body: &[u8], limits: &IngestLimits, most: usize) -> Result<Vec<NewDocument>, ApiError> {
    let mut documents = Vec::new();
    let mut lines = HashMap::new();
    for (line, text) in body.split(|&byte| byte == b'\n').enumerate().map(|(at, text)| (at + 1, text)) {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let document =
            parse(text).and_then(|input| Ok(NewDocument::validate("", input, limits)?)).map_err(|error| error.at_line(line))?;
        if let Some(earlier) = lines.insert(document.id().clone(), line) {
            let twice = Invalid::new("id", format!("is {:?}, as in line {earlier}", document.id().as_str()));
            return Err(ApiError::from(twice).at_line(line));
        }
        documents.push(document);
        check_number(documents.len(), most)?;
    }
    check_number(documents.len(), most)?;
    Ok(documents)
}

fn check_number(number: usize, most: usize) -> Result<(), ApiError> {
    match number {
        0 => Err(Invalid::new("documents", "must have at least one document").into()),
        _ if number > most => Err(Invalid::new("documents", format!("may have {most} documents in one request")).into()),
        _ => Ok(()),
    }
}
