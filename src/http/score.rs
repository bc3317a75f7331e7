//! `POST /v1/score`: what a text is worth to the model.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::complete::{GenerationErrors, RetrievalReport};
use super::json::Json;
use super::problem::ApiError;
use super::retrieve::check_search;
use crate::app::App;
use crate::generate::{Score, ScoreRequest};
use crate::text::Tokenizer;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(score))
}

#[derive(Serialize, ToSchema)]
struct ScoreResponse {
    /// The model's name.
    #[schema(example = "retro-nano")]
    model: String,
    /// Tokens that were scored: those of `text`, without its first one where there was no prompt.
    #[schema(example = 120)]
    tokens: usize,
    /// null where retrieval is off.
    with_retrieval: Option<Likelihood>,
    without_retrieval: Likelihood,
    /// One for each scored token, where the request asked for them.
    token_log_probs: Option<Vec<ScoredToken>>,
    retrieval: RetrievalReport,
}

/// How probable the scored tokens are together.
#[derive(Serialize, ToSchema)]
struct Likelihood {
    /// Sum of the tokens' natural-log probabilities.
    #[schema(example = -300.1)]
    log_prob: f64,
    /// exp(-`log_prob` / `tokens`)
    #[schema(example = 12.2)]
    perplexity: f64,
}

/// A scored token with its natural-log probabilities.
#[derive(Serialize, ToSchema)]
struct ScoredToken {
    /// The token's text; U+FFFD where it is part of a character.
    #[schema(example = " the")]
    token: String,
    token_id: u32,
    /// null where retrieval is off.
    #[schema(example = -1.25)]
    with_retrieval: Option<f32>,
    #[schema(example = -2.5)]
    without_retrieval: f32,
}

/// Score a text
///
/// The log-probability of `text`, after `prompt` where there is one, and its perplexity: once with the neighbours that the model looks up
/// while it reads, and once without any. Each token is predicted from the tokens before it and from the neighbours of the chunks before it.
///
/// The chunk grid is that of a completion of the same prompt, but lies as in the paper where the request does not say
/// (`alignment: prompt_start`): then a text shorter than a chunk of 64 tokens reads no neighbours. With `prompt_end` a score is that of the
/// completion that would have made the text.
#[utoipa::path(
    post,
    path = "/v1/score",
    tag = "Scoring",
    request_body(content = ScoreRequest, examples(
        ("after a prompt" = (summary = "How probable a continuation is", value = json!({
            "prompt": "The Dune film was released in", "text": " 2021.", "token_log_probs": true, "retrieval": {"alignment": "prompt_end"}}))),
        ("a text" = (summary = "Perplexity of a whole text", value = json!({
            "text": "Honey bees live in colonies with one queen. They collect nectar and pollen and store honey for the winter."}))),
        ("without retrieval" = (summary = "The model alone", value = json!({
            "text": "Tea is a hot drink.", "retrieval": {"enabled": false}}))),
        ("filter" = (summary = "What one document is worth", value = json!({
            "prompt": "The Dune film was released in", "text": " 2021.", "retrieval": {"alignment": "prompt_end",
                "filter": {"field": "document_id", "op": "eq", "value": "dune-2021-film.md"}}}))),
        ("provided" = (summary = "Neighbours of your own", value = json!({
            "prompt": "The capital of Atlantis is", "text": " Poseidonis.", "retrieval": {"alignment": "prompt_end",
                "provided": [{"neighbour": "Atlantis is an island.", "continuation": " Its capital is Poseidonis."}]}})))
    )),
    responses(
        (status = 200, description = "The score", body = ScoreResponse, example = json!({
            "model": "retro-nano", "tokens": 6,
            "with_retrieval": {"log_prob": -0.947, "perplexity": 1.171}, "without_retrieval": {"log_prob": -8.759, "perplexity": 4.305},
            "token_log_probs": [
                {"token": " ", "token_id": 222, "with_retrieval": -0.006, "without_retrieval": -1.683},
                {"token": "2", "token_id": 19, "with_retrieval": -0.289, "without_retrieval": -1.406},
                {"token": "0", "token_id": 17, "with_retrieval": -0.010, "without_retrieval": -0.124},
                {"token": "2", "token_id": 19, "with_retrieval": -0.008, "without_retrieval": -1.814},
                {"token": "1", "token_id": 18, "with_retrieval": -0.311, "without_retrieval": -2.593},
                {"token": ".", "token_id": 15, "with_retrieval": -0.323, "without_retrieval": -1.139}],
            "retrieval": {"enabled": true, "alignment": "prompt_end", "interval": 64, "prefetch": false, "late": 0, "failed": 0, "database_version": 7, "chunks": [{
                "choice": 0, "chunk": 0, "text": "The Dune film was released in", "stale_tokens": 0, "neighbours": [{
                    "document_id": "dune-2021-film.md", "chunk_index": 3, "distance": 0.21, "neighbour": "Dune was released in",
                    "continuation": " cinemas in 2021.", "title": "Dune", "source": "samples/dune-2021-film.md", "metadata": {}}]}]}})),
        GenerationErrors
    )
)]
async fn score(State(app): State<Arc<App>>, Json(request): Json<ScoreRequest>) -> Result<axum::Json<ScoreResponse>, ApiError> {
    let wants_tokens = request.token_log_probs;
    let valid = request.validate(&app.generator.limits(), &app.parts.tokenizer)?;
    if let Some(options) = valid.search() {
        check_search(&app, options, "retrieval.").await?;
    }
    let cut = app.lifecycle.cut();
    let score = tokio::select! {
        () = cut.cancelled() => return Err(ApiError::shutting_down()),
        score = app.generator.score(valid) => score?,
    };
    Ok(axum::Json(ScoreResponse {
        model: app.parts.model.manifest().name.clone(),
        tokens: score.tokens.len(),
        with_retrieval: score.with_retrieval.as_deref().map(Likelihood::of),
        without_retrieval: Likelihood::of(&score.without_retrieval),
        token_log_probs: wants_tokens.then(|| scored_tokens(&score, &app.parts.tokenizer)),
        retrieval: RetrievalReport { summary: score.retrieval, chunks: score.chunks },
    }))
}

impl Likelihood {
    /// Of natural-log probabilities.
    fn of(tokens: &[f32]) -> Self {
        let log_prob: f64 = tokens.iter().copied().map(f64::from).sum();
        Self { log_prob, perplexity: (-log_prob / tokens.len() as f64).exp() }
    }
}

fn scored_tokens(score: &Score, tokenizer: &Tokenizer) -> Vec<ScoredToken> {
    let with = |at| score.with_retrieval.as_ref().map(|with: &Vec<f32>| with[at]);
    let tokens = score.tokens.iter().zip(&score.without_retrieval).enumerate();
    tokens
        .map(|(at, (&token_id, &without_retrieval))| ScoredToken {
            token: tokenizer.decode(&[token_id]),
            token_id,
            with_retrieval: with(at),
            without_retrieval,
        })
        .collect()
}
