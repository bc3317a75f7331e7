use async_trait::async_trait;

use crate::embedder::Embedder;

/// Text to vectors, as ingestion needs it.
#[async_trait]
pub trait Embed: Send + Sync {
    /// One normalised vector for each text, in the same order.
    ///
    /// # Errors
    /// Why there are none, in words for the document's record.
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, String>;
}

#[async_trait]
impl Embed for Embedder {
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, String> {
        Embedder::embed(self, texts).await.map_err(|e| e.to_string())
    }
}
