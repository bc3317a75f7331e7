//! `POST /v1/complete`: as JSON, or as server-sent events.

mod compare;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::Event as SseEvent;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::{RefOr, Response as ApiResponse};
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use compare::{ComparisonReport, PlainEnd, PlainText};

use crate::app::App;
use crate::generate::{
    ChunkRetrieval, Completion, CompletionRequest, Done, Event, EventStream, FinishReason, Gains, GenerateError,
    RetrievalSummary, Timings, TokenEvent, TokenLogProbs, Usage, fold,
};
use crate::http::json::Json;
use crate::http::observe::RequestId;
use crate::http::openapi::{BODY_ERRORS, error_responses};
use crate::http::problem::{ApiError, Code, Problem};
use crate::http::retrieve::check_completion;
use crate::http::sse::{self, StreamEvents};

pub fn router() -> OpenApiRouter<Arc<App>> {
    let mut router = OpenApiRouter::new().routes(routes!(complete));
    let events = StreamEvents::default()
        .with::<ChunkRetrieval>("retrieval")
        .with::<TokenEvent>("token")
        .with::<Done>("done")
        .with::<PlainText>("comparison")
        .with::<PlainEnd>("comparison_done")
        .with::<Gains>("gains")
        .with::<Problem>("error");
    events.describe(router.get_openapi_mut(), |api| api.paths.paths.get_mut("/v1/complete")?.post.as_mut());
    router
}

/// A whole completion.
#[derive(Serialize, ToSchema)]
pub struct CompletionResponse {
    #[schema(example = "cmpl-0198c0f2a7e07d3c8f0d1c2b3a495867")]
    id: String,
    /// The model's name.
    #[schema(example = "retro-nano")]
    model: String,
    /// Seconds since 1970.
    #[schema(example = 1_790_000_000)]
    created: i64,
    /// By `index`, as many as `n` asked for.
    choices: Vec<Choice>,
    retrieval: RetrievalReport,
    /// Where the request said `compare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<ComparisonReport>,
    usage: Usage,
    timings: Timings,
}

#[derive(Serialize, ToSchema)]
struct Choice {
    index: u32,
    /// The completion, after its prompt where the request asked for that.
    #[schema(example = " 2021")]
    text: String,
    finish_reason: FinishReason,
    /// One for each token, where the request asked for them; with `echo` the prompt's come first.
    logprobs: Option<Vec<TokenLogProbs>>,
}

/// Which neighbours the model read.
#[derive(Serialize, ToSchema)]
pub struct RetrievalReport {
    #[serde(flatten)]
    pub summary: RetrievalSummary,
    pub chunks: Vec<ChunkRetrieval>,
}

/// What can go wrong wherever the model runs on a request.
pub struct GenerationErrors;

