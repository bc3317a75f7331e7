use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument;

use super::events::{ChunkRetrieval, NeighbourView};
use super::request::Alignment;
use crate::batch_cache::BatchCache;
use crate::embedder::{Embedder, EmbedderError};
use crate::metrics::{self, Stage};
use crate::neighbours::{Database, DatabaseError, Neighbour, SearchOptions};
use crate::onnx::Cores;
use crate::text::{Grid, Tokenizer};

/// Finds neighbours of chunks: the one way from a text to what the model reads, for completions and for looking at.
#[derive(Clone)]
pub struct Retriever {
    tokenizer: Arc<Tokenizer>,
    embedder: Embedder,
    database: Database,
    /// Vectors of texts that were asked for before. The embedder of a process is always the same.
    vectors: Arc<BatchCache<String, Arc<[f32]>>>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum RetrievalError {
    #[error("retrieval failed: {0}")]
    Embedder(#[from] EmbedderError),
    #[error("retrieval failed: {0}")]
    Database(Arc<DatabaseError>),
}

/// Neighbours of several chunks at one version of the collection.
#[derive(Clone, Debug, Default)]
pub struct Retrieved {
    pub version: u64,
    /// For each query its neighbours, nearest first.
    pub neighbours: Vec<Vec<Neighbour>>,
}

/// The neighbours of a text, chunk by chunk.
#[derive(Clone, Debug)]
pub struct TextNeighbours {
    pub version: u64,
    pub chunks: Vec<ChunkRetrieval>,
}

impl Retriever {
    /// `cache_bytes` bounds the memory for the vectors of texts that may be asked for again.
    pub fn new(tokenizer: Arc<Tokenizer>, embedder: Embedder, database: Database, cache_bytes: u64) -> Self {
        let entry = (embedder.dimension() * size_of::<f32>()) as u64;
        let weigh = |text: &String, vector: &Arc<[f32]>| (text.len() + size_of_val(&**vector)) as u64;
        let vectors = Arc::new(BatchCache::new(metrics::Cache::Vectors, cache_bytes, entry, weigh));
        Self { tokenizer, embedder, database, vectors }
    }

    /// Neighbours of each query text; all are embedded as one batch and searched in one query.
    ///
    /// # Errors
    /// The embedder or the database fails.
    pub async fn retrieve(&self, queries: Vec<String>, options: &SearchOptions) -> Result<Retrieved, RetrievalError> {
        self.retrieve_on(Cores::All, queries, options).await
    }

    /// As [`retrieve`](Self::retrieve), with some of the cores for the embedder.
    ///
    /// # Errors
    /// As [`retrieve`](Self::retrieve).
    pub async fn retrieve_on(
        &self,
        cores: Cores,
        queries: Vec<String>,
        options: &SearchOptions,
    ) -> Result<Retrieved, RetrievalError> {
        let found = self.search(cores, queries, options).await;
        let metrics = metrics::get();
        match &found {
            Ok(found) => {
                metrics.retrieval_lookups.inc_by(found.neighbours.len() as u64);
                let neighbours = found.neighbours.iter().flatten();
                neighbours.for_each(|neighbour| metrics.neighbour_distance.observe(neighbour.distance.into()));
            }
            Err(_) => metrics.retrieval_failures.inc(),
        }
        found
    }

    async fn search(&self, cores: Cores, queries: Vec<String>, options: &SearchOptions) -> Result<Retrieved, RetrievalError> {
        let (stages, number) = (&metrics::get().retrieval_duration, queries.len());
        let began = Instant::now();
        let span = tracing::debug_span!("embed", queries = number);
        let vectors = self.embed(cores, queries).instrument(span).await?;
        stages.of(Stage::Embed).observe(began.elapsed().as_secs_f64());
        let began = Instant::now();
        let span = tracing::debug_span!("search", queries = number, collection = %options.collection);
        let found = self.database.search(vectors, options).instrument(span).await;
        let found = found.map_err(|error| RetrievalError::Database(Arc::new(error)))?;
        stages.of(Stage::Search).observe(began.elapsed().as_secs_f64());
        Ok(Retrieved { version: found.version, neighbours: found.neighbours })
    }

    async fn embed(&self, cores: Cores, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedderError> {
        let wanted = texts.into_iter().map(|text| (text.clone(), text)).collect();
        let make = async |missing| {
            Ok::<_, EmbedderError>(self.embedder.embed_queries(missing, cores).await?.into_iter().map(Arc::from).collect())
        };
        let vectors = self.vectors.get_or_make(wanted, make).await?;
        Ok(vectors.iter().map(|vector| vector.to_vec()).collect())
    }

    /// What the model would see for `text` as a prompt: the neighbours of each complete chunk of its grid.
    ///
    /// # Errors
    /// The embedder or the database fails.
    pub async fn retrieve_text(
        &self,
        text: &str,
        alignment: Alignment,
        options: &SearchOptions,
    ) -> Result<TextNeighbours, RetrievalError> {
        let tokens = self.tokenizer.encode(text);
        if tokens.is_empty() {
            return Ok(TextNeighbours { version: 0, chunks: Vec::new() });
        }
        let grid = alignment.grid(tokens.len());
        let texts: Vec<String> =
            (0..grid.complete_chunks(tokens.len())).map(|chunk| self.tokenizer.decode(&tokens[grid.tokens(chunk)])).collect();
        let retrieved = self.retrieve(texts.clone(), options).await?;
        let chunks = texts
            .into_iter()
            .zip(&retrieved.neighbours)
            .enumerate()
            .map(|(chunk, (text, neighbours))| ChunkRetrieval {
                choice: 0,
                chunk: chunk as u32,
                text,
                stale_tokens: 0,
                neighbours: neighbours.iter().map(NeighbourView::from).collect(),
                error: None,
            })
            .collect();
        Ok(TextNeighbours { version: retrieved.version, chunks })
    }
}

impl Alignment {
    /// The chunk grid of a prompt of `length` (at least 1) tokens.
    pub fn grid(self, length: usize) -> Grid {
        match self {
            Self::PromptEnd => Grid::prompt_end(length),
            Self::PromptStart => Grid::prompt_start(),
        }
    }
}
