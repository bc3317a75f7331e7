use std::ops::Range;
use std::slice::ChunksExact;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::Span;

use super::GenerateError;
use super::events::{
    ChunkError, ChunkRetrieval, Done, Event, FinishReason, FinishedChoice, RetrievalSummary, Timings, TokenEvent, TokenLogProb,
    TokenLogProbs, Usage,
};
use super::request::{OnError, ValidCompletion};
use super::sampler::{Sampler, greatest, log_sum_exp};
use super::stops::{Found, Stops};
use crate::metrics::{self, Ended};
use crate::model::{Manifest, NeighbourTokens};
use crate::neighbours::Neighbour;
use crate::text::{TokenId, Tokenizer, Utf8Stream};

pub(super) type EventSender = mpsc::Sender<Result<Event, GenerateError>>;

/// Nobody listens any more.
pub(super) struct Gone;

/// What follows a token's logits.
pub(super) enum Next {
    Token(TokenId),
    Done,
}

/// One choice of a completion: from logits to tokens, and from tokens to events.
#[derive(Clone)]
pub(super) struct CompletionRun {
    choice: u32,
    /// Choices that the prompt is prefilled for.
    choices: usize,
    tokenizer: Arc<Tokenizer>,
    events: EventSender,
    sampler: Sampler,
    text: Text,
    /// Until it is sent.
    echo: Option<Echo>,
    end_of_text: TokenId,
    max_tokens: usize,
    logprobs: Option<usize>,
    prompt_tokens: usize,
    completion_tokens: usize,
    retrieval: RetrievalSummary,
    on_error: OnError,
    clock: Clock,
    /// Around all that is done for it.
    span: Span,
    /// Of the request that asked for it.
    asker: Span,
}

/// The prompt, where it comes before the completion.
#[derive(Clone)]
struct Echo {
    text: String,
    /// Of its tokens so far, where they are asked for.
    log_probs: Vec<TokenLogProbs>,
}

/// Where the time goes.
#[derive(Clone, Default)]
struct Clock {
    queued: Duration,
    admitted: Option<Instant>,
    first_logits: Option<Instant>,
    last_token: Option<Instant>,
    retrieval: Duration,
    prefill_retrieval: Duration,
}

impl CompletionRun {
    pub fn new(tokenizer: Arc<Tokenizer>, request: &ValidCompletion, manifest: &Manifest, events: EventSender) -> Self {
        let first = |_| TokenLogProbs {
            token: tokenizer.decode(&request.prompt[..1]),
            token_id: request.prompt[0],
            log_prob: None,
            top: Vec::new(),
        };
        let echo = request.echo.clone().map(|text| Echo { text, log_probs: request.logprobs.map(first).into_iter().collect() });
        Self {
            choice: 0,
            choices: request.choices,
            tokenizer,
            events,
            sampler: Sampler::new(request.sampling.clone(), manifest.pad_token),
            text: Text { utf8: Utf8Stream::default(), stops: Stops::new(request.stop.clone()) },
            echo,
            end_of_text: manifest.end_of_text_token,
            max_tokens: request.max_tokens,
            logprobs: request.logprobs,
            prompt_tokens: request.prompt.len(),
            completion_tokens: 0,
            retrieval: RetrievalSummary::of(&request.retrieval),
            on_error: request.retrieval.on_error,
            clock: Clock::default(),
            span: tracing::debug_span!("generation", prompt_tokens = request.prompt.len(), choices = request.choices),
            asker: Span::current(),
        }
    }

    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Other choices that will go on from its prompt.
    pub fn to_fork(&self) -> usize {
        if self.has_begun() { 0 } else { self.choices - 1 }
    }

    /// Those, before their first tokens.
    pub fn forks(&self) -> impl Iterator<Item = Self> {
        // What failed at the prompt counts once.
        let retrieval = RetrievalSummary { failed: 0, ..self.retrieval };
        let choice =
            move |choice| Self { choice, choices: 1, sampler: self.sampler.of_choice(choice), retrieval, ..self.clone() };
        (1..).take(self.to_fork()).map(choice)
    }

    pub fn is_gone(&self) -> bool {
        self.events.is_closed()
    }

