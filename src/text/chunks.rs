use std::ops::Range;

use super::{TokenId, Tokenizer};

/// Tokens in a chunk (arXiv 2112.04426, section 2.1).
pub const CHUNK_LENGTH: usize = 64;

/// A piece of a document: at most 64 tokens that begin and end between two characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub index: usize,
    /// Bytes of the document; the chunks of a document tile it.
    pub bytes: Range<usize>,
    pub tokens: Vec<TokenId>,
}

/// Cuts a document into chunks that tile it byte for byte. A chunk is shorter than 64 tokens where the 64th would end inside a
/// character, and at the end of the document.
pub fn chunk_document(tokenizer: &Tokenizer, text: &str) -> Vec<Chunk> {
    let tokens = tokenizer.encode(text);
    let mut chunks = Vec::with_capacity(tokens.len().div_ceil(CHUNK_LENGTH));
    let (mut from, mut byte) = (0, 0);
    while from < tokens.len() {
        let mut end = byte;
        let (mut best_token, mut best_byte) = (from, byte);
        for (offset, &token) in tokens[from..].iter().take(CHUNK_LENGTH).enumerate() {
            end += tokenizer.bytes(token).len();
            if text.is_char_boundary(end) {
                (best_token, best_byte) = (from + offset + 1, end);
            }
        }
        debug_assert!(best_token > from, "a character has at most 4 bytes, so at most 4 tokens");
        chunks.push(Chunk { index: chunks.len(), bytes: byte..best_byte, tokens: tokens[from..best_token].to_vec() });
        (from, byte) = (best_token, best_byte);
    }
    chunks
}

/// Where the chunks of a sequence lie (docs/model-format.md, "The chunk grid"). All places are token positions from the start of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    first: usize,
}

impl Grid {
    /// The paper's grid: every chunk from the start has 64 tokens.
    pub fn prompt_start() -> Self {
        Self { first: CHUNK_LENGTH }
    }

    /// The grid that ends where a prompt of `length` (at least 1) tokens ends; the first chunk is the short one.
    pub fn prompt_end(length: usize) -> Self {
        assert!(length > 0, "a prompt has at least one token");
        Self { first: (length - 1) % CHUNK_LENGTH + 1 }
    }

    /// A grid whose first chunk has `first` (1 to 64) tokens.
    pub fn with_first_chunk(first: usize) -> Self {
        assert!((1..=CHUNK_LENGTH).contains(&first), "a first chunk has 1 to 64 tokens");
        Self { first }
    }

    /// Tokens of chunk `chunk`.
    pub fn tokens(&self, chunk: usize) -> Range<usize> {
        let end = self.first + chunk * CHUNK_LENGTH;
        end.saturating_sub(CHUNK_LENGTH)..end
    }

    /// Chunks that are complete in a sequence of `length` tokens.
    pub fn complete_chunks(&self, length: usize) -> usize {
        (length + CHUNK_LENGTH - self.first) / CHUNK_LENGTH
    }

    /// The chunk whose neighbours token `position` attends, and the token's place (0 to 63) in that span; none for the first tokens.
    pub fn attended(&self, position: usize) -> Option<(usize, usize)> {
        let place = (position + CHUNK_LENGTH - self.first).checked_sub(CHUNK_LENGTH - 1)?;
        Some((place / CHUNK_LENGTH, place % CHUNK_LENGTH))
    }

    /// `range` cut so that all tokens of a piece attend the same chunk, in order.
    pub fn spans(&self, range: Range<usize>) -> Vec<(Option<usize>, Range<usize>)> {
        let mut spans: Vec<(Option<usize>, Range<usize>)> = Vec::new();
        for position in range {
            let chunk = self.attended(position).map(|(chunk, _)| chunk);
            match spans.last_mut() {
                Some((last, span)) if *last == chunk => span.end = position + 1,
                _ => spans.push((chunk, position..position + 1)),
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_of_64_tokens_is_already_conditioned() {
        let grid = Grid::prompt_start();
        assert_eq!(grid.complete_chunks(63), 0);
        assert_eq!(grid.complete_chunks(64), 1);
        assert_eq!(grid.attended(62), None);
        assert_eq!(grid.attended(63), Some((0, 0)));
        assert_eq!(grid.attended(126), Some((0, 63)));
        assert_eq!(grid.attended(127), Some((1, 0)));
    }

    #[test]
    fn a_short_prompt_ends_with_its_chunk() {
        for length in 1..=300 {
            let grid = Grid::prompt_end(length);
            let chunks = grid.complete_chunks(length);
            assert_eq!(chunks, length.div_ceil(CHUNK_LENGTH));
            assert_eq!(grid.tokens(chunks - 1).end, length);
            assert_eq!(grid.tokens(0).start, 0);
            assert_eq!(grid.attended(length - 1), Some((chunks - 1, 0)));
        }
    }

    #[test]
    fn chunks_follow_each_other_without_gap() {
        for first in 1..=CHUNK_LENGTH {
            let grid = Grid::with_first_chunk(first);
            assert_eq!(grid.tokens(0), 0..first);
            for chunk in 1..5 {
                assert_eq!(grid.tokens(chunk).start, grid.tokens(chunk - 1).end);
                assert_eq!(grid.tokens(chunk).len(), CHUNK_LENGTH);
            }
        }
    }

    #[test]
    fn spans_tile_their_range() {
        let grid = Grid::with_first_chunk(7);
        let spans = grid.spans(3..200);
        assert_eq!(spans.first().unwrap(), &(None, 3..6));
        assert_eq!(spans[1], (Some(0), 6..70));
        assert!(spans.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        assert_eq!(spans.last().unwrap().1.end, 200);
    }
}
