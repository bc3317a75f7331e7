use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{Instrument, Span};

use super::GenerateError;
use super::events::{ChunkError, ChunkRetrieval, NeighbourView};
use super::retriever::Retriever;
use super::scheduler::{Message, Ticket};
use crate::metrics::{self, Stage};
use crate::model::{ChunkNeighbours, EncodedNeighbours, Encoder, NeighbourTokens};
use crate::neighbours::{Neighbour, SearchOptions};
use crate::onnx::{Cores, OnnxError};
use crate::panics;
use crate::telemetry::linked;
use crate::text::{TokenId, Tokenizer};

/// A chunk whose neighbours are wanted, or the newest tokens in its place.
pub(super) struct Query {
    pub chunk: usize,
    pub tokens: Vec<TokenId>,
    /// Hidden states of its tokens.
    pub hidden: Vec<u8>,
}

/// Where the neighbours of one sequence's chunks come from.
#[derive(Clone, PartialEq)]
pub(super) enum Source {
    Search(SearchOptions),
    /// The same for every chunk, with what is shown of them.
    Provided(Vec<NeighbourTokens>, Vec<NeighbourView>),
    /// By number of chunk.
    Given(Arc<Vec<Vec<NeighbourTokens>>>),
}

/// The chunks of one sequence.
pub(super) struct Request {
    pub ticket: Ticket,
    pub cores: Cores,
    pub source: Source,
    pub queries: Vec<Query>,
    /// Of the sequence.
    pub span: Span,
}

impl Request {
    /// Whether one batch can serve both.
    fn is_like(&self, other: &Self) -> bool {
        self.source == other.source && self.cores == other.cores
    }
}

/// The neighbours of one chunk, ready for the model.
#[derive(Clone)]
pub(super) struct Found {
    pub chunk: usize,
    pub text: String,
    pub encoded: Option<Arc<EncodedNeighbours>>,
    pub shown: Vec<NeighbourView>,
    /// Why there are none, where it is not that there are none to find.
    pub error: Option<ChunkError>,
}

impl Found {
    /// What clients are told of it. `chunk` is the one from whose end on it is attended, when the sequence has grown by `stale_tokens`.
    pub fn told(self, chunk: usize, stale_tokens: usize) -> ChunkRetrieval {
        let Self { text, shown: neighbours, error, .. } = self;
        ChunkRetrieval { choice: 0, chunk: chunk as u32, text, stale_tokens, neighbours, error }
    }
}

pub(super) struct Answer {
    pub ticket: Ticket,
    pub found: Result<Vec<Found>, Failed>,
    /// Version of the collection; 0 where nothing was searched.
    pub version: u64,
}

/// A look-up that came to nothing.
pub(super) struct Failed {
    pub error: GenerateError,
    queries: Vec<Asked>,
}

/// Number and text of a chunk.
type Asked = (usize, String);

impl Failed {
    pub fn new(error: GenerateError, queries: Vec<Asked>) -> Self {
        Self { error, queries }
    }

    /// For a sequence that goes on: no neighbours, and why, for each of its chunks.
    pub fn without(self, error: ChunkError) -> Vec<Found> {
        let found = |(chunk, text)| Found { chunk, text, encoded: None, shown: Vec::new(), error: Some(error) };
        self.queries.into_iter().map(found).collect()
    }
}

/// Finds and encodes neighbours aside, while the scheduler goes on.
pub(super) trait Lookup {
    /// Begins to look up what several sequences want. Each gets an answer, in any order.
    fn begin(&self, requests: Vec<Request>);
}

/// The embedder, the database and the encoder, each on threads of its own.
pub(super) struct Aside {
    pub worker: Worker,
    pub runtime: Handle,
    pub answers: Sender<Message>,
    /// Held as long as anything runs.
    pub alive: Arc<watch::Sender<()>>,
}

impl Lookup for Aside {
    fn begin(&self, requests: Vec<Request>) {
        for group in grouped(requests) {
            let (worker, answers, alive) = (self.worker.clone(), self.answers.clone(), Arc::clone(&self.alive));
            let span = tracing::debug_span!(parent: &group[0].span, "look_up", sequences = group.len());
            let span = linked(span, group[1..].iter().map(|request| &request.span));
            let look_up = async move {
                for answer in worker.answer(group).await {
                    // The scheduler may have ended meanwhile.
                    let _ = answers.send(Message::Answer(answer));
                }
                drop(alive);
            };
            self.runtime.spawn(look_up.instrument(span));
        }
    }
}

/// Requests that search alike are one batch.
fn grouped(requests: Vec<Request>) -> Vec<Vec<Request>> {
    let mut groups: Vec<Vec<Request>> = Vec::new();
    for request in requests {
        match groups.iter_mut().find(|group| matches!(request.source, Source::Search(_)) && group[0].is_like(&request)) {
            Some(group) => group.push(request),
            None => groups.push(vec![request]),
        }
    }
    groups
}

