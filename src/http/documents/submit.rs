//! `POST /v1/documents` and `PUT /v1/documents/{id}`: documents on their way in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{OneOfBuilder, Ref, RefOr, Response as ApiResponse, Schema};
use utoipa::{IntoParams, IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::take_in::{answer_again, take_in};
use super::upload::{self, MULTIPART};
use crate::app::App;
use crate::http::aside::aside;
use crate::http::idempotency::{Fingerprint, RequestKey};
use crate::http::json::{IdPath, Query, is_json, media_type, parse, read};
use crate::http::openapi::{BODY_ERRORS, error_responses};
use crate::http::problem::{ApiError, Code};
use crate::ingest::{DocumentInput, IngestLimits, MAX_LABEL, NewDocument, Submission};
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};
use crate::object;
use crate::schemas;

const JSON: &str = "application/json";
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
    #[serde(deserialize_with = "object::list")]
    #[schema(min_items = 1)]
    documents: Vec<DocumentInput>,
}

/// A form with files: what `upload` reads field by field.
struct UploadForm;

impl PartialSchema for UploadForm {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
        let label =
            |description: &str| schemas::text(0..=MAX_LABEL).pattern(Some(schemas::NO_NUL)).description(Some(description));
        let file = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
        let files = ArrayBuilder::new().items(file).min_items(Some(1)).description(Some(
            "Each with its name, which says by its extension what it is: .txt, .md, .html, .htm, .pdf, .docx, .jsonl, .jsonl.zst or .parquet.",
        ));
        let form = ObjectBuilder::new()
            .property("files", files)
            .required("files")
            .property("collection", CollectionName::schema())
            .property("title", label("Of documents that are a file; of lines and rows that have none."))
            .property("source", label("Of documents that name none (default the file's name)."))
            .property(
                "metadata",
                text("A JSON object, given to all documents. What a line or row says itself goes before it.")
                    .examples([r#"{"year": 2026}"#]),
            );
        let form = form.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        form.description(Some("Files, and what is said of all of them.")).into()
    }
}

impl ToSchema for UploadForm {}

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
        let own = &[Code::InvalidMultipart, Code::UnreadableFiles, Code::InvalidIdempotencyKey, Code::IdempotencyKeyUsed];
        error_responses(&[BODY_ERRORS, DOCUMENT_ERRORS, own])
    }
}

struct ReplaceErrors;

impl IntoResponses for ReplaceErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[BODY_ERRORS, DOCUMENT_ERRORS])
    }
}

const DOCUMENT_ERRORS: &[Code] =
    &[Code::InvalidQuery, Code::InvalidValue, Code::DocumentTooLarge, Code::Overloaded, Code::ShuttingDown];

const LINES_EXAMPLE: &str = r#"{"id": "tea", "text": "Tea is a drink made from leaves."}
{"id": "coffee", "text": "Coffee is a drink made from beans."}
"#;

