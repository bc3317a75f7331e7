use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::events::{ChunkRetrieval, NeighbourView};
use super::request::{Alignment, SearchOptions};
use crate::embedder::{Embedder, EmbedderError};
use crate::neighbours::{Database, DatabaseError, Neighbour};
use crate::text::{Grid, Tokenizer};

/// Finds neighbours of chunks: the one way from a text to what the model reads, for completions and for looking at.
#[derive(Clone)]
pub struct Retriever {
    tokenizer: Arc<Tokenizer>,
    embedder: Embedder,
    database: Database,
    /// Vectors of texts that were asked for before. The embedder of a process is always the same.
    vectors: Arc<Cache<String, Arc<[f32]>, Bytes>>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<[f32]>> for Bytes {
    fn weight(&self, text: &String, vector: &Arc<[f32]>) -> u64 {
        (text.len() + size_of_val(&**vector)) as u64
    }
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
        let entries = usize::try_from(cache_bytes / entry).unwrap_or(usize::MAX).clamp(1, 1 << 16);
        let vectors = Arc::new(Cache::with_weighter(entries, cache_bytes, Bytes));
        Self { tokenizer, embedder, database, vectors }
    }

    /// Neighbours of each query text; all are embedded as one batch and searched in one query.
    ///
    /// # Errors
    /// The embedder or the database fails.
    pub async fn retrieve(&self, queries: Vec<String>, options: &SearchOptions) -> Result<Retrieved, RetrievalError> {
        let vectors = self.embed(queries).await?;
        let found = self
            .database
            .search(&options.collection, vectors, options.neighbours, options.max_distance)
            .await
            .map_err(|error| RetrievalError::Database(Arc::new(error)))?;
        Ok(Retrieved { version: found.version, neighbours: found.neighbours })
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedderError> {
        let known: Vec<Option<Arc<[f32]>>> = texts.iter().map(|text| self.vectors.get(text)).collect();
        let missing: Vec<String> =
            texts.into_iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(text, _)| text).collect();
        let made = self.embedder.embed(missing.clone()).await?;
        for (text, vector) in missing.into_iter().zip(&made) {
            self.vectors.insert(text, Arc::from(vector.as_slice()));
        }
        let mut made = made.into_iter();
        Ok(known.into_iter().filter_map(|known| known.map(|vector| vector.to_vec()).or_else(|| made.next())).collect())
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
                neighbours: neighbours.iter().map(NeighbourView::from).collect(),
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
