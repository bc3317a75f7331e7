//! The OpenAPI document: what is the same for all routes.

use std::collections::BTreeMap;

use utoipa::OpenApi;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use super::problem::{ApiError, Code, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "retro-server",
        description = "A RETRO language model as an HTTP server: a small Transformer that looks its facts up in a database.\n\n\
            Every error is `application/problem+json` with a stable `code` and the `request_id` that the server's log has too; \
            send `x-request-id` to choose it."
    ),
    components(schemas(Problem)),
    tags(
        (name = "Completion", description = "Text from the model, with the neighbours it read"),
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
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for &code in codes.iter().copied().flatten().chain(&[Code::Internal]) {
        by_status.entry(code.status().as_str().to_owned()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status, RefOr::T(error_response(&codes)))).collect()
}

fn error_response(codes: &[Code]) -> Response {
    let examples = codes.iter().map(|&code| {
        let problem = ApiError::new(code, code.example()).problem("0198c0f2a7e07d3c8f0d1c2b3a495867");
        let value = serde_json::to_value(problem).expect("a problem is plain JSON");
        (code.as_str(), ExampleBuilder::new().summary(code.title()).value(Some(value)).build())
    });
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let titles: Vec<String> = codes.iter().map(|code| format!("{} (`{}`)", code.title(), code.as_str())).collect();
    ResponseBuilder::new().description(titles.join("; ")).content("application/problem+json", content).build()
}
