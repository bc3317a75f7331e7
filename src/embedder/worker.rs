use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use tokio::sync::mpsc;
use tracing::Span;

use super::batches::Batches;
use super::tokens::Tokens;
use super::{EmbedderError, EmbedderFiles, Job};
use crate::metrics::{self, Purpose};
use crate::onnx::{Array, Cores, Graph};

/// Most padded tokens in one run of the graph: larger batches are no faster, and their buffers leave the processor's caches.
const MOST_PADDED_TOKENS: usize = 1024;
/// The same for documents while queries come, each of which waits for the run at hand: two chunks, for most texts.
const MOST_BESIDE_QUERIES: usize = 136;
/// How long after a query more are reckoned with.
const QUERIES_COME: Duration = Duration::from_secs(2);

/// Owns the session; runs on its own thread.
pub(super) struct Worker {
    graph: Graph,
    tokens: Arc<Tokens>,
    pad_token: i64,
    last_query: Option<Instant>,
}

/// Texts of documents, which may be many, and of queries, which somebody waits for.
pub(super) struct Queues {
    pub documents: mpsc::Receiver<Job>,
    pub queries: mpsc::Receiver<Job>,
}

impl Queues {
    /// The next job whose asker still waits, a query's first; none when all handles are gone.
    fn next(&mut self) -> Option<(Purpose, Job)> {
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    Some(job) = self.queries.recv() => Some((Purpose::Queries, job)),
                    Some(job) = self.documents.recv() => Some((Purpose::Documents, job)),
                    else => None,
                }
            };
            let (purpose, job) = block_on(next)?;
            if !job.answer.is_closed() {
                return Some((purpose, job));
            }
        }
    }
}

impl Worker {
    pub fn load(graph: Graph, folder: &Path, about: &EmbedderFiles, tokens: Arc<Tokens>) -> Result<Self, EmbedderError> {
        let error = |reason: String| EmbedderError::Folder { path: folder.display().to_string(), reason };
        let mut worker = Self { graph, tokens, pad_token: about.pad_token, last_query: None };
        let probe = worker.embed(&["probe".to_owned()], Cores::All, Purpose::Queries, Self::whole)?;
        if probe[0].len() != about.dimension {
            return Err(error(format!("model.onnx gives vectors of {}, embedder.json says {}", probe[0].len(), about.dimension)));
        }
        Ok(worker)
    }

    pub fn run(mut self, mut queues: Queues) {
        while let Some((purpose, job)) = queues.next() {
            if purpose == Purpose::Queries {
                self.answer(job);
                continue;
            }
            let _run = run_span(&job).entered();
            let result = self.embed(&job.texts, job.cores, purpose, |worker| {
                while let Ok(query) = queues.queries.try_recv() {
                    worker.answer(query);
                }
                match worker.last_query {
                    Some(last) if last.elapsed() < QUERIES_COME => MOST_BESIDE_QUERIES,
                    _ => MOST_PADDED_TOKENS,
                }
            });
            // Whoever asked may have gone meanwhile.
            let _ = job.answer.send(result);
        }
    }

    fn answer(&mut self, query: Job) {
        if !query.answer.is_closed() {
            let _run = run_span(&query).entered();
            let result = self.embed(&query.texts, query.cores, Purpose::Queries, Self::whole);
            let _ = query.answer.send(result);
            self.last_query = Some(Instant::now());
        }
    }

    fn whole(&mut self) -> usize {
        MOST_PADDED_TOKENS
    }

    /// `before` is called before each batch, and gives the most padded tokens of it.
    fn embed(
        &mut self,
        texts: &[String],
        cores: Cores,
        purpose: Purpose,
        mut before: impl FnMut(&mut Self) -> usize,
    ) -> Result<Vec<Vec<f32>>, EmbedderError> {
        let ids = texts.iter().map(|text| self.tokens.ids(text)).collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        let metrics = metrics::get();
        metrics.embedder_texts.of(purpose).inc_by(texts.len() as u64);
        metrics.embedder_tokens.of(purpose).inc_by(lengths.iter().sum::<usize>() as u64);
        let mut batches = Batches::of(&lengths);
        let mut vectors = vec![Vec::new(); texts.len()];
        while let Some(places) = batches.next(before(self)) {
            let width = places.iter().map(|&at| lengths[at]).max().unwrap_or(0);
            let mut input = Vec::with_capacity(places.len() * width);
            let mut mask = Vec::with_capacity(places.len() * width);
            for &at in places {
                let padding = width - lengths[at];
                input.extend_from_slice(&ids[at]);
                input.extend(std::iter::repeat_n(self.pad_token, padding));
                mask.extend(std::iter::repeat_n(1, lengths[at]));
                mask.extend(std::iter::repeat_n(0, padding));
            }
            let shape = [places.len(), width];
            let (input, mask) = (Array::i64(&shape, &input), Array::i64(&shape, &mask));
            let began = Instant::now();
            let outputs = self.graph.run(&[("input_ids", &input), ("attention_mask", &mask)], &["embedding"], cores)?;
            metrics.embedder_run_duration.of(purpose).observe(began.elapsed().as_secs_f64());
            let embedding = outputs[0].memory.slice::<f32>();
            let dimension = embedding.len() / places.len();
            for (&at, vector) in places.iter().zip(embedding.chunks_exact(dimension)) {
                vectors[at] = vector.to_vec();
            }
        }
        Ok(vectors)
    }
}

/// A child of whoever asks, whose runs are on another thread.
fn run_span(job: &Job) -> Span {
    tracing::trace_span!(parent: &job.span, "embedder_run", texts = job.texts.len())
}
