//! `POST /v1/documents` and `PUT /v1/documents/{id}`: documents on their way in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::openapi::{OneOfBuilder, Ref, RefOr, Response as ApiResponse, Schema};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::json::{IdPath, Query, is_json, media_type, parse, read};
use crate::http::openapi::{BODY_ERRORS, error_responses};
use crate::http::problem::{ApiError, Code};
use crate::ingest::{DocumentInput, IngestLimits, NewDocument, Submission};
use crate::invalid::Invalid;
use crate::names::DocumentId;

const NDJSON: &str = "application/x-ndjson";

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(submit)).routes(routes!(replace))
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
    /// With ids of their own; all are taken in, or none. At most 1000, unless the setting `max_documents` says otherwise.
    #[schema(min_items = 1)]
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
pub(super) struct SubmitQuery {
    /// Answer with 200 when all documents are searchable, or have failed, instead of with 202 at once.
    #[serde(default)]
    wait: bool,
}

struct SubmitErrors;

impl IntoResponses for SubmitErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[BODY_ERRORS, &[Code::InvalidQuery, Code::InvalidValue, Code::DocumentTooLarge, Code::ShuttingDown]])
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
    operation_id = "add_documents",
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
    take_in(&app, documents, query.wait).await
}

/// Replace a document
///
/// Puts the document in the place of the one with this id, or adds it where there is none. It is the whole document: what the body leaves
/// out is empty afterwards, or `default` for the collection. The id is that of the path, and a body that has another is refused.
///
/// What is promised is the same as for `POST /v1/documents`, which replaces a document as well if its body names a known id; but there the
/// id may be made up, and the body may hold several documents. When the task has succeeded, no search finds a chunk of the earlier
/// revision, in whatever collection that was; only one that asks for an earlier version with `as_of` does.
#[utoipa::path(
    put,
    path = "/v1/documents/{id}",
    operation_id = "replace_document",
    tag = "Documents",
    params(("id" = inline(DocumentId), Path, description = "The document's id", example = "poseidonis"), SubmitQuery),
    request_body(content = DocumentInput, examples(
        ("replace" = (summary = "The whole document, without its id", value = json!({
            "title": "Poseidonis", "text": "Poseidonis was the capital of Atlantis until the island sank.",
            "source": "https://example.org/atlantis", "metadata": {"year": 2026}})))
    )),
    responses(
        (status = 202, description = "The document is taken in", body = Submission,
            headers(("location" = String, description = "The task")),
            example = json!({"task": {
                "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "queued", "documents": {"total": 1, "ready": 0, "failed": 0},
                "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": null, "finished_at": null},
                "document_ids": ["poseidonis"]})),
        (status = 200, description = "With `wait=true`: the document is searchable, or has failed", body = Submission,
            example = json!({"task": {
                "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "succeeded", "documents": {"total": 1, "ready": 1, "failed": 0},
                "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": "2026-10-01T12:00:00.100000Z",
                "finished_at": "2026-10-01T12:00:00.300000Z"}, "document_ids": ["poseidonis"]})),
        SubmitErrors
    )
)]
pub(super) async fn replace(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    Query(query): Query<SubmitQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let id = DocumentId::parse("id", &id)?;
    if !is_json(request.headers()) {
        return Err(ApiError::new(Code::UnsupportedMediaType, "send content-type: application/json"));
    }
    let body = read(request, &app).await?;
    let limits = IngestLimits::from(&app.settings);
    let document = tokio::task::spawn_blocking(move || with_id(parse(&body)?, id, &limits))
        .await
        .map_err(|e| ApiError::server(Code::Internal, e))??;
    take_in(&app, vec![document], query.wait).await
}

/// The document of a body whose id is in the path.
fn with_id(mut input: DocumentInput, id: DocumentId, limits: &IngestLimits) -> Result<NewDocument, ApiError> {
    if let Some(given) = &input.id {
        let given = DocumentId::parse("id", given)?;
        if given != id {
            let message =
                format!("is {:?}, but the path names {:?}; leave it out, or send the same", given.as_str(), id.as_str());
            return Err(Invalid::new("id", message).into());
        }
    }
    input.id = Some(id.as_str().to_owned());
    Ok(NewDocument::validate("", input, limits)?)
}

/// Submits documents and answers: at once, or when their task has ended.
async fn take_in(app: &App, documents: Vec<NewDocument>, wait: bool) -> Result<Response, ApiError> {
    let mut submission = app.parts.ingest.submit(documents).await?;
    let mut status = StatusCode::ACCEPTED;
    if wait {
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
