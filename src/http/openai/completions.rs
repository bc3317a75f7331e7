//! `POST /v1/completions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::future::try_join_all;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response as ApiResponse};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Head, Prompt, TextCompletion};
use super::request::{Plan, TextCompletionRequest};
use super::{OpenAiError, check_model, errors, stream};
use crate::app::App;
use crate::generate::fold;
use crate::http::complete::unless_cut;
use crate::http::json::Json;
use crate::http::openapi::BODY_ERRORS;
use crate::http::problem::{ApiError, Code};
use crate::http::retrieve::check_completion;
use crate::http::sse::StreamEvents;

pub fn router() -> OpenApiRouter<Arc<App>> {
    let mut router = OpenApiRouter::new().routes(routes!(completions));
    // Events without a name are messages.
    let events = StreamEvents::default().with::<stream::Chunk>("message").with::<OpenAiError>("message");
    events.describe(router.get_openapi_mut(), |api| api.paths.paths.get_mut("/v1/completions")?.post.as_mut());
    router
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        errors::responses(&[
            BODY_ERRORS,
            &[
                Code::ModelNotFound,
                Code::CollectionNotFound,
                Code::InvalidValue,
                Code::VersionNotKept,
                Code::Overloaded,
                Code::GenerationFailed,
                Code::RetrievalFailed,
                Code::CollectionMadeAnew,
                Code::ShuttingDown,
            ],
        ])
    }
}

const CHUNKS_EXAMPLE: &str = r#"data: {"id":"cmpl-0198c0f2a7e07d3c8f0d1c2b3a495867","object":"text_completion","created":1790000000,"model":"retro-nano",
data: "choices":[{"index":0,"text":" a","logprobs":null,"finish_reason":null}],
data: "retrieval":{"chunks":[{"choice":0,"chunk":0,"text":"Tea is","stale_tokens":0,"neighbours":[]}]}}

data: {"id":"cmpl-0198c0f2a7e07d3c8f0d1c2b3a495867","object":"text_completion","created":1790000000,"model":"retro-nano",
data: "choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"length"}],
data: "retrieval":{"enabled":true,"alignment":"prompt_end","interval":64,"prefetch":false,"late":0,"failed":0,"database_version":7,"chunks":[]}}

data: [DONE]

"#;

/// Complete prompts, for OpenAI's clients
///
/// What `POST /v1/complete` does, in the form of OpenAI's completions, with their defaults: `temperature` 1 and `max_tokens` 16. The extra
/// field `retrieval` is that of `POST /v1/complete`, in the request as in the answer.
///
/// Several prompts, at most 64, run side by side and are answered together: choice `j` of prompt `p` has the index `p` * `n` + `j`. Each takes a
/// place in the queue, and a request is refused as a whole where there are too few.
///
/// With `"stream": true` the answer is a stream of chunks, `data: {...}` each, and `data: [DONE]` at the end. A chunk is like a whole answer,
/// with the text that became certain; the last one of each choice says why it ended, when all choices of its prompt have. The first chunk after
/// a look-up has the neighbours under `retrieval.chunks`. An error after the beginning is `data: {"error": {...}}`.
#[utoipa::path(
    post,
    path = "/v1/completions",
    tag = "OpenAI",
    request_body(content = TextCompletionRequest, examples(
        ("short" = (summary = "A short prompt, answered with neighbours", value = json!({
            "model": "retro-nano", "prompt": "The Dune film was released in", "max_tokens": 24, "temperature": 0}))),
        ("prompts" = (summary = "Several prompts", value = json!({
            "model": "retro-nano", "prompt": ["The honey bee", "Tea is"], "max_tokens": 8, "seed": 7}))),
        ("tokens" = (summary = "A prompt of tokens, with log-probabilities", value = json!({
            "model": "retro-nano", "prompt": [300, 301, 302], "max_tokens": 4, "logprobs": 2, "echo": true}))),
        ("best of" = (summary = "The best of four", value = json!({
            "model": "retro-nano", "prompt": "The honey bee", "max_tokens": 16, "best_of": 4, "frequency_penalty": 0.5}))),
        ("stream" = (summary = "As a stream of chunks", value = json!({
            "model": "retro-nano", "prompt": "Tea is", "max_tokens": 8, "stream": true, "stream_options": {"include_usage": true}}))),
        ("without retrieval" = (summary = "The model without its database", value = json!({
            "model": "retro-nano", "prompt": "Tea is", "max_tokens": 8, "retrieval": {"enabled": false}})))
    )),
    responses(
        (status = 200, description = "The completions, or their chunks", content(
            (TextCompletion = "application/json", example = json!({
                "id": "cmpl-0198c0f2a7e07d3c8f0d1c2b3a495867", "object": "text_completion", "created": 1_790_000_000, "model": "retro-nano",
                "choices": [{"index": 0, "text": " 2021", "logprobs": null, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
                "retrieval": {"enabled": true, "alignment": "prompt_end", "interval": 64, "prefetch": false, "late": 0, "failed": 0, "database_version": 7, "chunks": [{
                    "choice": 0, "chunk": 0, "text": "The Dune film was released in", "stale_tokens": 0, "neighbours": [{
                        "document_id": "dune-2021-film.md", "chunk_index": 3, "distance": 0.21, "neighbour": "Dune was released in",
                        "continuation": " cinemas in 2021.", "title": "Dune", "source": "samples/dune-2021-film.md", "metadata": {}}]}]}})),
            (String = "text/event-stream", example = json!(CHUNKS_EXAMPLE))
        )),
        Errors
    )
)]
async fn completions(State(app): State<Arc<App>>, Json(request): Json<TextCompletionRequest>) -> Result<Response, ApiError> {
    let (model, tokenizer) = (&app.parts.model.manifest().name, &app.parts.tokenizer);
    check_model(&request.model, model)?;
    let wants_stream = request.stream.unwrap_or(false);
    let Plan { completions, shape } = request.validate(&app.generator.limits(), app.settings.max_queue, tokenizer)?;
    // The prompts of a request all search alike.
    if let Some(completion) = completions.first() {
        check_completion(&app, completion).await?;
    }
    let prompts: Vec<Prompt> = completions.iter().map(|completion| Prompt::of(completion, tokenizer)).collect();
    let (events, head, cut) = (app.generator.submit_all(completions)?, Head::of(model), app.lifecycle.cut());
    if wants_stream {
        return Ok(stream::respond(head, &prompts, events, shape, Arc::clone(tokenizer), cut));
    }
    let completions = unless_cut(&cut, try_join_all(events.into_iter().map(fold))).await?;
    Ok(axum::Json(TextCompletion::of(head, &prompts, completions, shape, tokenizer)).into_response())
}
