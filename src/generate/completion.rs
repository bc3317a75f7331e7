use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::GenerateError;
use super::events::{
    ChunkRetrieval, Done, Event, FinishReason, FinishedChoice, NeighbourView, RetrievalSummary, Timings, TokenEvent,
    TokenLogProb, TokenLogProbs, Usage,
};
use super::request::{NeighbourSource, ProvidedNeighbour, ValidCompletion};
use super::sampler::{Sampler, greatest, log_sum_exp};
use super::scheduler::Parts;
use super::stops::{Found, Stops};
use crate::model::{Logits, Model, NeighbourTokens};
use crate::neighbours::Neighbour;
use crate::text::{Grid, TokenId, Utf8Stream};

pub(super) type EventSender = mpsc::Sender<Result<Event, GenerateError>>;

/// Why a completion ends before its `Done`.
pub(super) enum Ended {
    /// Nobody listens any more.
    Gone,
    Failed(GenerateError),
}

impl<E: Into<GenerateError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// One completion on its way through the model.
pub(super) struct Run<'a> {
    parts: &'a Parts,
    events: &'a EventSender,
    source: &'a NeighbourSource,
    grid: Grid,
    /// Prompt and completion.
    tokens: Vec<TokenId>,
    version: u64,
    retrieval: Duration,
}

/// Runs a completion to its end and sends its events.
pub(super) fn run(
    model: &mut Model,
    parts: &Parts,
    request: ValidCompletion,
    events: &EventSender,
    queued: Duration,
) -> Result<(), Ended> {
    let prompt_tokens = request.prompt.len();
    let mut run = Run {
        parts,
        events,
        source: &request.source,
        grid: request.alignment.grid(prompt_tokens),
        tokens: request.prompt.clone(),
        version: 0,
        retrieval: Duration::ZERO,
    };
    let manifest = model.manifest();
    let (pad, end_of_text) = (manifest.pad_token, manifest.end_of_text_token);
    let mut sampler = Sampler::new(request.sampling.clone(), pad);
    let mut text = Text { utf8: Utf8Stream::default(), stops: Stops::new(request.stop.clone()) };
    model.start(run.grid)?;

    let began = Instant::now();
    let mut logits = run.step(model, 0..prompt_tokens)?;
    let prefill = began.elapsed();
    let prefill_retrieval = run.retrieval;

    let mut completion_tokens = 0;
    let finish_reason = loop {
        let token = sampler.sample(&logits);
        if token == end_of_text {
            break run.flush(&mut text, FinishReason::Stop)?;
        }
        completion_tokens += 1;
        run.tokens.push(token);
        let logprobs = request.logprobs.map(|count| run.logprobs(&logits, token, count));
        if run.token(&mut text, token, logprobs)? {
            break FinishReason::Stop;
        }
        if completion_tokens == request.max_tokens {
            break run.flush(&mut text, FinishReason::Length)?;
        }
        logits = run.step(model, run.tokens.len() - 1..run.tokens.len())?;
    };

    let decode = began.elapsed() - prefill - (run.retrieval - prefill_retrieval);
    run.send(Event::Done(Done {
        choices: vec![FinishedChoice { index: 0, finish_reason }],
        retrieval: RetrievalSummary {
            enabled: !matches!(request.source, NeighbourSource::Off),
            alignment: request.alignment,
            database_version: run.version,
        },
        usage: Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
        timings: Timings {
            queue_ms: milliseconds(queued),
            retrieval_ms: milliseconds(run.retrieval),
            prefill_ms: milliseconds(prefill - prefill_retrieval),
            decode_ms: milliseconds(decode),
        },
    }))
}

