use std::ops::Range;
use std::sync::Arc;

use super::EncodedNeighbours;
use crate::text::{CHUNK_LENGTH, Grid};

/// A place in the table of key/value caches. It keeps its number while its row in the batch may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub usize);

/// The sequence in a slot.
#[derive(Clone)]
pub(super) struct Sequence {
    pub row: usize,
    pub grid: Grid,
    /// Whether its chunks have neighbours at all; where not, no step waits for any.
    pub retrieval: bool,
    /// Tokens that went through the lower graph.
    pub length: usize,
    /// Tokens that went through the upper graph.
    pub finished: usize,
    /// Hidden states of the tokens from `hidden_from` on, at least of the last 64 and of those that are not finished.
    hidden: Vec<u8>,
    hidden_from: usize,
    row_bytes: usize,
    /// What is known of the chunks' neighbours, the newest last.
    known: Vec<(usize, Option<Arc<EncodedNeighbours>>)>,
    /// The chunk whose neighbours lie in the batch.
    pub attending: Option<usize>,
}

impl Sequence {
    pub fn new(row: usize, grid: Grid, retrieval: bool, row_bytes: usize) -> Self {
        Self {
            row,
            grid,
            retrieval,
            length: 0,
            finished: 0,
            hidden: Vec::new(),
            hidden_from: 0,
            row_bytes,
            known: Vec::new(),
            attending: None,
        }
    }

    /// The same sequence in another row, which shows it nothing yet.
    pub fn fork(&self, row: usize) -> Self {
        Self { row, attending: None, ..self.clone() }
    }

    /// Appends hidden states that the lower graph gave.
    pub fn extend(&mut self, hidden: &[u8]) {
        self.hidden.extend_from_slice(hidden);
        self.length += hidden.len() / self.row_bytes;
    }

    /// Hidden states of `tokens`; where they go on past the last token, of as many up to that one: those of a chunk that is under way
    /// are the newest.
    pub fn hidden(&self, tokens: Range<usize>) -> &[u8] {
        let ahead = tokens.end.saturating_sub(self.length);
        let (start, end) = (tokens.start.saturating_sub(ahead), tokens.end - ahead);
        &self.hidden[(start - self.hidden_from) * self.row_bytes..(end - self.hidden_from) * self.row_bytes]
    }

    /// Counts tokens as finished and forgets what no step reads any more, now and then.
    pub fn finish(&mut self, tokens: usize) {
        self.finished += tokens;
        let keep_from = self.finished.min(self.length.saturating_sub(CHUNK_LENGTH));
        if keep_from >= self.hidden_from + CHUNK_LENGTH {
            self.hidden.drain(..(keep_from - self.hidden_from) * self.row_bytes);
            self.hidden_from = keep_from;
        }
        let attended = self.grid.complete_chunks(self.finished).saturating_sub(1);
        self.known.retain(|(chunk, _)| *chunk >= attended);
    }

    pub fn know(&mut self, chunk: usize, neighbours: Option<Arc<EncodedNeighbours>>) {
        self.known.push((chunk, neighbours));
    }

    /// The next tokens that the upper graph can take at once, with the chunk that they attend; none where all are finished, or where the
    /// neighbours of that chunk are not known yet.
    pub fn ready(&self) -> Option<(Option<usize>, Range<usize>)> {
        if self.finished == self.length {
            return None;
        }
        if !self.retrieval {
            return Some((None, self.finished..self.length.min(self.finished + CHUNK_LENGTH)));
        }
        let (chunk, span) = self.grid.span(self.finished..self.length);
        match chunk {
            Some(chunk) if !self.known.iter().any(|(known, _)| *known == chunk) => None,
            _ => Some((chunk, span)),
        }
    }

    /// The chunk that the next token attends, if all before it are finished and it waits for nothing.
    pub fn attends_next(&self) -> Option<Option<usize>> {
        if self.finished < self.length {
            return None;
        }
        match self.grid.attended(self.length).filter(|_| self.retrieval) {
            Some((chunk, _)) if !self.known.iter().any(|(known, _)| *known == chunk) => None,
            attended => Some(attended.map(|(chunk, _)| chunk)),
        }
    }

    pub fn neighbours(&self, chunk: Option<usize>) -> Option<&Arc<EncodedNeighbours>> {
        let (_, neighbours) = self.known.iter().find(|(known, _)| Some(*known) == chunk)?;
        neighbours.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_under_way_has_the_hidden_states_of_the_newest_tokens() {
        let grid = Grid::prompt_start().refreshed(70, 16);
        let mut sequence = Sequence::new(0, grid, true, 1);
        for token in 0..10 {
            sequence.extend(&[token]);
        }
        assert_eq!(sequence.hidden(grid.tokens(0)), (0..10).collect::<Vec<_>>());
        for token in 10..200 {
            sequence.extend(&[token]);
            sequence.finish(1);
        }
        assert_eq!((grid.complete_chunks(200), grid.tokens(8)), (9, 128..192));
        assert_eq!(sequence.hidden(grid.tokens(9)), (136..200).collect::<Vec<_>>());
        assert_eq!(sequence.hidden(grid.tokens(10)), (136..200).collect::<Vec<_>>());
    }
}
