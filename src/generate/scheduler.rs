use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::GenerateError;
use super::completion::{self, Ended, EventSender};
use super::events::EventStream;
use super::request::{Limits, ProvidedNeighbour, ValidCompletion};
use super::retriever::Retriever;
use super::score::{self, ScoreRequest};
use crate::model::{Model, NeighbourTokens};
use crate::text::Tokenizer;

/// What a running completion reaches for.
pub(super) struct Parts {
    pub tokenizer: Arc<Tokenizer>,
    pub retriever: Retriever,
    pub runtime: Handle,
    pub stop: CancellationToken,
}

impl Parts {
    pub fn provided_tokens(&self, given: &ProvidedNeighbour) -> NeighbourTokens {
        NeighbourTokens {
            neighbour: self.tokenizer.encode(&given.neighbour),
            continuation: self.tokenizer.encode(&given.continuation),
        }
    }
}

enum Job {
    Complete { request: ValidCompletion, events: EventSender, queued_at: Instant },
    Score { request: ScoreRequest, answer: oneshot::Sender<Result<Vec<f32>, GenerateError>> },
}

/// A handle to the scheduler: one thread that owns the model's sessions and takes requests from a bounded queue.
#[derive(Clone)]
pub struct Generator {
    queue: mpsc::Sender<Job>,
    limits: Limits,
    stop: CancellationToken,
    ended: watch::Receiver<bool>,
    /// Mean time of a completion, for `Retry-After`.
    mean_ms: Arc<AtomicU64>,
}

impl Generator {
    /// Starts the scheduler's thread. Call it inside a tokio runtime, which then serves the retrieval.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(model: Model, tokenizer: Arc<Tokenizer>, retriever: Retriever, max_queue: usize) -> Result<Self, GenerateError> {
        let limits = Limits::from(model.manifest());
        let stop = CancellationToken::new();
        let (queue, jobs) = mpsc::channel(max_queue.max(1));
        let (end, ended) = watch::channel(false);
        let mean_ms = Arc::new(AtomicU64::new(0));
        let parts = Parts { tokenizer, retriever, runtime: Handle::current(), stop: stop.clone() };
        let mean = Arc::clone(&mean_ms);
        std::thread::Builder::new()
            .name("generate".to_owned())
            .spawn(move || {
                serve(model, &parts, jobs, &mean);
                let _ = end.send(true);
            })
            .map_err(|e| GenerateError::Model(format!("its thread cannot be started: {e}")))?;
        Ok(Self { queue, limits, stop, ended, mean_ms })
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Queues a completion. Its events wait in the stream, however slowly it is read; dropping the stream cancels it.
    ///
    /// # Errors
    /// [`GenerateError::Overloaded`] where the queue is full, [`GenerateError::ShuttingDown`] after `shut_down`.
    pub fn submit(&self, request: ValidCompletion) -> Result<EventStream, GenerateError> {
        if self.stop.is_cancelled() {
            return Err(GenerateError::ShuttingDown);
        }
        // Each token and each chunk is at most one event, then the held-back text and the end.
        let (events, receiver) = mpsc::channel(2 * self.limits.context + 4);
        match self.queue.try_send(Job::Complete { request, events, queued_at: Instant::now() }) {
            Ok(()) => Ok(EventStream::new(receiver)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(GenerateError::Overloaded { retry_after_seconds: self.retry_after() }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(GenerateError::ShuttingDown),
        }
    }

    /// Natural-log probabilities of all tokens of a text but the first. Waits for its turn in the queue.
    ///
    /// # Errors
    /// The model fails, or the scheduler stops.
    pub async fn score(&self, request: ScoreRequest) -> Result<Vec<f32>, GenerateError> {
        let (answer, result) = oneshot::channel();
        self.queue.send(Job::Score { request, answer }).await.map_err(|_| GenerateError::ShuttingDown)?;
        result.await.map_err(|_| GenerateError::ShuttingDown)?
    }

    /// Ends what runs and what waits with [`GenerateError::ShuttingDown`], and returns when the thread is done.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        let mut ended = self.ended.clone();
        // An error means that the thread is gone, which is what we wait for.
        let _ = ended.wait_for(|&ended| ended).await;
    }

    fn retry_after(&self) -> u64 {
        let waiting = (self.queue.max_capacity() - self.queue.capacity()) as u64;
        (waiting * self.mean_ms.load(Ordering::Relaxed)).div_ceil(1000).clamp(1, 60)
    }
}

fn serve(mut model: Model, parts: &Parts, mut jobs: mpsc::Receiver<Job>, mean_ms: &AtomicU64) {
    loop {
        let job = parts.runtime.block_on(async {
            tokio::select! {
                biased;
                () = parts.stop.cancelled() => None,
                job = jobs.recv() => job,
            }
        });
        match job {
            Some(Job::Complete { request, events, queued_at }) => {
                if events.is_closed() {
                    continue;
                }
                let began = Instant::now();
                match completion::run(&mut model, parts, request, &events, queued_at.elapsed()) {
                    Ok(()) => {
                        let mean = mean_ms.load(Ordering::Relaxed);
                        let taken = began.elapsed().as_millis() as u64;
                        mean_ms.store(if mean == 0 { taken } else { (mean * 7 + taken) / 8 }, Ordering::Relaxed);
                    }
                    Err(Ended::Gone) => tracing::debug!("the client left before its completion was done"),
                    Err(Ended::Failed(error)) => {
                        let _ = events.try_send(Err(error));
                    }
                }
            }
            Some(Job::Score { request, answer }) => {
                if !answer.is_closed() {
                    let _ = answer.send(score::score(&mut model, &request));
                }
            }
            None => break,
        }
    }
    // Those who still wait are told, whether they wait for events or for an answer.
    jobs.close();
    while let Ok(job) = jobs.try_recv() {
        match job {
            Job::Complete { events, .. } => drop(events.try_send(Err(GenerateError::ShuttingDown))),
            Job::Score { answer, .. } => drop(answer.send(Err(GenerateError::ShuttingDown))),
        }
    }
}