/// Looks up one group of requests.
#[derive(Clone)]
pub(super) struct Worker {
    pub tokenizer: Arc<Tokenizer>,
    pub retriever: Retriever,
    pub encoder: Encoder,
}

/// The neighbours of each chunk as tokens and as shown.
type Neighbours = Vec<(Vec<NeighbourTokens>, Vec<NeighbourView>)>;

impl Worker {
    async fn answer(&self, requests: Vec<Request>) -> Vec<Answer> {
        let began = Instant::now();
        let asked = |query: &Query| (query.chunk, self.tokenizer.decode(&query.tokens));
        let asked = |request: &Request| (request.ticket, request.queries.iter().map(asked).collect());
        let asked: Vec<(Ticket, Vec<Asked>)> = requests.iter().map(asked).collect();
        let texts = asked.iter().flat_map(|(_, asked)| asked).map(|(_, text)| text.clone()).collect();
        // A sequence that gets no answer waits for ever.
        let looked_up = AssertUnwindSafe(self.look_up(requests, texts)).catch_unwind().await;
        let looked_up = looked_up.unwrap_or_else(|panic| Err(GenerateError::Model(panics::message(&*panic).to_owned())));
        let answers = match looked_up {
            Ok(answers) => answers,
            Err(error) => {
                let failed = |(ticket, asked)| {
                    let found = Err(Failed::new(error.clone(), asked));
                    Answer { ticket, found, version: 0 }
                };
                asked.into_iter().map(failed).collect()
            }
        };
        tracing::trace!(sequences = answers.len(), milliseconds = began.elapsed().as_secs_f64() * 1000.0, "looked up");
        answers
    }

    /// `texts` are those of the requests' queries.
    async fn look_up(&self, mut requests: Vec<Request>, texts: Vec<String>) -> Result<Vec<Answer>, GenerateError> {
        let cores = requests[0].cores;
        let (version, neighbours) = self.neighbours(&requests, &texts).await?;
        let mut chunks = Vec::new();
        let queries = requests.iter_mut().flat_map(|request| &mut request.queries);
        for (query, (tokens, _)) in queries.zip(&neighbours) {
            if !tokens.is_empty() {
                chunks.push(ChunkNeighbours { hidden: std::mem::take(&mut query.hidden), neighbours: tokens.clone() });
            }
        }
        let mut encoded = self.encode(cores, chunks).await?.into_iter();
        let mut found = texts.into_iter().zip(neighbours);
        Ok(requests
            .into_iter()
            .map(|request| {
                let of_request = request.queries.into_iter().zip(&mut found).map(|(query, (text, (tokens, shown)))| {
                    let encoded = if tokens.is_empty() { None } else { encoded.next() };
                    Found { chunk: query.chunk, text, encoded, shown, error: None }
                });
                Answer { ticket: request.ticket, found: Ok(of_request.collect()), version }
            })
            .collect())
    }

    async fn encode(&self, cores: Cores, chunks: Vec<ChunkNeighbours>) -> Result<Vec<Arc<EncodedNeighbours>>, OnnxError> {
        if chunks.is_empty() {
            return Ok(Vec::new());
        }
        let (metrics, began) = (metrics::get(), Instant::now());
        let span = tracing::debug_span!("encode", chunks = chunks.len());
        let encoded = self.encoder.encode(cores, chunks).instrument(span).await;
        match &encoded {
            Ok(_) => metrics.retrieval_duration.of(Stage::Encode).observe(began.elapsed().as_secs_f64()),
            Err(_) => metrics.retrieval_failures.inc(),
        }
        encoded
    }

    /// All requests have the same source where it is a search; any other request is alone.
    async fn neighbours(&self, requests: &[Request], texts: &[String]) -> Result<(u64, Neighbours), GenerateError> {
        let queries = || requests.iter().flat_map(|request| &request.queries);
        Ok(match &requests[0].source {
            Source::Search(options) => {
                let retrieved = self.retriever.retrieve_on(requests[0].cores, texts.to_vec(), options).await?;
                let both = |found: &Vec<Neighbour>| {
                    (found.iter().map(NeighbourTokens::from).collect(), found.iter().map(NeighbourView::from).collect())
                };
                (retrieved.version, retrieved.neighbours.iter().map(both).collect())
            }
            Source::Provided(tokens, shown) => (0, queries().map(|_| (tokens.clone(), shown.clone())).collect()),
            Source::Given(given) => {
                (0, queries().map(|query| (given.get(query.chunk).cloned().unwrap_or_default(), Vec::new())).collect())
            }
        })
    }
}
