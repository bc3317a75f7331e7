//! The RETRO graphs and their manifest: lower decoder, neighbour encoder, upper decoder, key/value caches.
//! The folder's format is docs/model-format.md.

mod batch;
mod caches;
mod cross;
mod encoder;
mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod manifest;
mod slots;
#[cfg(test)]
mod tests;

pub use batch::{Logits, Model, ModelOptions};
pub use cross::MAX_NEIGHBOURS;
pub use encoder::{ChunkNeighbours, EncodedNeighbours, Encoder, NeighbourTokens};
pub use folder::{Checked, ModelFolder};
pub use manifest::{CrossAttention, EmbedderName, Manifest, SelfAttention, Variant};
pub use slots::Slot;

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
    #[error("a thread cannot be started: {0}")]
    Thread(String),
}

impl From<TokenizerError> for ModelError {
    fn from(error: TokenizerError) -> Self {
        Self::Tokenizer(error.to_string())
    }
}
