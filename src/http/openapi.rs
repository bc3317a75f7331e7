//! The OpenAPI document: what is the same for all routes.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::openai::OpenAiError;
use super::problem::{ApiError, Code, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "retro-server",
        description = "A RETRO language model as an HTTP server: a small Transformer that looks its facts up in a database.\n\n\
            Every error is `application/problem+json` with a stable `code` and the `request_id` that the server's log has too; \
            send `x-request-id` to choose it. The routes for OpenAI's clients have errors in OpenAI's form."
    ),
    components(schemas(Problem, OpenAiError)),
    tags(
        (name = "Completion", description = "Text from the model, with the neighbours it read"),
        (name = "OpenAI", description = "Completions, embeddings and models in the form that OpenAI's clients speak"),
        (name = "Scoring", description = "How probable a text is to the model, with the neighbours it reads and without them"),
        (name = "Retrieval", description = "The neighbours of a text, without the model"),
        (name = "Documents", description = "What the database knows"),
        (name = "Collections", description = "Databases side by side: a search sees one of them"),
        (name = "Tasks", description = "How the ingestion goes"),
        (name = "Server", description = "State and description of the server")
    )
)]
pub struct Base;

/// What can be wrong with any JSON body.
pub const BODY_ERRORS: &[Code] = &[
    Code::InvalidJson,
    Code::InvalidUtf8,
    Code::IncompleteBody,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::InvalidType,
    Code::MissingField,
    Code::UnknownField,
];

/// The responses for these codes: one for each status, with an example of each code.
pub fn error_responses(codes: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    error_responses_in(&PROBLEMS, codes)
}

/// A form in which errors go out.
pub struct ErrorForm {
    pub content_type: &'static str,
    /// Name of its schema.
    pub schema: &'static str,
    pub status: fn(Code) -> StatusCode,
    /// The code as clients see it.
    pub code: fn(Code) -> &'static str,
    pub body: fn(ApiError) -> Value,
}

const PROBLEMS: ErrorForm = ErrorForm {
    content_type: "application/problem+json",
    schema: "Problem",
    status: Code::status,
    code: Code::as_str,
    body: |error| serde_json::to_value(error.problem("0198c0f2a7e07d3c8f0d1c2b3a495867")).expect("a problem is plain JSON"),
};

/// As [`error_responses`], in this form.
pub fn error_responses_in(form: &ErrorForm, codes: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for &code in codes.iter().copied().flatten().chain(&[Code::Internal]) {
        by_status.entry((form.status)(code).as_str().to_owned()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status, RefOr::T(error_response(form, &codes)))).collect()
}

fn error_response(form: &ErrorForm, codes: &[Code]) -> Response {
    let examples = codes.iter().map(|&code| {
        let value = (form.body)(ApiError::new(code, code.example()));
        ((form.code)(code), ExampleBuilder::new().summary(code.title()).value(Some(value)).build())
    });
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(form.schema))).examples_from_iter(examples).build();
    let titles: Vec<String> = codes.iter().map(|&code| format!("{} (`{}`)", code.title(), (form.code)(code))).collect();
    ResponseBuilder::new().description(titles.join("; ")).content(form.content_type, content).build()
}
