use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::GenerateError;
use super::completion::CompletionRun;
use super::events::{EventStream, NeighbourView, RetrievalSummary};
use super::job::{Job, Place, Work};
use super::lookup::{Aside, Source, Worker};
use super::prefetch::Prefetch;
use super::request::{Limits, MAX_CHOICES, NeighbourSource, ProvidedNeighbour, ValidCompletion, ValidScore};
use super::retriever::Retriever;
use super::scheduler::{Message, Scheduler};
use super::score::{GivenText, Score, ScoreAnswer, ScoreRun, Scored};
use crate::metrics;
use crate::model::{Encoder, Manifest, Model, NeighbourTokens};
use crate::text::{CHUNK_LENGTH, Grid, TokenId, Tokenizer};

/// A handle to the scheduler's thread, which owns the model's sessions and takes requests from a bounded queue.
#[derive(Clone)]
pub struct Generator {
    messages: Sender<Message>,
    /// Places in the queue.
    places: Arc<Semaphore>,
    max_queue: usize,
    slots: usize,
    manifest: Arc<Manifest>,
    tokenizer: Arc<Tokenizer>,
    limits: Limits,
    stop: CancellationToken,
    /// Closes when the thread and the look-ups have ended.
    ended: watch::Receiver<()>,
    /// Mean time of a completion, for `Retry-After`.
    mean_ms: Arc<AtomicU64>,
}

