//! From what a client wrote to a request that cannot be wrong.

mod completion;
mod filter;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod retrieval;
mod score;
mod search;

pub use completion::{CompletionRequest, MAX_CHOICES, MAX_LOGPROBS, Sampling, Stop, ValidCompletion};
pub use filter::FilterRequest;
pub use retrieval::{Alignment, NeighbourSource, OnError, ProvidedNeighbour, RetrievalRequest, ValidRetrieval};
pub use score::{ScoreRequest, ValidScore};
pub use search::SearchRequest;

use serde::Serialize;
use utoipa::ToSchema;

use crate::invalid::Invalid;
use crate::model::{MAX_NEIGHBOURS, Manifest};
use crate::text::{TokenId, Tokenizer};

/// What the model allows.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Limits {
    /// Tokens of prompt and completion together.
    pub context: usize,
    /// Neighbours of a chunk in training, the default.
    pub neighbours: usize,
    /// Most neighbours of a chunk.
    pub max_neighbours: usize,
    /// Most choices of a completion.
    pub max_n: usize,
}

impl From<&Manifest> for Limits {
    /// Of a single slot.
    fn from(manifest: &Manifest) -> Self {
        Self { context: manifest.context, neighbours: manifest.neighbours, max_neighbours: MAX_NEIGHBOURS, max_n: 1 }
    }
}

/// Far more bytes than a token of any text has on average: what is longer than so many times its limit in tokens is not tokenised.
const MAX_TOKEN_BYTES: usize = 256;

/// Tokens of a text; where it has far too many bytes for the context, none are counted.
fn tokens(field: &str, text: &str, limits: &Limits, tokenizer: &Tokenizer) -> Result<Vec<TokenId>, Invalid> {
    if text.len() > limits.context.saturating_mul(MAX_TOKEN_BYTES) {
        let message = format!("has {} bytes, too many for a context of {} tokens", text.len(), limits.context);
        return Err(Invalid::new(field, message));
    }
    Ok(tokenizer.encode(text))
}
