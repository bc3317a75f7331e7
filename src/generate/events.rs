//! What a completion says while it runs. Non-streaming answers are a fold over the same events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::mpsc;
use tracing::Span;
use utoipa::ToSchema;

use super::GenerateError;
use super::request::{Alignment, ValidRetrieval};
use super::retriever::RetrievalError;
use crate::neighbours::Neighbour;
use crate::schemas;

/// One neighbour as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NeighbourView {
    /// Document the chunk is from; null for a neighbour that came with the request.
    #[schema(example = "dune-2021-film.md")]
    pub document_id: Option<String>,
    /// Number of the chunk in its document, from 0; null for a neighbour that came with the request.
    pub chunk_index: Option<u32>,
    /// Squared Euclidean distance between the normalised BERT vectors, 0 to 4; null for a neighbour that came with the request.
    #[schema(example = 0.21)]
    pub distance: Option<f32>,
    /// The chunk that was found.
    pub neighbour: String,
    /// The chunk that follows it in its document; empty at the end.
    pub continuation: String,
    pub title: String,
    pub source: String,
    #[schema(schema_with = schemas::any_object)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl NeighbourView {
    /// Of a neighbour that came with the request.
    pub(super) fn without_document(neighbour: String, continuation: String) -> Self {
        Self {
            document_id: None,
            chunk_index: None,
            distance: None,
            neighbour,
            continuation,
            title: String::new(),
            source: String::new(),
            metadata: serde_json::Map::new(),
        }
    }
}

impl From<&Neighbour> for NeighbourView {
    fn from(neighbour: &Neighbour) -> Self {
        Self {
            document_id: Some(neighbour.document_id.to_string()),
            chunk_index: Some(neighbour.chunk_index),
            distance: Some(neighbour.distance),
            neighbour: neighbour.neighbour.clone(),
            continuation: neighbour.continuation.clone(),
            title: neighbour.title.clone(),
            source: neighbour.source.clone(),
            metadata: neighbour.metadata.clone(),
        }
    }
}

/// The neighbours of one 64-token chunk of the sequence.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChunkRetrieval {
    /// The choice that looked it up; 0 for the prompt's chunks, which all choices read.
    pub choice: u32,
    /// Number of the chunk in the sequence, from 0; the prompt's chunks come first.
    pub chunk: u32,
    /// The text that was the query: the chunk's, or with `prefetch` the last 64 tokens (fewer at the start) when the look-up began.
    pub text: String,
    /// How many tokens the sequence grew by between the end of the query and the first token that reads these neighbours; 0 where it waited
    /// for them.
    #[schema(example = 0)]
    pub stale_tokens: usize,
    /// Nearest first.
    pub neighbours: Vec<NeighbourView>,
    /// Where the look-up failed and the completion went on (`on_error` `continue`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ChunkError>,
}

/// Why a chunk has no neighbours of its own. The server's log has the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChunkError {
    /// What failed.
    pub code: FailedStage,
    #[schema(value_type = String, example = "the database could not be searched")]
    pub message: &'static str,
}

/// A part of a look-up, of which the names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailedStage {
    /// The query was not embedded.
    EmbedderFailed,
    SearchFailed,
    /// The neighbours were found and not encoded.
    EncoderFailed,
}

impl ChunkError {
    /// Of what failed in a look-up; none where the server itself is at its end.
    pub(super) fn of(error: &GenerateError) -> Option<Self> {
        let (code, message) = match error {
            GenerateError::Retrieval(RetrievalError::Embedder(_)) => {
                (FailedStage::EmbedderFailed, "the text could not be embedded")
            }
            GenerateError::Retrieval(RetrievalError::Database(_)) => {
                (FailedStage::SearchFailed, "the database could not be searched")
            }
            GenerateError::Model(_) => (FailedStage::EncoderFailed, "the neighbours could not be encoded"),
            GenerateError::Overloaded { .. } | GenerateError::ShuttingDown | GenerateError::Stopped => return None,
        };
        Some(Self { code, message })
    }
}

