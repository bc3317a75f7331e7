use super::encoder::cross_names;
use super::{EncodedNeighbours, Manifest};
use crate::onnx::{BufferId, Kind, Part, Parts, Workspace};

/// Most neighbours of a chunk.
pub const MAX_NEIGHBOURS: usize = 16;

/// What the upper graph's rows attend: for each CCA layer keys and values [slots, heads, T, head_size], and a mask [slots, T].
///
/// T is one for all rows of a step. A row with fewer slots is masked behind them.
pub(super) struct Cross {
    parts: Vec<(String, BufferId)>,
    mask: BufferId,
    kind: Kind,
    heads: usize,
    head_size: usize,
    tokens: usize,
}

impl Cross {
    pub fn new(work: &mut Workspace, manifest: &Manifest, slots: usize, kind: Kind) -> Self {
        let cross = manifest.cross_attention;
        // An architecture may add slots of its own to those of the neighbours' tokens.
        let most = (MAX_NEIGHBOURS + 1) * manifest.retrieved_length();
        let bytes = slots * cross.heads * most * cross.head_size * kind.size();
        let parts = cross_names(cross.layers).into_iter().map(|name| (name, work.add_buffer(bytes))).collect();
        let mask = work.add_buffer(slots * most * kind.size());
        Self { parts, mask, kind, heads: cross.heads, head_size: cross.head_size, tokens: 1 }
    }

    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Changes T; what the rows hold is lost.
    pub fn resize(&mut self, tokens: usize) {
        self.tokens = tokens;
    }

    /// Puts one sequence's neighbours into a row; none is retrieval off.
    pub fn write(&self, work: &mut Workspace, row: usize, neighbours: Option<&EncodedNeighbours>) {
        let size = self.kind.size();
        let mask = &mut work.write::<u8>(self.mask)[row * self.tokens * size..(row + 1) * self.tokens * size];
        mask.fill(0);
        let Some(neighbours) = neighbours else { return };
        mask[..neighbours.mask.len()].copy_from_slice(&neighbours.mask);
        let own = neighbours.tokens * self.head_size * size;
        let wide = self.tokens * self.head_size * size;
        for ((_, buffer), part) in self.parts.iter().zip(&neighbours.parts) {
            let to = &mut work.write::<u8>(*buffer)[row * self.heads * wide..(row + 1) * self.heads * wide];
            for (to, from) in to.chunks_exact_mut(wide).zip(part.chunks_exact(own)) {
                to[..own].copy_from_slice(from);
            }
        }
    }

    /// What to bind for rows `first..first + rows`.
    pub fn inputs(&self, first: usize, rows: usize) -> Parts {
        let part = |buffer, shape: Vec<usize>| {
            let row = shape[1..].iter().product::<usize>() * self.kind.size();
            Part { buffer, kind: self.kind, offset: first * row, shape }
        };
        let mut inputs: Parts = self
            .parts
            .iter()
            .map(|(name, buffer)| (name.clone(), part(*buffer, vec![rows, self.heads, self.tokens, self.head_size])))
            .collect();
        inputs.push(("cross_mask".to_owned(), part(self.mask, vec![rows, self.tokens])));
        inputs
    }
}
