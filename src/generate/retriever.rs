use std::sync::Arc;

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
    pub fn new(tokenizer: Arc<Tokenizer>, embedder: Embedder, database: Database) -> Self {
        Self { tokenizer, embedder, database }
    }

    /// Neighbours of each query text; all are embedded as one batch and searched in one query.
    ///
    /// # Errors
    /// The embedder or the database fails.
    pub async fn retrieve(&self, queries: Vec<String>, options: &SearchOptions) -> Result<Retrieved, RetrievalError> {
        let vectors = self.embedder.embed(queries).await?;
        let found = self
            .database
            .search(&options.collection, vectors, options.neighbours, options.max_distance)
            .await
            .map_err(|error| RetrievalError::Database(Arc::new(error)))?;
        Ok(Retrieved { version: found.version, neighbours: found.neighbours })
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