impl Generator {
    /// Starts the scheduler's thread. Call it inside a tokio runtime, which then serves the retrieval.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        model: Model,
        encoder: Encoder,
        tokenizer: Arc<Tokenizer>,
        retriever: Retriever,
        max_queue: usize,
    ) -> Result<Self, GenerateError> {
        let manifest = Arc::clone(model.manifest());
        let slots = model.slots();
        let limits = Limits { max_n: MAX_CHOICES.min(slots), ..Limits::from(&*manifest) };
        let (messages, inbox) = channel();
        let (alive, ended) = watch::channel(());
        let alive = Arc::new(alive);
        let worker = Worker { tokenizer: Arc::clone(&tokenizer), retriever, encoder };
        let aside = Aside { worker, runtime: Handle::current(), answers: messages.clone(), alive: Arc::clone(&alive) };
        std::thread::Builder::new()
            .name("generate".to_owned())
            .spawn(move || {
                serve(Scheduler::new(model, aside), &inbox);
                drop(alive);
            })
            .map_err(|e| GenerateError::Model(format!("its thread cannot be started: {e}")))?;
        let max_queue = max_queue.max(1);
        metrics::get().sequence_slots.set(slots as i64);
        Ok(Self {
            messages,
            places: Arc::new(Semaphore::new(max_queue)),
            max_queue,
            slots,
            manifest,
            tokenizer,
            limits,
            stop: CancellationToken::new(),
            ended,
            mean_ms: Arc::new(AtomicU64::new(0)),
        })
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Sequences that run at a time.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Queues a completion. Its events wait in the stream, however slowly it is read; dropping the stream cancels it.
    ///
    /// # Errors
    /// [`GenerateError::Overloaded`] where the queue is full, [`GenerateError::ShuttingDown`] after `shut_down`.
    pub fn submit(&self, request: ValidCompletion) -> Result<EventStream, GenerateError> {
        let place = self.places(1)?;
        self.begin(request, Some(Arc::new(place)))
    }

    /// Queues several completions, all or none; each takes a place of its own. More of them than the queue has places are refused always.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_all(&self, requests: Vec<ValidCompletion>) -> Result<Vec<EventStream>, GenerateError> {
        let mut places = self.places(requests.len())?;
        let begin = |request| {
            let place = places.split(1).expect("there is a place for each");
            self.begin(request, Some(Arc::new(place)))
        };
        requests.into_iter().map(begin).collect()
    }

    fn begin(&self, request: ValidCompletion, place: Place) -> Result<EventStream, GenerateError> {
        let choices = request.choices;
        // Of each choice, each token (those of an echoed prompt too) and each chunk is at most one event (neighbours are refreshed at most
        // every token), then the held-back text and the end.
        let (events, receiver) = mpsc::channel(choices * (2 * self.limits.context + 4));
        let grid = request.retrieval.grid(request.prompt.len());
        let run = CompletionRun::new(Arc::clone(&self.tokenizer), &request, &self.manifest, events);
        let prefetches = request.retrieval.prefetch && request.retrieval.uses_neighbours();
        self.queue(Job {
            grid,
            prefetch: prefetches.then(|| Prefetch::new(grid, request.prompt.len() + request.max_tokens)),
            source: self.source(request.retrieval.source),
            tokens: request.prompt,
            work: Work::Complete(Box::new(run)),
            queued_at: Instant::now(),
            place,
        })?;
        Ok(EventStream::new(receiver, choices, Arc::clone(&self.mean_ms)))
    }

    /// So many places in the queue.
    fn places(&self, number: usize) -> Result<OwnedSemaphorePermit, GenerateError> {
        if self.stop.is_cancelled() {
            return Err(GenerateError::ShuttingDown);
        }
        let overloaded = || {
            metrics::get().queue_refusals.inc();
            GenerateError::Overloaded { retry_after_seconds: self.retry_after() }
        };
        let number = u32::try_from(number).map_err(|_| overloaded())?;
        Arc::clone(&self.places).try_acquire_many_owned(number).map_err(|_| overloaded())
    }

    fn queue(&self, job: Job) -> Result<(), GenerateError> {
        self.messages.send(Message::Job(Box::new(job))).map_err(|_| GenerateError::ShuttingDown)
    }

    fn begin_score(
        &self,
        mut tokens: Vec<TokenId>,
        given: usize,
        grid: Grid,
        source: Option<Source>,
        place: Place,
    ) -> Result<ScoreAnswer, GenerateError> {
        let last = tokens.pop().expect("a text that is scored has tokens");
        let (run, answer) = ScoreRun::new(given, last);
        self.queue(Job { tokens, grid, source, prefetch: None, work: Work::Score(run), queued_at: Instant::now(), place })?;
        Ok(answer)
    }

    fn source(&self, source: NeighbourSource) -> Option<Source> {
        match source {
            NeighbourSource::Off => None,
            NeighbourSource::Search(options) => Some(Source::Search(options)),
            NeighbourSource::Provided(provided) => {
                let (read, shown) = provided.iter().map(|given| self.provided(given)).unzip();
                Some(Source::Provided(read, shown))
            }
        }
    }

    /// What is read of a neighbour that came with a request, and the same as it is shown.
    fn provided(&self, given: &ProvidedNeighbour) -> (NeighbourTokens, NeighbourView) {
        let read = |text: &str| {
            let mut tokens = self.tokenizer.encode(text);
            tokens.truncate(CHUNK_LENGTH);
            tokens
        };
        let tokens = NeighbourTokens { neighbour: read(&given.neighbour), continuation: read(&given.continuation) };
        let shown = |tokens: &[TokenId]| self.tokenizer.decode(tokens);
        let view = NeighbourView::without_document(shown(&tokens.neighbour), shown(&tokens.continuation));
        (tokens, view)
    }

    /// Scores a text with its neighbours and without them, both at the same time. Dropping the future cancels it.
    ///
    /// # Errors
    /// [`GenerateError::Overloaded`] where the queue is full; the retrieval or the model fails, or the scheduler stops.
    pub async fn score(&self, request: ValidScore) -> Result<Score, GenerateError> {
        let place: Place = Some(Arc::new(self.places(1)?));
        let ValidScore { mut tokens, given, retrieval } = request;
        let (mut summary, grid) = (RetrievalSummary::of(&retrieval), retrieval.grid(given));
        let begin = |source| self.begin_score(tokens.clone(), given, grid, source, place.clone());
        let with = self.source(retrieval.source).map(|source| begin(Some(source))).transpose()?;
        let without = begin(None)?;
        drop(place);
        let with = async {
            match with {
                Some(answer) => scored(answer).await.map(Some),
                None => Ok(None),
            }
        };
        let (with, without) = tokio::try_join!(with, scored(without))?;
        let (with, chunks) = match with {
            Some(Scored { log_probs, chunks, database_version }) => {
                summary.database_version = database_version;
                (Some(log_probs), chunks)
            }
            None => (None, Vec::new()),
        };
        Ok(Score {
            tokens: tokens.split_off(given),
            with_retrieval: with,
            without_retrieval: without.log_probs,
            retrieval: summary,
            chunks,
        })
    }

    /// Natural-log probabilities, without retrieval, of the tokens of a text from the place `given` on, which is at least 1. It is part of a
    /// request that was accepted, so the queue's bound does not count.
    ///
    /// # Errors
    /// The model fails, or the scheduler stops.
    pub(super) async fn score_after(&self, tokens: Vec<TokenId>, given: usize) -> Result<Vec<f32>, GenerateError> {
        let answer = self.begin_score(tokens, given, Grid::prompt_start(), None, None)?;
        Ok(scored(answer).await?.log_probs)
    }

    /// Natural-log probabilities of all tokens of a text but the first. Waits for its place in the queue.
    ///
    /// # Errors
    /// The model fails, or the scheduler stops.
    pub async fn score_given(&self, text: GivenText) -> Result<Vec<f32>, GenerateError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| GenerateError::ShuttingDown)?;
        if self.stop.is_cancelled() {
            return Err(GenerateError::ShuttingDown);
        }
        let has_neighbours = text.neighbours.iter().any(|neighbours| !neighbours.is_empty());
        let source = has_neighbours.then(|| Source::Given(Arc::new(text.neighbours)));
        let answer = self.begin_score(text.tokens, 1, Grid::prompt_start(), source, Some(Arc::new(place)))?;
        Ok(scored(answer).await?.log_probs)
    }

    /// Ends what runs and what waits with [`GenerateError::ShuttingDown`], and returns when the thread and the look-ups under way are
    /// done: a search that a runtime drops in the middle panics.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        // An error means that the thread is gone, which is what we wait for.
        let _ = self.messages.send(Message::Stop);
        let mut ended = self.ended.clone();
        // So does an error here.
        let _ = ended.changed().await;
    }

    fn retry_after(&self) -> u64 {
        let waiting = (self.max_queue - self.places.available_permits()) as u64;
        let mean = self.mean_ms.load(Ordering::Relaxed);
        (waiting * mean).div_ceil(1000 * self.slots as u64).clamp(1, 60)
    }
}

async fn scored(answer: ScoreAnswer) -> Result<Scored, GenerateError> {
    answer.await.map_err(|_| GenerateError::ShuttingDown)?
}

fn serve(mut scheduler: Scheduler<Model, Aside>, inbox: &Receiver<Message>) {
    loop {
        // With nothing to run it sleeps until someone writes.
        let first = if scheduler.has_work() { inbox.try_recv().ok() } else { inbox.recv().ok() };
        let mut next = first;
        while let Some(message) = next {
            match message {
                Message::Job(job) => scheduler.queue(*job),
                Message::Answer(answer) => scheduler.answer(answer),
                Message::Stop => {
                    scheduler.stop();
                    // Those who wrote last are told, too.
                    for message in inbox.try_iter() {
                        if let Message::Job(job) = message {
                            job.work.fail(GenerateError::ShuttingDown);
                        }
                    }
                    return;
                }
            }
            next = inbox.try_recv().ok();
        }
        scheduler.tick();
    }
}