impl IntoResponses for GenerationErrors {
    fn responses() -> BTreeMap<String, RefOr<ApiResponse>> {
        error_responses(&[
            BODY_ERRORS,
            &[
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

const EVENTS_EXAMPLE: &str = r#"event: retrieval
data: {"choice":0,"chunk":0,"text":"Tea is","stale_tokens":0,"neighbours":[]}

event: token
data: {"choice":0,"text":" a"}

event: done
data: {"choices":[{"index":0,"finish_reason":"length"}],
data: "retrieval":{"enabled":true,"alignment":"prompt_end","interval":64,"prefetch":false,"late":0,"failed":0,"database_version":7},
data: "usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3},
data: "timings":{"queue_ms":0.1,"retrieval_ms":14.2,"prefill_ms":9.8,"first_token_ms":24.0,"decode_ms":8.0}}

"#;

/// Complete a prompt
///
/// The model goes on from `prompt`. At the end of the prompt and then every 64 tokens it looks up the nearest chunks of the database and
/// reads them, with what follows them, while it writes; `retrieval` in the answer shows what it read.
///
/// With `retrieval.prefetch` the text waits for neighbours only at the prompt: later ones are looked up early, for slightly older text, and
/// read from the next end of a chunk on. `stale_tokens` says of each chunk's neighbours how old they were, and `late` how often none came.
///
/// Where a look-up fails, the completion ends with an error; with `"retrieval": {"on_error": "continue"}` the chunk goes on without
/// neighbours, its entry has an `error` (what failed, the reason is in the server's log), and `failed` counts such chunks.
///
/// With `n` above 1 the prompt is read once, and the choices go on from there side by side, each with the neighbours of its own text. The
/// prompt's neighbours are shown once, with choice 0.
///
/// With `"compare": true` the same completion is made without retrieval too, and for each token of the one with retrieval `gains` says how
/// much retrieval raised its log-probability. A stream then has the events `comparison` (text of the one without),
/// `comparison_done` (its finish reasons) and, before `done`, `gains` (of one choice).
///
/// With `"stream": true` the answer is a stream of server-sent events: `retrieval` (the neighbours of one chunk) and `token` (text as it
/// becomes certain), each with its choice, and when all choices have ended `done` (finish reasons, usage, timings) or `error` (a problem, as
/// for other errors). A request that is refused is refused with its status before the stream begins.
#[utoipa::path(
    post,
    path = "/v1/complete",
    tag = "Completion",
    request_body(content = CompletionRequest, examples(
        ("short" = (summary = "A short prompt, answered with neighbours", value = json!({"prompt": "The Dune film was released in", "max_tokens": 24}))),
        ("sampled" = (summary = "Sampled, repeatable by its seed", value = json!({
            "prompt": "The honey bee", "max_tokens": 32, "temperature": 0.8, "top_p": 0.95, "seed": 7, "stop": ["\n\n"]}))),
        ("choices" = (summary = "Three choices of one prompt", value = json!({
            "prompt": "The honey bee", "max_tokens": 32, "temperature": 0.8, "seed": 7, "n": 3}))),
        ("stream" = (summary = "As server-sent events", value = json!({"prompt": "Tea is", "max_tokens": 24, "stream": true}))),
        ("echo" = (summary = "The prompt too, with the log-probabilities of its tokens", value = json!({
            "prompt": "Tea is", "max_tokens": 4, "echo": true, "logprobs": 0}))),
        ("without retrieval" = (summary = "The model without its database, with log-probabilities", value = json!({
            "prompt": "Tea is", "max_tokens": 8, "logprobs": 2, "retrieval": {"enabled": false}}))),
        ("prefetch" = (summary = "Neighbours every 16 tokens, and no waiting for them", value = json!({
            "prompt": "The honey bee", "max_tokens": 48, "retrieval": {"interval": 16, "prefetch": true}}))),
        ("on_error" = (summary = "On without neighbours where a look-up fails", value = json!({
            "prompt": "The honey bee", "max_tokens": 48, "retrieval": {"on_error": "continue"}}))),
        ("filter" = (summary = "Neighbours from some documents only", value = json!({
            "prompt": "The honey bee", "max_tokens": 24,
            "retrieval": {"filter": {"field": "title", "op": "prefix", "value": "Honey"}}}))),
        ("compare" = (summary = "What retrieval did for each token", value = json!({
            "prompt": "The Dune film was released in", "max_tokens": 12, "compare": true}))),
        ("provided" = (summary = "Neighbours of your own", value = json!({
            "prompt": "The capital of Atlantis is", "max_tokens": 8,
            "retrieval": {"provided": [{"neighbour": "Atlantis is an island.", "continuation": " Its capital is Poseidonis."}]}})))
    )),
    responses(
        (status = 200, description = "The completion, or its events", content(
            (CompletionResponse = "application/json", example = json!({
                "id": "cmpl-0198c0f2a7e07d3c8f0d1c2b3a495867", "model": "retro-nano", "created": 1_790_000_000,
                "choices": [{"index": 0, "text": " 2021", "finish_reason": "length", "logprobs": null}],
                "retrieval": {"enabled": true, "alignment": "prompt_end", "interval": 64, "prefetch": false, "late": 0, "failed": 0, "database_version": 7, "chunks": [{
                    "choice": 0, "chunk": 0, "text": "The Dune film was released in", "stale_tokens": 0, "neighbours": [{
                        "document_id": "dune-2021-film.md", "chunk_index": 3, "distance": 0.21, "neighbour": "Dune was released in",
                        "continuation": " cinemas in 2021.", "title": "Dune", "source": "samples/dune-2021-film.md", "metadata": {}}]}]},
                "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
                "timings": {"queue_ms": 0.1, "retrieval_ms": 14.2, "prefill_ms": 9.8, "first_token_ms": 24.0, "decode_ms": 21.0}})),
            (String = "text/event-stream", example = json!(EVENTS_EXAMPLE))
        )),
        GenerationErrors
    )
)]
async fn complete(
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    Json(request): Json<CompletionRequest>,
) -> Result<Response, ApiError> {
    let (wants_stream, wants_logprobs, compare) = (request.stream, request.logprobs.is_some(), request.compare);
    let valid = request.validate(&app.generator.limits(), &app.parts.tokenizer)?;
    check_completion(&app, &valid).await?;
    let cut = app.lifecycle.cut();
    let (completion, comparison) = if compare {
        let events = app.generator.compare(valid)?;
        if wants_stream {
            return Ok(compare::event_stream(events, cut, request_id));
        }
        let (completion, comparison) = unless_cut(&cut, compare::fold(events)).await?;
        (completion, Some(comparison))
    } else {
        let events = app.generator.submit(valid)?;
        if wants_stream {
            return Ok(event_stream(events, cut, request_id));
        }
        (unless_cut(&cut, fold(events)).await?, None)
    };
    let response = CompletionResponse::new(&app.parts.model.manifest().name, completion, wants_logprobs);
    Ok(axum::Json(CompletionResponse { comparison, ..response }).into_response())
}

impl CompletionResponse {
    pub fn new(model: &str, completion: Completion, wants_logprobs: bool) -> Self {
        let done = completion.done;
        let choices = completion.choices.into_iter().zip(&done.choices).map(|(said, ended)| Choice {
            index: ended.index,
            text: said.text,
            finish_reason: ended.finish_reason,
            logprobs: wants_logprobs.then_some(said.logprobs),
        });
        Self {
            id: format!("cmpl-{}", uuid::Uuid::now_v7().simple()),
            model: model.to_owned(),
            created: jiff::Timestamp::now().as_second(),
            choices: choices.collect(),
            retrieval: RetrievalReport { summary: done.retrieval, chunks: completion.chunks },
            comparison: None,
            usage: done.usage,
            timings: done.timings,
        }
    }
}

/// # Errors
/// Those of `work`, or the time of what has begun is over.
pub async fn unless_cut<T, E: Into<ApiError>>(
    cut: &CancellationToken,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, ApiError> {
    tokio::select! {
        () = cut.cancelled() => Err(ApiError::shutting_down()),
        done = work => done.map_err(Into::into),
    }
}

fn event_stream(events: EventStream, cut: CancellationToken, request_id: RequestId) -> Response {
    let events = stream::unfold(events, |mut events| async move {
        let next = events.next().await.unwrap_or(Err(GenerateError::Stopped));
        Some((next.map_err(ApiError::from), events))
    });
    sse::respond(events.boxed(), cut, request_id, sse_event)
}

/// An event, and whether it is the last.
fn sse_event(event: Event) -> (SseEvent, bool) {
    match event {
        Event::Retrieval(chunk) => (sse::event("retrieval", &chunk), false),
        Event::Token(token) => (sse::event("token", &token), false),
        Event::Done(done) => (sse::event("done", &done), true),
    }
}