/// A token that might stand at a place, with its natural-log probability before temperature and filters.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenLogProb {
    /// The token's text; U+FFFD where it is part of a character.
    #[schema(example = " the")]
    pub token: String,
    pub token_id: u32,
    #[schema(example = -1.25)]
    pub log_prob: f32,
}

/// A sampled token or one of an echoed prompt, with its natural-log probability before temperature and filters.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenLogProbs {
    /// The token's text; U+FFFD where it is part of a character.
    #[schema(example = " the")]
    pub token: String,
    pub token_id: u32,
    /// null for the first token of an echoed prompt, which nothing predicts.
    #[schema(example = -1.25)]
    pub log_prob: Option<f32>,
    /// The most probable tokens at this place, as many as `logprobs` asked for; none for the first token of an echoed prompt.
    pub top: Vec<TokenLogProb>,
}

/// Text that became certain. It may be empty (part of a character, or held back for a stop string), and holds several tokens then later.
/// With `echo` the first one holds the whole prompt; where there are log-probabilities, the prompt's other tokens follow without text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenEvent {
    pub choice: u32,
    #[schema(example = " theatres")]
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<TokenLogProbs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// `max_tokens` were made, or the context is full.
    Length,
    /// A stop string, or the model ended the text.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FinishedChoice {
    pub index: u32,
    pub finish_reason: FinishReason,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// Of all choices together.
    pub completion_tokens: usize,
    pub total_tokens: usize,
}

/// Where the time went, in milliseconds; of several choices, which run at the same time, the longest.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Timings {
    pub queue_ms: f64,
    /// How long it waited for neighbours, at the prompt and without `prefetch` at every chunk boundary.
    pub retrieval_ms: f64,
    pub prefill_ms: f64,
    /// From the slot to the first token, retrieval included.
    pub first_token_ms: f64,
    pub decode_ms: f64,
}

/// How retrieval went for the whole sequence.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RetrievalSummary {
    pub enabled: bool,
    pub alignment: Alignment,
    /// Tokens from one look-up to the next.
    pub interval: usize,
    /// Whether the look-ups after the prompt began early and nothing waited for them.
    pub prefetch: bool,
    /// Chunk boundaries, of all choices together, at which no new neighbours were there, so that the old ones were read on; 0 without
    /// `prefetch`.
    pub late: usize,
    /// Chunks, of all choices together, whose look-ups failed and that went on without new neighbours; 0 without `on_error` `continue`.
    pub failed: usize,
    /// Version of the collection at the last search; 0 where there was none.
    pub database_version: u64,
}

impl RetrievalSummary {
    /// Before anything was looked up.
    pub(super) fn of(retrieval: &ValidRetrieval) -> Self {
        let ValidRetrieval { alignment, interval, prefetch, .. } = *retrieval;
        Self { enabled: retrieval.uses_neighbours(), alignment, interval, prefetch, late: 0, failed: 0, database_version: 0 }
    }

