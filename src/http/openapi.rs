//! The OpenAPI document: what is the same for all routes.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder, Responses};

use super::openai::OpenAiError;
use super::problem::{ApiError, Code, Problem};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "retro-server",
        description = "A RETRO language model as an HTTP server: a small Transformer that looks its facts up in a database.\n\n\
            Every error is `application/problem+json` with a stable `code` and the `request_id` that the server's log has too; \
            send `x-request-id` to choose it. The routes for OpenAI's clients have errors in OpenAI's form.\n\n\
            Bodies may come with `content-encoding: gzip`; limits are of what they unpack to. Whole answers go out as zstd or gzip to \
            clients that say in `accept-encoding` that they take it.\n\n\
            Where the server has keys, every route but the open ones takes `Authorization: Bearer KEY`; each says which scope of the \
            key it needs, and `admin` allows everything."
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
    Code::SlowBody,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::UnsupportedEncoding,
    Code::InvalidType,
    Code::MissingField,
    Code::UnknownField,
];

/// The responses for these codes: one for each status, with an example of each code.
pub fn error_responses(codes: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    responses_in(&PROBLEMS, codes)
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

pub const PROBLEMS: ErrorForm = ErrorForm {
    content_type: "application/problem+json",
    schema: "Problem",
    status: Code::status,
    code: Code::as_str,
    body: |error| serde_json::to_value(error.problem("0198c0f2a7e07d3c8f0d1c2b3a495867")).expect("a problem is plain JSON"),
};

/// As [`error_responses`], in this form.
pub fn responses_in(form: &ErrorForm, codes: &[&[Code]]) -> BTreeMap<String, RefOr<Response>> {
    let by_status = form.by_status(codes.iter().copied().flatten().chain(&[Code::Internal]));
    by_status.into_iter().map(|(status, codes)| (status, RefOr::T(form.response(&codes)))).collect()
}

impl ErrorForm {
    /// Adds these codes to the responses of an operation.
    pub fn add(&self, responses: &mut Responses, codes: &[Code]) {
        for (status, codes) in self.by_status(codes) {
            match responses.responses.get_mut(&status) {
                Some(RefOr::T(response)) => {
                    response.description = format!("{}; {}", response.description, self.titles(&codes));
                    if let Some(RefOr::T(content)) = response.content.get_mut(self.content_type) {
                        content.examples.extend(self.examples(&codes).map(|(name, example)| (name.to_owned(), example.into())));
                    }
                }
                _ => {
                    responses.responses.insert(status, RefOr::T(self.response(&codes)));
                }
            }
        }
    }

    fn by_status<'a>(&self, codes: impl IntoIterator<Item = &'a Code>) -> BTreeMap<String, Vec<Code>> {
        let mut by_status: BTreeMap<String, Vec<Code>> = BTreeMap::new();
        for &code in codes {
            by_status.entry((self.status)(code).as_str().to_owned()).or_default().push(code);
        }
        by_status
    }

    fn response(&self, codes: &[Code]) -> Response {
        let schema = Ref::from_schema_name(self.schema);
        let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(self.examples(codes)).build();
        ResponseBuilder::new().description(self.titles(codes)).content(self.content_type, content).build()
    }

    fn examples(&self, codes: &[Code]) -> impl Iterator<Item = (&'static str, Example)> {
        codes.iter().map(|&code| {
            let value = (self.body)(ApiError::new(code, code.example()));
            ((self.code)(code), ExampleBuilder::new().summary(code.title()).value(Some(value)).build())
        })
    }

    fn titles(&self, codes: &[Code]) -> String {
        let titles: Vec<String> = codes.iter().map(|&code| format!("{} (`{}`)", code.title(), (self.code)(code))).collect();
        titles.join("; ")
    }
}
