use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::names::DocumentId;
use crate::text::TokenId;

/// A row to write: one chunk of a document with what a search for it gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub document_id: DocumentId,
    /// Place of the chunk in its document, from 0.
    pub chunk_index: u32,
    /// First byte of the chunk in its document.
    pub byte_start: u64,
    /// Byte after the chunk's last.
    pub byte_end: u64,
    /// Text of the chunk.
    pub neighbour: String,
    /// Text of the chunk after it; empty at the end of a document.
    pub continuation: String,
    pub neighbour_tokens: Vec<TokenId>,
    pub continuation_tokens: Vec<TokenId>,
    pub title: String,
    pub source: String,
    /// A JSON object.
    pub metadata: String,
    pub embedding: Vec<f32>,
}

/// What a search finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    pub document_id: DocumentId,
    /// Place of the chunk in its document, from 0.
    pub chunk_index: u32,
    /// Squared Euclidean distance between the embeddings: 0 (the same direction) to 4.
    pub distance: f32,
    pub neighbour: String,
    /// The text after the neighbour; empty at the end of a document.
    pub continuation: String,
    pub neighbour_tokens: Vec<TokenId>,
    pub continuation_tokens: Vec<TokenId>,
    pub title: String,
    pub source: String,
    pub metadata: Map<String, Value>,
}

impl Neighbour {
    /// The order in which a search gives its rows: by distance, then by document id and chunk index.
    pub fn order(&self, other: &Self) -> Ordering {
        let by_place = || (&self.document_id, self.chunk_index).cmp(&(&other.document_id, other.chunk_index));
        self.distance.total_cmp(&other.distance).then_with(by_place)
    }
}

/// A chunk as the database holds it, without its embedding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StoredChunk {
    /// Place of the chunk in its document, from 0.
    pub chunk_index: u32,
    /// First byte of the chunk in its document.
    pub byte_start: u64,
    /// Byte after the chunk's last.
    pub byte_end: u64,
    pub text: String,
    pub tokens: Vec<TokenId>,
}
