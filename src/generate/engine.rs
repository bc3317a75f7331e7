use std::ops::Range;
use std::slice::ChunksExact;
use std::sync::Arc;

use crate::model::{EncodedNeighbours, Logits, Model, Slot};
use crate::onnx::OnnxError;
use crate::text::{Grid, TokenId};

/// What the scheduler drives: the model, or a stand-in whose every step a test decides. The methods are those of [`Model`].
pub(super) trait Engine {
    fn free_slots(&self) -> usize;
    fn open(&mut self, grid: Grid, retrieval: bool) -> Option<Slot>;
    fn fork(&mut self, slot: Slot) -> Result<Option<Slot>, OnnxError>;
    fn close(&mut self, slot: Slot) -> Result<(), OnnxError>;
    fn extend(&mut self, slot: Slot, tokens: &[TokenId]) -> Result<Range<usize>, OnnxError>;
    /// Of a chunk that is not complete yet: those of the newest tokens, at most 64.
    fn chunk_hidden(&self, slot: Slot, chunk: usize) -> Vec<u8>;
    fn attend(&mut self, slot: Slot, chunk: usize, neighbours: Option<Arc<EncodedNeighbours>>);
    fn finish(&mut self, slot: Slot, logits: Logits) -> Result<Option<Range<usize>>, OnnxError>;
    fn step(&mut self, batch: &[(Slot, TokenId)]) -> Result<Vec<bool>, OnnxError>;
    fn logits(&self) -> ChunksExact<'_, f32>;
    fn logits_of(&self, slot: Slot) -> &[f32];
}

impl Engine for Model {
    fn free_slots(&self) -> usize {
        Self::free_slots(self)
    }

    fn open(&mut self, grid: Grid, retrieval: bool) -> Option<Slot> {
        Self::open(self, grid, retrieval)
    }

    fn fork(&mut self, slot: Slot) -> Result<Option<Slot>, OnnxError> {
        Self::fork(self, slot)
    }

    fn close(&mut self, slot: Slot) -> Result<(), OnnxError> {
        Self::close(self, slot)
    }

    fn extend(&mut self, slot: Slot, tokens: &[TokenId]) -> Result<Range<usize>, OnnxError> {
        Self::extend(self, slot, tokens)
    }

    fn chunk_hidden(&self, slot: Slot, chunk: usize) -> Vec<u8> {
        Self::chunk_hidden(self, slot, chunk)
    }

    fn attend(&mut self, slot: Slot, chunk: usize, neighbours: Option<Arc<EncodedNeighbours>>) {
        Self::attend(self, slot, chunk, neighbours);
    }

    fn finish(&mut self, slot: Slot, logits: Logits) -> Result<Option<Range<usize>>, OnnxError> {
        Self::finish(self, slot, logits)
    }

    fn step(&mut self, batch: &[(Slot, TokenId)]) -> Result<Vec<bool>, OnnxError> {
        Self::step(self, batch)
    }

    fn logits(&self) -> ChunksExact<'_, f32> {
        Self::logits(self)
    }

    fn logits_of(&self, slot: Slot) -> &[f32] {
        Self::logits_of(self, slot)
    }
}
