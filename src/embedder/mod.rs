//! BERT: text to mean-pooled, normalised vectors. One thread owns the session; handles are cheap to clone.

mod batches;
mod folder;
mod precision;
#[cfg(test)]
mod tests;
mod tokens;
mod worker;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::Span;

pub use folder::EmbedderFiles;
pub use precision::Precision;

use tokens::Tokens;

use crate::onnx::{Cores, Device, Graph, OnnxError, Runtime};

#[derive(Clone, Debug, thiserror::Error)]
pub enum EmbedderError {
    #[error("the embedder folder {path} is not usable: {reason}; `make setup` makes it, the setting `embedder` names another")]
    Folder { path: String, reason: String },
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[error("the embedder cannot tokenise a text: {0}")]
    Tokenise(String),
    #[error("the embedder has stopped")]
    Stopped,
}

/// A handle to the embedder's thread, which ends when the last handle is dropped.
#[derive(Clone)]
pub struct Embedder {
    documents: mpsc::Sender<Job>,
    queries: mpsc::Sender<Job>,
    about: Arc<EmbedderFiles>,
    tokens: Arc<Tokens>,
    precision: Precision,
    identity: Arc<str>,
}

struct Job {
    texts: Vec<String>,
    cores: Cores,
    /// Of whoever asks.
    span: Span,
    answer: oneshot::Sender<Result<Vec<Vec<f32>>, EmbedderError>>,
}

impl Embedder {
    /// Loads a folder that `make setup` or `scripts/build_embedder.py` made: `embedder.json`, `tokenizer.json`, `model.onnx`.
    ///
    /// # Errors
    /// A file is missing or altered, the processor or the device cannot compute in `precision`, or ONNX Runtime refuses the graph.
    pub fn load(
        runtime: &Runtime,
        folder: &Path,
        threads: usize,
        device: Device,
        precision: Precision,
    ) -> Result<Self, EmbedderError> {
        let about = Arc::new(EmbedderFiles::check(folder)?);
        let graph = Graph::load(runtime, &folder.join("model.onnx"), threads, device, precision.products())?;
        let tokens = Arc::new(Tokens::load(folder, &about)?);
        let worker = worker::Worker::load(graph, folder, &about, Arc::clone(&tokens))?;
        // Few jobs wait here: callers that are ahead of the session should feel it.
        let ((documents, documents_queue), (queries, queries_queue)) = (mpsc::channel(8), mpsc::channel(8));
        std::thread::Builder::new()
            .name("embedder".to_owned())
            .spawn(move || worker.run(worker::Queues { documents: documents_queue, queries: queries_queue }))
            .map_err(|e| EmbedderError::Folder { path: folder.display().to_string(), reason: e.to_string() })?;
        let identity = precision.identity(&about.weights_sha256).into();
        Ok(Self { documents, queries, about, tokens, precision, identity })
    }

    /// One vector of length 1 for each text, in order. Queries that come meanwhile go first, after the batch at hand.
    ///
    /// # Errors
    /// ONNX Runtime fails, or the thread has ended.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedderError> {
        Self::submit(&self.documents, Cores::All, texts).await
    }

    /// As [`embed`](Self::embed), for texts that somebody waits for, on so many cores.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn embed_queries(&self, texts: Vec<String>, cores: Cores) -> Result<Vec<Vec<f32>>, EmbedderError> {
        Self::submit(&self.queries, cores, texts).await
    }

    async fn submit(jobs: &mpsc::Sender<Job>, cores: Cores, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedderError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let (answer, result) = oneshot::channel();
        jobs.send(Job { texts, cores, span: Span::current(), answer }).await.map_err(|_| EmbedderError::Stopped)?;
        result.await.map_err(|_| EmbedderError::Stopped)?
    }

    pub fn name(&self) -> &str {
        &self.about.name
    }

    pub fn dimension(&self) -> usize {
        self.about.dimension
    }

    /// Longest text in tokens; of longer ones the end is not read.
    pub fn max_tokens(&self) -> usize {
        self.about.max_tokens
    }

    /// Tokens of a text, those that stand around it included, however long it is. Takes the time of tokenising it.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn count_tokens(&self, text: &str) -> Result<usize, EmbedderError> {
        self.tokens.count(text)
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// sha256 of the weights, with what its precision adds: databases made with another embedder are refused.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}