    /// Its client has gone.
    pub fn left(&self) {
        metrics::get().completions.of(Ended::Canceled).inc();
    }

    pub fn fail(self, error: GenerateError) {
        metrics::get().completions.of(Ended::Error).inc();
        // Who has gone needs no reason.
        let _ = self.events.try_send(Err(error));
    }

    pub fn admitted(&mut self, queued: Duration) {
        self.clock.queued = queued;
        self.clock.admitted = Some(Instant::now());
    }

    /// Whether its prompt is done with.
    pub fn has_begun(&self) -> bool {
        self.clock.first_logits.is_some()
    }

    /// Neighbours were looked up, and the sequence waited so long for them.
    pub fn looked_up(&mut self, waited: Duration, version: u64) {
        self.clock.retrieval += waited;
        if version > 0 {
            self.retrieval.database_version = version;
        }
    }

    /// At a boundary no new neighbours were there.
    pub fn late(&mut self) {
        metrics::get().retrieval_late.inc();
        self.retrieval.late += 1;
    }

    /// What its chunks say of a look-up that failed with `error`, where it goes on all the same.
    pub fn goes_on_after(&self, error: &GenerateError) -> Option<ChunkError> {
        let failure = ChunkError::of(error).filter(|_| self.on_error == OnError::Continue)?;
        tracing::warn!(parent: &self.asker, reason = %error, "a look-up failed, and the completion goes on without it");
        Some(failure)
    }

    pub fn announce(&mut self, chunk: ChunkRetrieval) {
        if chunk.error.is_some() {
            if self.retrieval.failed == 0 {
                metrics::get().retrieval_continued.inc();
            }
            self.retrieval.failed += 1;
        }
        // Where nobody listens, the next look at the events says so.
        let _ = self.send(Event::Retrieval(ChunkRetrieval { choice: self.choice, ..chunk }));
    }

    /// Whether the logits of all tokens of its prompt are wanted.
    pub fn takes_prompt(&self) -> bool {
        self.echo.is_some() && self.logprobs.is_some()
    }

    /// Takes the logits of the tokens `span` of the prompt `tokens`.
    pub fn take_prompt(&mut self, logits: ChunksExact<'_, f32>, tokens: &[TokenId], span: Range<usize>) {
        let (Some(mut echo), Some(count)) = (self.echo.take(), self.logprobs) else { return };
        let predicted = tokens[span.start + 1..].iter().zip(logits).take(span.len());
        echo.log_probs.extend(predicted.map(|(&token, row)| self.log_probs(row, token, count)));
        self.echo = Some(echo);
    }

    /// Samples a token from the logits [V] of the last one, and sends what it makes certain.
    pub fn next(&mut self, logits: &[f32]) -> Result<Next, Gone> {
        if self.clock.first_logits.is_none() {
            self.begin();
            self.send_echo()?;
        }
        let token = self.sampler.sample(logits);
        if token == self.end_of_text {
            return self.finish(FinishReason::Stop);
        }
        self.count();
        let logprobs = self.logprobs.map(|count| self.log_probs(logits, token, count));
        let (piece, stopped) = self.text.push(self.tokenizer.bytes(token));
        if !piece.is_empty() || logprobs.is_some() {
            self.send_text(piece, logprobs)?;
        } else if self.events.is_closed() {
            return Err(Gone);
        }
        if stopped {
            return self.done(FinishReason::Stop);
        }
        if self.completion_tokens == self.max_tokens {
            return self.finish(FinishReason::Length);
        }
        Ok(Next::Token(token))
    }

    /// The prompt is done with.
    fn begin(&mut self) {
        self.clock.first_logits = Some(Instant::now());
        self.clock.prefill_retrieval = self.clock.retrieval;
        tracing::debug!(parent: &self.span, choice = self.choice, "the prompt was read");
        // The other choices go on from the same prompt at the same moment.
        if self.choice == 0 {
            let metrics = metrics::get();
            metrics.prompt_tokens.inc_by(self.prompt_tokens as u64);
            metrics.time_to_first_token.observe(self.clock.to_first_token().as_secs_f64());
        }
    }

