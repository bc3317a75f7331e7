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
///
/// A chunk is the 64 tokens (fewer at the start) before its end. On the paper's grid chunks end every 64 tokens; a grid that is
/// [refreshed](Grid::refreshed) more often has overlapping chunks after the prompt, each the query for new neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    first: usize,
    /// Chunks that end every 64 tokens; those after them end every `interval` tokens.
    regular: usize,
    interval: usize,
}

impl Grid {
    /// The paper's grid: every chunk from the start has 64 tokens.
    pub fn prompt_start() -> Self {
        Self::with_first_chunk(CHUNK_LENGTH)
    }

    /// The grid that ends where a prompt of `length` (at least 1) tokens ends; the first chunk is the short one.
    pub fn prompt_end(length: usize) -> Self {
        assert!(length > 0, "a prompt has at least one token");
        Self::with_first_chunk((length - 1) % CHUNK_LENGTH + 1)
    }

    /// A grid whose first chunk has `first` (1 to 64) tokens.
    pub fn with_first_chunk(first: usize) -> Self {
        assert!((1..=CHUNK_LENGTH).contains(&first), "a first chunk has 1 to 64 tokens");
        Self { first, regular: usize::MAX, interval: CHUNK_LENGTH }
    }

    /// The grid with a chunk every `interval` (1 to 64) tokens after the last one that is complete in a prompt of `length` tokens.
    pub fn refreshed(self, length: usize, interval: usize) -> Self {
        assert!((1..=CHUNK_LENGTH).contains(&interval), "neighbours are refreshed every 1 to 64 tokens");
        Self { regular: self.complete_chunks(length), interval, ..self }
    }

    /// The token after chunk `chunk`.
    pub fn end(&self, chunk: usize) -> usize {
        match chunk.checked_sub(self.regular) {
            None => self.first + chunk * CHUNK_LENGTH,
            Some(later) => self.regular_end() + (later + 1) * self.interval,
        }
    }

    fn regular_end(&self) -> usize {
        self.regular.checked_sub(1).map_or(0, |last| self.first + last * CHUNK_LENGTH)
    }

    /// Tokens of chunk `chunk`.
    pub fn tokens(&self, chunk: usize) -> Range<usize> {
        let end = self.end(chunk);
        end.saturating_sub(CHUNK_LENGTH)..end
    }

    /// Chunks that are complete in a sequence of `length` tokens.
    pub fn complete_chunks(&self, length: usize) -> usize {
        let regular = (length + CHUNK_LENGTH - self.first) / CHUNK_LENGTH;
        if regular < self.regular { regular } else { self.regular + (length - self.regular_end()) / self.interval }
    }

    /// The chunk whose neighbours token `position` attends, and the token's place (0 to 63) in that span; none for the first tokens.
    pub fn attended(&self, position: usize) -> Option<(usize, usize)> {
        let chunk = self.complete_chunks(position + 1).checked_sub(1)?;
        Some((chunk, position + 1 - self.end(chunk)))
    }

    /// The longest piece from `range`'s start on whose tokens all attend the same chunk, with that chunk.
    pub fn span(&self, range: Range<usize>) -> (Option<usize>, Range<usize>) {
        let chunk = self.attended(range.start).map(|(chunk, _)| chunk);
        let next = self.end(chunk.map_or(0, |chunk| chunk + 1)) - 1;
        (chunk, range.start..range.end.min(next))
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

    fn spans(grid: Grid, range: Range<usize>) -> Vec<(Option<usize>, Range<usize>)> {
        let mut spans = Vec::new();
        let mut from = range.start;
        while from < range.end {
            spans.push(grid.span(from..range.end));
            from = spans.last().unwrap().1.end;
        }
        spans
    }

    #[test]
    fn spans_tile_their_range() {
        let spans = spans(Grid::with_first_chunk(7), 3..200);
        assert_eq!(spans[..2], [(None, 3..6), (Some(0), 6..70)]);
        assert!(spans.windows(2).all(|pair| pair[0].1.end == pair[1].1.start));
        assert_eq!(spans.last().unwrap().1.end, 200);
    }

    #[test]
    fn after_the_prompt_neighbours_are_refreshed_at_the_interval() {
        let grid = Grid::prompt_end(70).refreshed(70, 16);
        assert_eq!((0..4).map(|chunk| grid.tokens(chunk)).collect::<Vec<_>>(), [0..6, 6..70, 22..86, 38..102]);
        assert_eq!(grid.complete_chunks(85), 2);
        assert_eq!(grid.complete_chunks(86), 3);
        assert_eq!(grid.attended(69), Some((1, 0)));
        assert_eq!(grid.attended(84), Some((1, 15)));
        assert_eq!(grid.attended(85), Some((2, 0)));
        assert_eq!(spans(grid, 69..100), [(Some(1), 69..85), (Some(2), 85..100)]);
        // A prompt that completes no chunk of the paper's grid: its beginning is the first query.
        let short = Grid::prompt_start().refreshed(10, 24);
        assert_eq!((short.complete_chunks(23), short.tokens(0), short.tokens(2)), (0, 0..24, 8..72));
        assert_eq!(short.attended(22), None);
        assert_eq!(short.attended(23), Some((0, 0)));
    }

    #[test]
    fn an_interval_of_64_is_the_papers_grid() {
        for (grid, prompt) in [(Grid::prompt_end(70), 70), (Grid::prompt_start(), 70), (Grid::prompt_start(), 10)] {
            let refreshed = grid.refreshed(prompt, CHUNK_LENGTH);
            for position in 0..400 {
                assert_eq!(grid.attended(position), refreshed.attended(position), "{position}");
                assert_eq!(grid.complete_chunks(position), refreshed.complete_chunks(position));
            }
        }
    }
}