impl Run<'_> {
    /// Runs tokens `range` through the model; logits [V] of the last.
    fn step(&mut self, model: &mut Model, range: Range<usize>) -> Result<Vec<f32>, Ended> {
        if self.parts.stop.is_cancelled() {
            return Err(GenerateError::ShuttingDown.into());
        }
        let chunks = model.extend(&self.tokens[range])?;
        let neighbours = self.neighbours(chunks)?;
        Ok(model.finish(&neighbours, Logits::Last)?)
    }

    /// Finds and announces the neighbours of complete chunks.
    fn neighbours(&mut self, chunks: Range<usize>) -> Result<Vec<Vec<NeighbourTokens>>, Ended> {
        let count = chunks.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let options = match self.source {
            NeighbourSource::Off => return Ok(vec![Vec::new(); count]),
            NeighbourSource::Provided(provided) => {
                for chunk in chunks {
                    self.announce(chunk, provided.iter().map(NeighbourView::from).collect())?;
                }
                let tokens: Vec<NeighbourTokens> = provided.iter().map(|given| self.parts.provided_tokens(given)).collect();
                return Ok(vec![tokens; count]);
            }
            NeighbourSource::Search(options) => options,
        };
        let began = Instant::now();
        let texts = chunks.clone().map(|chunk| self.text(chunk)).collect();
        let retrieved = self.parts.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.events.closed() => Err(Ended::Gone),
                () = self.parts.stop.cancelled() => Err(GenerateError::ShuttingDown.into()),
                retrieved = self.parts.retriever.retrieve(texts, options) => Ok(retrieved?),
            }
        })?;
        self.retrieval += began.elapsed();
        self.version = retrieved.version;
        for (chunk, neighbours) in chunks.zip(&retrieved.neighbours) {
            self.announce(chunk, neighbours.iter().map(NeighbourView::from).collect())?;
        }
        Ok(retrieved.neighbours.iter().map(|neighbours| neighbours.iter().map(NeighbourTokens::from).collect()).collect())
    }

    fn announce(&self, chunk: usize, neighbours: Vec<NeighbourView>) -> Result<(), Ended> {
        self.send(Event::Retrieval(ChunkRetrieval { choice: 0, chunk: chunk as u32, text: self.text(chunk), neighbours }))
    }

    fn text(&self, chunk: usize) -> String {
        self.parts.tokenizer.decode(&self.tokens[self.grid.tokens(chunk)])
    }

    /// Sends the text that `token` makes certain; true where a stop text ended the completion.
    fn token(&self, text: &mut Text, token: TokenId, logprobs: Option<TokenLogProbs>) -> Result<bool, Ended> {
        let (piece, stopped) = text.push(self.parts.tokenizer.bytes(token));
        if !piece.is_empty() || logprobs.is_some() {
            self.send(Event::Token(TokenEvent { choice: 0, text: piece, logprobs }))?;
        } else if self.events.is_closed() {
            return Err(Ended::Gone);
        }
        Ok(stopped)
    }

    /// Sends what is still held back.
    fn flush(&self, text: &mut Text, reason: FinishReason) -> Result<FinishReason, Ended> {
        let (rest, stopped) = text.finish();
        if !rest.is_empty() {
            self.send(Event::Token(TokenEvent { choice: 0, text: rest, logprobs: None }))?;
        }
        Ok(if stopped { FinishReason::Stop } else { reason })
    }

    fn logprobs(&self, logits: &[f32], token: TokenId, count: usize) -> TokenLogProbs {
        let total = log_sum_exp(logits);
        let entry = |token: TokenId, logit: f32| TokenLogProb {
            token: self.parts.tokenizer.decode(&[token]),
            token_id: token,
            log_prob: (f64::from(logit) - total) as f32,
        };
        TokenLogProbs {
            sampled: entry(token, logits[token as usize]),
            top: greatest(logits, count).into_iter().map(|(token, logit)| entry(token, logit)).collect(),
        }
    }

    fn send(&self, event: Event) -> Result<(), Ended> {
        // The channel has room for every event of a completion, so a slow reader never holds up the model.
        self.events.try_send(Ok(event)).map_err(|_| Ended::Gone)
    }
}

/// From tokens' bytes to text that may be shown.
struct Text {
    utf8: Utf8Stream,
    stops: Stops,
}

impl Text {
    fn push(&mut self, bytes: &[u8]) -> (String, bool) {
        let text = self.utf8.push(bytes);
        match self.stops.push(&text) {
            Found::Text(text) => (text, false),
            Found::Stop(text) => (text, true),
        }
    }

    fn finish(&mut self) -> (String, bool) {
        let rest = self.utf8.finish();
        match self.stops.push(&rest) {
            Found::Text(text) => (text + &self.stops.finish(), false),
            Found::Stop(text) => (text, true),
        }
    }
}

impl From<&ProvidedNeighbour> for NeighbourView {
    fn from(given: &ProvidedNeighbour) -> Self {
        Self {
            document_id: None,
            chunk_index: None,
            distance: None,
            neighbour: given.neighbour.clone(),
            continuation: given.continuation.clone(),
            title: String::new(),
            source: String::new(),
            metadata: serde_json::Map::new(),
        }
    }
}

impl From<&Neighbour> for NeighbourTokens {
    fn from(found: &Neighbour) -> Self {
        Self { neighbour: found.neighbour_tokens.clone(), continuation: found.continuation_tokens.clone() }
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
