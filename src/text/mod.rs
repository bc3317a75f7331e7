//! Text as the model sees it: tokens, and chunks of 64 of them. One chunker for ingestion and for generation.

mod chunks;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod tokenizer;

pub use chunks::{CHUNK_LENGTH, Chunk, Grid, chunk_document};
pub use tokenizer::{TokenId, Tokenizer, TokenizerError, Utf8Stream};