    /// Another token was made.
    fn count(&mut self) {
        self.completion_tokens += 1;
        let (metrics, now) = (metrics::get(), Instant::now());
        metrics.completion_tokens.inc();
        if let Some(last) = self.clock.last_token.replace(now) {
            metrics.inter_token_latency.observe((now - last).as_secs_f64());
        }
    }

    fn send_echo(&mut self) -> Result<(), Gone> {
        let Some(Echo { text, log_probs }) = self.echo.take() else { return Ok(()) };
        let mut log_probs = log_probs.into_iter();
        self.send_text(text, log_probs.next())?;
        log_probs.try_for_each(|logprobs| self.send_text(String::new(), Some(logprobs)))
    }

    /// Sends what is still held back, and the end.
    fn finish(&mut self, reason: FinishReason) -> Result<Next, Gone> {
        let (rest, stopped) = self.text.finish();
        if !rest.is_empty() {
            self.send_text(rest, None)?;
        }
        self.done(if stopped { FinishReason::Stop } else { reason })
    }

    fn done(&mut self, finish_reason: FinishReason) -> Result<Next, Gone> {
        let (prompt_tokens, completion_tokens) = (self.prompt_tokens, self.completion_tokens);
        if self.is_gone() {
            return Err(Gone);
        }
        // First, so that whoever has the answer finds it counted.
        metrics::get().completions.of(finish_reason.into()).inc();
        self.send(Event::Done(Done {
            choices: vec![FinishedChoice { index: self.choice, finish_reason }],
            retrieval: self.retrieval,
            usage: Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
            timings: self.clock.timings(),
        }))?;
        tracing::debug!(parent: &self.span, choice = self.choice, completion_tokens, ?finish_reason, "the choice ended");
        Ok(Next::Done)
    }

    fn log_probs(&self, logits: &[f32], token: TokenId, count: usize) -> TokenLogProbs {
        let total = log_sum_exp(logits);
        let log_prob = |logit: f32| (f64::from(logit) - total) as f32;
        let text = |token: TokenId| self.tokenizer.decode(&[token]);
        let top = greatest(logits, count).into_iter();
        TokenLogProbs {
            token: text(token),
            token_id: token,
            log_prob: Some(log_prob(logits[token as usize])),
            top: top
                .map(|(token, logit)| TokenLogProb { token: text(token), token_id: token, log_prob: log_prob(logit) })
                .collect(),
        }
    }

    fn send_text(&self, text: String, logprobs: Option<TokenLogProbs>) -> Result<(), Gone> {
        self.send(Event::Token(TokenEvent { choice: self.choice, text, logprobs }))
    }

    fn send(&self, event: Event) -> Result<(), Gone> {
        // The channel has room for every event of a completion, so a slow reader never holds up the model.
        self.events.try_send(Ok(event)).map_err(|_| Gone)
    }
}

impl Clock {
    /// From the queue on.
    fn to_first_token(&self) -> Duration {
        self.queued + self.admitted.map_or(Duration::ZERO, |admitted| admitted.elapsed())
    }

    fn timings(&self) -> Timings {
        let between = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to.duration_since(from),
            _ => Duration::ZERO,
        };
        let prefill = between(self.admitted, self.first_logits);
        let decode = between(self.first_logits, Some(Instant::now()));
        Timings {
            queue_ms: milliseconds(self.queued),
            retrieval_ms: milliseconds(self.retrieval),
            prefill_ms: milliseconds(prefill.saturating_sub(self.prefill_retrieval)),
            first_token_ms: milliseconds(prefill),
            decode_ms: milliseconds(decode.saturating_sub(self.retrieval - self.prefill_retrieval)),
        }
    }
}

impl From<FinishReason> for Ended {
    fn from(reason: FinishReason) -> Self {
        match reason {
            FinishReason::Length => Self::Length,
            FinishReason::Stop => Self::Stop,
        }
    }
}

/// From tokens' bytes to text that may be shown.
#[derive(Clone)]
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

impl From<&Neighbour> for NeighbourTokens {
    fn from(found: &Neighbour) -> Self {
        Self { neighbour: found.neighbour_tokens.clone(), continuation: found.continuation_tokens.clone() }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