/// Add documents
///
/// Takes in one document, several under `documents`, several as NDJSON (a document in each line, content type `application/x-ndjson`), or
/// files (`multipart/form-data`). A document whose id is known is replaced.
///
/// All documents of JSON and NDJSON are taken in, or none: where one is wrong, the answer names it. Of files, what can be read is taken in,
/// and `skipped` names what cannot, with the reason; a form none of whose files can be read is refused. An id is made from the file's name
/// where a line or row has none of its own, so the same file sent again is the same document.
///
/// 202 is a promise: from then on a crash loses nothing and doubles nothing. The documents become searchable in the background; the task
/// tells when.
///
/// With the header `Idempotency-Key` a request can be sent again by a client that does not know whether it arrived: for 24 hours the same
/// key with the same body is answered with the same task, as it is then, and nothing is taken in a second time. The answer then has
/// `idempotency-replayed: true`.
#[utoipa::path(
    post,
    path = "/v1/documents",
    operation_id = "add_documents",
    tag = "Documents",
    params(
        SubmitQuery,
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^(?!\"\"$)[!-~]+$", description = "What the client calls this request: 1 to 255 visible ASCII characters, \
            a new one for each request that is not a repetition. Each API key has its own.")
    ),
    request_body(content(
        (DocumentsBody = "application/json", examples(
            ("one" = (summary = "One document", value = json!({
                "id": "poseidonis", "title": "Poseidonis", "text": "Poseidonis is the capital of Atlantis. It lies on the eastern shore of the island.",
                "source": "https://example.org/atlantis", "metadata": {"year": 2026}}))),
            ("several" = (summary = "Several documents, ids made up by the server", value = json!({
                "documents": [{"text": "Tea is a drink made from the leaves of Camellia sinensis."}, {"text": "Coffee is a drink made from roasted beans."}]})))
        )),
        (String = "application/x-ndjson", example = json!(LINES_EXAMPLE)),
        (UploadForm = "multipart/form-data", example = json!({"collection": "default", "metadata": "{\"year\": 2026}"}))
    )),
    responses(
        (status = 202, description = "The documents are taken in", body = Submission,
            headers(
                ("location" = String, description = "The task"),
                ("idempotency-replayed" = String, description = "`true` where the same had been taken in before")
            ),
            examples(
                ("documents" = (summary = "Documents", value = json!({"task": {
                    "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "queued", "documents": {"total": 1, "ready": 0, "failed": 0},
                    "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": null, "finished_at": null},
                    "document_ids": ["poseidonis"]}))),
                ("files" = (summary = "Files, of which one cannot be read", value = json!({"task": {
                    "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "queued", "documents": {"total": 1, "ready": 0, "failed": 0},
                    "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": null, "finished_at": null},
                    "document_ids": ["lamps.md"], "skipped": {"total": 1, "first": [{"file": "scan.pdf", "reason": "it has no text"}]}})))
            )),
        (status = 200, description = "With `wait=true`: the documents are searchable, or have failed", body = Submission,
            headers(
                ("location" = String, description = "The task"),
                ("idempotency-replayed" = String, description = "`true` where the same had been taken in before")
            ),
            example = json!({"task": {
                "id": "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867", "status": "succeeded", "documents": {"total": 1, "ready": 1, "failed": 0},
                "error": null, "created_at": "2026-10-01T12:00:00.000000Z", "started_at": "2026-10-01T12:00:00.100000Z",
                "finished_at": "2026-10-01T12:00:00.300000Z"}, "document_ids": ["poseidonis"]})),
        SubmitErrors
    )
)]
async fn submit(State(app): State<Arc<App>>, Query(query): Query<SubmitQuery>, request: Request) -> Result<Response, ApiError> {
    let key = RequestKey::of(&request)?;
    let form = match media_type(request.headers()) {
        Some(kind) if kind == MULTIPART => return upload::submit(&app, request, key, query.wait).await,
        Some(kind) if kind == NDJSON => NDJSON,
        _ if is_json(request.headers()) => JSON,
        _ => {
            let detail = format!("send content-type: {JSON}, {NDJSON} or {MULTIPART}");
            return Err(ApiError::new(Code::UnsupportedMediaType, detail));
        }
    };
    let body = read(request, &app).await?;
    let once = match key {
        None => None,
        Some(key) => {
            let body = body.clone();
            Some(key.once(aside(move || fingerprint(form, &body)).await?))
        }
    };
    if let Some(answer) = answer_again(&app, once.as_ref(), query.wait).await? {
        return Ok(answer);
    }
    let (limits, max_documents) = (IngestLimits::from(&app.settings), app.settings.max_documents);
    let documents = aside(move || documents(&body, form == NDJSON, &limits, max_documents)).await??;
    take_in(&app, documents, None, once.as_ref(), query.wait).await
}

fn fingerprint(form: &str, body: &[u8]) -> [u8; 32] {
    let mut fingerprint = Fingerprint::new(form);
    fingerprint.part(body);
    fingerprint.finish()
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
        ReplaceErrors
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
    let document = aside(move || with_id(parse(&body)?, id, &limits)).await??;
    take_in(&app, vec![document], None, None, query.wait).await
}

/// The document of a body whose id is in the path.
pub(super) fn with_id(mut input: DocumentInput, id: DocumentId, limits: &IngestLimits) -> Result<NewDocument, ApiError> {
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

/// The documents of a body, all of them good.
pub(super) fn documents(body: &Bytes, as_lines: bool, limits: &IngestLimits, most: usize) -> Result<Vec<NewDocument>, ApiError> {
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
