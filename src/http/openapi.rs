//! The OpenAPI document: what is the same for all routes.

use std::collections::BTreeMap;

use utoipa::OpenApi;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Responses};

use super::problem::{ApiError, Code, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "retro-server",
        description = "A RETRO language model as an HTTP server: a small Transformer that looks its facts up in a database.\n\n\
            Every error is `application/problem+json` with a stable `code` and the `request_id` that the server's log has too; \
            send `x-request-id` to choose it.\n\n\
            Where the server has keys, every route but the open ones takes `Authorization: Bearer KEY`; each says which scope of the \
            key it needs, and `admin` allows everything."
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

const PROBLEM: &str = "application/problem+json";

/// The responses for these codes: one for each status, with an example of each code.
pub fn error_responses(codes: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    by_status(codes.iter().copied().flatten().chain(&[Code::Internal]))
        .into_iter()
        .map(|(status, codes)| (status, RefOr::T(error_response(&codes))))
        .collect()
}

/// Adds these codes to the responses of an operation.
pub fn add_errors(responses: &mut Responses, codes: &[Code]) {
    for (status, codes) in by_status(codes) {
        match responses.responses.get_mut(&status) {
            Some(RefOr::T(response)) => {
                response.description = format!("{}; {}", response.description, titles(&codes));
                if let Some(RefOr::T(content)) = response.content.get_mut(PROBLEM) {
                    content.examples.extend(examples(&codes).map(|(name, example)| (name.to_owned(), example.into())));
                }
            }
            _ => {
                responses.responses.insert(status, RefOr::T(error_response(&codes)));
            }
        }
    }
}

fn by_status<'a>(codes: impl IntoIterator<Item = &'a Code>) -> BTreeMap<String, Vec<Code>> {
    let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
    for &code in codes {
        by_status.entry(code.status().as_str().to_owned()).or_default().push(code);
    }
    by_status
}

fn error_response(codes: &[Code]) -> Response {
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples(codes)).build();
    ResponseBuilder::new().description(titles(codes)).content(PROBLEM, content).build()
}

fn examples(codes: &[Code]) -> impl Iterator<Item = (&'static str, Example)> {
    codes.iter().map(|&code| {
        let problem = ApiError::new(code, code.example()).problem("0198c0f2a7e07d3c8f0d1c2b3a495867");
        let value = serde_json::to_value(problem).expect("a problem is plain JSON");
        (code.as_str(), ExampleBuilder::new().summary(code.title()).value(Some(value)).build())
    })
}

fn titles(codes: &[Code]) -> String {
    let titles: Vec<String> = codes.iter().map(|code| format!("{} (`{}`)", code.title(), code.as_str())).collect();
    titles.join("; ")
}
