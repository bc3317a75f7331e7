use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::graphs::{EncodedNeighbours, Graphs};
use super::{Manifest, ModelError, ModelFolder};
use crate::onnx::{OnnxError, Runtime};
use crate::text::{Grid, TokenId};

/// Tokens of one retrieved neighbour; what is longer than the model reads is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourTokens {
    pub neighbour: Vec<TokenId>,
    pub continuation: Vec<TokenId>,
}

/// Which tokens' logits a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// Of the last token: what generation needs.
    Last,
    /// Of every token of the step: what scoring needs.
    All,
}

/// A loaded model with the caches of one sequence.
///
/// A sequence grows by steps, and a prompt is a step like any other: [`extend`](Model::extend) runs the lower graph and says which chunks
/// became complete; the caller finds their neighbours, in its own time; [`finish`](Model::finish) encodes them and runs the upper graph.
pub struct Model {
    manifest: Arc<Manifest>,
    graphs: Graphs,
    grid: Grid,
    /// Tokens that went through the lower graph.
    length: usize,
    /// Tokens that went through the upper graph.
    finished: usize,
    /// Hidden states from `hidden_from` on: those of the chunk that is not complete yet, and of the step under way.
    hidden: Vec<f32>,
    hidden_from: usize,
    /// Neighbours of the last complete chunk.
    current: Option<(usize, EncodedNeighbours)>,
    /// Chunk whose neighbours the upper graph has bound.
    attending: Option<usize>,
}

impl Model {
    /// Loads the chosen variant of a model folder.
    ///
    /// # Errors
    /// ONNX Runtime refuses a graph.
    pub fn load(runtime: &Runtime, folder: &ModelFolder, threads: usize) -> Result<Self, ModelError> {
        let mut model = Self {
            manifest: Arc::clone(folder.manifest()),
            graphs: Graphs::load(runtime, folder, threads)?,
            grid: Grid::prompt_start(),
            length: 0,
            finished: 0,
            hidden: Vec::new(),
            hidden_from: 0,
            current: None,
            attending: None,
        };
        model.start(Grid::prompt_start())?;
        Ok(model)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Forgets the sequence and begins another with its chunks on `grid`.
    ///
    /// # Errors
    /// ONNX Runtime refuses the empty neighbours.
    pub fn start(&mut self, grid: Grid) -> Result<(), OnnxError> {
        self.grid = grid;
        self.length = 0;
        self.finished = 0;
        self.hidden.clear();
        self.hidden_from = 0;
        self.current = None;
        self.attending = None;
        self.graphs.attend(None)
    }

    /// Tokens that still fit.
    pub fn room(&self) -> usize {
        self.manifest.context - self.length
    }

    /// Appends tokens, at most [`room`](Model::room) of them, and returns the chunks that they complete.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn extend(&mut self, tokens: &[TokenId]) -> Result<Range<usize>, OnnxError> {
        assert!(tokens.len() <= self.room(), "the caller keeps to the context");
        assert_eq!(self.length, self.finished, "a step is finished before the next begins");
        let complete = self.grid.complete_chunks(self.length);
        let hidden = self.graphs.lower(tokens, self.length)?;
        self.hidden.extend(hidden);
        self.length += tokens.len();
        Ok(complete..self.grid.complete_chunks(self.length))
    }

    /// Finishes the step with the neighbours of the chunks that it completed, in their order. Logits [tokens, V], or of the last token.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn finish(&mut self, neighbours: &[Vec<NeighbourTokens>], logits: Logits) -> Result<Vec<f32>, OnnxError> {
        let first = self.grid.complete_chunks(self.finished);
        let complete = self.grid.complete_chunks(self.length);
        assert_eq!(neighbours.len(), complete - first, "the chunks that the step completed");
        let encoded = self.encode(first, neighbours)?;

        let mut result = Vec::new();
        for (chunk, span) in self.grid.spans(self.finished..self.length) {
            self.attend(chunk, &encoded)?;
            let cross_position = self.grid.attended(span.start).map_or(0, |(_, place)| place);
            let hidden = &self.hidden[rows(&span, self.hidden_from, self.manifest.hidden_size)];
            let from = match logits {
                Logits::All => 0,
                Logits::Last if span.end == self.length => span.len() - 1,
                Logits::Last => span.len(),
            };
            result.extend(self.graphs.upper(hidden, span.start, cross_position, from)?);
        }

        if let Some(last) = complete.checked_sub(1).filter(|&last| last >= first) {
            self.current = encoded.get(&last).map(|neighbours| (last, neighbours.clone()));
        }
        self.finished = self.length;
        let keep_from = self.grid.tokens(complete).start;
        self.hidden.drain(..(keep_from - self.hidden_from) * self.manifest.hidden_size);
        self.hidden_from = keep_from;
        Ok(result)
    }

    /// Encoded neighbours by chunk; a chunk with none is not there.
    fn encode(
        &mut self,
        first: usize,
        neighbours: &[Vec<NeighbourTokens>],
    ) -> Result<HashMap<usize, EncodedNeighbours>, OnnxError> {
        let present: Vec<usize> = (0..neighbours.len()).filter(|&at| !neighbours[at].is_empty()).collect();
        if present.is_empty() {
            return Ok(HashMap::new());
        }
        let Self { manifest, graphs, grid, hidden, hidden_from, .. } = self;
        let chunks: Vec<(&[f32], Vec<Vec<TokenId>>)> = present
            .iter()
            .map(|&at| {
                let rows = rows(&grid.tokens(first + at), *hidden_from, manifest.hidden_size);
                (&hidden[rows], neighbours[at].iter().map(|neighbour| manifest.padded(neighbour)).collect())
            })
            .collect();
        let encoded = graphs.encode(&chunks)?;
        Ok(present.into_iter().map(|at| first + at).zip(encoded).collect())
    }

    fn attend(&mut self, chunk: Option<usize>, encoded: &HashMap<usize, EncodedNeighbours>) -> Result<(), OnnxError> {
        let kept = |chunk: usize| self.current.as_ref().filter(|(of, _)| *of == chunk).map(|(_, neighbours)| neighbours);
        let found = chunk.and_then(|chunk| encoded.get(&chunk).or_else(|| kept(chunk)));
        let wanted = found.and(chunk);
        if wanted != self.attending {
            self.graphs.attend(found)?;
            self.attending = wanted;
        }
        Ok(())
    }
}

/// Place of the tokens' hidden states among those that begin with token `from`.
fn rows(tokens: &Range<usize>, from: usize, hidden_size: usize) -> Range<usize> {
    (tokens.start - from) * hidden_size..(tokens.end - from) * hidden_size
}

impl Manifest {
    /// Neighbour and continuation at the fixed lengths that the encoder reads.
    fn padded(&self, tokens: &NeighbourTokens) -> Vec<TokenId> {
        let part = |tokens: &[TokenId], length: usize| {
            let mut part: Vec<TokenId> = tokens.iter().copied().take(length).collect();
            part.resize(length, self.pad_token);
            part
        };
        let mut padded = part(&tokens.neighbour, self.neighbour_length);
        padded.extend(part(&tokens.continuation, self.continuation_length));
        padded
    }
}
