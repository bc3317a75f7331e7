//! The RETRO graphs and their manifest: lower decoder, neighbour encoder, upper decoder, key/value caches.
//! The folder's format is docs/model-format.md.

mod folder;
mod graphs;
mod manifest;
mod sequence;
#[cfg(test)]
mod tests;

pub use folder::{Checked, ModelFolder};
pub use graphs::EncodedNeighbours;
pub use manifest::{CrossAttention, EmbedderName, Manifest, SelfAttention, Variant};
pub use sequence::{Logits, Model, NeighbourTokens};

use crate::onnx::OnnxError;
use crate::text::TokenizerError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum ModelError {
    #[error("the model folder {path} is not usable: {reason}")]
    Folder { path: String, reason: String },
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[error("the model's tokenizer is not usable: {0}")]
    Tokenizer(String),
}

impl From<TokenizerError> for ModelError {
    fn from(error: TokenizerError) -> Self {
        Self::Tokenizer(error.to_string())
    }
}