    /// With what another choice or prompt of the same request looked up.
    pub fn with(self, other: Self) -> Self {
        Self {
            late: self.late + other.late,
            failed: self.failed + other.failed,
            database_version: self.database_version.max(other.database_version),
            ..self
        }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Done {
    pub choices: Vec<FinishedChoice>,
    pub retrieval: RetrievalSummary,
    pub usage: Usage,
    pub timings: Timings,
}

impl Done {
    /// The end of these choices and of others of the same completion.
    fn with(mut self, other: Self) -> Self {
        self.choices.extend(other.choices);
        self.choices.sort_by_key(|choice| choice.index);
        self.retrieval = self.retrieval.with(other.retrieval);
        self.usage.completion_tokens += other.usage.completion_tokens;
        self.usage.total_tokens += other.usage.completion_tokens;
        self.timings = self.timings.longest(other.timings);
        self
    }
}

impl Timings {
    fn longest(self, other: Self) -> Self {
        Self {
            queue_ms: self.queue_ms.max(other.queue_ms),
            retrieval_ms: self.retrieval_ms.max(other.retrieval_ms),
            prefill_ms: self.prefill_ms.max(other.prefill_ms),
            first_token_ms: self.first_token_ms.max(other.first_token_ms),
            decode_ms: self.decode_ms.max(other.decode_ms),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Event {
    Retrieval(ChunkRetrieval),
    Token(TokenEvent),
    Done(Done),
}

/// Events of one completion in order; the last item is `Done` or an error. Dropping it cancels the completion.
pub struct EventStream {
    receiver: mpsc::Receiver<Result<Event, GenerateError>>,
    choices: usize,
    /// The end of the choices that have ended, while others go on.
    ended: Option<Done>,
    mean_ms: Arc<AtomicU64>,
    /// Of the request that asked for it.
    asker: Span,
}

impl EventStream {
    /// `mean_ms` is the running mean of the completions' times, which this one's end adds to.
    pub(super) fn new(receiver: mpsc::Receiver<Result<Event, GenerateError>>, choices: usize, mean_ms: Arc<AtomicU64>) -> Self {
        Self { receiver, choices, ended: None, mean_ms, asker: Span::current() }
    }

    /// The next event; none after the last.
    pub async fn next(&mut self) -> Option<Result<Event, GenerateError>> {
        loop {
            let event = self.receiver.recv().await;
            // Each choice says its own end.
            let Some(Ok(Event::Done(done))) = event else { return event };
            let done = match self.ended.take() {
                Some(ended) => ended.with(done),
                None => done,
            };
            if done.choices.len() < self.choices {
                self.ended = Some(done);
                continue;
            }
            let timings = done.timings;
            let taken = (timings.retrieval_ms + timings.prefill_ms + timings.decode_ms) as u64;
            let mean = self.mean_ms.load(Ordering::Relaxed);
            self.mean_ms.store(if mean == 0 { taken } else { (mean * 7 + taken) / 8 }, Ordering::Relaxed);
            self.log(&done);
            return Some(Ok(Event::Done(done)));
        }
    }

    /// Says what the completion came to beside the line of its request, which may have asked for several.
    fn log(&self, done: &Done) {
        if self.asker.is_disabled() {
            return;
        }
        let (Usage { prompt_tokens, completion_tokens, .. }, timings) = (done.usage, done.timings);
        let Timings { queue_ms, retrieval_ms, prefill_ms, first_token_ms, decode_ms } = timings;
        tracing::info!(
            parent: &self.asker,
            prompt_tokens,
            completion_tokens,
            queue_ms,
            retrieval_ms,
            prefill_ms,
            first_token_ms,
            decode_ms,
            "completed"
        );
    }
}

/// A whole completion.
#[derive(Clone, Debug)]
pub struct Completion {
    /// By number, as in `done`.
    pub choices: Vec<CompletedChoice>,
    /// The prompt's chunks and those of choice 0, then the other choices'.
    pub chunks: Vec<ChunkRetrieval>,
    pub done: Done,
}

/// What one choice said.
#[derive(Clone, Debug, Default)]
pub struct CompletedChoice {
    pub text: String,
    pub logprobs: Vec<TokenLogProbs>,
}

/// Folds the events of a completion.
///
/// # Errors
/// The completion's own error; [`GenerateError::Stopped`] where the stream ends without `Done`.
pub async fn fold(mut events: EventStream) -> Result<Completion, GenerateError> {
    let (mut choices, mut chunks) = (vec![CompletedChoice::default(); events.choices], Vec::new());
    while let Some(event) = events.next().await {
        match event? {
            Event::Retrieval(chunk) => chunks.push(chunk),
            Event::Token(token) => {
                let choice = &mut choices[token.choice as usize];
                choice.text.push_str(&token.text);
                choice.logprobs.extend(token.logprobs);
            }
            Event::Done(done) => {
                chunks.sort_by_key(|chunk: &ChunkRetrieval| chunk.choice);
                return Ok(Completion { choices, chunks, done });
            }
        }
    }
    Err(GenerateError::Stopped)
}
