use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::embed::Embed;
use crate::neighbours::{Entry, SourceText};
use crate::text::{Chunk, Tokenizer, chunk_document};

/// Texts that are embedded in one call: small enough that a search's own text waits only a moment behind them.
const EMBEDDED_TOGETHER: usize = 64;

/// The way from texts to rows: documents are chunked, and the chunks embedded.
pub(super) struct Pipeline {
    pub tokenizer: Arc<Tokenizer>,
    pub embedder: Box<dyn Embed>,
    /// Numbers in an embedding.
    pub dimension: usize,
}

struct Chunked {
    document: Arc<SourceText>,
    chunks: Result<Vec<Chunk>, String>,
}

impl Chunked {
    fn texts(&self) -> impl Iterator<Item = String> {
        let chunks = self.chunks.as_deref().unwrap_or_default();
        chunks.iter().map(|chunk| self.document.text[chunk.bytes.clone()].to_owned())
    }
}

impl Pipeline {
    /// Chunks and embeds documents: for each what is to be written, or why nothing is. None if `stop` came before the end.
    ///
    /// Where embedding the documents together fails, each is tried alone, so that one that cannot be embedded fails alone.
    pub async fn prepare(&self, documents: Vec<SourceText>, stop: &CancellationToken) -> Option<Vec<Result<Vec<Entry>, String>>> {
        let mut chunked = Vec::with_capacity(documents.len());
        for document in documents {
            chunked.push(self.chunk(Arc::new(document)).await);
        }
        match self.embed(chunked.iter().flat_map(Chunked::texts).collect(), stop).await? {
            Ok(vectors) => {
                let mut vectors = vectors.into_iter();
                Some(chunked.into_iter().map(|document| entries(document, &mut vectors)).collect())
            }
            Err(reason) if chunked.len() == 1 => Some(vec![Err(reason)]),
            Err(_) => {
                let mut each = Vec::with_capacity(chunked.len());
                for document in chunked {
                    let vectors = self.embed(document.texts().collect(), stop).await?;
                    each.push(vectors.and_then(|vectors| entries(document, &mut vectors.into_iter())));
                }
                Some(each)
            }
        }
    }

    async fn chunk(&self, document: Arc<SourceText>) -> Chunked {
        let (tokenizer, text_of) = (self.tokenizer.clone(), document.clone());
        let chunks = tokio::task::spawn_blocking(move || chunk_document(&tokenizer, &text_of.text)).await;
        Chunked { document, chunks: chunks.map_err(|e| format!("its text cannot be chunked: {e}")) }
    }

    /// A vector for each text, or why there is none. None if `stop` came before the end.
    pub async fn embed(&self, texts: Vec<String>, stop: &CancellationToken) -> Option<Result<Vec<Vec<f32>>, String>> {
        let mut vectors = Vec::with_capacity(texts.len());
        for part in texts.chunks(EMBEDDED_TOGETHER) {
            if stop.is_cancelled() {
                return None;
            }
            match self.embedder.embed(part.to_vec()).await {
                Ok(embedded) if embedded.len() == part.len() && embedded.iter().all(|v| is_vector(v, self.dimension)) => {
                    vectors.extend(embedded);
                }
                Ok(_) => return Some(Err("the embedder gave what is no vector".to_owned())),
                // An embedder that stops with the server says nothing about the document.
                Err(_) if stop.is_cancelled() => return None,
                Err(reason) => return Some(Err(format!("its text cannot be embedded: {reason}"))),
            }
        }
        Some(Ok(vectors))
    }
}

fn is_vector(vector: &[f32], dimension: usize) -> bool {
    vector.len() == dimension && vector.iter().all(|number| number.is_finite())
}

/// Takes as many of `vectors` as the document has chunks.
fn entries(chunked: Chunked, vectors: &mut impl Iterator<Item = Vec<f32>>) -> Result<Vec<Entry>, String> {
    let Chunked { document, chunks } = chunked;
    let chunks = chunks?;
    let text = |chunk: &Chunk| document.text[chunk.bytes.clone()].to_owned();
    let after = chunks.iter().skip(1).map(Some).chain([None]);
    let entry = |((chunk, after), embedding): ((&Chunk, Option<&Chunk>), Vec<f32>)| Entry {
        document_id: document.id.clone(),
        chunk_index: chunk.index as u32,
        byte_start: chunk.bytes.start as u64,
        byte_end: chunk.bytes.end as u64,
        neighbour: text(chunk),
        continuation: after.map(text).unwrap_or_default(),
        neighbour_tokens: chunk.tokens.clone(),
        continuation_tokens: after.map(|after| after.tokens.clone()).unwrap_or_default(),
        title: document.title.clone(),
        source: document.source.clone(),
        metadata: document.metadata.clone(),
        embedding,
    };
    Ok(chunks.iter().zip(after).zip(vectors).map(entry).collect())
}
